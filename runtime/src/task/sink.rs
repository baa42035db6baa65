//! A sink task: feed → converter → transforms → sink, and back: flush → commit → offsets.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connector_core::{Assignment, ConnectError, FlushRange, Result, Sink, TopicPartition};
use tokio_util::sync::CancellationToken;

use super::background::Background;
use super::budget::MemoryBudget;
use super::feed::{CommitOutcome, Ends, Feed, Membership};
use super::flush::{Due, Ledger};
use super::goal::Goal;
use super::pipeline::Pipeline;
use super::retry;
use super::status::{Counters, State, TaskStatus};
use crate::config::Tolerance;
use crate::kafka::dead_letters::DeadLetters;

/// Memory in use beyond which a task publishes what it has, though no range is full; in percent of the budget.
const PRESSURE_PERCENT: usize = 85;
/// A task reads on beside a publish until it holds one part in so many of the budget.
const AHEAD_SHARE: usize = 8;
/// How often the clock and the memory are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often, and after which pause, a commit is repeated that a rebalance got in the way of.
const SETTLE_ATTEMPTS: usize = 25;
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// What a sink task is made of.
pub struct SinkTask {
    pub sink: Arc<dyn Sink>,
    pub pipeline: Pipeline,
    pub tolerance: Tolerance,
    pub flush_on_stop: bool,
    pub status: Arc<TaskStatus>,
    pub budget: MemoryBudget,
    pub stop: CancellationToken,
    /// For the last publish after `stop`.
    pub drain_timeout: Duration,
    /// Topics to read; changes when topics that match a pattern come or go.
    pub topics: tokio::sync::watch::Receiver<Vec<String>>,
    /// Where to stop; `None`: never.
    pub goal: Option<Arc<Goal>>,
    /// The feed is a source of this connector, not Kafka.
    pub direct: bool,
    /// Where records go that cannot be processed; no range is committed before they are there.
    pub dead_letters: Option<Arc<DeadLetters>>,
}

type Publishing = Background<CommitOutcome>;

/// The state of a running task.
struct Running {
    task: SinkTask,
    feed: Feed,
    ledgers: BTreeMap<TopicPartition, Ledger>,
    publishing: Option<Publishing>,
    next_cut_ms: Option<i64>,
    /// What the next publish takes beyond what is due by itself.
    force: Due,
    /// Part of a source's batch was taken and the rest of it comes next: no range may end now.
    torn: bool,
    /// Partitions that were read to their end once; of a source: it has no more.
    at_end: BTreeSet<TopicPartition>,
    /// Looks in a row at which memory was short.
    pressed: usize,
    /// Ends retries of the publish cycle when the drain time is over.
    give_up: CancellationToken,
}

impl SinkTask {
    /// Runs until `stop`, its goal, or an error that retrying does not mend.
    pub async fn run(self, feed: Feed) -> Result<()> {
        let next_cut_ms = self.sink.schedule().map(|s| s.next_after(now_ms()));
        let mut running = Running {
            task: self,
            feed,
            ledgers: BTreeMap::new(),
            publishing: None,
            next_cut_ms,
            force: Due::Cut,
            torn: false,
            at_end: BTreeSet::new(),
            pressed: 0,
            give_up: CancellationToken::new(),
        };
        let outcome = running.consume().await;
        let drained = match outcome {
            Ok(()) => running.drain().await,
            Err(error) => {
                running.abandon().await;
                // A step that was being retried when the worker stopped is no failure of the task.
                if error.is_retriable() && running.task.stop.is_cancelled() { Ok(()) } else { Err(error) }
            }
        };
        let closed = running.feed.close().await;
        drained.and(closed)
    }
}

