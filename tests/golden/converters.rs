//! `converter_golden.jsonl`: bytes to Connect's values and back, in process.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use connector_core::arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use connector_core::envelope::{EnvelopeBuilder, VALUE};
use connector_core::{ConfigMap, Envelope, Form, Needs, Transformed};
use connector_runtime::convert::{self, Converter};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json;
use crate::recording::Recording;
use crate::support::block_on;
use crate::tally::Tally;

#[derive(Deserialize)]
struct Case<'a> {
    id: String,
    class: String,
    config: Map<String, Value>,
    is_key: bool,
    direction: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    phase: String,
    message: Option<String>,
}

pub fn replay(recording: &Recording) {
    let mut tally = Tally::new(&recording.file);
    for line in &recording.lines {
        let whole: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file));
        let case: Case<'_> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file));
        let class = case.class.rsplit('.').next().unwrap_or_default();
        tally.add(&case.id, class, &whole, case.replay());
    }
    tally.finish();
}

impl Case<'_> {
    fn replay(&self) -> Result<(), String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let config: ConfigMap = self.config.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        let configured = if self.class.ends_with("SimpleHeaderConverter") {
            convert::header_converter(&self.class, &config).map(|headers| headers.values())
        } else {
            convert::converter(&self.class, &config, self.is_key)
        };
        let converter = match (configured, &self.error) {
            (Err(problems), Some(error)) if error.phase == "configure" && known(&self.class) => {
                return if problems.is_empty() { Err("no problem is told".to_owned()) } else { Ok(()) };
            }
            (Err(problems), _) => return Err(format!("configuration refused: {}", problems[0])),
            (Ok(_), Some(error)) if error.phase == "configure" => {
                return Err(format!("configuration accepted; Connect says: {}", error.said()));
            }
            (Ok(converter), _) => converter,
        };
        let schemaless = self.class.ends_with("JsonConverter")
            && config.get("schemas.enable").is_some_and(|enable| enable.eq_ignore_ascii_case("false"));
        let result = match self.direction.as_str() {
            "to_connect" => self.input_bytes().and_then(|bytes| to_connect(&*converter, bytes, schemaless)),
            "from_connect" => self.input_value().and_then(|value| encode(&*converter, value)),
            "roundtrip" => self
                .input_bytes()
                .and_then(|bytes| decode(&*converter, bytes))
                .and_then(|value| encode(&*converter, value)),
            other => return Err(format!("this runner does not know the direction {other}")),
        };
        match (result, &self.error) {
            (Err(Stop::Runner(why)), _) => Err(why),
            (Err(Stop::Refused(_)), Some(_)) => Ok(()),
            (Err(Stop::Refused(why)), None) => Err(format!("refused: {why}")),
            (Ok(value), Some(error)) => {
                Err(format!("Connect says: {}; here it becomes {}", error.said(), shown(value.as_deref())))
            }
            (Ok(value), None) => self.compare(value, schemaless),
        }
    }

    fn compare(&self, found: Option<Vec<u8>>, schemaless: bool) -> Result<(), String> {
        let (Some(expected), Some(found)) = (self.output, found.as_deref()) else {
            let nothing = self.output.is_none() && found.is_none();
            let wanted = self.output.map_or("null", RawValue::get);
            let differ = || Err(format!("it becomes {}, not {wanted}", shown(found.as_deref())));
            return if nothing { Ok(()) } else { differ() };
        };
        let is_json = self.class.ends_with("JsonConverter");
        if self.direction != "to_connect" {
            let bytes = model_bytes(expected).map_err(Stop::text)?.unwrap_or_default();
            return match (is_json, std::str::from_utf8(&bytes), std::str::from_utf8(found)) {
                _ if bytes == found => Ok(()),
                (true, Ok(expected), Ok(found)) => json::same(expected, found),
                _ => Err(format!("it becomes {}, not {}", shown(Some(found)), shown(Some(&bytes)))),
            };
        }
        let found = std::str::from_utf8(found).map_err(|e| e.to_string())?;
        if schemaless || is_typed(expected.get()) {
            return json::same(expected.get(), found);
        }
        // Written with a converter that has schemas, a value without one gets an envelope.
        json::same(&format!("{{\"schema\":null,\"payload\":{}}}", expected.get()), found)
    }

    fn input_bytes(&self) -> Result<Option<Vec<u8>>, Stop> {
        self.input.map_or(Ok(None), model_bytes)
    }

    /// A value of Connect as a batch of one record.
    fn input_value(&self) -> Result<RecordBatch, Stop> {
        let Some(input) = self.input else { return Ok(record(None)) };
        let value: Value = serde_json::from_str(input.get()).map_err(|e| Stop::Runner(e.to_string()))?;
        if let Some(bytes) = value.get("$bytes") {
            let bytes = BASE64.decode(bytes.as_str().unwrap_or_default());
            return Ok(record(Some(bytes.map_err(|e| Stop::Runner(e.to_string()))?)));
        }
        if let Some(tag) = tag(&value) {
            return Err(Stop::Runner(format!("there is no form here for a Java value tagged {tag}")));
        }
        match &value {
            // What is a text to this converter is no JSON document.
            Value::String(text) if self.class.ends_with("StringConverter") => {
                let string = convert::converter("StringConverter", &ConfigMap::new(), false).unwrap();
                decode(&*string, Some(text.clone().into_bytes()))
            }
            _ => decode(&*json_converter(is_typed(input.get())), Some(input.get().as_bytes().to_vec())),
        }
    }
}

