//! What each task is doing, for people, probes and metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use connector_core::{ConnectError, Kind, Metric, Result, TopicPartition};
use serde::Serialize;

use super::errors::TaskErrors;
use super::pulse::Pulse;
use super::samples::TaskSamples;
use crate::config::{SecretSet, Tolerance};

/// Connect's task states, and one of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Unassigned,
    Running,
    /// It runs, but nothing has moved for `task.stall.timeout.ms` though there is something to do. Connect calls this
    /// RUNNING.
    Stalled,
    /// It failed and will be started again.
    Restarting,
    Failed,
}

impl State {
    /// As Connect's metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
        }
    }
}

/// What a task promises of its records, and why not more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// `exactly-once` or `at-least-once`; empty before it is known.
    #[serde(rename = "delivery", skip_serializing_if = "str::is_empty")]
    pub delivery: &'static str,
    #[serde(rename = "delivery_reason", skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The reason of a task that has come to its end.
pub const FINISHED: &str = "finished";

pub const EXACTLY_ONCE: &str = "exactly-once";
pub const AT_LEAST_ONCE: &str = "at-least-once";

/// State, why, and since when.
#[derive(Clone, Debug, Serialize)]
pub struct Condition {
    pub state: State,
    /// Empty when all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub since: DateTime<Utc>,
}

/// Counts since the task started. Every record read is delivered, filtered, rejected, or still on its way.
#[derive(Debug, Default)]
pub struct Counters {
    pub read: AtomicU64,
    pub delivered: AtomicU64,
    pub filtered: AtomicU64,
    pub rejected: AtomicU64,
    pub retries: AtomicU64,
    pub commits: AtomicU64,
    /// Commits that the group refused.
    pub commits_refused: AtomicU64,
    /// Records that expired in Kafka before they were read.
    pub lost_before: AtomicU64,
    pub restarts: AtomicU64,
    /// Records that the sink had and that were given back unpublished: their next reader counts them again.
    pub given_back: AtomicU64,
    /// Epoch milliseconds of the last publish; 0 when there was none.
    pub last_flush_ms: AtomicI64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// Starts of one kind (connectors, tasks) since the worker began. One that was tried is yet to succeed or to fail.
#[derive(Debug, Default)]
pub struct Startups {
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
}

/// How often partitions came, and since when.
#[derive(Debug, Default)]
pub struct Rebalances {
    pub completed: AtomicU64,
    /// Epoch milliseconds; 0: never.
    pub last_ms: AtomicI64,
    /// When partitions were asked back, until others come.
    pub under_way: Mutex<Option<Instant>>,
}

/// What is counted of the starts of a worker.
#[derive(Debug, Default)]
pub struct WorkerStartups {
    pub connectors: Startups,
    pub tasks: Startups,
}

type Exposed = Box<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// One task, shared by the task itself and whoever asks.
pub struct TaskStatus {
    pub connector: String,
    pub task: usize,
    pub kind: Kind,
    /// The plugin's short name.
    pub plugin: String,
    condition: Mutex<Condition>,
    pub counters: Counters,
    pub samples: TaskSamples,
    startups: Arc<WorkerStartups>,
    /// Of the consumer group, as this task saw them.
    pub rebalances: Rebalances,
    /// Of single records: what is counted, and how long they are tried again.
    pub errors: TaskErrors,
    promise: Mutex<Promise>,
    pub(super) pulse: Pulse,
    /// Never part of a reason or a log line.
    secrets: SecretSet,
    /// Records behind the end of each partition of this task.
    lag: Mutex<BTreeMap<TopicPartition, i64>>,
    /// Skipped records that were told about.
    skips_told: AtomicU64,
    exposed: Mutex<Vec<Exposed>>,
}

impl fmt::Debug for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStatus").field("connector", &self.connector).field("task", &self.task).finish()
    }
}

