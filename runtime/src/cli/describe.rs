//! `sidestream describe PLUGIN`: the reference of its keys, from its configuration struct.

use connector_core::Component;
use connector_core::config::{Key, KeyType, keys};
use serde::Serialize;
use serde_json::Value;

use super::{OK, Output, WRONG_CONFIG, print, print_json};
use crate::plugin::registry::{Entry, Registry};
use connector_core::Kind;

#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    kind: Kind,
    version: &'a str,
    from: String,
    summary: &'a str,
    aliases: &'a [String],
    keys: Vec<KeyDescription<'a>>,
    accepted_without_effect: &'a [String],
}

#[derive(Serialize)]
struct KeyDescription<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    key_type: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<&'a str>,
    documentation: &'a str,
}

impl<'a> From<Key<'a>> for KeyDescription<'a> {
    fn from(key: Key<'a>) -> Self {
        Self {
            name: key.name,
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
        let Component { name, aliases, inert_keys, version, summary, schema, .. } = &entry.component;
        Self {
            name,
            kind: entry.component.kind(),
            version,
            from: entry.from.to_string(),
            summary,
            aliases,
            keys: keys(schema).into_iter().map(KeyDescription::from).collect(),
            accepted_without_effect: inert_keys,
        }
    }
}

pub(super) fn run(plugin: &str, output: Output, registry: &Registry) -> u8 {
    let Some(entry) = registry.get(plugin) else {
        if let Err(error) = registry.find(plugin, &[Kind::Source, Kind::Transform, Kind::Sink]) {
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
fn default_text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(default_text).collect::<Vec<_>>().join(","),
        Value::Object(entries) if entries.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}