impl Running {
    async fn consume(&mut self) -> Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.task.status.set(State::Running, "");
        const ENDED: &str = "what reads for this task ended";
        loop {
            if self.is_finished() {
                return Ok(());
            }
            self.start_publishing().await?;
            tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return Ok(()),
                event = self.feed.membership.recv() => match event {
                    Some(event) => self.membership(event).await?,
                    None => return Err(ConnectError::internal("feed", ENDED)),
                },
                outcome = wait_for(&mut self.publishing) => self.published(outcome?),
                _ = tick.tick() => self.look_at_clock_and_memory(),
                () = changed(&mut self.task.topics) => {
                    let topics = self.task.topics.borrow_and_update().clone();
                    self.feed.reader.subscribe(&topics)?;
                },
                // Last: there may always be one, and nothing above may wait for ever.
                fetched = self.feed.batches.recv(), if self.has_room() => match fetched {
                    Some(fetched) => self.take(fetched).await?,
                    None => return Err(ConnectError::internal("feed", ENDED)),
                },
            }
        }
    }

    /// A task that reads faster than it publishes waits: memory that is not touched is not paid for twice.
    fn has_room(&self) -> bool {
        self.publishing.is_none() || self.held_bytes() * AHEAD_SHARE <= self.task.budget.total_bytes()
    }

    /// Memory of records that are not published, in bytes.
    fn held_bytes(&self) -> usize {
        self.ledgers.values().map(Ledger::held_kib).sum::<usize>() * 1024
    }

    async fn membership(&mut self, event: Membership) -> Result<()> {
        match event {
            Membership::Assigned { partitions, epoch } => {
                for tp in &partitions {
                    self.ledgers.insert(tp.clone(), Ledger::new(tp.clone(), epoch, self.task.direct));
                    self.task.status.set_lag(tp, 0);
                }
                let mut topics: Vec<_> = partitions.iter().map(|tp| tp.topic.clone()).collect();
                topics.dedup();
                let (status, stop) = (&self.task.status, &self.task.stop);
                let ids = retry::with_backoff(status, stop, || self.feed.reader.topic_ids(&topics)).await?;
                let id = |topic| ids.get(topic).cloned().unwrap_or_else(|| "".into());
                let assigned: Vec<_> = partitions
                    .iter()
                    .map(|tp| Assignment { partition: tp.clone(), topic_id: id(&tp.topic) })
                    .collect();
                let resume = retry::with_backoff(status, stop, || self.task.sink.open(&assigned)).await?;
                let at = partitions.iter().map(|tp| (tp.clone(), resume.get(tp).copied())).collect();
                self.feed.reader.resume(at).await
            }
            Membership::Revoked { partitions, lost, done } => {
                if !lost {
                    self.finish_publishing().await?;
                }
                self.forget(&partitions).await;
                drop(done);
                Ok(())
            }
            Membership::Trouble(error) => {
                let (connector, task) = (&self.task.status.connector, self.task.status.task);
                tracing::warn!(connector, task, "{}", self.task.status.redact(&error.to_string()));
                self.task.status.remark(error.to_string());
                Ok(())
            }
            Membership::Failed(error) => Err(error),
        }
    }

    /// Drops what was not published of these partitions; their next owner reads it again.
    async fn forget(&mut self, partitions: &[TopicPartition]) {
        if let Err(error) = self.task.sink.close(partitions).await {
            tracing::warn!(connector = self.task.status.connector, "closing partitions failed: {error}");
        }
        for tp in partitions {
            self.ledgers.remove(tp);
            self.at_end.remove(tp);
            self.task.status.forget_partition(tp);
        }
    }

    async fn start_publishing(&mut self) -> Result<()> {
        if self.publishing.is_some() || self.torn {
            return Ok(());
        }
        let force = std::mem::replace(&mut self.force, Due::Cut);
        let ranges: Vec<FlushRange> = self.ledgers.values_mut().filter_map(|l| l.due(force)).collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let (sink, reader) = (self.task.sink.clone(), self.feed.reader.clone());
        let (status, give_up) = (self.task.status.clone(), self.give_up.clone());
        let is_cut = |r: &FlushRange| self.ledgers.get(&r.partition).is_some_and(|l| l.is_cut(r.end));
        let mut staged = None;
        if !ranges.iter().all(is_cut) {
            // The sink does not know this end yet: what is written later must not grow over it.
            let until = if self.task.stop.is_cancelled() { &give_up } else { &self.task.stop };
            staged = Some(retry::with_backoff(&status, until, || sink.flush(&ranges)).await?);
        }
        self.publishing = Some(Background::start(async move {
            let staged = match staged {
                Some(staged) => staged,
                None => retry::with_backoff(&status, &give_up, || sink.flush(&ranges)).await?,
            };
            retry::with_backoff(&status, &give_up, || reader.intend(&ranges)).await?;
            retry::with_backoff(&status, &give_up, || sink.commit(&staged)).await?;
            let ends: Ends = ranges.iter().map(|r| (r.partition.clone(), r.end)).collect();
            // While the group settles a member that keeps its partitions is refused for a moment.
            for _ in 0..SETTLE_ATTEMPTS {
                let outcome = retry::with_backoff(&status, &give_up, || reader.commit(&ends)).await?;
                if outcome == CommitOutcome::Committed {
                    return Ok(outcome);
                }
                tokio::time::sleep(SETTLE_PAUSE).await;
            }
            Ok(CommitOutcome::Fenced)
        }));
        Ok(())
    }

    /// Whether the goal is reached: what was to be read is published. Brings that about.
    fn is_finished(&mut self) -> bool {
        let Some(goal) = self.task.goal.clone() else { return false };
        if self.publishing.is_some() || self.torn {
            return false;
        }
        let reached = |(tp, ledger): (&TopicPartition, &Ledger)| {
            goal.is_reached(tp, ledger.read_end(), self.at_end.contains(tp))
        };
        if !self.ledgers.is_empty() && self.ledgers.iter().all(reached) {
            if self.ledgers.values().any(Ledger::is_behind) {
                self.force = Due::Read;
                return false;
            }
            goal.reached(self.ledgers.keys());
        }
        goal.is_reached_by_all()
    }

    fn published(&mut self, outcome: CommitOutcome) {
        self.publishing = None;
        if outcome == CommitOutcome::Fenced {
            // The data is there and the same again under the same name; its offsets are the next owner's.
            tracing::warn!(
                connector = self.task.status.connector,
                task = self.task.status.task,
                "the group has moved on before the offsets were committed; the records will be read again"
            );
        }
        let delivered: usize = self.ledgers.values_mut().map(Ledger::published).sum();
        let counters = &self.task.status.counters;
        Counters::add(&counters.delivered, delivered);
        Counters::add(&counters.commits, 1);
        counters.last_flush_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Waits for the cycle in flight, then publishes what is due besides.
    async fn finish_publishing(&mut self) -> Result<()> {
        loop {
            self.start_publishing().await?;
            match self.publishing.as_mut() {
                Some(publishing) => {
                    let outcome = publishing.outcome().await?;
                    self.published(outcome);
                }
                None => return Ok(()),
            }
        }
    }

    fn look_at_clock_and_memory(&mut self) {
        let now = now_ms();
        if self.next_cut_ms.is_some_and(|at| at <= now) {
            self.next_cut_ms = self.task.sink.schedule().map(|s| s.next_after(now));
            self.force = self.force.max(Due::Written);
        }
        let budget = &self.task.budget;
        let short = budget.used_bytes() * 100 > budget.total_bytes() * PRESSURE_PERCENT;
        // A publish that is under way frees memory by itself; only open files that wait for more records do not.
        if !short || self.publishing.is_some() {
            self.pressed = 0;
            return;
        }
        // Whoever holds much goes first; if that does not help within a second, everybody does.
        self.pressed += 1;
        let much = self.held_bytes() * 8 > budget.total_bytes();
        if (much || self.pressed > 4) && self.ledgers.values().any(Ledger::is_open) {
            self.force = self.force.max(Due::Written);
        }
    }

    /// After `stop`: publishes what is due and gives the partitions back.
    async fn drain(&mut self) -> Result<()> {
        self.force = if self.task.flush_on_stop { Due::Written } else { Due::Cut };
        let limit = self.task.drain_timeout;
        let give_up = self.give_up.clone();
        let finished = tokio::time::timeout(limit, async {
            self.take_the_rest().await?;
            self.finish_publishing().await
        })
        .await;
        give_up.cancel();
        let partitions: Vec<TopicPartition> = self.ledgers.keys().cloned().collect();
        self.end_publishing().await;
        self.forget(&partitions).await;
        finished.unwrap_or_else(|_| {
            let message = format!("the last publish did not end within {} ms", limit.as_millis());
            Err(ConnectError::external("stop.timeout", message)
                .hint("its records will be read again; raise task.shutdown.graceful.timeout.ms"))
        })
    }

    /// The rest of a source's batch, so that a range may end again.
    async fn take_the_rest(&mut self) -> Result<()> {
        while self.torn {
            match self.feed.batches.recv().await {
                Some(fetched) => self.take(fetched).await?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    async fn end_publishing(&mut self) {
        if let Some(publishing) = self.publishing.take() {
            publishing.end().await;
        }
    }

    /// After a failure: nothing more is published.
    async fn abandon(&mut self) {
        self.give_up.cancel();
        self.end_publishing().await;
        let partitions: Vec<TopicPartition> = self.ledgers.keys().cloned().collect();
        self.forget(&partitions).await;
    }
}

async fn changed(topics: &mut tokio::sync::watch::Receiver<Vec<String>>) {
    if topics.changed().await.is_err() {
        // Nobody follows the topics any more.
        std::future::pending().await
    }
}

async fn wait_for(publishing: &mut Option<Publishing>) -> Result<CommitOutcome> {
    match publishing {
        Some(publishing) => publishing.outcome().await,
        None => std::future::pending().await,
    }
}

/// Epoch milliseconds.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
