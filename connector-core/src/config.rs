//! From Connect's flat map of texts to a typed configuration, guided by the JSON schema of the plugin's struct.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// A connector's configuration as Connect has it: dotted keys, text values, placeholders resolved.
pub type ConfigMap = BTreeMap<String, String>;

/// One thing that is wrong with a configuration. Never holds a value: the host knows which values may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// The dotted key; empty when no single key is to blame.
    pub key: String,
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl ConfigProblem {
    pub fn new(key: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// A text that never shows in logs, errors or answers. Its schema has `format: password`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; keep it out of messages.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "password"})
    }

    fn inline_schema() -> bool {
        true
    }
}

/// One key of a configuration schema.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub name: &'a str,
    pub required: bool,
    /// The property's own schema.
    pub schema: &'a Value,
    /// The whole schema, for references.
    root: &'a Value,
}

/// The JSON type that a key's text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    Integer,
    Number,
    Boolean,
    List,
    Map,
    Text,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "whole number",
            Self::Number => "number",
            Self::Boolean => "true or false",
            Self::List => "list",
            Self::Map => "map",
            Self::Text => "text",
        })
    }
}

impl<'a> Key<'a> {
    /// The schema behind `$ref`, `allOf` of one and `anyOf [T, null]`.
    pub fn resolved(&self) -> &'a Value {
        let mut schema = self.schema;
        for _ in 0..8 {
            let inner = match schema.get("$ref").and_then(Value::as_str) {
                Some(path) => path.strip_prefix('#').and_then(|p| self.root.pointer(p)),
                None => ["anyOf", "allOf"]
                    .iter()
                    .find_map(|word| schema.get(word)?.as_array())
                    .and_then(|all| all.iter().find(|s| s.get("type").is_none_or(|t| t != "null"))),
            };
            match inner {
                Some(inner) => schema = inner,
                None => break,
            }
        }
        schema
    }

    pub fn key_type(&self) -> KeyType {
        let named = |name: &str| match name {
            "integer" => Some(KeyType::Integer),
            "number" => Some(KeyType::Number),
            "boolean" => Some(KeyType::Boolean),
            "array" => Some(KeyType::List),
            "object" => Some(KeyType::Map),
            _ => None,
        };
        match self.resolved().get("type") {
            Some(Value::String(name)) => named(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find_map(named),
            _ => None,
        }
        .unwrap_or(KeyType::Text)
    }

    pub fn is_secret(&self) -> bool {
        self.resolved().get("format").is_some_and(|f| f == "password")
    }

    pub fn default(&self) -> Option<&'a Value> {
        self.schema.get("default").filter(|d| !d.is_null())
    }

    pub fn description(&self) -> &'a str {
        self.schema.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    /// The texts that are allowed, where the schema lists them.
    pub fn choices(&self) -> Vec<&'a str> {
        let schema = self.resolved();
        if let Some(all) = schema.get("enum").and_then(Value::as_array) {
            return all.iter().filter_map(Value::as_str).collect();
        }
        // A choice that is described stands alone, the others together.
        let one_of = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let texts = |s: &'a Value| {
            let together = s.get("enum").and_then(Value::as_array).into_iter().flatten();
            s.get("const").into_iter().chain(together).filter_map(Value::as_str)
        };
        one_of.flat_map(texts).collect()
    }

    /// Other names of the key, from `#[schemars(extend("aliases" = ["streamName"]))]`.
    pub fn aliases(&self) -> Vec<&'a str> {
        let listed = self.schema.get("aliases").and_then(Value::as_array);
        listed.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Whether a configuration key belongs to this one: itself, another name of it, or an entry of the map that it is.
    pub fn owns(&self, key: &str) -> bool {
        key == self.name
            || self.aliases().contains(&key)
            || (self.key_type() == KeyType::Map
                && key.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The names under which `map` has this key.
    fn written(&self, map: &ConfigMap) -> Vec<&'a str> {
        std::iter::once(self.name).chain(self.aliases()).filter(|name| map.contains_key(*name)).collect()
    }

    fn convert(&self, map: &ConfigMap) -> Option<Result<Value, String>> {
        let whole = self.written(map).first().and_then(|name| map.get(*name));
        let text = whole.map(|t| t.trim());
        Some(match self.key_type() {
            KeyType::Map => {
                let mut entries = Map::new();
                for pair in text.unwrap_or_default().split(',').filter(|p| !p.trim().is_empty()) {
                    match pair.split_once(':') {
                        Some((k, v)) => entries.insert(k.trim().to_owned(), v.trim().into()),
                        None => return Some(Err("is not a list of `key:value` pairs".to_owned())),
                    };
                }
                for (key, value) in map.range(format!("{}.", self.name)..) {
                    let Some(entry) = key.strip_prefix(self.name).and_then(|k| k.strip_prefix('.')) else {
                        break;
                    };
                    entries.insert(entry.to_owned(), value.clone().into());
                }
                if text.is_none() && entries.is_empty() {
                    return None;
                }
                Ok(Value::Object(entries))
            }
            KeyType::Integer => self.integer(text?),
            KeyType::Number => text?
                .parse::<f64>()
                .ok()
                .and_then(Number::from_f64)
                .map(Value::Number)
                .ok_or_else(|| "is not a number".to_owned()),
            KeyType::Boolean => match text?.to_ascii_lowercase().as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err("is neither true nor false".to_owned()),
            },
            KeyType::List => {
                let items = text?.split(',').map(str::trim).filter(|i| !i.is_empty());
                Ok(items.map(Value::from).collect())
            }
            // Blanks may be meant (a separator), so this text is not trimmed.
            KeyType::Text => Ok(whole?.clone().into()),
        })
    }

    fn integer(&self, text: &str) -> Result<Value, String> {
        let number: i128 = text.parse().map_err(|_| "is not a whole number".to_owned())?;
        let schema = self.resolved();
        let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
        if let Some(low) = bound("minimum").filter(|&low| (number as f64) < low) {
            return Err(format!("is less than {low}, the smallest value allowed"));
        }
        if let Some(high) = bound("maximum").filter(|&high| (number as f64) > high) {
            return Err(format!("is more than {high}, the largest value allowed"));
        }
        i64::try_from(number)
            .map(Value::from)
            .or_else(|_| u64::try_from(number).map(Value::from))
            .map_err(|_| "does not fit into 64 bits".to_owned())
    }
}

