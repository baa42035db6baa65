//! What records flow through: where they come from, where they arrive, and how they are counted there.

mod delta;
mod input;
mod kinesis;
mod parquet;
mod rds;
mod s3;

use std::ops::Range;

use crate::account::Account;
use crate::table::Cell;

pub use delta::Delta;
pub use input::Input;
pub use kinesis::Kinesis;
pub use rds::Rds;
pub use s3::{Format, S3Sink};

/// A pipeline of one connector, with topics, buckets and tables of its own.
pub trait Pipeline: Sync {
    /// The connector, and its column of the table.
    fn connector(&self) -> &str;
    fn yaml(&self) -> String;
    /// Of the worker's process.
    fn env(&self) -> Vec<(&str, &str)>;
    /// Puts the records with these numbers; all of them are there when it returns.
    fn put(&self, numbers: Range<i64>);
    /// Whether everything below `count` is acknowledged where it came from.
    fn is_settled(&self, count: i64) -> bool;
    /// What became of the records `0..count`, once no worker runs.
    fn account(&self, count: i64) -> Account;

    /// `yaml` for one of several workers of a group, with further keys of the worker: `session.timeout.ms: 3000`.
    fn yaml_of(&self, worker: &str, keys: &str) -> String {
        format!("worker: {{worker.id: {worker}, {keys}}}\n{}", self.yaml())
    }
}

/// One column of the table: a way to make such pipelines, the steps at which they are killed, and their promise.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub make: fn() -> Box<dyn Pipeline>,
    pub steps: &'static [&'static str],
    /// No record may be doubled.
    pub once: bool,
}

impl Kind {
    /// Whether a cell of the table is what is promised.
    pub fn is_kept(&self, cell: &Cell) -> bool {
        cell.lost == 0 && cell.failures == 0 && !(self.once && cell.doubled > 0)
    }
}

const SINK: &[&str] =
    &["sink.read", "sink.staged", "sink.settled", "sink.intended", "sink.published", "sink.committed"];
const S3_SINK: &[&str] = &[
    "sink.read",
    "sink.staged",
    "sink.settled",
    "sink.intended",
    "s3.object_published",
    "sink.published",
    "sink.committed",
];
const SOURCE: &[&str] = &[
    "source.polled",
    "source.transaction_begun",
    "source.sent",
    "source.delivered",
    "source.offsets_sent",
    "source.transaction_committed",
    "source.acknowledged",
];

pub const S3_JSON: Kind =
    Kind { name: "S3 JSON", make: || Box::new(S3Sink::new(Format::Json)), steps: S3_SINK, once: true };
pub const S3_PARQUET: Kind =
    Kind { name: "S3 Parquet", make: || Box::new(S3Sink::new(Format::Parquet)), steps: S3_SINK, once: true };
pub const DELTA: Kind = Kind { name: "Delta", make: || Box::new(Delta::new()), steps: SINK, once: true };
pub const KINESIS: Kind =
    Kind { name: "Kinesis", make: || Box::new(Kinesis::new()), steps: SINK, once: false };
pub const RDS: Kind =
    Kind { name: "database to Kafka", make: || Box::new(Rds::new()), steps: SOURCE, once: true };
