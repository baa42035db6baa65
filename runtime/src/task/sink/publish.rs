//! One publish cycle: stage, wait for dead letters, intend, make visible, acknowledge. A crash anywhere leaves either
//! nothing, or a range that the next owner forms again, exactly.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use connector_core::{Committable, ConnectError, FlushRange, Result, Sink, TopicPartition, failpoint};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Running, now_ms};
use crate::kafka::dead_letters::DeadLetters;
use crate::task::background::Background;
use crate::task::feed::{CommitOutcome, Planned, Reader};
use crate::task::flush::{Due, Ledger};
use crate::task::retry;
use crate::task::status::{Counters, TaskStatus};
use crate::telemetry::traces::step;

/// How often, and after which pause, a commit is repeated that a rebalance got in the way of.
const SETTLE_ATTEMPTS: usize = 25;
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

const REFUSED: &str = "the consumer group refuses this task's commits: another member may own its partitions";

/// What became of a cycle.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    /// Visible, and acknowledged to where the records came from.
    Whole,
    /// Visible, but the group has moved on: the next owner finds the intent and does the same again.
    Unacknowledged,
    /// The group has moved on before anything was visible.
    Nothing,
}

pub type Publishing = Background<Published>;

/// What a cycle takes.
struct Cycle {
    sink: Arc<dyn Sink>,
    reader: Arc<dyn Reader>,
    dead_letters: Option<Arc<DeadLetters>>,
    status: Arc<TaskStatus>,
    planned: Vec<Planned>,
    ranges: Vec<FlushRange>,
    give_up: CancellationToken,
}

impl Cycle {
    async fn stage(&self, until: &CancellationToken) -> Result<Committable> {
        let _step = self.status.pulse.begin("staging records in the sink");
        let flush = retry::with_backoff(&self.status, until, || self.sink.flush(&self.ranges));
        let (connector, task, ranges) = (&*self.status.connector, self.status.task, self.ranges.len());
        flush.instrument(step!("flush", connector, task, ranges)).await
    }

    async fn publish(self, staged: Option<Committable>) -> Result<Published> {
        let staged = match staged {
            Some(staged) => staged,
            None => self.stage(&self.give_up).await?,
        };
        failpoint::reach("sink.staged");
        if let Some(dead_letters) = &self.dead_letters {
            let _step = self.status.pulse.begin("writing dead letters");
            dead_letters.settled().await?;
        }
        failpoint::reach("sink.settled");
        if self.settle(|| self.reader.intend(&self.planned)).await? == CommitOutcome::Fenced {
            return Ok(Published::Nothing);
        }
        failpoint::reach("sink.intended");
        {
            let _step = self.status.pulse.begin("making records visible in the sink");
            let commit = retry::with_backoff(&self.status, &self.give_up, || self.sink.commit(&staged));
            let made = commit.instrument(step!("commit")).await;
            if let Err(error) = made {
                // A member that hung since its intent meets what its successor has done.
                let asked = self.settle(|| self.reader.intend(&self.planned)).await;
                if !matches!(asked, Ok(CommitOutcome::Fenced)) {
                    return Err(error);
                }
                let (connector, task) = (&self.status.connector, self.status.task);
                tracing::warn!(connector, task, "{}", self.status.redact(&error.to_string()));
                return Ok(Published::Nothing);
            }
        }
        failpoint::reach("sink.published");
        if self.settle(|| self.reader.commit(&self.planned)).await? == CommitOutcome::Fenced {
            return Ok(Published::Unacknowledged);
        }
        failpoint::reach("sink.committed");
        Ok(Published::Whole)
    }

    /// While the group settles, a member that keeps its partitions is refused for a moment.
    async fn settle<F>(&self, mut call: impl FnMut() -> F) -> Result<CommitOutcome>
    where
        F: Future<Output = Result<CommitOutcome>>,
    {
        let (_step, began) = (self.status.pulse.begin("committing offsets"), Instant::now());
        for _ in 0..SETTLE_ATTEMPTS {
            let outcome = retry::with_backoff(&self.status, &self.give_up, &mut call).await?;
            let succeeded = outcome == CommitOutcome::Committed;
            self.status.samples.commits.record(if succeeded { 1.0 } else { 0.0 });
            if succeeded {
                self.status.samples.commit_ms.record_since(began);
                return Ok(outcome);
            }
            self.status.counters.commits_refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        Ok(CommitOutcome::Fenced)
    }
}

impl Running {
    /// Starts a cycle of what is due, unless one is under way. Partitions that are to be given back come first.
    pub(super) async fn start_publishing(&mut self) -> Result<()> {
        if self.publishing.is_some() || self.torn {
            return Ok(());
        }
        let force = match self.leaving.is_empty() {
            true => std::mem::replace(&mut self.force, Due::Cut),
            false => Due::Cut,
        };
        let (leaving, former) = (&self.leaving, &self.former);
        let planned: Vec<Planned> = self
            .ledgers
            .iter_mut()
            .filter(|(tp, _)| leaving.is_empty() || leaving.iter().any(|l| l.partitions.contains(tp)))
            // What belongs to another configuration is published by itself.
            .filter(|(tp, _)| !former.contains_key(tp))
            .filter_map(|(_, ledger)| ledger.due(force))
            .collect();
        if planned.is_empty() {
            return Ok(());
        }
        self.begin(self.task.sink.clone(), planned).await
    }

