//! Where a sink task's records come from and where their acknowledgement goes: a consumer group, or a source of the same
//! connector. The task does not know which.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc as std_mpsc};

use async_trait::async_trait;
use connector_core::{ConnectError, FlushRange, MemoryPermit, Offset, Result, Resume, TopicPartition};
use tokio::sync::mpsc;

use arrow::array::RecordBatch;

use super::recipe::Packed;

/// What happens to the task's partitions, in order.
#[derive(Debug)]
pub enum Membership {
    /// New partitions, paused until [`Reader::resume`]. What is fetched under this assignment carries `epoch`.
    Assigned { partitions: Vec<TopicPartition>, epoch: u64 },
    /// Partitions go away once `done` is dropped or the drain timeout has passed. `lost`: another member may own
    /// them already, so nothing of them may be committed.
    Revoked { partitions: Vec<TopicPartition>, lost: bool, done: std_mpsc::Sender<()> },
    /// Something went wrong that the reader goes on trying.
    Trouble(ConnectError),
    /// The reader cannot go on.
    Failed(ConnectError),
}

/// Something of one partition, under the assignment `epoch`.
#[derive(Debug)]
pub struct Fetched {
    pub epoch: u64,
    pub partition: TopicPartition,
    pub what: Piece,
}

#[derive(Debug)]
pub enum Piece {
    Records(Records),
    /// Read, but no records: one error each.
    Refused(Vec<ConnectError>),
    /// Everything that there is now has been handed over. Nothing comes after it from a source.
    End,
    /// The next record to read is not there: expired, or beyond the end.
    OutOfRange,
}

/// Records in offset order.
#[derive(Debug)]
pub struct Records {
    pub records: RecordBatch,
    pub permit: MemoryPermit,
    pub last_offset: Offset,
    /// Offset after the last record of the partition; negative when unknown.
    pub high_watermark: Offset,
    /// A range may end after them: false for all but the last part of a source's batch, whose positions are known only
    /// for the whole.
    pub whole: bool,
}

/// Where reading of a partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub offset: Offset,
    /// A range from there on that a former owner has begun to publish.
    pub unfinished: Option<Unfinished>,
}

/// What is known of a range that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub end: Offset,
    /// The configuration under which it was begun, by fingerprint and, if there was room for it, in full.
    pub recipe: Option<Arc<str>>,
    pub how: Option<Arc<str>>,
}

/// A range of a publish cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub range: FlushRange,
    /// The assignment under which it was read.
    pub epoch: u64,
    /// It is the beginning of an unfinished range that ends here.
    pub owed: Option<Offset>,
    /// The configuration that publishes it; `None`: a range may end elsewhere the next time.
    pub recipe: Option<Packed>,
}

/// What became of a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    /// The group has moved on: the partitions belong to another member or will be read again.
    Fenced,
}

/// The other side of a [`Feed`]: takes wishes and acknowledgements. May be used while the task goes on reading.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Replaces the topics that are read; a source has none.
    fn subscribe(&self, topics: &[String]) -> Result<()>;

    /// Kafka's ids of topics; topics that have none are left out.
    async fn topic_ids(&self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Arc<str>>>;

    /// Where the partitions of a [`Membership::Assigned`] stand; `resume`: what the sink knows, which wins. A source has
    /// its own notion of that and says nothing.
    async fn standings(
        &self,
        _partitions: &[TopicPartition],
        _resume: &Resume,
    ) -> Result<BTreeMap<TopicPartition, Standing>> {
        Ok(BTreeMap::new())
    }

    /// Whether intents outlive this process; `None`: it is not known yet.
    fn keeps_intents(&self) -> Option<bool> {
        None
    }

    /// Starts fetching partitions of a [`Membership::Assigned`], from the given offset if there is one.
    async fn resume(&self, partitions: Vec<(TopicPartition, Option<Offset>)>) -> Result<()>;

    /// After [`Piece::OutOfRange`]: where reading can go on, or why it cannot. `at`: the record that was asked for.
    async fn beyond(&self, partition: &TopicPartition, at: Offset) -> Result<Offset>;

    /// Whether whoever waits for the record at `offset` was told that it is refused: then it does not fail the task.
    fn refuse(&self, offset: Offset, error: &ConnectError) -> bool;

    /// Where the record at `offset`, which was not committed, came from; `None`: its offset says all that is known.
    fn place(&self, _offset: Offset) -> Option<String> {
        None
    }

    /// Makes durable what is needed to go on after `ranges`, before the sink makes them visible. Can be repeated. Fenced:
    /// nothing may be made visible.
    async fn intend(&self, ranges: &[Planned]) -> Result<CommitOutcome>;

    /// The records of these ranges, and all before them, are visible. Can be repeated.
    async fn commit(&self, ranges: &[Planned]) -> Result<CommitOutcome>;

    /// Stops reading; what was not committed will be read again.
    async fn close(&self) -> Result<()>;
}

/// Events, records, and the reader behind them.
pub struct Feed {
    pub membership: mpsc::UnboundedReceiver<Membership>,
    pub batches: mpsc::Receiver<Fetched>,
    pub reader: Arc<dyn Reader>,
}

impl Feed {
    pub async fn close(self) -> Result<()> {
        let Self { membership, batches, reader } = self;
        // Who is closing has nobody to wait for.
        drop((membership, batches));
        let closed = reader.close().await;
        // The end of a consumer takes a while, which nobody else is to wait for.
        let _ = tokio::task::spawn_blocking(move || drop(reader)).await;
        closed
    }
}
