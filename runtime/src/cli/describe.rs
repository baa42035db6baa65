//! `sidestream describe PLUGIN`: the reference of its keys, from its configuration struct.

use connector_core::Component;
use connector_core::config::{Key, KeyType, keys};
use serde::Serialize;
use serde_json::Value;

use super::{OK, Output, WRONG_CONFIG, print, print_json};
use crate::plugin::registry::{Entry, Registry};
use connector_core::Kind;

#[derive(Serialize)]
pub(super) struct Description<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub version: &'a str,
    pub from: String,
    pub summary: &'a str,
    /// What it promises.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub delivery: &'a str,
    pub aliases: &'a [String],
    pub keys: Vec<KeyDescription<'a>>,
    pub accepted_without_effect: &'a [String],
}

#[derive(Serialize)]
pub(super) struct KeyDescription<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<&'a str>,
    #[serde(rename = "type")]
    pub key_type: String,
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<&'a str>,
    pub documentation: &'a str,
}

impl<'a> From<Key<'a>> for KeyDescription<'a> {
    fn from(key: Key<'a>) -> Self {
        Self {
            name: key.name,
            aliases: key.aliases(),
            key_type: if key.is_secret() { "password".to_owned() } else { key.key_type().to_string() },
            required: key.required,
            default: key.default(),
            choices: key.choices(),
            documentation: key.description(),
        }
    }
}

impl<'a> From<&'a Entry> for Description<'a> {
    fn from(entry: &'a Entry) -> Self {
        let Component { name, aliases, inert_keys, version, summary, delivery, schema, .. } =
            &entry.component;
        Self {
            name,
            kind: entry.component.kind(),
            version,
            from: entry.from.to_string(),
            summary,
            delivery,
            aliases,
            keys: keys(schema).into_iter().map(KeyDescription::from).collect(),
            accepted_without_effect: inert_keys,
        }
    }
}

pub(super) fn run(plugin: &str, output: Output, registry: &Registry) -> u8 {
    // `InsertField` alone is none of its two classes, but what people ask for.
    let Some(entry) = registry.get(plugin).or_else(|| registry.get(&format!("{plugin}$Value"))) else {
        let kinds = [Kind::Source, Kind::Transform, Kind::Predicate, Kind::Sink];
        if let Err(error) = registry.find(plugin, &kinds) {
            eprintln!("error: {}\n  hint: {}", error.message, error.hint);
        }
        return WRONG_CONFIG;
    };
    let description = Description::from(entry);
    match output {
        Output::Json => print_json(&description),
        Output::Human => print(&text(&description)),
    }
    OK
}

fn text(plugin: &Description<'_>) -> String {
    let Description { name, kind, version, from, summary, .. } = plugin;
    let mut text = format!("{name} ({kind} {version}, {from})\n{summary}\n");
    if !plugin.delivery.is_empty() {
        text.push_str(&format!("Delivery: {}\n", plugin.delivery));
    }
    if !plugin.aliases.is_empty() {
        text.push_str(&format!("Also named: {}\n", plugin.aliases.join(", ")));
    }
    for key in &plugin.keys {
        text.push_str(&format!("\n{}\n    {}", key.name, key.key_type));
        if key.required {
            text.push_str(", required");
        }
        if let Some(default) = key.default {
            text.push_str(&format!(", default {}", default_text(default)));
        }
        text.push('\n');
        if !key.aliases.is_empty() {
            text.push_str(&format!("    also named: {}\n", key.aliases.join(", ")));
        }
        if !key.choices.is_empty() {
            text.push_str(&format!("    one of: {}\n", key.choices.join(", ")));
        }
        for line in key.documentation.lines() {
            text.push_str(&format!("    {}\n", line.trim()));
        }
        if key.key_type == KeyType::Map.to_string() {
            text.push_str(&format!("    Entries are written `{}.<name>`.\n", key.name));
        }
    }
    if !plugin.accepted_without_effect.is_empty() {
        text.push_str(&format!("\nAccepted without effect: {}\n", plugin.accepted_without_effect.join(", ")));
    }
    text
}

/// As one would write it in a configuration.
pub(super) fn default_text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(default_text).collect::<Vec<_>>().join(","),
        Value::Object(entries) if entries.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::plugins::registry;

    #[test]
    fn a_plugin_is_described_from_its_struct() {
        let registry = registry();
        let plugin = Description::from(registry.get("S3Sink").unwrap());
        insta::assert_snapshot!(text(&plugin), @r#"
    s3-sink (sink 0.1.0, built in)
    Writes objects.
    Also named: io.confluent.connect.s3.S3SinkConnector

    s3.bucket.name
        text, required
        The bucket. Must exist.

    s3.region
        text, default ""
        Region of the bucket.

    flush.size
        whole number, required
        Records per object.

    format.class
        text
        one of: json, bytes
        How records are written.

    topics.dir
        text, default ""

    partitioner.class
        text
        one of: default

    store.url
        text, default ""

    aws.secret.access.key
        password
        The secret half of the credentials.

    Accepted without effect: storage.class, schema.compatibility
    "#);
    }
}
