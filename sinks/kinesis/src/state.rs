//! What `write`, `flush` and the pump share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connector_core::{ConnectError, Metric, Offset, Result, TopicPartition};
use tokio::sync::Notify;

use crate::entry::{Entry, Ticket};
use crate::queue::Queue;

/// How long nothing may be stored, with failures, before the host is told; sending goes on meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);

/// The state of one sink.
#[derive(Debug)]
pub struct State {
    pub queue: Queue,
    /// Batches that are not stored, by partition.
    batches: HashMap<TopicPartition, VecDeque<Arc<Ticket>>>,
    /// Nothing more is sent.
    fatal: Option<ConnectError>,
    /// The last failure since something was stored.
    trouble: Option<ConnectError>,
    progress: Instant,
    pub requests: u64,
    pub in_flight: usize,
}

#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// There is something to send.
    pub pushed: Notify,
    /// Something was stored, or failed.
    settled: Notify,
}

impl State {
    /// Queues the records of one `write`.
    pub fn push(&mut self, partition: &TopicPartition, entries: Vec<Entry>) {
        let Some(batch) = entries.first().map(|entry| Arc::clone(&entry.ticket)) else { return };
        if self.queue.bytes() == 0 {
            self.progress = Instant::now();
        }
        let batches = self.batches.entry(partition.clone()).or_default();
        while batches.pop_front_if(|batch| batch.is_done()).is_some() {}
        batches.push_back(batch);
        entries.into_iter().for_each(|entry| self.queue.push(entry));
    }

    /// Whether all records of `partition` before `end` are stored.
    pub fn is_stored(&self, partition: &TopicPartition, end: Offset) -> bool {
        let mut batches = self.batches.get(partition).into_iter().flatten();
        batches.all(|batch| batch.first >= end || batch.is_done())
    }

    /// What is not sent of `partition` will not be.
    pub fn drop_rest(&mut self, partition: &TopicPartition) {
        for batch in self.batches.remove(partition).into_iter().flatten() {
            batch.drop_rest();
        }
    }

    pub fn is_fatal(&self) -> bool {
        self.fatal.is_some()
    }

    pub fn stored_something(&mut self) {
        self.trouble = None;
        self.progress = Instant::now();
    }

    /// An error of a call or an entry: final, or one after which sending goes on.
    pub fn failed(&mut self, error: ConnectError) {
        if error.is_retriable() {
            tracing::debug!("{error}");
            self.trouble = Some(error);
        } else if self.fatal.is_none() {
            self.fatal = Some(error);
        }
    }

    pub fn metrics(&self, stream: &str) -> Vec<Metric> {
        let Queue { counters, throttled, .. } = &self.queue;
        let counter = |name: &str, help: &str, value: u64| Metric::counter(name, help, value as f64);
        let mut metrics = vec![
            counter("sidestream_kinesis_put_requests_total", "PutRecords calls made.", self.requests),
            counter("sidestream_kinesis_stored_records_total", "Records stored.", counters.records_stored),
            counter(
                "sidestream_kinesis_retried_entries_total",
                "Entries of PutRecords calls that have to be sent again.",
                counters.retried,
            ),
            Metric::gauge(
                "sidestream_kinesis_requests_in_flight",
                "PutRecords calls under way.",
                self.in_flight as f64,
            ),
            Metric::gauge(
                "sidestream_kinesis_queued_bytes",
                "Bytes of keys and data that are not stored yet.",
                self.queue.bytes() as f64,
            ),
        ];
        metrics.extend(throttled.iter().map(|(shard, entries)| {
            let help = "Entries refused because the shard takes no more at once.";
            counter("sidestream_kinesis_throttled_entries_total", help, *entries).label("shard", shard)
        }));
        metrics.into_iter().map(|metric| metric.label("stream", stream)).collect()
    }

    /// What the host has to know.
    fn verdict(&self) -> Result<()> {
        let stuck = self.trouble.as_ref().filter(|_| self.progress.elapsed() > PATIENCE);
        match self.fatal.as_ref().or(stuck) {
            Some(error) => Err(copy(error)),
            None => Ok(()),
        }
    }
}

impl Shared {
    pub fn new(queue: Queue) -> Self {
        let state = State {
            queue,
            batches: HashMap::new(),
            fatal: None,
            trouble: None,
            progress: Instant::now(),
            requests: 0,
            in_flight: 0,
        };
        Self { state: Mutex::new(state), pushed: Notify::new(), settled: Notify::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn settled(&self) {
        self.settled.notify_waiters();
    }

    /// Waits until `done`; an error when it cannot come, or does not come while calls fail.
    pub async fn until(&self, done: impl Fn(&State) -> bool) -> Result<()> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Before the look, so that nothing is missed between the look and the wait.
            settled.as_mut().enable();
            {
                let state = self.lock();
                if done(&state) {
                    return Ok(());
                }
                state.verdict()?;
            }
            let _ = tokio::time::timeout(PATIENCE, settled).await;
        }
    }
}

/// The same error for another caller.
fn copy(error: &ConnectError) -> ConnectError {
    let ConnectError { domain, retry, code, message, hint, .. } = error;
    ConnectError::new(*domain, *retry, code, message).hint(hint)
}
