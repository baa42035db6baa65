//! How a sink connector makes data of records: its sink, converters and transforms with their settings, without secrets.
//! A range that was begun under one recipe is finished under it, whatever the configuration says now: other settings
//! would put the same records under other keys.

use std::io::{Read, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use connector_core::{ConfigMap, ConnectError, Kind, Result, config};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::{ConnectorConfig, ConverterUse, PluginUse, PredicateUse, SecretSet, TransformUse};
use crate::convert;
use crate::plugin::registry::Registry;

/// No recipe is larger, in bytes; what claims to be is refused.
const LARGEST: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Recipe {
    sink: Part,
    key: Converter,
    value: Converter,
    header: Converter,
    #[serde(default)]
    transforms: Vec<Part>,
}

/// A plugin by its name, with its settings.
#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    class: String,
    config: Value,
    /// Of a transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predicate: Option<Condition>,
}

/// A predicate with its settings.
#[derive(Serialize, Deserialize)]
struct Condition {
    class: String,
    config: Value,
    negate: bool,
}

#[derive(Serialize, Deserialize)]
struct Converter {
    class: String,
    config: ConfigMap,
}

impl Converter {
    /// With the secrets of today.
    fn restored(self, today: &ConverterUse, secrets: &SecretSet) -> ConverterUse {
        let Self { class, mut config } = self;
        for (key, value) in &today.config {
            if convert::is_secret_key(key, value) || secrets.redact(value) != value.as_str() {
                config.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        ConverterUse { class, config }
    }
}

/// A recipe as it goes into a [`super::mark::Mark`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The same for the same recipe.
    pub fingerprint: Arc<str>,
    pub text: Arc<str>,
}

impl Packed {
    /// The recipe of a connector that has a sink.
    pub fn of(connector: &ConnectorConfig) -> Option<Self> {
        let sink = connector.sink.as_ref()?;
        let part = |name: &str, component: &connector_core::Component, settings: &Value| Part {
            name: name.to_owned(),
            class: component.name.clone(),
            config: open(&component.schema, settings, &connector.secrets),
            predicate: None,
        };
        let condition = |used: &PredicateUse| Condition {
            class: used.component.name.clone(),
            config: open(&used.component.schema, &used.config, &connector.secrets),
            negate: used.negate,
        };
        let converter = |used: &ConverterUse| {
            let open = used.config.iter().filter(|(key, value)| {
                !convert::is_secret_key(key, value) && connector.secrets.redact(value) == value.as_str()
            });
            let config = open.map(|(key, value)| (key.clone(), value.clone())).collect();
            Converter { class: used.class.clone(), config }
        };
        let transforms = connector.transforms.iter();
        let recipe = Recipe {
            sink: part("", &sink.component, &sink.config),
            key: converter(&connector.key_converter),
            value: converter(&connector.value_converter),
            header: converter(&connector.header_converter),
            transforms: transforms
                .map(|t| Part {
                    predicate: t.predicate.as_ref().map(condition),
                    ..part(&t.name, &t.component, &t.config)
                })
                .collect(),
        };
        let json = serde_json::to_vec(&recipe).ok()?;
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        let packed = encoder.write_all(&json).and_then(|()| encoder.finish()).ok()?;
        let digest = Sha256::digest(&json);
        let fingerprint: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { fingerprint: fingerprint.into(), text: STANDARD_NO_PAD.encode(packed).into() })
    }

    /// The connector as this recipe has it; secrets are those of today.
    pub fn restore(text: &str, today: &ConnectorConfig, registry: &Registry) -> Result<ConnectorConfig> {
        let Recipe { sink, key, value, header, transforms } = unpack(text)?;
        let plugin = |class: &str, kind: Kind| {
            registry.find(class, &[kind]).cloned().map_err(|e| {
                ConnectError::user("recipe.plugin", format!("an unfinished range needs {}", e.message))
                    .hint("put the former plugin back until the range is published")
            })
        };
        let component = plugin(&sink.class, Kind::Sink)?;
        let now = today.sink.as_ref().map(|sink| &sink.config);
        let config = with_secrets(&component.schema, sink.config, now, &today.secrets);
        let transforms = transforms.into_iter().map(|part| {
            let component = plugin(&part.class, Kind::Transform)?;
            let now = today.transforms.iter().find(|t| t.name == part.name).map(|t| &t.config);
            let config = with_secrets(&component.schema, part.config, now, &today.secrets);
            let predicate = part.predicate.map(|Condition { class, config, negate }| {
                Ok::<_, ConnectError>(PredicateUse {
                    component: plugin(&class, Kind::Predicate)?,
                    config,
                    negate,
                })
            });
            Ok(TransformUse { name: part.name, component, config, predicate: predicate.transpose()? })
        });
        Ok(ConnectorConfig {
            sink: Some(PluginUse { component, config }),
            transforms: transforms.collect::<Result<_>>()?,
            key_converter: key.restored(&today.key_converter, &today.secrets),
            value_converter: value.restored(&today.value_converter, &today.secrets),
            header_converter: header.restored(&today.header_converter, &today.secrets),
            ..today.clone()
        })
    }
}

fn unpack(text: &str) -> Result<Recipe> {
    let damaged = || {
        ConnectError::user("recipe.damaged", "the configuration of an unfinished range cannot be read")
            .hint("start the connector once with its former configuration")
    };
    let packed = STANDARD_NO_PAD.decode(text).map_err(|e| damaged().caused_by(e))?;
    let mut json = Vec::new();
    ZlibDecoder::new(&*packed).take(LARGEST).read_to_end(&mut json).map_err(|e| damaged().caused_by(e))?;
    serde_json::from_slice(&json).map_err(|e| damaged().caused_by(e))
}

/// Whether a setting is nobody's business: a password by its schema, or a value that is a known secret.
fn is_secret(key: &str, value: &Value, secret_keys: &[String], secrets: &SecretSet) -> bool {
    let hides = value.as_str().is_some_and(|text| secrets.redact(text) != text);
    hides || secret_keys.iter().any(|secret| secret == key)
}

fn secret_keys(schema: &Value) -> Vec<String> {
    config::keys(schema).iter().filter(|key| key.is_secret()).map(|key| key.name.to_owned()).collect()
}

/// The settings without secrets.
fn open(schema: &Value, settings: &Value, secrets: &SecretSet) -> Value {
    let secret = secret_keys(schema);
    let Some(map) = settings.as_object() else { return Value::Null };
    let open = map.iter().filter(|(key, value)| !is_secret(key, value, &secret, secrets));
    Value::Object(open.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn with_secrets(schema: &Value, former: Value, now: Option<&Value>, secrets: &SecretSet) -> Value {
    let secret = secret_keys(schema);
    let mut settings = match former {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for (key, value) in now.and_then(Value::as_object).into_iter().flatten() {
        if is_secret(key, value, &secret, secrets) {
            settings.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::Object(settings)
}
