//! RegexRouter: topics by a regular expression.

use arrow::array::RecordBatch;
use connector_core::java::Pattern;
use connector_core::{ConfigProblem, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{Refusal, problem};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Java regular expression that matches the whole topic of the records to route.
    regex: String,
    /// What its first match is replaced by; `$1`, `${name}`.
    replacement: String,
}

/// Routes the records of topics that match.
pub(crate) struct RegexRouter {
    regex: Pattern,
    replacement: String,
}

impl Plugin for RegexRouter {
    type Config = Config;

    const NAME: &'static str = "RegexRouter";
    const ALIASES: &'static [&'static str] = &[
        "org.apache.kafka.connect.transforms.RegexRouter",
        // Confluent's has the same two options.
        "io.confluent.connect.cloud.transforms.TopicRegexRouter",
    ];
    const SUMMARY: &'static str = "Changes the topic by a regular expression.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let regex = Pattern::new(config.regex.trim()).map_err(|error| {
            problem("regex", format!("is no regular expression: {error}"), "Java's syntax")
        })?;
        Ok(Self { regex, replacement: config.replacement.trim().to_owned() })
    }
}

impl Transform for RegexRouter {
    fn needs(&self) -> Needs {
        Needs::Any
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, meta: &Meta) -> Result<Transformed> {
        let topic = &meta.partition.topic;
        if !self.regex.matches(topic) {
            return Ok(Transformed::one(records));
        }
        Ok(match self.regex.replace_first(topic, &self.replacement) {
            Ok(new) => Transformed { runs: vec![Run::to_topic(new, records)], rejected: Vec::new() },
            Err(message) => {
                let rejected = (0..records.num_rows()).map(|row| Refusal::from(message.as_str()).at(row));
                Transformed { runs: Vec::new(), rejected: rejected.collect() }
            }
        })
    }
}
