//! Exactly once (KIP-618): records and the positions behind them are one transaction. Only the newest task of its name
//! can write; whoever reads with `isolation.level=read_committed` sees a transaction whole or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use connector_core::failpoint::reach;
use connector_core::{ConnectError, Offset, Result, SourceBatch};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument;

use super::outgoing::Outgoing;
use super::sender::Sender;
use super::sent::{Origins, Sent, refuse};
use super::{DELIVERING, Polling, SourceTask, wait_for};
use crate::config::Boundary;
use crate::kafka::offsets::TopicPositions;
use crate::kafka::producer::Record;
use crate::kafka::transaction::{Broken, TransactionalProducer};
use crate::task::positions;
use crate::task::retry;
use crate::telemetry::traces::step;

/// A transaction whose records take more memory than this ends before its interval does.
const MAX_BYTES: usize = 32 << 20;
/// How long a task that has failed tries to take its transaction back.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// What writing in transactions takes; the producer has fenced those before it.
pub struct Transacted {
    pub producer: TransactionalProducer,
    pub positions: TopicPositions,
    pub boundary: Boundary,
}

/// The batches of a transaction that is open.
struct Open {
    batches: Vec<Outgoing>,
    /// Of each batch, what became of its records in the present attempt.
    sent: Vec<Arc<Sent>>,
    /// When it has to end, if another batch does not end it.
    until: Instant,
    bytes: usize,
}

/// How a transaction came to its end.
enum End {
    Committed,
    /// Whoever sent the records is told, and decides.
    GivenUp(ConnectError),
}

struct Running {
    task: SourceTask,
    transacted: Transacted,
    sender: Sender,
    polling: Option<Polling>,
    open: Option<Open>,
    done: Arc<Notify>,
    numbers: Offset,
}

impl SourceTask {
    pub(super) async fn run_in_transactions(self, transacted: Transacted) -> Result<()> {
        let mut running = Running {
            sender: Sender::new(transacted.producer.producer().clone(), self.admin.clone()),
            transacted,
            polling: None,
            open: None,
            done: Arc::new(Notify::new()),
            numbers: 0,
            task: self,
        };
        let (stop, limit) = (running.task.stop.clone(), running.task.drain_timeout);
        let too_long = async {
            stop.cancelled().await;
            tokio::time::sleep(limit).await;
        };
        let outcome = tokio::select! {
            outcome = running.pump() => outcome,
            () = too_long => Err(running.task.too_slow_to_stop()),
        };
        if let Some(polling) = running.polling.take() {
            polling.end().await;
        }
        if outcome.is_err() {
            // So that readers need not wait until the brokers lose patience. Whether it works changes nothing.
            let _ = tokio::time::timeout(GIVE_BACK, running.transacted.producer.abort()).await;
        }
        let producer = running.transacted.producer.clone();
        drop(running);
        producer.close().await;
        outcome
    }
}

