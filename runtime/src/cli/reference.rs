//! `sidestream reference`: every key of everything as Markdown, the text of `docs/reference.md`.

use std::fmt::Write;

use connector_core::config::keys;
use schemars::schema_for;
use serde_json::Value;

use super::describe::{Description, KeyDescription, default_text};
use super::{OK, print};
use crate::config::{ConnectorKeys, TopicSpec, WorkerConfig};
use crate::plugin::registry::Registry;

pub(super) fn run(registry: &Registry) -> u8 {
    let mut text = String::from(
        "# Configuration reference\n\nGenerated from the code by `sidestream reference`; do not edit.\n\n\
         Keys are Connect's. In YAML they may be nested (`s3: {bucket.name: x}` is `s3.bucket.name: x`) and lists may be \
         written as lists. Values may hold `${env:NAME}`, `${file:path:key}` and `${directory:dir:file}`.\n",
    );
    let schemas = [
        ("worker", "The worker, once per process.", schema_for!(WorkerConfig).to_value()),
        (
            "topics",
            "Each topic by its name: created or checked at start, never shrunk.",
            schema_for!(TopicSpec).to_value(),
        ),
        (
            "connectors",
            "Each connector by its name; beside these keys, those of its plugin.",
            schema_for!(ConnectorKeys).to_value(),
        ),
    ];
    for (name, about, schema) in &schemas {
        let _ = write!(text, "\n## `{name}:`\n\n{about}\n");
        table(&mut text, keys(schema).into_iter().map(KeyDescription::from));
    }
    for entry in registry.entries() {
        let plugin = Description::from(entry);
        let _ = write!(text, "\n## {} ({})\n\n{}\n", plugin.name, plugin.kind, plugin.summary);
        if !plugin.delivery.is_empty() {
            let _ = write!(text, "\nDelivery: {}\n", plugin.delivery);
        }
        if !plugin.aliases.is_empty() {
            let aliases: Vec<_> = plugin.aliases.iter().map(|alias| format!("`{alias}`")).collect();
            let _ = write!(text, "\nAlso named {}.\n", aliases.join(", "));
        }
        table(&mut text, plugin.keys.into_iter());
        if !plugin.accepted_without_effect.is_empty() {
            let inert: Vec<_> = plugin.accepted_without_effect.iter().map(|key| format!("`{key}`")).collect();
            let _ = write!(text, "\nAccepted without effect: {}.\n", inert.join(", "));
        }
    }
    print(&text);
    OK
}

fn table<'a>(text: &mut String, keys: impl Iterator<Item = KeyDescription<'a>>) {
    text.push_str("\n| key | type | default | what it is |\n|---|---|---|---|\n");
    for key in keys {
        let default = match key.default {
            _ if key.required => "required".to_owned(),
            None => String::new(),
            Some(Value::String(blank)) if blank.trim().is_empty() => format!("{blank:?}"),
            Some(value) => format!("`{}`", default_text(value)),
        };
        let mut what = key.documentation.split_whitespace().collect::<Vec<_>>().join(" ");
        if !key.choices.is_empty() {
            let _ = write!(what, " One of: {}.", key.choices.join(", "));
        }
        if !key.aliases.is_empty() {
            let names: Vec<_> = key.aliases.iter().map(|alias| format!("`{alias}`")).collect();
            let _ = write!(what, " Also named {}.", names.join(", "));
        }
        let what = what.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {} | {default} | {what} |", key.name, key.key_type);
    }
}
