//! Between the ends: one batch in, runs of records out.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};

use crate::batch::TopicPartition;
use crate::document::DocumentTransform;
use crate::envelope::Needs;
use crate::error::{Rejection, Result};

/// Where a batch comes from.
#[derive(Clone, Debug)]
pub struct Meta {
    pub partition: TopicPartition,
}

/// Records of one schema with one destination.
#[derive(Clone, Debug)]
pub struct Run {
    /// Destination topic; `None` keeps the one it has.
    pub topic: Option<Arc<str>>,
    /// Destination partition; `None` leaves it to the partitioner.
    pub partition: Option<i32>,
    pub records: RecordBatch,
}

impl Run {
    pub fn new(records: RecordBatch) -> Self {
        Self { topic: None, partition: None, records }
    }

    pub fn to_topic(topic: impl Into<Arc<str>>, records: RecordBatch) -> Self {
        Self { topic: Some(topic.into()), partition: None, records }
    }
}

/// The answer to [`Transform::apply`]: filtered = in − out − rejected.
#[derive(Debug, Default)]
pub struct Transformed {
    pub runs: Vec<Run>,
    pub rejected: Vec<Rejection>,
}

impl Transformed {
    pub fn one(records: RecordBatch) -> Self {
        Self { runs: vec![Run::new(records)], rejected: Vec::new() }
    }
}

/// Changes records; CPU only. The `offset` column, where there is one, names the record and must stay with it.
pub trait Transform: Send + Sync + 'static {
    /// The form of the values that `apply` gets.
    fn needs(&self) -> Needs;

    /// A function of the record alone (no clock, no random numbers): what stable ranges need.
    fn deterministic(&self) -> bool {
        true
    }

    /// Whether it leaves records out that it does not reject: `sidestream verify` cannot tell those from lost ones.
    fn filters(&self) -> bool {
        true
    }

    /// How it changes keys or values without a schema, for a transform that looks at one record at a time: neighbours then
    /// share one reading and one writing. It is what `apply` does to them.
    fn documents(&self) -> Option<&dyn DocumentTransform> {
        None
    }

    /// An error fails the task; a record that cannot be changed is a [`Rejection`].
    fn apply(&self, records: RecordBatch, meta: &Meta) -> Result<Transformed>;
}

/// Says of which records a transform is to be applied. Linked in only: the plugin boundary has none.
pub trait Predicate: Send + Sync + 'static {
    /// A value for each record, none of them null.
    fn test(&self, records: &RecordBatch, meta: &Meta) -> Result<BooleanArray>;
}