/// Whether a value of the recording has a schema: `{"schema": …, "payload": …}`.
fn is_typed(model: &str) -> bool {
    let object: Option<Map<String, Value>> = serde_json::from_str(model).ok();
    object.is_some_and(|o| o.len() == 2 && o.contains_key("schema") && o.contains_key("payload"))
}

impl Error {
    fn said(&self) -> &str {
        self.message.as_deref().unwrap_or("(no message)")
    }
}

/// Why there is no result.
enum Stop {
    /// The converter refuses.
    Refused(String),
    /// This runner cannot try it.
    Runner(String),
}

impl Stop {
    fn text(self) -> String {
        match self {
            Self::Refused(text) | Self::Runner(text) => text,
        }
    }
}

fn known(class: &str) -> bool {
    convert::CLASSES.iter().any(|(name, aliases)| *name == class || aliases.contains(&class))
}

fn json_converter(schemas: bool) -> Arc<dyn Converter> {
    let config = [("schemas.enable", schemas.to_string()), ("replace.null.with.default", "false".to_owned())];
    let config: ConfigMap = config.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    convert::converter("JsonConverter", &config, false).unwrap()
}

/// `{"text": …}` or `{"$bytes": base64}`.
fn model_bytes(model: &RawValue) -> Result<Option<Vec<u8>>, Stop> {
    let unknown = || Stop::Runner(format!("this runner does not know the bytes {}", model.get()));
    let value: Value = serde_json::from_str(model.get()).map_err(|_| unknown())?;
    match (value["text"].as_str(), value["$bytes"].as_str()) {
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(bytes)) => BASE64.decode(bytes).map(Some).map_err(|_| unknown()),
        (None, None) if value.is_null() => Ok(None),
        (None, None) => Err(unknown()),
    }
}

/// The first Java type that a value is tagged with.
fn tag(value: &Value) -> Option<&str> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| if key.starts_with('$') { Some(key.as_str()) } else { tag(value) }),
        Value::Array(elements) => elements.iter().find_map(tag),
        _ => None,
    }
}

fn record(bytes: Option<Vec<u8>>) -> RecordBatch {
    let values = Arc::new(BinaryArray::from_iter([bytes]));
    EnvelopeBuilder::new().value(Form::Bytes, values).build().unwrap()
}

/// The one record of an answer.
fn only(answer: connector_core::Result<Transformed>) -> Result<RecordBatch, Stop> {
    let mut answer = answer.map_err(|error| Stop::Refused(error.to_string()))?;
    match (answer.rejected.pop(), answer.runs.pop()) {
        (Some(rejection), _) => Err(Stop::Refused(rejection.error.to_string())),
        (None, Some(run)) if run.records.num_rows() == 1 => Ok(run.records),
        _ => Err(Stop::Runner("one record went in and not one came out".to_owned())),
    }
}

fn decode(converter: &dyn Converter, bytes: Option<Vec<u8>>) -> Result<RecordBatch, Stop> {
    only(block_on(converter.decode(record(bytes), VALUE, &Needs::Document)))
}

fn encode(converter: &dyn Converter, records: RecordBatch) -> Result<Option<Vec<u8>>, Stop> {
    let records = only(block_on(converter.encode(records, VALUE)))?;
    let values = records[VALUE].as_binary::<i32>();
    Ok(values.is_valid(0).then(|| values.value(0).to_vec()))
}

/// What the bytes are in Connect: the value itself without a schema, else an object of schema and payload.
fn to_connect(
    converter: &dyn Converter,
    bytes: Option<Vec<u8>>,
    schemaless: bool,
) -> Result<Option<Vec<u8>>, Stop> {
    let records = decode(converter, bytes)?;
    let form = Envelope::of(&records).map_err(|e| Stop::Runner(e.to_string()))?.value_form();
    if form == Form::Bytes {
        let values = records[VALUE].as_binary::<i32>();
        let payload = values.is_valid(0).then(|| BASE64.encode(values.value(0)));
        let value = serde_json::json!({"schema": {"type": "bytes", "optional": true}, "payload": payload});
        return Ok(Some(value.to_string().into_bytes()));
    }
    encode(&*json_converter(!schemaless), records)
}

fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| bytes.escape_ascii().to_string())
}
