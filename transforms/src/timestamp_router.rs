//! TimestampRouter: topics by the records' timestamps.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use connector_core::java::DateFormat;
use connector_core::{
    ConfigProblem, Envelope, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::Refusal;

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// The new topic; `${topic}` and `${timestamp}` stand for what they say.
    #[serde(rename = "topic.format", default = "topic_format")]
    topic_format: String,
    /// Java's `SimpleDateFormat` pattern of the timestamp, in UTC.
    #[serde(rename = "timestamp.format", default = "timestamp_format")]
    timestamp_format: String,
}

fn topic_format() -> String {
    "${topic}-${timestamp}".to_owned()
}

fn timestamp_format() -> String {
    "yyyyMMdd".to_owned()
}

/// Routes by time. As in Connect, a pattern that is none refuses records, not the configuration.
pub(crate) struct TimestampRouter {
    topic_format: String,
    timestamp_format: Result<DateFormat, String>,
}

impl Plugin for TimestampRouter {
    type Config = Config;

    const NAME: &'static str = "TimestampRouter";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.transforms.TimestampRouter"];
    const SUMMARY: &'static str = "Changes the topic by the record's timestamp.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self {
            topic_format: config.topic_format.trim().to_owned(),
            timestamp_format: DateFormat::new(config.timestamp_format.trim()),
        })
    }
}

impl Transform for TimestampRouter {
    fn needs(&self) -> Needs {
        Needs::Any
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, meta: &Meta) -> Result<Transformed> {
        let timestamps = Envelope::of(&records)?.timestamps().cloned();
        let mut rejected = Vec::new();
        // Topics in the order of their first records; neighbours mostly share one.
        let mut topics: Vec<(String, Vec<u32>)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for row in 0..records.num_rows() {
            let millis = timestamps.as_ref().filter(|t| t.is_valid(row)).map(|t| t.value(row));
            let topic = match (millis, &self.timestamp_format) {
                (None, _) => Err("Timestamp missing on record".to_owned()),
                (_, Err(message)) => Err(message.clone()),
                (Some(millis), Ok(format)) => Ok(self.topic(&meta.partition.topic, &format.format(millis))),
            };
            match topic {
                Ok(topic) => {
                    let at = *known.entry(topic).or_insert_with_key(|topic| {
                        topics.push((topic.clone(), Vec::new()));
                        topics.len() - 1
                    });
                    topics[at].1.push(u32::try_from(row).unwrap_or(u32::MAX));
                }
                Err(message) => rejected.push(Refusal::from(message).at(row)),
            }
        }
        let mut runs = Vec::with_capacity(topics.len());
        for (topic, rows) in topics {
            let part = if rows.len() == records.num_rows() {
                records.clone()
            } else {
                arrow::compute::take_record_batch(&records, &UInt32Array::from(rows))?
            };
            runs.push(Run::to_topic(topic, part));
        }
        Ok(Transformed { runs, rejected })
    }
}

impl TimestampRouter {
    /// As Connect does it: first the topic, everywhere, then the time, also where the topic's name brought it in.
    fn topic(&self, topic: &str, timestamp: &str) -> String {
        self.topic_format.replace("${topic}", topic).replace("${timestamp}", timestamp)
    }
}
