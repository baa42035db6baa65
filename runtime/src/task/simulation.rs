//! Records through the converters and transforms of a connector, seen after every stage: no source, no sink, no commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::DataType;
use connector_core::envelope::{EnvelopeBuilder, KEY, VALUE};
use connector_core::headers::{self, Entries};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::{ConnectError, Envelope, Form, Result, Run, TaskInfo, TopicPartition};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::connector;
use super::pipeline::{Pipeline, Processed};
use crate::config::{ConnectorConfig, TopicSelection};
use crate::kafka::lookback::Captured;

/// A record to try.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    topic: Option<String>,
    #[serde(default)]
    partition: i32,
    offset: Option<i64>,
    /// Milliseconds since 1970-01-01 UTC.
    timestamp: Option<i64>,
    #[serde(default)]
    key: Value,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// In the place of key, value and headers.
    #[serde(skip)]
    captured: Option<Captured>,
}

impl Given {
    /// A record of a topic.
    pub fn captured(topic: &str, record: Captured) -> Self {
        Self {
            topic: Some(topic.to_owned()),
            partition: record.partition,
            offset: Some(record.offset),
            timestamp: record.timestamp,
            key: Value::Null,
            value: Value::Null,
            headers: BTreeMap::new(),
            captured: Some(record),
        }
    }
}

