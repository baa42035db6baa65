//! The keys of `delta-sink`.

use std::collections::BTreeMap;
use std::time::Duration;

use connector_aws::access::Access;
use connector_aws::store;
use connector_core::ConfigProblem;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::ddl;

/// Configuration of `delta-sink`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// The table: `s3://bucket/path` or `file:///path`; `{topic}` in it becomes the topic's name.
    #[serde(rename = "delta.table.path")]
    #[schemars(length(min = 1))]
    pub table_path: String,

    /// What `{topic}` becomes for single topics, or the whole address of their table: `12e371d757c1.pin: pins`.
    #[serde(rename = "topic.mapping", default)]
    pub topic_mapping: BTreeMap<String, String>,

    /// `append` adds each record as a row; `upsert` keeps the last row of each key, and a tombstone deletes it.
    #[serde(rename = "delta.mode", default)]
    pub mode: Mode,

    /// The columns whose values name a row; for `delta.mode: upsert`.
    #[serde(rename = "delta.key.columns", default)]
    pub key_columns: Vec<String>,

    /// Columns by which repetitions are recognised in append mode: the first row stays, later ones are dropped.
    #[serde(rename = "delta.dedup.keys", default)]
    pub dedup_keys: Vec<String>,

    /// Columns whose values become directories; only for a table that is made here.
    #[serde(rename = "delta.partition.columns", default)]
    pub partition_columns: Vec<String>,

    /// The table's columns, as in SQL: `ind long, coordinates array<double>, timestamp timestamp`. Without it a new
    /// table gets the columns of the first records.
    #[serde(rename = "delta.schema", default)]
    pub schema: Option<String>,

    /// What a field that the table has no column for does: `add` makes a nullable column in the same commit, `reject`
    /// refuses the record.
    #[serde(rename = "schema.evolution", default)]
    pub evolution: Evolution,

    /// Properties of a table that is made here: `delta.logRetentionDuration: interval 7 days`.
    #[serde(rename = "delta.create.properties", default)]
    pub create_properties: BTreeMap<String, String>,

    /// Records of a topic-partition after which it is committed.
    #[serde(rename = "flush.size", default = "flush_size")]
    #[schemars(range(min = 1))]
    pub flush_size: u64,

    /// Bytes of records (in memory, before compression) of a topic-partition after which it is committed; -1: no limit.
    #[serde(rename = "flush.bytes", default = "unlimited")]
    pub flush_bytes: i64,

    /// Milliseconds of clock time after which everything is committed; -1: never.
    #[serde(rename = "rotate.interval.ms", default = "rotate_interval")]
    pub rotate_interval_ms: i64,

    /// Where reading starts: behind what the `table` holds (nothing is lost or doubled), or at the offsets of the
    /// consumer `group`, to write records again on purpose.
    #[serde(rename = "delta.resume", default)]
    pub resume: ResumeFrom,

    /// What a record without a value (a tombstone) does in append mode.
    #[serde(rename = "behavior.on.null.values", default)]
    pub null_values: NullValues,

    /// How the columns in the files are compressed.
    #[serde(rename = "parquet.codec", default)]
    pub codec: Codec,

    /// Commits between two checkpoints of the log. Without it the table's own `delta.checkpointInterval`, else 10.
    #[serde(rename = "delta.checkpointInterval", default)]
    #[schemars(range(min = 1))]
    pub checkpoint_interval: Option<u64>,

    /// Milliseconds between two runs of compaction and vacuum; -1: off.
    #[serde(rename = "delta.optimize.interval.ms", default = "unlimited")]
    pub optimize_interval_ms: i64,

    /// Bytes at which a file is full, when it is written and when small ones are put together.
    #[serde(rename = "delta.optimize.target.file.bytes", default = "target_file_bytes")]
    #[schemars(range(min = 1_048_576))]
    pub target_file_bytes: u64,

    /// Milliseconds for which vacuum keeps files that the table no longer has: readers may still use them.
    #[serde(rename = "delta.vacuum.retention.ms", default = "vacuum_retention")]
    pub vacuum_retention_ms: i64,

    /// Allows `delta.vacuum.retention.ms` below seven days, for tables that nobody else reads or writes.
    #[serde(rename = "delta.vacuum.retention.unsafe", default)]
    pub vacuum_unsafe: bool,

    #[serde(flatten)]
    pub store: store::Keys,
}

/// `delta.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Append,
    Upsert,
}

/// `schema.evolution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Evolution {
    #[default]
    Add,
    Reject,
}

/// `delta.resume`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResumeFrom {
    #[default]
    Table,
    Group,
}

/// `behavior.on.null.values`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NullValues {
    /// The record is refused.
    #[default]
    Fail,
    /// The record is skipped.
    Ignore,
}

