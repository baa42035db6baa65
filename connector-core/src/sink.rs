//! Where records end.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::batch::{Assignment, Batch, Offset, TopicPartition};
use crate::envelope::Needs;
use crate::error::{ConnectError, Rejection, Result};
use crate::metric::Metric;

/// What a sink promises; shown to the user by `sidestream describe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// A replay may write a record again.
    AtLeastOnce,
    /// The effect is keyed by (topic, partition, start offset): the same range again has the same effect.
    StableRange,
    /// The sink stores offsets with the data; [`Sink::open`] returns them.
    SinkOffsets,
}

/// Offsets `start` (inclusive) to `end` (exclusive) of one partition, published together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushRange {
    pub partition: TopicPartition,
    pub start: Offset,
    pub end: Offset,
    /// For proofs of delivery; no part of what the range means.
    #[serde(default)]
    pub counts: RangeCounts,
}

impl FlushRange {
    pub fn new(partition: TopicPartition, offsets: Range<Offset>) -> Self {
        Self { partition, start: offsets.start, end: offsets.end, counts: RangeCounts::default() }
    }
}

/// What became of the records of a range: end − start is their sum, unless the topic has gaps (compaction, markers of
/// transactions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeCounts {
    pub delivered: u64,
    /// Dropped on purpose, by a transform or the sink.
    pub filtered: u64,
    pub rejected: u64,
}

/// Where to go on reading; wins over the consumer group's offset. Partitions that are not named keep the group's.
pub type Resume = BTreeMap<TopicPartition, Offset>;

/// The answer to [`Sink::write`].
#[derive(Debug, Default)]
pub struct Written {
    /// The last offset (exclusive) at which a range may end: a pure function of records and configuration.
    pub cut: Option<Offset>,
    /// Bytes that have left memory since the last call (uploaded parts): the host gives their budget back.
    pub spilled_bytes: u64,
    /// Records that the sink drops on purpose.
    pub filtered: usize,
    /// Rows that the sink cannot take; the others of the batch are written.
    pub rejected: Vec<Rejection>,
}

/// What [`Sink::flush`] staged: a token of this process that [`Sink::commit`] makes visible.
pub struct Committable(Box<dyn Any + Send + Sync>);

impl Committable {
    pub fn new(token: impl Any + Send + Sync) -> Self {
        Self(Box::new(token))
    }

    /// The token, for the sink that made it.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Committable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committable")
    }
}

/// Cuts by the wall clock: at each `every_ms` counted from `phase_ms` after 1970-01-01 UTC (negative: before).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutSchedule {
    pub every_ms: i64,
    pub phase_ms: i64,
}

impl CutSchedule {
    /// The first cut after `now_ms` (epoch milliseconds).
    pub fn next_after(&self, now_ms: i64) -> i64 {
        let every = self.every_ms.max(1);
        ((now_ms - self.phase_ms).div_euclid(every) + 1) * every + self.phase_ms
    }
}

/// How long data may stay open by the wall clock; the host then cuts its partition, whatever the records say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLimits {
    /// Milliseconds since the first record that is not published.
    #[serde(default)]
    pub age_ms: Option<i64>,
    /// Milliseconds since the last record came.
    #[serde(default)]
    pub idle_ms: Option<i64>,
}

/// A stretch of a topic-partition that is in the store; for proofs of delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub partition: TopicPartition,
    pub start: Offset,
    /// Offset after the last record; `None`: the store does not say, the next extent's start bounds it.
    #[serde(default)]
    pub end: Option<Offset>,
    /// Records that are there.
    pub records: u64,
    /// What became of the others, where the store says so.
    #[serde(default)]
    pub counts: Option<RangeCounts>,
    /// Where it is: an object's key, a table's version.
    pub place: String,
    /// Where `end` is `None`: extents of one series follow one another; between them, records may lie in other series
    /// (a directory of objects).
    #[serde(default)]
    pub series: String,
}

/// Writes batches to a system outside Kafka. One instance per task; calls for one task do not overlap, except that
/// `write` for later offsets may run while `flush` or `commit` of an earlier range does; a range whose end is no cut of
/// the sink's own is flushed before anything later is written.
///
/// Acknowledgement is cumulative: offsets are committed only after `flush` and `commit` of their range succeeded.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// The form of the values that `write` gets.
    fn needs(&self) -> Needs;

    fn delivery(&self) -> Delivery;

    /// Cuts that the clock forces, if any.
    fn schedule(&self) -> Option<CutSchedule> {
        None
    }

    /// How long data may stay open, if the clock matters.
    fn open_limits(&self) -> OpenLimits {
        OpenLimits::default()
    }

    /// What this instance counts and measures beside the host's own figures.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    /// Partitions were added; may do I/O. Nothing of them is written before this returns.
    async fn open(&self, partitions: &[Assignment]) -> Result<Resume>;

    /// Takes records; may buffer. Offsets ascend within a partition.
    async fn write(&self, batch: Batch) -> Result<Written>;

    /// Stages everything in `ranges`, nothing beyond. `end` is a cut of `write`, or the end of what was written.
    /// A repeated call with the same ranges stages the same.
    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable>;

    /// Makes what was staged visible. Can be repeated with the same token.
    async fn commit(&self, staged: &Committable) -> Result<()>;

    /// Partitions were taken away, or the task stops: drops what was not flushed of them.
    async fn close(&self, revoked: &[TopicPartition]) -> Result<()>;

    /// What is in the store of these topics, in any order; on an instance that need not be open. Reads what was written,
    /// not what is remembered. How far it is, the gauges `sidestream_inventory_read` and `sidestream_inventory_objects`
    /// of [`Sink::metrics`] may tell.
    async fn inventory(&self, _topics: &[Arc<str>]) -> Result<Vec<Extent>> {
        Err(no_inventory())
    }
}

/// What a sink says that has no [`Sink::inventory`].
pub(crate) fn no_inventory() -> ConnectError {
    ConnectError::user("sink.no_inventory", "this sink cannot say what is in its store")
        .hint("`sidestream verify` works for sinks that can, such as s3-sink and delta-sink")
}
