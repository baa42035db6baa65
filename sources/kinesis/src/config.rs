//! The keys of the source; names and defaults are those of Confluent's Kinesis source where it has them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use connector_aws::access::Access;
use connector_aws::kinesis::Keys;
use connector_core::{ConfigProblem, TaskInfo};
use schemars::JsonSchema;
use serde::Deserialize;

/// `kinesis.position`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StartAt {
    /// The oldest record that the stream still has.
    #[default]
    TrimHorizon,
    /// What arrives after the first start.
    Latest,
    /// What arrived at `kinesis.shard.timestamp` or later.
    AtTimestamp,
}

/// `kinesis.until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Each shard that exists at the start, to its end or to where nothing newer was there.
    Latest,
}

/// Configuration of `kinesis-source`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// The stream to read.
    #[serde(rename = "kinesis.stream")]
    #[schemars(length(min = 1))]
    pub stream: String,

    /// Topic that gets the records; not needed when the connector has a sink of its own.
    #[serde(rename = "kafka.topic", default)]
    pub topic: Option<String>,

    /// Where to begin in a stream of which nothing was read yet.
    #[serde(rename = "kinesis.position", default)]
    pub position: StartAt,

    /// The time of `AT_TIMESTAMP`: milliseconds since 1970, or `2024-05-01T00:00:00.000Z` (UTC when no zone is named),
    /// or a date.
    #[serde(rename = "kinesis.shard.timestamp", default)]
    pub timestamp: Option<String>,

    /// Most records in one answer of Kinesis. A shard is asked at most five times a second.
    #[serde(rename = "kinesis.record.limit", default = "record_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    pub record_limit: i32,

    /// Pause of a shard after Kinesis refused to be read that fast, in milliseconds.
    #[serde(rename = "kinesis.throughput.exceeded.backoff.ms", default = "throttled_backoff")]
    pub throttled_backoff_ms: u64,

    /// Pause of a shard that has nothing new, in milliseconds: how late a record may be seen. Without effect below 200.
    #[serde(rename = "kinesis.empty.records.backoff.ms", default = "empty_backoff")]
    pub empty_backoff_ms: u64,

    /// How often new shards are looked for, in milliseconds, beside at the end of each shard.
    #[serde(rename = "kinesis.shard.discovery.interval.ms", default = "discovery_interval")]
    #[schemars(range(min = 100))]
    pub discovery_interval_ms: u64,

    /// Whether records get the headers `aws.kinesis.partition.key`, `aws.kinesis.sequence.number`,
    /// `aws.kinesis.shard.id`, and, from an aggregated record, `aws.kinesis.sub.sequence.number`.
    #[serde(rename = "kinesis.record.headers", default)]
    pub headers: bool,

    /// Where the source ends; without it, never. `latest`: when each shard that exists at the start was read to the
    /// newest record that it had then.
    #[serde(rename = "kinesis.until", default)]
    pub until: Option<Until>,

    #[serde(flatten)]
    pub keys: Keys,
}

fn record_limit() -> i32 {
    500
}

fn throttled_backoff() -> u64 {
    10_000
}

fn empty_backoff() -> u64 {
    5_000
}

fn discovery_interval() -> u64 {
    10_000
}

/// What the configuration comes to.
#[derive(Clone, Debug)]
pub struct Settings {
    pub connector: String,
    pub stream: Arc<str>,
    pub topic: Arc<str>,
    pub begin: Begin,
    pub record_limit: i32,
    pub throttled_backoff: Duration,
    pub empty_backoff: Duration,
    pub discovery_interval: Duration,
    pub headers: bool,
    /// Whether the source ends at what was the newest record of each shard.
    pub bounded: bool,
    pub access: Access,
}

/// Where to begin with a shard that has no stored position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    TrimHorizon,
    Latest,
    /// Milliseconds since 1970.
    At(i64),
}

impl Settings {
    pub fn new(config: Config, task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = config.keys.problems();
        let topic = config.topic.as_deref().map(str::trim).filter(|topic| !topic.is_empty());
        if topic.is_none() && !task.direct {
            let hint = "name the topic that gets the records";
            problems.push(ConfigProblem::new("kafka.topic", "is missing", hint));
        }
        let begin = config.begin().map_err(|problem| problems.push(problem));
        let (Ok(begin), true) = (begin, problems.is_empty()) else { return Err(problems) };
        Ok(Self {
            connector: task.connector.clone(),
            stream: config.stream.as_str().into(),
            topic: topic.unwrap_or(&task.connector).into(),
            begin,
            record_limit: config.record_limit,
            throttled_backoff: Duration::from_millis(config.throttled_backoff_ms),
            empty_backoff: Duration::from_millis(config.empty_backoff_ms),
            discovery_interval: Duration::from_millis(config.discovery_interval_ms),
            headers: config.headers,
            bounded: config.until.is_some(),
            access: config.keys.access(),
        })
    }
}