/// `parquet.codec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// zstd at its fastest level.
    #[default]
    Zstd,
    Snappy,
    None,
}

/// What `delta.table.path` may contain.
const TOPIC: &str = "{topic}";

/// Properties that are only settings of tables: no reader or writer has to know them.
const PROPERTIES: &[&str] = &[
    "delta.appendOnly",
    "delta.checkpointInterval",
    "delta.dataSkippingNumIndexedCols",
    "delta.deletedFileRetentionDuration",
    "delta.enableExpiredLogCleanup",
    "delta.isolationLevel",
    "delta.logRetentionDuration",
    "delta.randomizeFilePrefixes",
    "delta.targetFileSize",
];

impl Config {
    /// What the schema cannot say, all of it.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: &str, hint: &str| {
            problems.push(ConfigProblem::new(key, message, hint));
        };
        let address = "write s3://bucket/path or file:///path";
        if let Err(message) = store::parse(&self.table_path.replace(TOPIC, "t")) {
            wrong("delta.table.path", &message, address);
        }
        for (topic, table) in &self.topic_mapping {
            if let Err(message) = store::parse(&self.address(topic)) {
                wrong(&format!("topic.mapping.{topic}"), &message, address);
            } else if !is_address(table) && !self.table_path.contains(TOPIC) {
                let hint = "put `{topic}` into `delta.table.path`, or write whole addresses";
                wrong(&format!("topic.mapping.{topic}"), "has no place in `delta.table.path`", hint);
            }
        }
        match (self.mode, self.key_columns.is_empty()) {
            (Mode::Upsert, true) => {
                wrong(
                    "delta.key.columns",
                    "is required with `delta.mode: upsert`",
                    "name the columns of the key",
                );
            }
            (Mode::Append, false) => {
                wrong("delta.key.columns", "needs `delta.mode: upsert`", "set it, or use `delta.dedup.keys`");
            }
            _ => {}
        }
        if self.mode == Mode::Upsert && !self.dedup_keys.is_empty() {
            wrong(
                "delta.dedup.keys",
                "is for `delta.mode: append`",
                "leave it out: an upsert has one row a key",
            );
        }
        if let Some(Err((message, hint))) = self.schema.as_deref().map(ddl::parse) {
            wrong("delta.schema", &message, &hint);
        } else {
            self.undeclared(&mut wrong);
        }
        for name in self.create_properties.keys() {
            if name.starts_with("delta.") && !PROPERTIES.contains(&name.as_str()) {
                let hint =
                    format!("use one of {}, or a name of your own without `delta.`", PROPERTIES.join(", "));
                let message = "would ask for a table feature that is not supported";
                wrong(&format!("delta.create.properties.{name}"), message, &hint);
            }
        }
        let week = Duration::from_hours(7 * 24).as_millis();
        if !self.vacuum_unsafe && u128::try_from(self.vacuum_retention_ms).map_or(true, |ms| ms < week) {
            let hint = "write at least 604800000 (seven days), or set `delta.vacuum.retention.unsafe: true`";
            wrong("delta.vacuum.retention.ms", "would delete files that readers may still use", hint);
        }
        problems.extend(self.store.problems());
        problems
    }

    /// Columns that are named elsewhere and not in `delta.schema`.
    fn undeclared(&self, wrong: &mut impl FnMut(&str, &str, &str)) {
        let Some(Ok(schema)) = self.schema.as_deref().map(ddl::parse) else { return };
        for (key, names) in [
            ("delta.partition.columns", &self.partition_columns),
            ("delta.key.columns", &self.key_columns),
            ("delta.dedup.keys", &self.dedup_keys),
        ] {
            for name in names.iter().filter(|name| schema.field(name).is_none()) {
                wrong(
                    key,
                    &format!("names `{name}`, which `delta.schema` does not have"),
                    "correct one of them",
                );
            }
        }
        if !self.partition_columns.is_empty() && self.partition_columns.len() == schema.fields().len() {
            wrong("delta.partition.columns", "leaves no column for the files", "partition by fewer columns");
        }
    }

    /// Where the table of `topic` is.
    pub fn address(&self, topic: &str) -> String {
        match self.topic_mapping.get(topic) {
            Some(table) if is_address(table) => table.clone(),
            Some(table) => self.table_path.replace(TOPIC, table),
            None => self.table_path.replace(TOPIC, topic),
        }
    }

    pub fn access(&self) -> Access {
        self.store.access()
    }
}

fn is_address(text: &str) -> bool {
    text.contains("://") || text.starts_with('/')
}

fn flush_size() -> u64 {
    1_000_000
}

fn unlimited() -> i64 {
    -1
}

fn rotate_interval() -> i64 {
    60_000
}

fn target_file_bytes() -> u64 {
    128 << 20
}

fn vacuum_retention() -> i64 {
    7 * 24 * 3_600_000
}
