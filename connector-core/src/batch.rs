//! One Arrow record batch of one topic-partition, in offset order.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

/// A Kafka offset (records, not bytes).
pub type Offset = i64;

/// A Kafka topic-partition; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition that a sink is to write, and which topic of that name it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    #[serde(flatten)]
    pub partition: TopicPartition,
    /// Kafka's id of the topic: another one after the topic was deleted and made again, so that offsets of the old one
    /// mean nothing. Empty when the cluster has none, and in a direct pipeline.
    #[serde(default)]
    pub topic_id: Arc<str>,
}

impl From<TopicPartition> for Assignment {
    fn from(partition: TopicPartition) -> Self {
        Self { partition, topic_id: "".into() }
    }
}

/// A share of the process-wide memory budget, in KiB, given back when dropped.
#[derive(Debug, Default)]
pub struct MemoryPermit(Option<OwnedSemaphorePermit>);

impl MemoryPermit {
    /// A permit that accounts for nothing: tests, and batches that come over the plugin boundary.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Size in KiB.
    pub fn kib(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Moves the permit out, leaving [`MemoryPermit::none`].
    pub fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Gives back up to `kib` KiB early, because the memory is free again.
    pub fn release(&mut self, kib: usize) -> usize {
        let Some(permit) = self.0.as_mut() else { return 0 };
        let kib = kib.min(permit.num_permits());
        drop(permit.split(kib));
        kib
    }
}

impl From<OwnedSemaphorePermit> for MemoryPermit {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self(Some(permit))
    }
}

/// Records of one topic-partition in offset order: `records` has the columns of [`crate::envelope`].
#[derive(Debug)]
pub struct Batch {
    pub partition: TopicPartition,
    pub records: RecordBatch,
    pub permit: MemoryPermit,
}

impl Batch {
    /// A batch without a memory permit.
    pub fn new(partition: TopicPartition, records: RecordBatch) -> Self {
        Self { partition, records, permit: MemoryPermit::none() }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