impl Config {
    fn begin(&self) -> Result<Begin, ConfigProblem> {
        let key = "kinesis.shard.timestamp";
        let given = self.timestamp.as_deref().map(str::trim).filter(|text| !text.is_empty());
        match (self.position, given) {
            (StartAt::TrimHorizon, None) => Ok(Begin::TrimHorizon),
            (StartAt::Latest, None) => Ok(Begin::Latest),
            (StartAt::AtTimestamp, Some(text)) => moment(text).map(Begin::At).ok_or_else(|| {
                let hint = "write milliseconds since 1970, or 2024-05-01T00:00:00.000Z";
                ConfigProblem::new(key, "is not a time", hint)
            }),
            (StartAt::AtTimestamp, None) => {
                let hint = "say from when on to read, or choose another `kinesis.position`";
                Err(ConfigProblem::new(key, "is missing with `kinesis.position: AT_TIMESTAMP`", hint))
            }
            (_, Some(_)) => {
                let hint = "leave it out, or set `kinesis.position: AT_TIMESTAMP`";
                Err(ConfigProblem::new(key, "has no effect with this `kinesis.position`", hint))
            }
        }
    }
}

/// Milliseconds since 1970.
fn moment(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let time = text.parse::<NaiveDateTime>().ok();
    let date = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
    Some(time.or_else(date)?.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(direct: bool, pairs: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let texts = |problems: Vec<ConfigProblem>| problems.iter().map(ToString::to_string).collect();
        let config = crate::component().check(&map).map_err(texts)?;
        let config = connector_core::config::deserialize::<Config>(&config).map_err(texts)?;
        let task = TaskInfo { connector: "users".to_owned(), task: 0, direct };
        Settings::new(config, &task).map_err(texts)
    }

    #[test]
    fn a_configuration_of_confluents_source_is_accepted_k_05() {
        let settings = settings(
            false,
            &[
                ("kinesis.stream", "streaming-x-pin"),
                ("kafka.topic", "x.pin"),
                ("kinesis.region", "us-east-1"),
                ("kinesis.base.url", "http://127.0.0.1:4567"),
                ("aws.access.key.id", "AK"),
                ("aws.secret.key.id", "hunter2"),
                ("kinesis.position", "AT_TIMESTAMP"),
                ("kinesis.shard.timestamp", "1714521600000"),
                ("kinesis.record.limit", "10000"),
                ("kinesis.throughput.exceeded.backoff.ms", "1000"),
                ("kinesis.empty.records.backoff.ms", "500"),
            ],
        )
        .unwrap();
        assert_eq!(settings.begin, Begin::At(1_714_521_600_000));
        assert_eq!(settings.access.endpoint.as_deref(), Some("http://127.0.0.1:4567"));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn defaults_are_confluents_k_05() {
        let settings = settings(false, &[("kinesis.stream", "s"), ("kafka.topic", "t")]).unwrap();
        assert_eq!(settings.begin, Begin::TrimHorizon);
        assert_eq!(settings.record_limit, 500);
        assert_eq!(settings.throttled_backoff, Duration::from_secs(10));
        assert_eq!(settings.empty_backoff, Duration::from_secs(5));
        assert!(!settings.bounded);
    }

    #[test]
    fn only_a_connector_without_a_sink_of_its_own_needs_a_topic() {
        let stream = ("kinesis.stream", "s");
        assert!(settings(false, &[stream]).unwrap_err()[0].starts_with("kafka.topic: is missing"));
        assert_eq!(&*settings(true, &[stream]).unwrap().topic, "users");
    }

    #[test]
    fn a_time_goes_with_at_timestamp_and_only_with_it() {
        let problem = |pairs: &[(&str, &str)]| {
            let pairs = [&[("kinesis.stream", "s"), ("kafka.topic", "t")], pairs].concat();
            settings(false, &pairs).unwrap_err()[0].clone()
        };
        let (at, time) = (("kinesis.position", "AT_TIMESTAMP"), "kinesis.shard.timestamp");
        assert!(problem(&[at]).contains("is missing"));
        assert!(problem(&[at, (time, "yesterday")]).contains("is not a time"));
        assert!(problem(&[(time, "0")]).contains("no effect"));
        assert!(problem(&[("kinesis.position", "NOW")]).starts_with("kinesis.position"));
        assert!(problem(&[("kinesis.record.limit", "0")]).starts_with("kinesis.record.limit"));
    }

    #[test]
    fn times_are_milliseconds_or_iso() {
        for text in ["1714521600000", "2024-05-01T00:00:00.000Z", "2024-05-01T02:00:00+02:00", "2024-05-01"] {
            assert_eq!(moment(text), Some(1_714_521_600_000), "{text}");
        }
        assert_eq!(moment("2024-05-01T00:00:00"), Some(1_714_521_600_000));
        assert_eq!(moment("99999999999999999999"), None);
    }
}
