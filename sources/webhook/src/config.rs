//! The keys of the webhook source.

use connector_core::ConfigProblem;
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of `webhook-source`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Address that the HTTP server listens on, as `host:port`.
    #[serde(rename = "webhook.listen", default = "default_listen")]
    pub listen: String,

    /// Topics that may be written: names, or patterns in which `*` stands for any text. A pattern matches whole
    /// names; a request for any other topic is answered with 403.
    #[serde(rename = "webhook.topics")]
    pub topics: Vec<String>,

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

    /// Longest wait for Kafka's acknowledgement, in milliseconds. After it the request is answered with 504, and its
    /// records may still be written.
    #[serde(rename = "webhook.ack.timeout.ms", default = "default_ack_timeout_ms")]
    #[schemars(range(min = 1))]
    pub ack_timeout_ms: u64,
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
    pub fn check(&self) -> Result<TopicPatterns, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
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
        match TopicPatterns::new(&self.topics) {
            Ok(patterns) if problems.is_empty() => return Ok(patterns),
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        Err(problems)
    }
}

/// The topics that may be written.
#[derive(Clone, Debug)]
pub struct TopicPatterns(Regex);

impl TopicPatterns {
    fn new(patterns: &[String]) -> Result<Self, ConfigProblem> {
        let problem = |message: String| {
            let hint =
                "write topic names, or patterns with `*` for any text, such as `orders` or `12e371d757c1.*`";
            ConfigProblem::new("webhook.topics", message, hint)
        };
        if patterns.is_empty() {
            return Err(problem("names no topic, so nothing could be written".to_owned()));
        }
        for (index, pattern) in patterns.iter().enumerate() {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
            if pattern.is_empty() || !pattern.chars().all(legal) {
                return Err(problem(format!("entry {} has a character that no topic name has", index + 1)));
            }
        }
        let names: Vec<_> = patterns.iter().map(|p| regex::escape(p).replace(r"\*", ".*")).collect();
        Regex::new(&format!("^(?:{})$", names.join("|")))
            .map(Self)
            .map_err(|_| problem("is too long".to_owned()))
    }

    pub fn allow(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Result<TopicPatterns, ConfigProblem> {
        TopicPatterns::new(&list.iter().map(|&p| p.to_owned()).collect::<Vec<_>>())
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
        assert!(patterns(&[]).unwrap_err().message.contains("names no topic"));
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
}
