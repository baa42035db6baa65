//! The keys of the webhook source.

use std::collections::BTreeMap;
use std::time::Duration;

use connector_aws::kinesis;
use connector_core::ConfigProblem;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of `webhook-source`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Address that the HTTP server listens on, as `host:port`.
    #[serde(rename = "webhook.listen", default = "default_listen")]
    pub listen: String,

    /// Topics that may be written: names, or patterns in which `*` stands for any text. A pattern matches whole
    /// names; a request for any other topic is answered with 403.
    #[serde(rename = "webhook.topics", default)]
    pub topics: Vec<String>,

    /// Streams that the routes `/streams/…` serve: names or patterns, as in `webhook.topics`. Any other stream is refused
    /// with AccessDeniedException and is not listed.
    #[serde(rename = "webhook.streams", default)]
    pub streams: Vec<String>,

    /// What a stream is.
    #[serde(rename = "webhook.streams.backend", default)]
    pub backend: Backend,

    /// With `webhook.streams.backend: kafka`, the topic of a stream, as `stream:topic`; a stream that is not named is the
    /// topic of its own name.
    #[serde(rename = "webhook.streams.topic.mapping", default)]
    pub topic_mapping: BTreeMap<String, String>,

    /// Longest request body, in bytes. A longer one is answered with 413.
    #[serde(rename = "webhook.max.body.bytes", default = "default_max_body_bytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_body_bytes: usize,

    /// Number of records that may wait to be taken into Kafka's producer, and the most that one request may hold.
    /// When they are too many, requests are answered with 503 and `Retry-After`.
    #[serde(rename = "webhook.queue.records", default = "default_queue_records")]
    #[schemars(range(min = 1))]
    pub queue_records: usize,

    /// Size of all request bodies that are being read or waiting, in bytes; at least `webhook.max.body.bytes`. When
    /// they are too many, requests are answered with 503 and `Retry-After`.
    #[serde(rename = "webhook.queue.bytes", default = "default_queue_bytes")]
    #[schemars(range(min = 1))]
    pub queue_bytes: usize,

    /// Longest wait for the acknowledgement of Kafka or Kinesis, in milliseconds. After it the request is answered with 504, and its
    /// records may still be written.
    #[serde(rename = "webhook.ack.timeout.ms", default = "default_ack_timeout_ms")]
    #[schemars(range(min = 1))]
    pub ack_timeout_ms: u64,

    #[serde(flatten)]
    pub kinesis: kinesis::Keys,
}

/// What is behind the routes `/streams/…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// A stream of Kinesis; it is called for each request.
    #[default]
    Kinesis,
    /// A topic of Kafka that stands in for the stream: its partitions are the shards.
    Kafka,
}

fn default_listen() -> String {
    "127.0.0.1:8082".to_owned()
}

const fn default_max_body_bytes() -> usize {
    10 << 20
}

const fn default_queue_records() -> usize {
    50_000
}

const fn default_queue_bytes() -> usize {
    64 << 20
}

/// Below the 29 s after which an API gateway gives up.
const fn default_ack_timeout_ms() -> u64 {
    25_000
}

impl Config {
    /// Checks what the schema cannot.
    pub fn check(&self) -> Result<Allowed, Vec<ConfigProblem>> {
        let mut problems = self.kinesis.problems();
        let port = self.listen.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            problems.push(ConfigProblem::new(
                "webhook.listen",
                "is not a host and a port",
                "write `host:port`, such as `127.0.0.1:8082` or `0.0.0.0:8082`",
            ));
        }
        if self.queue_bytes < self.max_body_bytes {
            problems.push(ConfigProblem::new(
                "webhook.queue.bytes",
                "is less than webhook.max.body.bytes, so the longest body would never fit",
                format!("write at least {}", self.max_body_bytes),
            ));
        }
        if self.topics.is_empty() && self.streams.is_empty() {
            problems.push(ConfigProblem::new(
                "webhook.topics",
                "names no topic, and webhook.streams no stream, so nothing could be written",
                "write names, or patterns with `*` for any text, such as `orders` or `12e371d757c1.*`",
            ));
        }
        problems.extend(self.mapping_problem());
        let topics = Patterns::new("webhook.topics", &self.topics).map_err(|p| problems.push(p));
        let streams = Patterns::new("webhook.streams", &self.streams).map_err(|p| problems.push(p));
        match (topics, streams) {
            (Ok(topics), Ok(streams)) if problems.is_empty() => Ok(Allowed { topics, streams }),
            _ => Err(problems),
        }
    }

    /// Two streams in one topic could not be told apart in `GET /streams`.
    fn mapping_problem(&self) -> Option<ConfigProblem> {
        let problem = |message: &str, hint: &str| {
            Some(ConfigProblem::new("webhook.streams.topic.mapping", message, hint))
        };
        if self.backend == Backend::Kinesis && !self.topic_mapping.is_empty() {
            let hint = "set webhook.streams.backend: kafka, or leave the mapping out";
            return problem("maps streams to topics, but they are streams of Kinesis", hint);
        }
        let mut topics: Vec<_> = self.topic_mapping.values().collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.len() < self.topic_mapping.len() {
            return problem("maps two streams to one topic", "give each stream a topic of its own");
        }
        if self.topic_mapping.values().any(|topic| topic.is_empty() || !topic.chars().all(legal)) {
            return problem("has a topic with a character that no topic name has", "write `stream:topic`");
        }
        None
    }

    pub fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }
}

