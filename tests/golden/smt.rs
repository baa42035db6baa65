//! `smt_golden.jsonl`: Connect's transforms and predicates, one record at a time, in process.

use std::sync::Arc;

use connector_core::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::envelope::{self, EnvelopeBuilder, KEY, VALUE};
use connector_core::headers::{self, Entries};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::schema::{Schema, array, datum};
use connector_core::{Component, ConfigMap, Envelope, Form, Meta, TaskInfo, TopicPartition};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::json;
use crate::recording::Recording;
use crate::tally::Tally;

#[derive(Deserialize)]
struct Case {
    id: String,
    class: String,
    config: Map<String, Value>,
    input: Option<Value>,
    output: Option<Value>,
    error: Option<Error>,
    predicate: Option<Condition>,
}

#[derive(Deserialize)]
struct Error {
    phase: String,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Condition {
    class: String,
    config: Map<String, Value>,
    negate: bool,
}

pub fn replay(recording: &Recording) {
    let components = transforms::components();
    let mut tally = Tally::new(&recording.file);
    for line in &recording.lines {
        let whole: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file));
        let case: Case = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file));
        let class = case.class.rsplit('.').next().unwrap_or_default();
        tally.add(&case.id, class, &whole, case.replay(&components));
    }
    tally.finish();
}

impl Case {
    fn replay(&self, components: &[Component]) -> Result<(), String> {
        let said = |error: &Error| error.message.clone().unwrap_or_else(|| "(no message)".to_owned());
        let refused = |phase: &str, why: String| match &self.error {
            Some(error) if error.phase == phase => Ok(()),
            Some(error) => Err(format!("refused at {phase} ({why}), not at {}", error.phase)),
            None => Err(format!("refused at {phase}: {why}")),
        };
        let made = match self.make(components) {
            Ok(made) => made,
            Err(why) => return refused("configure", why),
        };
        let Some(input) = &self.input else {
            return Err("configuration accepted; Connect refuses it".to_owned());
        };
        let topic = input["topic"].as_str().unwrap_or_default();
        let partition = input["partition"].as_i64().map_or(-1, |partition| partition as i32);
        let meta = Meta { partition: TopicPartition::new(topic, partition) };
        let records = record(input)?;
        let out = match &made {
            Made::Predicate(predicate) => {
                let found = predicate.test(&records, &meta).map_err(|e| e.to_string())?.value(0);
                let found = found && !input["topic"].is_null();
                return match &self.output {
                    Some(expected) if *expected == Value::Bool(found) => Ok(()),
                    _ => Err(format!("it is {found}")),
                };
            }
            Made::Transform(transform, condition) => {
                let applies = match condition {
                    None => true,
                    Some((predicate, negate)) => {
                        predicate.test(&records, &meta).map_err(|e| e.to_string())?.value(0) != *negate
                    }
                };
                applies.then(|| transform.apply(records.clone(), &meta))
            }
        };
        let (topic_out, records_out) = match out {
            None => (topic.to_owned(), Some(records)),
            Some(Err(error)) => return refused("apply", error.to_string()),
            Some(Ok(mut out)) => {
                if let Some(rejection) = out.rejected.pop() {
                    return refused("apply", rejection.error.to_string());
                }
                match out.runs.into_iter().find(|run| run.records.num_rows() > 0) {
                    None => (topic.to_owned(), None),
                    Some(run) => (
                        run.topic.map_or_else(|| topic.to_owned(), |topic| topic.to_string()),
                        Some(run.records),
                    ),
                }
            }
        };
        if let Some(error) = &self.error {
            return Err(format!("accepted; Connect says: {}", said(error)));
        }
        match (&self.output, records_out) {
            (None | Some(Value::Null), None) => Ok(()),
            (None | Some(Value::Null), Some(_)) => Err("not dropped".to_owned()),
            (Some(_), None) => Err("dropped".to_owned()),
            (Some(expected), Some(records)) => compare(expected, &topic_out, &records),
        }
    }

