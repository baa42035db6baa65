//! The keys of the sink; those of awslabs' sink are other names of them (K-03).

use connector_aws::kinesis::Keys;
use connector_core::ConfigProblem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Configuration of `kinesis-sink`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Name or ARN of the stream.
    #[serde(rename = "kinesis.stream")]
    #[schemars(length(min = 1), extend("aliases" = ["streamName"]))]
    pub stream: String,

    #[serde(flatten)]
    pub access: Keys,

    /// Field of the value whose text is the partition key; without it, and without a header, the record's key is.
    #[serde(rename = "kinesis.partition.key.field", default)]
    pub key_field: Option<String>,

    /// Header whose text is the partition key.
    #[serde(rename = "kinesis.partition.key.header", default)]
    pub key_header: Option<String>,

    /// Partition key of records that have none.
    #[serde(rename = "kinesis.partition.key.fallback", default)]
    pub key_fallback: KeyFallback,

    /// Whether all records of a Kafka partition go to the same shard, whatever their partition keys.
    #[serde(rename = "use.partition.as.hash.key", default)]
    #[schemars(extend("aliases" = ["usePartitionAsHashKey"]))]
    pub partition_as_hash_key: bool,

    /// What keeps its order. With `key`, records of one partition key are sent one after the other, so a stream with few
    /// keys is slow unless `kinesis.aggregation` is on.
    #[serde(rename = "kinesis.ordering", default)]
    pub ordering: Ordering,

    /// Whether records of one partition key are packed into one Kinesis record, as the Kinesis Producer Library does;
    /// readers must know that format.
    #[serde(rename = "kinesis.aggregation", default)]
    #[schemars(extend("aliases" = ["aggregation", "aggregration"]))]
    pub aggregation: bool,

    /// PutRecords calls under way at once.
    #[serde(rename = "kinesis.max.requests", default = "max_requests")]
    #[schemars(range(min = 1, max = 256), extend("aliases" = ["maxConnections"]))]
    pub max_requests: usize,

    /// What a record without a value (a tombstone) does.
    #[serde(rename = "behavior.on.null.values", default)]
    pub null_values: NullValues,
}

/// `kinesis.partition.key.fallback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyFallback {
    /// Another one for each record: all shards are used, nothing is ordered.
    #[default]
    Random,
    /// The number of the Kafka partition, as awslabs' sink does: the partition's order is kept.
    Partition,
}

/// `kinesis.ordering`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// Records of one partition key.
    #[default]
    Key,
    /// Nothing: requests are full whatever the keys, and a record that failed comes after later ones.
    None,
}

/// `behavior.on.null.values`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NullValues {
    /// The record is refused.
    #[default]
    #[serde(alias = "FAIL")]
    Fail,
    /// The record is skipped.
    #[serde(alias = "IGNORE")]
    Ignore,
}

fn max_requests() -> usize {
    8
}

/// Tuning of a client library that this is not. A record is never given up, so `ttl` needs no action.
pub const INERT_KEYS: &[&str] = &[
    "flushSync",
    "maxBufferedTime",
    "metricsGranuality",
    "metricsLevel",
    "metricsNameSpace",
    "outstandingRecordsThreshold",
    "pauseConsumption",
    "rateLimit",
    "singleKinesisProducerPerPartition",
    "sleepCycles",
    "sleepPeriod",
    "ttl",
];

impl Config {
    /// What the schema cannot say, all of it.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.access.problems();
        if self.stream.trim().is_empty() {
            problems.push(ConfigProblem::new("kinesis.stream", "is empty", "name the stream"));
        }
        if self.key_field.is_some() && self.key_header.is_some() {
            problems.push(ConfigProblem::new(
                "kinesis.partition.key.header",
                "cannot be set beside `kinesis.partition.key.field`",
                "keep one of them",
            ));
        }
        problems
    }
}