impl Running {
    async fn pump(&mut self) -> Result<()> {
        loop {
            if self.polling.is_none() {
                self.polling = Some(self.task.poll());
            }
            let until = self.open.as_ref().map(|open| open.until);
            let batch = tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return self.commit().await,
                () = sleep_until(until) => {
                    self.commit().await?;
                    continue;
                }
                batch = wait_for(&mut self.polling) => batch,
            };
            self.polling = None;
            match batch {
                Ok(Some(batch)) => self.add(batch).await?,
                Ok(None) => {
                    self.commit().await?;
                    self.task.at_the_end().await;
                    return Ok(());
                }
                Err(_) if self.task.stop.is_cancelled() => return self.commit().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a batch in the open transaction, or in a new one, and ends it where it has to end.
    async fn add(&mut self, batch: SourceBatch) -> Result<()> {
        reach("source.polled");
        let span = self.task.batch_span(&batch);
        let outgoing = self.task.prepare(batch, &mut self.numbers).instrument(span.clone()).await?;
        if self.open.is_none() && outgoing.is_empty() {
            let acks = outgoing.acks.clone();
            return self.task.committed(&outgoing, acks).await;
        }
        // The next one is read while this one is written.
        self.polling = Some(self.task.poll());
        if self.open.is_none() {
            let until = match self.transacted.boundary {
                Boundary::Poll => Instant::now(),
                Boundary::Interval(interval) => Instant::now() + interval,
            };
            self.begin().await?;
            self.open = Some(Open { batches: Vec::new(), sent: Vec::new(), until, bytes: 0 });
        }
        let sent = self.send(&outgoing).instrument(span.in_scope(|| step!("write"))).await?;
        let failed = sent.has_failed();
        let Some(open) = &mut self.open else { return Ok(()) };
        open.bytes += outgoing.bytes();
        open.batches.push(outgoing);
        open.sent.push(sent);
        let is_over = failed || open.until <= Instant::now() || open.bytes > MAX_BYTES;
        reach("source.sent");
        if is_over { self.commit().await } else { Ok(()) }
    }

    async fn begin(&self) -> Result<()> {
        self.transacted.producer.begin().await?;
        reach("source.transaction_begun");
        Ok(())
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Arc<Sent>> {
        let sent = Sent::new(outgoing.acks.clone(), outgoing.origins.clone(), self.done.clone());
        outgoing.send(&self.sender, &sent).await?;
        Ok(sent)
    }

    /// Ends the open transaction, if there is one, and tells the source.
    async fn commit(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let (status, stop, began) = (self.task.status.clone(), self.task.stop.clone(), Instant::now());
        let end = {
            // An attempt is over before the next one begins, so nobody waits for this lock.
            let lent = tokio::sync::Mutex::new((&mut *self, &mut open));
            let attempt = async || {
                let mut lent = lent.lock().await;
                let (running, open) = &mut *lent;
                running.attempt(open).await
            };
            let commit = step!("commit", connector = status.connector, task = status.task);
            retry::with_backoff(&status, &stop, attempt).instrument(commit).await
        };
        let end = match end {
            Ok(end) => end,
            Err(error) => {
                // Stopped between two attempts: nothing is open, and all of it will be read again.
                let stopped = stop.is_cancelled() && error.is_retriable();
                return if stopped { Ok(()) } else { Err(error) };
            }
        };
        if matches!(end, End::Committed) {
            reach("source.transaction_committed");
            let records: usize = open.batches.iter().map(Outgoing::records).sum();
            status.samples.commit_ms.record_since(began.into_std());
            status.samples.transaction.record(records as f64);
        }
        for (outgoing, sent) in open.batches.into_iter().zip(open.sent) {
            let mut acks = sent.take_acks();
            if let End::GivenUp(error) = &end {
                acks.iter_mut().flatten().filter(|ack| ack.error.is_none()).for_each(|ack| {
                    *ack = refuse(ack.destination.clone(), 50003, error);
                });
            }
            self.task.committed(&outgoing, acks).await?;
            reach("source.acknowledged");
        }
        Ok(())
    }

    /// Ends the transaction, after sending its batches once more if the former attempt was taken back. A retriable error:
    /// this one was taken back.
    async fn attempt(&mut self, open: &mut Open) -> Result<End> {
        loop {
            if open.sent.is_empty() {
                self.begin().await?;
                for outgoing in &open.batches {
                    open.sent.push(self.send(outgoing).await?);
                }
            }
            let error = match self.finish(open).await {
                Ok(()) => return Ok(End::Committed),
                Err(Broken::Fatal(error)) => return Err(error),
                Err(Broken::Abort(error)) => error,
            };
            if let Err(Broken::Abort(error) | Broken::Fatal(error)) = self.transacted.producer.abort().await {
                return Err(error.no_retry());
            }
            let (error, refused) = self.sort_out(open, error).await?;
            if refused {
                open.sent.clear();
            } else if !error.is_retriable() {
                return Err(error);
            } else if self.task.source.wants_acks() && error.code == "kafka.MessageTimedOut" {
                return Ok(End::GivenUp(error));
            } else {
                open.sent.clear();
                return Err(error);
            }
        }
    }

    /// Adds the positions, waits for all deliveries, and commits.
    async fn finish(&self, open: &mut Open) -> std::result::Result<(), Broken> {
        let positions = positions::last(open.batches.iter().flat_map(|b| &b.offset.positions));
        let stored = self.send_positions(&positions).await.map_err(Broken::Fatal)?;
        reach("source.offsets_sent");
        let _delivering = self.task.status.pulse.begin(DELIVERING);
        while !(stored.is_done() && open.sent.iter().all(|sent| sent.is_done())) {
            self.done.notified().await;
        }
        if let Some(failure) = stored.take_failures().into_iter().next() {
            return Err(self.broken(failure.error.at("storing source offsets")));
        }
        if open.sent.iter().any(|sent| sent.has_failed()) {
            return Err(self.broken(ConnectError::external("kafka.transaction", "records were not taken")));
        }
        reach("source.delivered");
        self.transacted.producer.commit().await
    }

    fn broken(&self, error: ConnectError) -> Broken {
        self.transacted.producer.fatal().map_or(Broken::Abort(error), Broken::Fatal)
    }

    async fn send_positions(&self, positions: &[connector_core::Position]) -> Result<Arc<Sent>> {
        let sent = Sent::new(None, Arc::new(Origins::of(&[], 0)?), self.done.clone());
        let mut parts = self.sender.parts(&sent);
        let topic = self.transacted.positions.topic();
        for (index, position) in positions.iter().enumerate() {
            let (key, value) = self.transacted.positions.encode(position)?;
            sent.expect(1);
            let record = Record {
                topic,
                partition: None,
                key: Some(&key),
                value: Some(&value),
                timestamp: None,
                headers: Vec::new(),
            };
            parts.send(&record, index).await;
        }
        parts.end().await;
        sent.all_sent();
        Ok(sent)
    }

    /// What made the transaction fail: records that are refused for good are left out of the next attempt, those that were
    /// refused together go in smaller parts. Whether the next attempt is another one than this; otherwise, why it failed.
    async fn sort_out(&mut self, open: &mut Open, error: ConnectError) -> Result<(ConnectError, bool)> {
        let (mut why, mut changed, mut crowded_topics) = (error, false, BTreeSet::new());
        for (outgoing, sent) in open.batches.iter_mut().zip(&open.sent) {
            for failure in sent.take_failures() {
                let topic = outgoing.origins.find(failure.index).map(|(topic, _)| topic.clone());
                if failure.crowded.is_some() {
                    crowded_topics.extend(topic);
                } else if failure.is_of_the_record() {
                    self.task.refused(outgoing, failure)?;
                    changed = true;
                } else if !is_of_others(&failure.error) {
                    why = failure.error;
                }
            }
        }
        changed |= !crowded_topics.is_empty();
        for topic in crowded_topics {
            self.sender.learn(&topic).await;
        }
        Ok((why, changed))
    }
}

/// librdkafka takes back what had no part in the failure.
fn is_of_others(error: &ConnectError) -> bool {
    ["kafka.PurgeQueue", "kafka.PurgeInflight", "kafka.State"].contains(&error.code.as_str())
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