/// What became of a record.
#[derive(Debug, Serialize)]
pub struct Simulated {
    pub stages: Vec<Seen>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The record after a stage; a stage may make none or several of it.
#[derive(Debug, Serialize)]
pub struct Seen {
    pub name: String,
    pub records: Vec<Value>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Delivered,
    Filtered,
    Rejected { stage: String, message: String },
}

/// Runs each record alone.
pub async fn simulate(of: &ConnectorConfig, records: Vec<Given>) -> Result<Vec<Simulated>> {
    let (pipeline, from_kafka) = pipeline(of)?;
    let topic = match &of.topics {
        TopicSelection::List(topics) => topics.first().cloned(),
        TopicSelection::Pattern(_) => None,
    };
    let mut simulated = Vec::with_capacity(records.len());
    for (at, given) in records.into_iter().enumerate() {
        let topic = given.topic.clone().or_else(|| topic.clone()).unwrap_or_else(|| of.name.clone());
        // What a source writes to Kafka has no partition yet.
        let number = if of.sink.is_some() { given.partition } else { -1 };
        let partition = TopicPartition::new(topic, number);
        let records = given.batch(from_kafka, i64::try_from(at).unwrap_or_default())?;
        let mut stages = vec![Seen {
            name: "input".to_owned(),
            records: shown(&partition, &[Run::new(records.clone())])?,
        }];
        let mut last = Processed::default();
        for (name, done) in pipeline.stages(Run::new(records), &partition).await? {
            stages.push(Seen { name, records: shown(&partition, &done.runs)? });
            last.rejected.extend(done.rejected);
            last.filtered += done.filtered;
        }
        let outcome = match (last.rejected.pop(), last.filtered) {
            (Some((_, refused)), _) => {
                let stage = serde_json::to_value(refused.stage).ok();
                let stage = stage.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
                Outcome::Rejected { stage, message: refused.error.to_string() }
            }
            (None, 0) => Outcome::Delivered,
            (None, _) => Outcome::Filtered,
        };
        simulated.push(Simulated { stages, outcome });
    }
    Ok(simulated)
}

/// The connector's stages, and whether they begin with bytes from Kafka.
fn pipeline(of: &ConnectorConfig) -> Result<(Pipeline, bool)> {
    let info = connector::info(of, 0);
    let transforms = connector::transforms(of, &info)?;
    let ((key, value), headers) = (connector::converters(of)?, connector::header_converter(of)?);
    let sink = of.sink.as_ref().map(|sink| {
        let made =
            sink.component.create_sink(&sink.config, &TaskInfo { direct: of.is_direct(), ..info.clone() });
        made.map_err(connector::wrong_config)
    });
    Ok(match (sink.transpose()?, of.source.is_some()) {
        (Some(sink), false) => {
            (Pipeline::to_sink(connector::sink_converters(of)?, transforms, &sink.needs()), true)
        }
        (Some(sink), true) => {
            (Pipeline::direct(key, value, transforms, &sink.needs()).with_headers(headers), false)
        }
        (None, _) => (Pipeline::to_kafka(key, value, transforms).with_headers(headers), false),
    })
}

impl Given {
    fn batch(&self, from_kafka: bool, number: i64) -> Result<RecordBatch> {
        let column = |value: &Value| -> (Form, ArrayRef) {
            let text = match value {
                Value::Null => None,
                Value::String(text) if from_kafka => Some(text.clone()),
                other => Some(other.to_string()),
            };
            if from_kafka {
                (Form::Bytes, Arc::new(BinaryArray::from_iter([text.map(String::into_bytes)])))
            } else {
                (Form::Document, Arc::new(StringArray::from(vec![text])))
            }
        };
        let bytes = |bytes: &Option<Vec<u8>>| -> (Form, ArrayRef) {
            (Form::Bytes, Arc::new(BinaryArray::from_iter([bytes.as_deref()])))
        };
        let ((key_form, key), (form, value)) = match &self.captured {
            Some(record) => (bytes(&record.key), bytes(&record.value)),
            None => (column(&self.key), column(&self.value)),
        };
        let records = EnvelopeBuilder::new()
            .offsets(Int64Array::from(vec![self.offset.unwrap_or(number)]))
            .timestamps(TimestampMillisecondArray::from(vec![self.timestamp]))
            .key(key_form, key)
            .value(form, value)
            .build()?;
        let mut entries = Entries::default();
        for (name, text) in &self.headers {
            entries.push_bytes(name, text.clone().into_bytes());
        }
        for (name, bytes) in self.captured.iter().flat_map(|record| &record.headers) {
            entries.push_bytes(name, bytes.clone().unwrap_or_default());
        }
        if entries.is_empty() {
            return Ok(records);
        }
        headers::append(&records, &entries, |_| 0..entries.len())
    }
}

/// Records as JSON, decoded as far as they are.
fn shown(partition: &TopicPartition, runs: &[Run]) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for run in runs {
        let envelope = Envelope::of(&run.records)?;
        for row in 0..run.records.num_rows() {
            let topic = run.topic.clone().unwrap_or_else(|| partition.topic.clone());
            let mut record = json!({"topic": &*topic});
            for name in [KEY, VALUE] {
                record[name] = cell(&run.records, name, row)?;
            }
            if let Some(headers) = envelope.headers().filter(|headers| headers.value_length(row) > 0) {
                let entries = headers.value(row);
                let entries = entries.as_struct();
                let (keys, values) =
                    (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
                let pair = |at: usize| {
                    let value = values.is_valid(at).then(|| String::from_utf8_lossy(values.value(at)));
                    json!({"key": keys.value(at), "value": value})
                };
                record["headers"] = (0..entries.len()).map(pair).collect();
            }
            all.push(record);
        }
    }
    Ok(all)
}

fn cell(records: &RecordBatch, name: &str, row: usize) -> Result<Value> {
    let Some((at, field)) = records.schema_ref().column_with_name(name) else { return Ok(Value::Null) };
    let array = records.column(at);
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    if Form::of(field) == Form::Bytes && array.data_type() == &DataType::Binary {
        return Ok(String::from_utf8_lossy(array.as_binary::<i32>().value(row)).into());
    }
    let field = Arc::new(field.clone());
    let mut text = Vec::new();
    Encoder::new(&field, array, DecimalFormat::Base64)?.encode(row, &mut text);
    serde_json::from_slice(&text).map_err(|error| {
        ConnectError::internal("simulation", "a value was not written as JSON").caused_by(error)
    })
}