    fn make(&self, components: &[Component]) -> Result<Made, String> {
        let find = |class: &str| {
            let answers = |component: &&Component| component.aliases.iter().any(|alias| alias == class);
            components.iter().find(answers).ok_or_else(|| format!("there is no {class}"))
        };
        let checked = |component: &Component, config: &Map<String, Value>| {
            component.check(&flat(config)).map_err(|problems| problems[0].to_string())
        };
        let info = TaskInfo::default();
        let predicate = |class: &str, config: &Map<String, Value>| {
            let component = find(class)?;
            let made = component.create_predicate(&checked(component, config)?, &info);
            made.map_err(|problems| problems[0].to_string())
        };
        if self.class.contains(".predicates.") {
            return Ok(Made::Predicate(predicate(&self.class, &self.config)?));
        }
        let component = find(&self.class)?;
        let made = component.create_transform(&checked(component, &self.config)?, &info);
        let transform = made.map_err(|problems| problems[0].to_string())?;
        let condition = match &self.predicate {
            None => None,
            Some(condition) => Some((predicate(&condition.class, &condition.config)?, condition.negate)),
        };
        Ok(Made::Transform(transform, condition))
    }
}

enum Made {
    Predicate(Arc<dyn connector_core::Predicate>),
    Transform(Arc<dyn connector_core::Transform>, Option<(Arc<dyn connector_core::Predicate>, bool)>),
}

fn flat(config: &Map<String, Value>) -> ConfigMap {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let set = config.iter().filter(|(_, value)| !value.is_null());
    set.map(|(key, value)| (key.clone(), text(value))).collect()
}

/// A batch of one record.
fn record(input: &Value) -> Result<RecordBatch, String> {
    let (key_field, key) = column(KEY, &input["key"])?;
    let (value_field, value) = column(VALUE, &input["value"])?;
    let mut builder = EnvelopeBuilder::new();
    if let Some(offset) = input["offset"].as_i64() {
        builder = builder.offsets(Int64Array::from(vec![offset]));
    }
    builder = builder.timestamps(TimestampMillisecondArray::from(vec![input["timestamp"].as_i64()]));
    let placeholder: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let records = builder.value(Form::Document, placeholder).build().map_err(|e| e.to_string())?;
    let records = envelope::with_column(&records, value_field, value).map_err(|e| e.to_string())?;
    let mut records = envelope::with_column(&records, key_field, key).map_err(|e| e.to_string())?;
    let mut entries = Entries::default();
    for header in input["headers"].as_array().into_iter().flatten() {
        let (value, schema) = match typed(&header["value"]) {
            Some((schema, payload)) => (payload, schema.to_string()),
            None => (&header["value"], String::new()),
        };
        let value = Some(value).filter(|value| !value.is_null()).map(|value| value.to_string().into_bytes());
        entries.push(header["key"].as_str().unwrap_or_default(), value, &schema);
    }
    if !entries.is_empty() {
        records = headers::append(&records, &entries, |_| 0..entries.len()).map_err(|e| e.to_string())?;
    }
    Ok(records)
}

/// Schema and payload of a value that has a schema.
fn typed(model: &Value) -> Option<(&Value, &Value)> {
    let object = model.as_object().filter(|object| object.len() == 2)?;
    Some((object.get("schema")?, object.get("payload")?))
}

fn column(name: &str, model: &Value) -> Result<(Field, ArrayRef), String> {
    let Some((schema, payload)) = typed(model) else {
        let text = Some(untagged(model)).filter(|value| !value.is_null()).map(|value| value.to_string());
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
        return Ok((Form::Document.field(name, DataType::Utf8), texts));
    };
    let schema = Schema::parse(schema)?;
    let text = payload.to_string();
    let raw: &RawValue = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    // A required field that was never set has its default.
    let value = match datum(&schema, Some(raw), false) {
        Ok(value) => Some(value),
        Err(_) if payload.is_null() => None,
        Err(_) => Some(datum(&schema, Some(raw), true)?),
    };
    let array = array(&schema, &[value.as_ref()]).map_err(|e| e.to_string())?;
    let field = Form::Columns.field(name, schema.data_type());
    let metadata = schema.column_metadata(field.metadata().clone());
    Ok((field.with_metadata(metadata), array))
}

