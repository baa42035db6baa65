//! At least once: batches are sent one after the other without waiting, and positions are stored in their order once
//! Kafka has acknowledged all records before them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use connector_core::failpoint::reach;
use connector_core::{Offset, Result, SourceBatch};
use rdkafka::message::Message;
use tokio::sync::Notify;
use tracing::Instrument;

use super::outgoing::Outgoing;
use super::sender::Sender;
use super::sent::{Failure, Sent};
use super::{DELIVERING, Polling, SourceTask, wait_for};
use crate::kafka::producer::Producer;
use crate::task::positions::{self, Positions};
use crate::task::retry;
use crate::telemetry::traces::step;

/// Batches that are sent and not yet acknowledged.
const MAX_IN_FLIGHT: usize = 64;

/// One polled batch on its way to Kafka, without its records: the producer has them.
struct InFlight {
    outgoing: Outgoing,
    sent: Arc<Sent>,
}

struct Running {
    task: SourceTask,
    sender: Sender,
    positions: Arc<dyn Positions>,
    /// Kept over acknowledgements: a read that is under way is not begun again.
    polling: Option<Polling>,
    in_flight: VecDeque<InFlight>,
    done: Arc<Notify>,
    numbers: Offset,
}

impl SourceTask {
    pub(super) async fn run_pipelined(self, producer: Producer, positions: Arc<dyn Positions>) -> Result<()> {
        let mut running = Running {
            sender: Sender::new(producer, self.admin.clone()),
            positions,
            polling: None,
            in_flight: VecDeque::new(),
            done: Arc::new(Notify::new()),
            numbers: 0,
            task: self,
        };
        let outcome = running.pump().await;
        if let Some(polling) = running.polling.take() {
            polling.end().await;
        }
        outcome?;
        let limit = running.task.drain_timeout;
        let drained = tokio::time::timeout(limit, running.acknowledge_all()).await;
        drained.unwrap_or_else(|_| Err(running.task.too_slow_to_stop()))
    }
}

impl Running {
    async fn pump(&mut self) -> Result<()> {
        let status = self.task.status.clone();
        loop {
            self.acknowledge_ready().await?;
            if self.polling.is_none() && self.in_flight.len() < MAX_IN_FLIGHT {
                self.polling = Some(self.task.poll());
            }
            let _delivering = (!self.in_flight.is_empty()).then(|| status.pulse.begin(DELIVERING));
            let batch = tokio::select! {
                biased;
                () = self.task.stop.cancelled() => return Ok(()),
                () = self.done.notified() => continue,
                batch = wait_for(&mut self.polling) => batch,
            };
            self.polling = None;
            match batch {
                Ok(Some(batch)) => self.send(batch).await?,
                Ok(None) => {
                    self.acknowledge_all().await?;
                    self.task.at_the_end().await;
                    return Ok(());
                }
                Err(_) if self.task.stop.is_cancelled() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn send(&mut self, batch: SourceBatch) -> Result<()> {
        reach("source.polled");
        let span = self.task.batch_span(&batch);
        self.write(batch).instrument(span).await
    }

    async fn write(&mut self, batch: SourceBatch) -> Result<()> {
        let mut outgoing = self.task.prepare(batch, &mut self.numbers).await?;
        let sent = Sent::new(outgoing.acks.take(), outgoing.origins.clone(), self.done.clone());
        outgoing.send(&self.sender, &sent).instrument(step!("write")).await?;
        outgoing.runs = Vec::new();
        reach("source.sent");
        self.in_flight.push_back(InFlight { outgoing, sent });
        Ok(())
    }

    /// Acknowledges batches at the head of the queue, in order.
    async fn acknowledge_ready(&mut self) -> Result<()> {
        while self.in_flight.front().is_some_and(|f| f.sent.is_done()) {
            // Positions of several batches are one write: only the last of a source partition matters.
            let mut ready = Vec::new();
            while let Some(mut flight) = self.in_flight.pop_front_if(|f| f.sent.is_done()) {
                let settled = self.settle(&mut flight).await;
                ready.push(flight);
                if settled.is_err() {
                    // What came before it is stored.
                    ready.pop();
                    self.acknowledge(ready).await?;
                    return settled;
                }
            }
            self.acknowledge(ready).await?;
        }
        Ok(())
    }

    /// What Kafka refused: it is sent in smaller parts, skipped, or the end of the task.
    async fn settle(&mut self, flight: &mut InFlight) -> Result<()> {
        let mut failures = flight.sent.take_failures();
        loop {
            let crowded: Vec<_> = failures.extract_if(.., |f| f.crowded.is_some()).collect();
            if crowded.is_empty() {
                break;
            }
            self.send_apart(crowded, &flight.sent).await;
            failures.extend(flight.sent.take_failures());
        }
        if self.task.source.wants_acks() {
            // It is told of each record.
            return Ok(());
        }
        failures.sort_by_key(|failure| failure.index);
        for failure in failures {
            match failure.is_of_the_record() {
                true => self.task.refused(&mut flight.outgoing, failure)?,
                false => return Err(failure.error.no_retry()),
            }
        }
        Ok(())
    }

    async fn send_apart(&mut self, crowded: Vec<Failure>, sent: &Arc<Sent>) {
        let records: Vec<_> = crowded.into_iter().filter_map(|f| Some((f.index, f.crowded?))).collect();
        let topics: BTreeSet<&str> = records.iter().map(|(_, record)| record.topic()).collect();
        for topic in topics {
            self.sender.learn(topic).await;
        }
        sent.expect(records.len() + 1);
        let mut parts = self.sender.parts(sent);
        for (index, record) in &records {
            parts.send_again(record, *index).await;
        }
        parts.end().await;
        sent.all_sent();
        while !sent.is_done() {
            self.done.notified().await;
        }
    }

    async fn acknowledge(&mut self, ready: Vec<InFlight>) -> Result<()> {
        if ready.is_empty() {
            return Ok(());
        }
        reach("source.delivered");
        let moved = ready.iter().flat_map(|flight| &flight.outgoing.offset.positions);
        let positions = positions::last(moved);
        if !positions.is_empty() {
            let (store, began) = (self.positions.clone(), Instant::now());
            let status = &self.task.status;
            let span = step!("commit", connector = status.connector, task = status.task);
            retry::with_backoff(status, &self.task.stop, || store.store(&positions)).instrument(span).await?;
            self.task.status.samples.commit_ms.record_since(began);
        }
        reach("source.stored");
        for InFlight { outgoing, sent } in ready {
            self.task.committed(&outgoing, sent.take_acks()).await?;
            reach("source.acknowledged");
        }
        Ok(())
    }

    async fn acknowledge_all(&mut self) -> Result<()> {
        loop {
            self.acknowledge_ready().await?;
            if self.in_flight.is_empty() {
                return Ok(());
            }
            self.done.notified().await;
        }
    }
}