impl TaskStatus {
    pub fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The text without the connector's secrets.
    pub fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }

    pub fn promise(&self) -> Promise {
        self.promise.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what the task promises; a change is logged. `reason`: why not more, or empty.
    pub fn set_delivery(&self, delivery: &'static str, reason: impl Into<String>) {
        let promise = Promise { delivery, reason: reason.into() };
        let mut now = self.promise.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == promise {
            return;
        }
        let (connector, task, reason) = (&self.connector, self.task, &promise.reason);
        match reason.is_empty() {
            true => tracing::info!(connector, task, "delivery: {delivery}"),
            false => tracing::warn!(connector, task, "delivery: {delivery}, because {reason}"),
        }
        *now = promise;
    }

    /// Sets the state; `since` changes only with it.
    pub fn set(&self, state: State, reason: impl AsRef<str>) {
        self.pulse.beat();
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if condition.state != state {
            condition.since = Utc::now();
            self.count_startup(condition.state, state);
        }
        condition.state = state;
        condition.reason = self.redact(reason.as_ref());
    }

    /// A start succeeds when the task runs, and fails when it fails before.
    fn count_startup(&self, before: State, now: State) {
        let WorkerStartups { connectors, tasks } = &*self.startups;
        // Connectors have one start; it is that of their first task, which makes the others.
        let first = (self.task == 0 && before == State::Unassigned).then_some(connectors);
        let of = |startups: &Startups| match now {
            State::Running => Counters::add(&startups.succeeded, 1),
            State::Failed | State::Restarting => Counters::add(&startups.failed, 1),
            State::Unassigned | State::Stalled => {}
        };
        if matches!(before, State::Unassigned | State::Restarting) {
            [Some(tasks), first].into_iter().flatten().for_each(of);
        }
    }

    /// Sets the reason of a running task: what it waits for. Empty: nothing.
    pub fn remark(&self, reason: impl AsRef<str>) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if condition.state != State::Failed {
            condition.reason = self.redact(reason.as_ref());
        }
        self.pulse.calm();
    }

    /// As [`Self::remark`], of something that keeps the task from its work. It is over at the next remark, or if nothing
    /// more is heard of it for `lasting`.
    pub fn trouble(&self, reason: impl AsRef<str>, lasting: Duration) {
        self.remark(reason);
        self.pulse.trouble(lasting);
    }

    /// Keeps what is known of the quiet: only a beat ends the stall.
    pub(super) fn stall(&self, reason: String) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        *condition = Condition { state: State::Stalled, reason, since: Utc::now() };
    }

    /// The task has got something done.
    pub fn beat(&self) {
        self.pulse.beat();
    }

    /// A record that goes no further is counted and said.
    pub fn skipped(&self, place: &str, error: &ConnectError) {
        self.told_skipped(place, error);
        Counters::add(&self.counters.rejected, 1);
    }

    /// What a source could not read as records: the first fails the task, or all are skipped.
    pub fn unreadable(&self, tolerance: Tolerance, place: &str, errors: Vec<ConnectError>) -> Result<()> {
        Counters::add(&self.counters.read, errors.len());
        for error in errors {
            if tolerance == Tolerance::None {
                return Err(error.no_retry().hint_if_none("errors.tolerance: all skips what cannot be read"));
            }
            self.skipped(place, &error);
        }
        Ok(())
    }

    /// Says why a record goes no further, as long as there are not many of them.
    pub fn told_skipped(&self, place: &str, error: &ConnectError) {
        const TOLD: u64 = 20;
        let before = self.skips_told.fetch_add(1, Ordering::Relaxed);
        if before < TOLD {
            let (connector, task) = (&self.connector, self.task);
            let more = if before + 1 == TOLD { "; further ones are only counted" } else { "" };
            let error = self.redact(&error.to_string());
            tracing::warn!(connector, task, "record skipped: {place}{error}{more}");
        }
    }

    /// Records came in.
    pub fn sample_read(&self, records: usize) {
        self.samples.read.record(records as f64);
        self.samples.batch.record(records as f64);
        self.samples.active.record(self.active() as f64);
    }

    /// Records that were read and are neither delivered nor dropped.
    pub fn active(&self) -> u64 {
        let Counters { read, delivered, filtered, rejected, given_back, .. } = &self.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        of(read).saturating_sub([delivered, filtered, rejected, given_back].into_iter().map(of).sum())
    }

    /// The group has asked for partitions.
    pub fn rebalancing(&self) {
        *self.rebalances.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The group has given partitions.
    pub fn rebalanced(&self) {
        let began = self.rebalances.under_way.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(began) = began {
            self.samples.rebalance_ms.record_since(began);
        }
        Counters::add(&self.rebalances.completed, 1);
        self.rebalances.last_ms.store(Utc::now().timestamp_millis(), Ordering::Relaxed);
    }

    /// What the task's plugins count, for whoever asks.
    pub fn expose(&self, metrics: impl Fn() -> Vec<Metric> + Send + Sync + 'static) {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(metrics));
    }

    /// What the task's plugins count now.
    pub fn plugin_metrics(&self) -> Vec<Metric> {
        let exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        exposed.iter().flat_map(|metrics| metrics()).collect()
    }

    pub fn set_lag(&self, partition: &TopicPartition, records: i64) {
        let mut lag = self.lag.lock().unwrap_or_else(PoisonError::into_inner);
        match lag.get_mut(partition) {
            Some(known) => *known = records,
            None => drop(lag.insert(partition.clone(), records)),
        }
    }

    pub fn forget_partition(&self, partition: &TopicPartition) {
        self.lag.lock().unwrap_or_else(PoisonError::into_inner).remove(partition);
    }

    pub fn lag(&self) -> BTreeMap<TopicPartition, i64> {
        self.lag.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// By connector and number.
type Tasks = BTreeMap<(String, usize), Arc<TaskStatus>>;

/// All tasks of a worker.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard {
    tasks: Arc<RwLock<Tasks>>,
    pub startups: Arc<WorkerStartups>,
}

impl StatusBoard {
    pub fn register(
        &self,
        connector: &str,
        task: usize,
        (kind, plugin): (Kind, &str),
        secrets: &SecretSet,
    ) -> Arc<TaskStatus> {
        let status = Arc::new(TaskStatus {
            connector: connector.to_owned(),
            task,
            kind,
            plugin: plugin.to_owned(),
            condition: Mutex::new(Condition {
                state: State::Unassigned,
                reason: "starting".to_owned(),
                since: Utc::now(),
            }),
            counters: Counters::default(),
            samples: TaskSamples::default(),
            startups: self.startups.clone(),
            rebalances: Rebalances::default(),
            errors: TaskErrors::default(),
            promise: Mutex::default(),
            pulse: Pulse::default(),
            secrets: secrets.clone(),
            lag: Mutex::default(),
            skips_told: AtomicU64::new(0),
            exposed: Mutex::default(),
        });
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.insert((connector.to_owned(), task), status.clone());
        status
    }

    /// Forgets the tasks of a connector: it is gone, or starts with others.
    pub fn forget(&self, connector: &str) {
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|(name, _), _| name != connector);
    }

    /// All tasks, by connector and number.
    pub fn tasks(&self) -> Vec<Arc<TaskStatus>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