/// The value as JSON shows it, without the names of Java's types.
fn untagged(model: &Value) -> Value {
    match model {
        Value::Object(fields) => {
            if let [(tag, inner)] = fields.iter().collect::<Vec<_>>()[..]
                && tag.starts_with('$')
            {
                return inner.clone();
            }
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), untagged(value))).collect())
        }
        Value::Array(values) => values.iter().map(untagged).collect(),
        other => other.clone(),
    }
}

fn compare(expected: &Value, topic: &str, records: &RecordBatch) -> Result<(), String> {
    if expected["topic"] != topic {
        return Err(format!("topic `{topic}`, not {}", expected["topic"]));
    }
    for name in [KEY, VALUE] {
        let want = untagged_typed(&expected[name]);
        let have = shown(records, name)?;
        json::same(&want.to_string(), &have).map_err(|why| format!("{name}: {why}"))?;
    }
    let have = headers_of(records)?;
    let want: Vec<Value> =
        expected["headers"].as_array().into_iter().flatten().map(untagged_headers).collect();
    json::same(&Value::from(want).to_string(), &Value::from(have).to_string())
        .map_err(|why| format!("headers: {why}"))
}

/// Tags of numbers stay: the comparison knows them. A null with a schema is a null.
fn untagged_typed(model: &Value) -> Value {
    match typed(model) {
        Some((schema, payload)) => json!({"schema": schema, "payload": payload}),
        None => dates(model),
    }
}

fn untagged_headers(header: &Value) -> Value {
    json!({"key": header["key"], "value": untagged_typed(&header["value"])})
}

/// A Java date is its milliseconds here.
fn dates(model: &Value) -> Value {
    match model {
        Value::Object(fields) => match fields.iter().collect::<Vec<_>>()[..] {
            [(tag, inner)] if matches!(tag.as_str(), "$date" | "$bytes") => inner.clone(),
            _ => Value::Object(fields.iter().map(|(key, value)| (key.clone(), dates(value))).collect()),
        },
        Value::Array(values) => values.iter().map(dates).collect(),
        other => other.clone(),
    }
}

/// A key or value as the recordings have it.
fn shown(records: &RecordBatch, name: &str) -> Result<String, String> {
    let Some((at, field)) = records.schema_ref().column_with_name(name) else { return Ok("null".to_owned()) };
    let array = records.column(at);
    if Form::of(field) == Form::Document {
        let texts = array.as_string::<i32>();
        return Ok(if texts.is_valid(0) { texts.value(0) } else { "null" }.to_owned());
    }
    let schema = Schema::of_column(field)?.to_json(None);
    let field = Arc::new(field.clone());
    let mut payload = Vec::new();
    Encoder::new(&field, array, DecimalFormat::Base64).map_err(|e| e.to_string())?.encode(0, &mut payload);
    Ok(format!("{{\"schema\":{schema},\"payload\":{}}}", String::from_utf8_lossy(&payload)))
}

fn headers_of(records: &RecordBatch) -> Result<Vec<Value>, String> {
    let Some(headers) = Envelope::of(records).map_err(|e| e.to_string())?.headers() else {
        return Ok(Vec::new());
    };
    let entries = headers.value(0);
    let entries = entries.as_struct();
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
    let schemas = entries.column(2).as_string::<i32>();
    let mut all = Vec::new();
    for at in 0..entries.len() {
        let value = match values.is_valid(at) {
            true => serde_json::from_slice(values.value(at)).map_err(|e| e.to_string())?,
            false => Value::Null,
        };
        let value = match schemas.value(at) {
            "" => value,
            schema => {
                let schema: Value = serde_json::from_str(schema).map_err(|e| e.to_string())?;
                json!({"schema": schema, "payload": value})
            }
        };
        all.push(json!({"key": keys.value(at), "value": value}));
    }
    Ok(all)
}