    async fn begin(&mut self, sink: Arc<dyn Sink>, mut planned: Vec<Planned>) -> Result<()> {
        for planned in &mut planned {
            planned.recipe = self.recipe_of(&planned.range.partition);
        }
        let is_cut =
            |p: &Planned| self.ledgers.get(&p.range.partition).is_some_and(|l| l.is_cut(p.range.end));
        let all_cuts = planned.iter().all(is_cut);
        let cycle = Cycle {
            sink,
            reader: self.feed.reader.clone(),
            dead_letters: self.task.dead_letters.clone(),
            status: self.task.status.clone(),
            ranges: planned.iter().map(|planned| planned.range.clone()).collect(),
            planned,
            give_up: self.give_up.clone(),
        };
        let mut staged = None;
        if !all_cuts {
            // The sink does not know this end yet: what is written later must not grow over it.
            let until = if self.task.stop.is_cancelled() { &self.give_up } else { &self.task.stop };
            staged = Some(cycle.stage(until).await?);
        }
        let (connector, task) = (&*self.task.status.connector, self.task.status.task);
        let span = step!("publish", connector, task);
        self.publishing = Some(Background::start(cycle.publish(staged).instrument(span)));
        Ok(())
    }

    /// Publishes a range that a former owner has begun, and waits for it: nothing else of the partition goes on before.
    pub(super) async fn publish_owed(&mut self, tp: &TopicPartition) -> Result<()> {
        self.finish_publishing().await?;
        while self.ledgers.get(tp).is_some_and(Ledger::has_read_owed) {
            let Some(planned) = self.ledgers.get_mut(tp).and_then(|ledger| ledger.due(Due::Cut)) else {
                break;
            };
            let (start, end) = (planned.range.start, planned.range.end);
            self.begin(self.sink_of(tp), vec![planned]).await?;
            let Some(publishing) = self.publishing.as_mut() else { break };
            let outcome = publishing.outcome().await?;
            let nothing = outcome == Published::Nothing;
            self.published(outcome);
            if nothing {
                // Records behind it are in hand already and would be lost if the partition stayed here after all.
                let text =
                    format!("{tp}: the group refuses to let this task finish the records {start} to {end}");
                return Err(ConnectError::external("group.refused", text)
                    .no_retry()
                    .hint("another member may own the partition; otherwise restart the connector"));
            }
            let (connector, task) = (&self.task.status.connector, self.task.status.task);
            tracing::info!(
                connector,
                task,
                "{tp}: the records {start} to {end}, whose publishing was interrupted, are published"
            );
        }
        self.end_former(tp).await
    }

    pub(super) fn published(&mut self, outcome: Published) {
        self.publishing = None;
        let status = &self.task.status;
        let (connector, task) = (&status.connector, status.task);
        match outcome {
            Published::Whole => {
                status.beat();
                if status.pulse.is_troubled() {
                    status.remark("");
                }
            }
            Published::Unacknowledged => tracing::warn!(
                connector,
                task,
                "the group has moved on before the offsets were committed; the next owner publishes the same again"
            ),
            Published::Nothing => {
                tracing::warn!(
                    connector,
                    task,
                    "the group has moved on; nothing was published, the records will be read again"
                );
                status.trouble(REFUSED, Duration::from_secs(60));
                self.ledgers.values_mut().for_each(Ledger::refused);
                for tp in self.leaving.iter().flat_map(|leaving| &leaving.partitions) {
                    if let Some(ledger) = self.ledgers.get_mut(tp) {
                        ledger.gives_up();
                    }
                }
                return;
            }
        }
        let delivered: usize = self.ledgers.values_mut().map(Ledger::published).sum();
        let counters = &status.counters;
        Counters::add(&counters.delivered, delivered);
        status.samples.delivered.record(delivered as f64);
        if outcome == Published::Whole {
            Counters::add(&counters.commits, 1);
        }
        counters.last_flush_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Waits for the cycle in flight, then publishes what is due besides.
    pub(super) async fn finish_publishing(&mut self) -> Result<()> {
        loop {
            self.start_publishing().await?;
            match self.publishing.as_mut() {
                Some(publishing) => {
                    let outcome = publishing.outcome().await?;
                    let nothing = outcome == Published::Nothing;
                    self.published(outcome);
                    if nothing {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }
}