/// What requests may name.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub topics: Patterns,
    pub streams: Patterns,
}

/// Whether a topic or a stream may have this character in its name.
fn legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Names of topics or streams.
#[derive(Clone, Debug)]
pub struct Patterns(Regex);

impl Patterns {
    fn new(key: &str, patterns: &[String]) -> Result<Self, ConfigProblem> {
        let problem = |message: String| {
            let hint = "write names, or patterns with `*` for any text, such as `orders` or `12e371d757c1.*`";
            ConfigProblem::new(key, message, hint)
        };
        for (index, pattern) in patterns.iter().enumerate() {
            if pattern.is_empty() || !pattern.chars().all(|c| legal(c) || c == '*') {
                let place = index + 1;
                return Err(problem(format!("entry {place} has a character that no topic or stream has")));
            }
        }
        let names: Vec<_> = patterns.iter().map(|p| regex::escape(p).replace(r"\*", ".*")).collect();
        // No patterns: nothing matches, not even the empty name.
        let any = if names.is_empty() { "[^\\s\\S]".to_owned() } else { names.join("|") };
        Regex::new(&format!("^(?:{any})$")).map(Self).map_err(|_| problem("is too long".to_owned()))
    }

    pub fn allow(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Result<Patterns, ConfigProblem> {
        Patterns::new("webhook.topics", &list.iter().map(|&p| p.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_pattern_matches_whole_names_and_only_the_star_is_special() {
        let patterns = patterns(&["12e3.*", "orders", "*-events"]).unwrap();
        for name in ["12e3.pin", "12e3.", "orders", "click-events", "-events"] {
            assert!(patterns.allow(name), "{name}");
        }
        for name in ["12e3xpin", "12e3", "orders2", "my.orders", "click-events.dlq", "", "orders\n"] {
            assert!(!patterns.allow(name), "{name}");
        }
    }

    #[test]
    fn patterns_that_no_topic_could_match_are_refused_by_place_not_by_text() {
        let problem = patterns(&["orders", "(hunter2)"]).unwrap_err();
        assert!(problem.message.contains("entry 2"), "{problem}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
        assert!(!patterns(&[]).unwrap().allow("") && !patterns(&[]).unwrap().allow("orders"));
    }

    fn config(json: serde_json::Value) -> Config {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        let config = config(serde_json::json!({"webhook.topics": ["*"]}));
        assert_eq!(config.listen, "127.0.0.1:8082");
        assert_eq!(config.max_body_bytes, 10_485_760);
        config.check().unwrap();
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let config = config(serde_json::json!({
            "webhook.listen": "8082", "webhook.topics": [], "webhook.queue.bytes": 10, "webhook.max.body.bytes": 11
        }));
        let problems = config.check().unwrap_err();
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["webhook.listen", "webhook.queue.bytes", "webhook.topics"]);
    }

    #[test]
    fn streams_alone_are_enough_and_a_mapping_has_to_fit_them() {
        let problem = |json| config(json).check().unwrap_err()[0].to_string();
        let streams = config(serde_json::json!({"webhook.streams": ["streaming-*"]}));
        assert!(streams.backend == Backend::Kinesis && streams.check().unwrap().streams.allow("streaming-x"));
        let kinesis =
            serde_json::json!({"webhook.streams": ["s"], "webhook.streams.topic.mapping": {"s": "t"}});
        assert!(problem(kinesis).contains("webhook.streams.backend: kafka"));
        let twice = serde_json::json!({
            "webhook.streams": ["*"], "webhook.streams.backend": "kafka",
            "webhook.streams.topic.mapping": {"a": "t", "b": "t"}
        });
        assert!(problem(twice).contains("two streams to one topic"));
        let key = serde_json::json!({"webhook.streams": ["s"], "aws.access.key.id": "AKIA"});
        assert!(problem(key).contains("aws.secret.access.key"));
    }
}
