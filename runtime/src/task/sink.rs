//! A sink task: feed → converter → transforms → sink, and back: flush → commit → offsets.

mod members;
mod publish;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connector_core::{ConnectError, OpenLimits, Result, Sink, TopicPartition};
use tokio_util::sync::CancellationToken;

use self::members::{Former, Leaving};
use self::publish::{Published, Publishing};
use super::budget::MemoryBudget;
use super::feed::Feed;
use super::flush::{Due, Ledger};
use super::goal::Goal;
use super::pipeline::Pipeline;
use super::recipe::Packed;
use super::status::{State, TaskStatus};
use crate::config::Tolerance;
use crate::kafka::dead_letters::DeadLetters;

/// Memory in use beyond which a task publishes what it has, though no range is full; in percent of the budget.
const PRESSURE_PERCENT: usize = 85;
/// A task reads on beside a publish until it holds one part in so many of the budget.
const AHEAD_SHARE: usize = 8;
/// How often the clock and the memory are looked at.
const TICK: Duration = Duration::from_millis(250);

pub use self::members::Engine;

/// Makes the engine of a former configuration ([`super::recipe`]).
pub type Restore = Arc<dyn Fn(&str) -> Result<Engine> + Send + Sync>;

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
    /// The configuration that records are published under, if their ranges are to end at the same place every time.
    pub recipe: Option<Packed>,
    /// For ranges that were begun under another one.
    pub restore: Option<Restore>,
}

/// The state of a running task.
struct Running {
    task: SinkTask,
    feed: Feed,
    ledgers: BTreeMap<TopicPartition, Ledger>,
    publishing: Option<Publishing>,
    next_cut_ms: Option<i64>,
    limits: OpenLimits,
    leaving: Vec<Leaving>,
    former: Former,
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
        let limits = self.sink.open_limits();
        let mut running = Running {
            task: self,
            feed,
            ledgers: BTreeMap::new(),
            publishing: None,
            next_cut_ms,
            limits,
            leaving: Vec::new(),
            former: Former::new(),
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
            self.see_off().await;
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
                    Some(fetched) => self.receive(fetched).await?,
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

    fn look_at_clock_and_memory(&mut self) {
        let now = now_ms();
        if self.next_cut_ms.is_some_and(|at| at <= now) {
            self.next_cut_ms = self.task.sink.schedule().map(|s| s.next_after(now));
            self.force = self.force.max(Due::Written);
        }
        let looked = Instant::now();
        self.ledgers.values_mut().for_each(|ledger| ledger.look_at_clock(self.limits, looked));
        let budget = self.task.budget.clone();
        let short = budget.used_bytes() * 100 > budget.total_bytes() * PRESSURE_PERCENT;
        // A publish that is under way frees memory by itself; only open files that wait for more records do not.
        if !short || self.publishing.is_some() {
            self.pressed = 0;
            return;
        }
        self.pass_over();
        // Whoever holds much goes first; if that does not help within a second, everybody does.
        self.pressed += 1;
        let much = self.held_bytes() * 8 > budget.total_bytes();
        if (much || self.pressed > 4) && self.ledgers.values().any(Ledger::is_open) {
            self.force = self.force.max(Due::Written);
        }
    }

    /// Acknowledges records that came to nothing, where the sink holds none before them: dead letters would be written
    /// again after the next start, and a topic of nothing else would fill the memory.
    fn pass_over(&mut self) {
        for ledger in self.ledgers.values_mut().filter(|ledger| !ledger.is_open() && ledger.is_behind()) {
            ledger.force(Due::Read);
        }
    }

    /// After `stop`: publishes what is due and gives the partitions back.
    async fn drain(&mut self) -> Result<()> {
        self.force = if self.task.flush_on_stop { Due::Written } else { Due::Cut };
        let limit = self.task.drain_timeout;
        // Everything is given back now, not only what was asked back.
        let _leaving = std::mem::take(&mut self.leaving);
        let give_up = self.give_up.clone();
        let finished = tokio::time::timeout(limit, async {
            self.take_the_rest().await?;
            self.pass_over();
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
                Some(fetched) => self.receive(fetched).await?,
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

async fn wait_for(publishing: &mut Option<Publishing>) -> Result<Published> {
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
