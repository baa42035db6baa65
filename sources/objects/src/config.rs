//! The keys of the source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_aws::access::Access;
use connector_aws::store;
use connector_core::ConfigProblem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of `objects-source`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Which objects: `s3://bucket/topics/*.pin/partition=*/*.json`, `file:///folder/*.json`, or a plain path. `*`, `?`,
    /// `[a-z]` and `{a,b}` match within a name, `**` any depth of folders, `{topic}` a part that names the topic. A path
    /// without a pattern is one object, or a folder with all `.json`, `.jsonl` and `.ndjson` below it, also with `.gz`.
    #[serde(rename = "objects.path")]
    #[schemars(length(min = 1))]
    pub path: String,

    /// Topic that gets the rows. Without it `{topic}` in `objects.path` says; a pipeline without Kafka needs neither.
    #[serde(default)]
    pub topic: Option<String>,

    /// Topics of what `{topic}` stands for: `topic.mapping.<text in the path>: <topic>`; others keep their name.
    #[serde(rename = "topic.mapping", default)]
    pub topic_mapping: BTreeMap<String, String>,

    /// Whether new objects are looked for again and again. Otherwise the connector ends after those that are there.
    #[serde(rename = "objects.follow", default)]
    pub follow: bool,

    /// Milliseconds between two looks for new objects.
    #[serde(rename = "objects.poll.interval.ms", default = "poll_interval_ms")]
    #[schemars(range(min = 1))]
    pub poll_interval_ms: u64,

    /// Whether each record has the headers `objects.key` (address of its object) and `objects.row` (its number there,
    /// from 0).
    #[serde(rename = "objects.headers", default)]
    pub headers: bool,

    /// Objects of up to 4 MiB that are fetched at the same time; they use at most 32 MiB a task.
    #[serde(rename = "objects.concurrent.reads", default = "concurrent_reads")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrent_reads: usize,

    /// Longest JSON text in bytes; a longer one is rejected.
    #[serde(rename = "max.line.bytes", default = "max_line_bytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_line_bytes: usize,

    #[serde(flatten)]
    pub store: store::Keys,
}

fn poll_interval_ms() -> u64 {
    10_000
}

fn concurrent_reads() -> usize {
    16
}

fn max_line_bytes() -> usize {
    16 << 20
}

/// What is not blank: files of Connect often hold keys without a value.
fn said(text: Option<&String>) -> Option<String> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Config {
    /// What the schema cannot say about access and topics; `names_topic`: the path holds `{topic}`.
    pub fn problems(&self, names_topic: bool, direct: bool) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str, hint: &str| {
            problems.push(ConfigProblem::new(key, message, hint));
        };
        match self.topic() {
            None if !direct && !names_topic => {
                let hint = "name the topic, or write `{topic}` where `objects.path` has its name";
                wrong("topic", "is missing", hint);
            }
            Some(topic) if topic.contains(',') => {
                wrong("topic", "is not the name of one topic", "name exactly one topic");
            }
            Some(_) if names_topic => {
                let hint = "leave it out, or write `*` instead of `{topic}`";
                wrong("topic", "is set though `objects.path` holds `{topic}`", hint);
            }
            _ => {}
        }
        if !self.topic_mapping.is_empty() && !names_topic {
            let hint = "write `{topic}` in `objects.path`, or name one `topic`";
            wrong("topic.mapping", "has nothing to map: `objects.path` does not hold `{topic}`", hint);
        }
        problems.extend(self.store.problems());
        problems
    }

    pub fn topic(&self) -> Option<Arc<str>> {
        said(self.topic.as_ref()).map(Into::into)
    }

    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    pub fn access(&self) -> Access {
        self.store.access()
    }
}
