//! TopicNameMatches: records of topics by a regular expression.

use arrow::array::{BooleanArray, RecordBatch};
use connector_core::java::Pattern;
use connector_core::{ConfigProblem, Meta, Plugin, Predicate, Result, TaskInfo};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::problem;

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Java regular expression that matches the whole topic.
    pattern: String,
}

pub(crate) struct TopicNameMatches {
    pattern: Pattern,
}

impl Plugin for TopicNameMatches {
    type Config = Config;

    const NAME: &'static str = "TopicNameMatches";
    const ALIASES: &'static [&'static str] =
        &["org.apache.kafka.connect.transforms.predicates.TopicNameMatches"];
    const SUMMARY: &'static str = "Is true of records whose topic matches a regular expression.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let text = config.pattern.trim();
        if text.is_empty() {
            return Err(problem("pattern", "is empty", "write a pattern that matches whole topic names"));
        }
        let pattern = Pattern::new(text).map_err(|error| {
            problem("pattern", format!("is no regular expression: {error}"), "Java's syntax")
        })?;
        Ok(Self { pattern })
    }
}

impl Predicate for TopicNameMatches {
    fn test(&self, records: &RecordBatch, meta: &Meta) -> Result<BooleanArray> {
        Ok(BooleanArray::from(vec![self.pattern.matches(&meta.partition.topic); records.num_rows()]))
    }
}
