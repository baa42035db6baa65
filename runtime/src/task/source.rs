//! A source task: source → transforms → converter → Kafka, and back: acknowledgement → stored position → source.

mod outgoing;
mod pipelined;
mod sender;
mod sent;
mod transactional;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use connector_core::{Acks, ConnectError, PollBudget, Result, Source, SourceBatch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use outgoing::Outgoing;
pub(super) use outgoing::number;
pub(super) use sent::refuse;
pub use transactional::Transacted;

use super::background::Background;
use super::pipeline::Pipeline;
use super::positions::Positions;
use super::retry;
use super::sink::now_ms;
use super::status::{Counters, State, TaskStatus};
use crate::config::Tolerance;
use crate::kafka::admin::Admin;
use crate::kafka::producer::Producer;
use crate::telemetry::traces::step;

pub(super) const POLL: PollBudget = PollBudget { max_records: 10_000, max_bytes: 4 << 20 };

/// What may take too long, for whoever looks at the task.
const DELIVERING: &str = "the delivery to Kafka";

/// What a source task is made of; the source is open.
pub struct SourceTask {
    pub source: Arc<dyn Source>,
    pub pipeline: Pipeline,
    pub tolerance: Tolerance,
    pub admin: Admin,
    pub status: Arc<TaskStatus>,
    pub stop: CancellationToken,
    pub drain_timeout: Duration,
    /// The task ends with its source; otherwise it waits for `stop` then.
    pub bounded: bool,
}

/// How records and positions get into Kafka.
pub enum Way {
    /// Records first, with many batches on their way, and positions once they are there.
    Pipelined { producer: Producer, positions: Arc<dyn Positions> },
    /// Both in one transaction.
    Transactions(Box<Transacted>),
}

impl SourceTask {
    /// Runs until `stop`, the end of the source, or an error that retrying does not mend.
    pub async fn run(self, way: Way) -> Result<()> {
        self.status.set(State::Running, "");
        let source = self.source.clone();
        let outcome = match way {
            Way::Pipelined { producer, positions } => self.run_pipelined(producer, positions).await,
            Way::Transactions(transacted) => self.run_in_transactions(*transacted).await,
        };
        outcome.and(source.close().await)
    }

    fn batch_span(&self, batch: &SourceBatch) -> Span {
        let records: usize = batch.runs.iter().map(|run| run.records.num_rows()).sum();
        step!("batch", connector = self.status.connector, task = self.status.task, records)
    }

    fn poll(&self) -> Polling {
        let (source, status, stop) = (self.source.clone(), self.status.clone(), self.stop.clone());
        Background::start(async move {
            let began = Instant::now();
            let span = step!("poll", connector = status.connector, task = status.task);
            let polled = retry::with_backoff(&status, &stop, || source.poll(POLL)).instrument(span).await;
            status.samples.poll_ms.record_since(began);
            polled
        })
    }

    /// Tells the source that a batch is stored; `acks`: one a row, if it wants them.
    async fn committed(&self, outgoing: &Outgoing, acks: Option<Vec<connector_core::Ack>>) -> Result<()> {
        let rows = acks.unwrap_or_default();
        let refused = rows.iter().filter(|a| a.error.is_some()).count().max(outgoing.rejected);
        let delivered = outgoing.total - (outgoing.filtered + refused).min(outgoing.total);
        let acks = Acks { delivered: delivered + outgoing.filtered, rows };
        self.source.commit(&outgoing.offset, &acks).await?;
        let counters = &self.status.counters;
        Counters::add(&counters.delivered, delivered);
        Counters::add(&counters.filtered, outgoing.filtered);
        Counters::add(&counters.rejected, refused);
        Counters::add(&counters.commits, 1);
        self.status.samples.delivered.record(delivered as f64);
        self.status.samples.commits.record(1.0);
        counters.last_flush_ms.store(now_ms(), Ordering::Relaxed);
        self.status.beat();
        Ok(())
    }

    /// The source has no more.
    async fn at_the_end(&self) {
        self.status.remark("the source has come to its end");
        let (connector, task) = (&self.status.connector, self.status.task);
        tracing::info!(connector, task, "the source has come to its end");
        if !self.bounded {
            self.stop.cancelled().await;
        }
    }

    fn too_slow_to_stop(&self) -> ConnectError {
        let limit = self.drain_timeout.as_millis();
        ConnectError::external(
            "stop.timeout",
            format!("Kafka did not acknowledge everything within {limit} ms"),
        )
        .hint("what is not acknowledged will be sent again after the next start")
    }
}

type Polling = Background<Option<SourceBatch>>;

async fn wait_for(polling: &mut Option<Polling>) -> Result<Option<SourceBatch>> {
    match polling {
        Some(polling) => polling.outcome().await,
        None => std::future::pending().await,
    }
}
