//! Where records begin.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{ConnectError, Result};
use crate::metric::Metric;
use crate::transform::Run;

/// What one task is to do: a JSON object that [`Source::plan`] made for [`Source::open`].
pub type TaskConfig = Map<String, Value>;

/// Connect's source partition and source offset, both JSON objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub partition: Map<String, Value>,
    pub offset: Map<String, Value>,
}

/// Where a source stands after a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceOffset {
    /// Names the batch within this process; the host hands it back in [`Source::commit`].
    pub token: u64,
    /// What to store once the batch is acknowledged; empty for a source that cannot be read again.
    pub positions: Vec<Position>,
}

/// Records of one poll. A `Run` without a topic is an error.
#[derive(Debug)]
pub struct SourceBatch {
    pub runs: Vec<Run>,
    /// What could not be read as a record; one error each, which names its place (object and line). `errors.tolerance`
    /// decides whether the rest goes on.
    pub rejected: Vec<ConnectError>,
    pub offset: SourceOffset,
}

impl SourceBatch {
    pub fn new(runs: Vec<Run>, offset: SourceOffset) -> Self {
        Self { runs, rejected: Vec::new(), offset }
    }
}

/// How much one [`Source::poll`] may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollBudget {
    pub max_records: usize,
    pub max_bytes: usize,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub destination: Arc<str>,
    /// Partition and offset as text, so that a shard and its sequence number fit too; empty on failure.
    pub partition: String,
    pub offset: String,
    /// `None` when it was delivered.
    pub error: Option<AckError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckError {
    pub code: i32,
    pub message: String,
    pub retriable: bool,
}

/// Acknowledgement of one [`SourceBatch`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks {
    /// Records delivered (or filtered by a transform).
    pub delivered: usize,
    /// One row a record, in the order of the runs and their rows, if [`Source::wants_acks`]; empty otherwise.
    pub rows: Vec<Ack>,
}

/// The destination topics that exist now.
pub trait TopicDirectory: Send + Sync {
    /// Number of partitions; `None` when there is no such topic.
    fn partitions(&self, topic: &str) -> Option<u32>;

    /// Names, sorted.
    fn names(&self) -> Vec<String>;
}

/// There are none: what the source of a pipeline without Kafka sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTopics;

impl TopicDirectory for NoTopics {
    fn partitions(&self, _: &str) -> Option<u32> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a source task is given when it opens.
#[derive(Clone)]
pub struct SourceContext {
    pub task: TaskConfig,
    /// All stored positions of this connector.
    pub positions: Vec<Position>,
    pub topics: Arc<dyn TopicDirectory>,
}

impl SourceContext {
    /// The stored offset of a source partition.
    pub fn offset_of(&self, partition: &Map<String, Value>) -> Option<&Map<String, Value>> {
        self.positions.iter().find(|p| &p.partition == partition).map(|p| &p.offset)
    }
}

/// Reads records from a system outside Kafka. One instance per task (and one more that only plans).
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Splits the work into at most `max_tasks` tasks; may do I/O.
    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>>;

    /// Starts one task where its stored positions say; may do I/O.
    async fn open(&self, context: SourceContext) -> Result<()>;

    /// The next records; waits until there are some. `None`: this source has come to its end.
    /// Must be cancel-safe: the host drops the future when the task stops.
    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>>;

    /// The batch of `offset` is delivered. Called once a batch, in the order of the polls.
    async fn commit(&self, offset: &SourceOffset, acks: &Acks) -> Result<()>;

    /// The task stops; batches that were not committed will be read again.
    async fn close(&self) -> Result<()>;

    /// Whether `poll` answers `None` one day, as this instance is configured: what a bounded run needs.
    fn bounded(&self) -> bool {
        false
    }

    /// Whether, as this instance is configured, its positions say exactly what was read: a record that is stored together
    /// with its position is then never read again.
    fn exactly_once(&self) -> bool {
        false
    }

    /// What this instance counts and measures beside the host's own figures.
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }

    /// Where a record came from, such as `s3://bucket/key.json line 7`, for the error of one that goes no further; never
    /// anything of its value. `row` counts over the runs, and their rows, that were polled with this
    /// [`SourceOffset::token`]. Asked only while the batch is not committed, and at most a few polls after its own:
    /// [`Places`](crate::Places) remembers that much. `None`: not known, as always for a source in a library of its own.
    fn place(&self, _token: u64, _row: usize) -> Option<String> {
        None
    }

    /// Whether `commit` needs a row a record. Such a source answers for failed records itself; for any other a record
    /// that Kafka refuses fails the task.
    fn wants_acks(&self) -> bool {
        false
    }
}
