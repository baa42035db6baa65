//! `sidestream schema`: the JSON schema of the YAML, for editors.

use connector_core::{Component, Kind};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{OK, print_json};
use crate::config::{ConnectorKeys, PluginFile, TopicSpec, WorkerConfig};
use crate::plugin::registry::Registry;

pub(super) fn run(registry: &Registry) -> u8 {
    print_json(&of(registry));
    OK
}

/// Keys may be nested at any dot, so nothing is forbidden and no dotted key is required: `validate` does that.
fn of(registry: &Registry) -> Value {
    let mut definitions = Map::new();
    let mut worker = part::<WorkerConfig>("worker", &mut definitions);
    let plugins = json!({"type": "array", "items": schemars::schema_for!(PluginFile).to_value()});
    add(&mut worker, "plugins", plugins);
    let topic = part::<TopicSpec>("topic", &mut definitions);
    let mut connector = part::<ConnectorKeys>("connector", &mut definitions);
    add(&mut connector, "transforms", transforms(registry, &mut definitions));
    let plugins = registry.entries().iter().map(|e| &e.component).filter(|c| c.kind() != Kind::Transform);
    let chosen: Vec<Value> = plugins.map(|c| when("connector.class", c, &mut definitions)).collect();
    if let Some(class) = connector.pointer_mut("/properties/connector.class").and_then(Value::as_object_mut) {
        let kinds = [Kind::Source, Kind::Sink];
        class.insert("examples".to_owned(), names(registry, &kinds));
    }
    if let Some(connector) = connector.as_object_mut().filter(|_| !chosen.is_empty()) {
        connector.insert("allOf".to_owned(), chosen.into());
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sidestream",
        "type": "object",
        "properties": {
            "worker": worker,
            "topics": {"type": "object", "additionalProperties": {"anyOf": [topic, {"type": "null"}]}},
            "connectors": {"type": "object", "additionalProperties": connector},
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
        "$defs": definitions,
    })
}

fn names(registry: &Registry, kinds: &[Kind]) -> Value {
    let entries = registry.entries().iter().map(|e| &e.component).filter(|c| kinds.contains(&c.kind()));
    entries.map(|c| Value::from(c.name.clone())).collect()
}

/// `transforms`: a comma list, or a list of maps with the keys of their type.
fn transforms(registry: &Registry, definitions: &mut Map<String, Value>) -> Value {
    let all = registry.entries().iter().map(|e| &e.component).filter(|c| c.kind() == Kind::Transform);
    let chosen: Vec<Value> = all.map(|c| when("type", c, definitions)).collect();
    let mut item = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "A name of your choice."},
            "type": {"type": "string", "examples": names(registry, &[Kind::Transform])},
        },
        "required": ["name", "type"],
    });
    if let Some(item) = item.as_object_mut().filter(|_| !chosen.is_empty()) {
        item.insert("allOf".to_owned(), chosen.into());
    }
    let items = json!({"anyOf": [{"type": "string"}, item]});
    json!({"description": "Transforms, in their order.", "type": ["string", "array"], "items": items})
}

/// The keys of a plugin, once `key` names it.
fn when(key: &str, component: &Component, definitions: &mut Map<String, Value>) -> Value {
    let classes: Vec<&String> = [&component.name].into_iter().chain(&component.aliases).collect();
    let keys = loosened(serde_json::Value::clone(&component.schema), &component.name, definitions);
    json!({
        "if": {"properties": {key: {"enum": classes}}, "required": [key]},
        "then": {"properties": keys.get("properties").cloned().unwrap_or_else(|| json!({}))},
    })
}

fn part<T: JsonSchema>(name: &str, definitions: &mut Map<String, Value>) -> Value {
    let schema = loosened(schemars::schema_for!(T).to_value(), name, definitions);
    json!({
        "type": "object",
        "description": schema.get("description"),
        "properties": schema.get("properties"),
    })
}

/// Moves the definitions of a schema under names of their own, and lets text stand for every type: placeholders are
/// text, comma lists are, and Connect's own values all are.
fn loosened(mut schema: Value, owner: &str, definitions: &mut Map<String, Value>) -> Value {
    rename(&mut schema, owner);
    if let Some(Value::Object(own)) = schema.get_mut("$defs").map(Value::take) {
        definitions.extend(own.into_iter().map(|(name, schema)| (format!("{owner}.{name}"), schema)));
    }
    for property in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        let description =
            property.1.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
        if property.1.get("type").is_none_or(|t| t != "string") {
            *property.1 = with_text(property.1, &description);
        }
    }
    schema
}

fn with_text(schema: &Value, description: &str) -> Value {
    json!({"description": description, "anyOf": [schema, {"type": "string"}]})
}

fn rename(schema: &mut Value, owner: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{owner}.{name}");
            }
            map.values_mut().for_each(|value| rename(value, owner));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, owner)),
        _ => {}
    }
}

fn add(schema: &mut Value, key: &str, property: Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(key.to_owned(), property);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::plugins::registry;

    fn references(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = of(&registry());
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(found.iter().any(|reference| reference.contains("s3-sink.")), "{found:?}");
        for reference in found {
            assert!(schema.pointer(&reference[1..]).is_some(), "{reference}");
        }
    }

    #[test]
    fn a_plugin_s_keys_are_offered_once_it_is_named_by_any_of_its_names() {
        let schema = of(&registry());
        let all = schema.pointer("/properties/connectors/additionalProperties/allOf").unwrap();
        let sink =
            all.as_array().unwrap().iter().find(|part| part.to_string().contains("flush.size")).unwrap();
        assert_eq!(
            sink.pointer("/if/properties/connector.class/enum").unwrap(),
            &json!(["s3-sink", "io.confluent.connect.s3.S3SinkConnector"])
        );
        let flush_size = &sink.pointer("/then/properties").unwrap()["flush.size"];
        assert_eq!(flush_size["description"], "Records per object.");
        assert_eq!(flush_size["anyOf"][1], json!({"type": "string"}), "a placeholder is text");
        let transforms =
            schema.pointer("/properties/connectors/additionalProperties/properties/transforms").unwrap();
        assert!(transforms.to_string().contains("pin-cleaner"));
    }
}