/// The keys of a configuration schema, in the order of the struct's fields.
pub fn keys(schema: &Value) -> Vec<Key<'_>> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, property)| Key {
            name,
            required: required.contains(&name.as_str()),
            schema: property,
            root: schema,
        })
        .collect()
}

/// Turns the texts of `map` into the JSON types of `schema`; keys that the schema does not have are left out.
/// All problems are reported at once.
pub fn coerce(schema: &Value, map: &ConfigMap) -> Result<Value, Vec<ConfigProblem>> {
    let (mut object, mut problems) = (Map::new(), Vec::new());
    for key in keys(schema) {
        if let [one, other, ..] = key.written(map)[..] {
            let message = format!("is written twice, as `{one}` and as `{other}`");
            problems.push(ConfigProblem::new(key.name, message, "keep one of them"));
            continue;
        }
        match key.convert(map) {
            Some(Ok(value)) => {
                object.insert(key.name.to_owned(), value);
            }
            Some(Err(message)) => {
                problems.push(ConfigProblem::new(key.name, message, format!("write a {}", key.key_type())));
            }
            None if key.required => {
                let hint = key.description().split(". ").next().unwrap_or_default().trim().to_owned();
                problems.push(ConfigProblem::new(key.name, "is required and has no default", hint));
            }
            None => {}
        }
    }
    if problems.is_empty() { Ok(Value::Object(object)) } else { Err(problems) }
}

/// The typed configuration from what [`coerce`] made.
pub fn deserialize<T: DeserializeOwned>(config: &Value) -> Result<T, Vec<ConfigProblem>> {
    serde_path_to_error::deserialize(config).map_err(|error| {
        let key = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        let mut message = error.inner().to_string();
        // serde quotes the offending text; it may be a secret.
        if let Some(text) = config.get(&key).and_then(Value::as_str).filter(|t| !t.is_empty()) {
            message = message.replace(&format!("`{text}`"), "").replace(&format!("\"{text}\""), "");
            message = message.replace(" , ", ", ").replace("  ", " ");
        }
        vec![ConfigProblem::new(key, message, "")]
    })
}

/// The known name nearest to `unknown`, if any is near enough for "did you mean".
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(unknown.len()) / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    struct Config {
        /// Records per object. Must be positive.
        #[serde(rename = "flush.size")]
        #[schemars(range(min = 1))]
        flush_size: u32,
        #[serde(default)]
        gzip: Option<bool>,
        #[serde(default, rename = "topic.mapping")]
        topic_mapping: BTreeMap<String, String>,
        #[serde(default)]
        fields: Vec<String>,
        #[serde(default)]
        format: Format,
        #[serde(default)]
        password: Secret,
        #[serde(default, rename = "kinesis.stream")]
        #[schemars(extend("aliases" = ["streamName"]))]
        stream: Option<String>,
    }

    #[derive(Debug, Default, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Format {
        #[default]
        #[serde(alias = "io.example.JsonFormat")]
        Json,
        /// With a description.
        Bytes,
        Text,
    }

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, Vec<ConfigProblem>> {
        let schema = schemars::schema_for!(Config).to_value();
        deserialize(&coerce(&schema, &map(pairs))?)
    }

    #[test]
    fn texts_become_the_types_of_the_struct() {
        let config = parse(&[
            ("flush.size", " 10 "),
            ("gzip", "TRUE"),
            ("topic.mapping", "a:b, c : d"),
            ("topic.mapping.e", "f,g"),
            ("fields", "x, y"),
            ("format", "io.example.JsonFormat"),
        ])
        .unwrap();
        assert_eq!(config.flush_size, 10);
        assert_eq!(config.gzip, Some(true));
        let mapping: Vec<_> = config.topic_mapping.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(mapping, [("a", "b"), ("c", "d"), ("e", "f,g")]);
        assert_eq!(config.fields, ["x", "y"]);
        assert_eq!(config.format, Format::Json);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let problems = parse(&[("gzip", "yes"), ("topic.mapping", "a")]).unwrap_err();
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["flush.size", "gzip", "topic.mapping"]);
        assert_eq!(problems[0].hint, "Records per object");
    }

    #[test]
    fn a_bound_of_the_schema_is_checked() {
        let problems = parse(&[("flush.size", "0")]).unwrap_err();
        assert!(problems[0].message.contains("less than 1"), "{problems:?}");
    }

    #[test]
    fn a_wrong_choice_names_the_key_and_the_choices_but_not_the_value() {
        let problems = parse(&[("flush.size", "1"), ("format", "hunter2")]).unwrap_err();
        assert_eq!(problems[0].key, "format");
        assert!(problems[0].message.contains("`json`"), "{problems:?}");
        assert!(!problems[0].message.contains("hunter2"), "{problems:?}");
    }

    #[test]
    fn choices_are_found_with_and_without_description() {
        let schema = schemars::schema_for!(Config).to_value();
        let format = keys(&schema).into_iter().find(|key| key.name == "format").unwrap();
        let mut choices = format.choices();
        choices.sort_unstable();
        assert_eq!(choices, ["bytes", "json", "text"]);
    }

    #[test]
    fn another_name_of_a_key_is_as_good_but_not_both() {
        let parsed = |name| parse(&[("flush.size", "1"), (name, "s")]).unwrap().stream;
        assert_eq!(parsed("streamName"), Some("s".to_owned()));
        assert_eq!(parsed("kinesis.stream"), parsed("streamName"));
        let both = [("flush.size", "1"), ("kinesis.stream", "s"), ("streamName", "s")];
        let problems = parse(&both).unwrap_err();
        assert_eq!(problems[0].key, "kinesis.stream");
        assert!(problems[0].message.contains("`streamName`"), "{problems:?}");
    }

    #[test]
    fn a_secret_never_shows() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[hidden]");
    }

    #[test]
    fn did_you_mean_finds_only_what_is_near() {
        assert_eq!(nearest("flush.sise", ["flush.size", "topics"]), Some("flush.size"));
        assert_eq!(nearest("colour", ["flush.size", "topics"]), None);
    }
}
