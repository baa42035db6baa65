//! The thread of a consumer: it polls always, so that callbacks are served even when the task is stuck.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;

use super::batch::MessageQueue;
use super::group::{GroupContext, lock};
use super::kafka_error;
use crate::task::budget::MemoryBudget;
use crate::task::feed::{Fetched, Membership, Piece, Records};

/// At most this many messages a fetch; how many it really is follows from their size.
pub(super) const MAX_MESSAGES: usize = 10_000;
/// Bytes that one fetch aims at.
const FETCH_BYTES: usize = 1 << 20;
/// How long an event of the group may wait while nothing comes in.
const IDLE: Duration = Duration::from_millis(100);
/// Pause before a task or a budget that has no room is asked again.
const FULL: Duration = Duration::from_millis(5);

/// Events first, then messages, as far as the memory budget and the task allow.
pub(super) struct Poller {
    consumer: Arc<BaseConsumer<GroupContext>>,
    queue: Arc<Mutex<MessageQueue<GroupContext>>>,
    batches: mpsc::Sender<Fetched>,
    budget: MemoryBudget,
    stop: Arc<AtomicBool>,
    /// Fetched, and not yet taken by the task; in reverse.
    pending: Vec<Fetched>,
    /// Running average of a message's size, in bytes.
    average: usize,
}

impl Poller {
    pub(super) fn new(
        consumer: Arc<BaseConsumer<GroupContext>>,
        queue: Arc<Mutex<MessageQueue<GroupContext>>>,
        batches: mpsc::Sender<Fetched>,
        budget: MemoryBudget,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { consumer, queue, batches, budget, stop, pending: Vec::new(), average: 1024 }
    }

    pub(super) fn run(&mut self) {
        let mut told = None;
        while !self.stop.load(Ordering::Acquire) {
            let wait = if self.deliver() { Duration::ZERO } else { FULL };
            if let Some(Err(error)) = self.consumer.poll(wait) {
                self.report(&error, &mut told);
            }
            self.consumer.context().give_back(&self.consumer);
            if self.pending.is_empty() {
                self.fetch();
            }
        }
        // A list of partitions that is kept for the task would keep librdkafka from ever closing.
        self.consumer.context().closing();
        self.consumer.context().give_back(&self.consumer);
    }

    /// Hands over what is pending; true when all of it went.
    fn deliver(&mut self) -> bool {
        while let Some(fetched) = self.pending.pop() {
            if let Err(mpsc::error::TrySendError::Full(fetched)) = self.batches.try_send(fetched) {
                self.pending.push(fetched);
                return false;
            }
        }
        true
    }

    fn fetch(&mut self) {
        let Some(reserved) = self.budget.try_reserve(FETCH_BYTES) else {
            std::thread::sleep(FULL);
            return;
        };
        let max = (FETCH_BYTES / self.average.max(64)).clamp(16, MAX_MESSAGES);
        let fetched = lock(&self.queue).fetch(IDLE, max);
        let (fetched, errors) = match fetched {
            Ok(both) => both,
            Err(error) => {
                self.consumer.context().tell(Membership::Failed(error));
                self.stop.store(true, Ordering::Release);
                return;
            }
        };
        let rows: usize = fetched.iter().map(|f| f.records.num_rows()).sum();
        let bytes: usize = fetched.iter().map(|f| f.bytes).sum();
        if let Some(average) = bytes.checked_div(rows) {
            self.average = (self.average + average) / 2;
        }
        let mut reserved = reserved;
        let epochs = self.consumer.context().epochs();
        for part in fetched {
            // Messages of a partition that was taken away meanwhile will be read by its new owner.
            let Some(&epoch) = epochs.of.get(&part.partition) else { continue };
            let permit = reserved.split_off(part.bytes + part.records.num_rows() * 48);
            let records = Records {
                records: part.records,
                permit,
                last_offset: part.last_offset,
                high_watermark: part.high_watermark,
                whole: true,
            };
            self.pending.push(Fetched { epoch, partition: part.partition, what: Piece::Records(records) });
        }
        for error in errors {
            let code: RDKafkaErrorCode = error.code.into();
            let partition = error.partition;
            let epoch = epochs.of.get(&partition).copied();
            match (code, epoch) {
                // It follows the last message of its partition.
                (RDKafkaErrorCode::PartitionEOF, Some(epoch)) => {
                    self.pending.push(Fetched { epoch, partition, what: Piece::End });
                }
                // The task knows what was to come next, and asks.
                (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange, Some(epoch)) => {
                    self.pending.push(Fetched { epoch, partition, what: Piece::OutOfRange });
                }
                (
                    RDKafkaErrorCode::PartitionEOF
                    | RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::OffsetOutOfRange,
                    None,
                ) => {}
                _ => {
                    let cause = KafkaError::MessageConsumption(code);
                    let trouble = kafka_error(&format!("reading {partition} failed"), &cause);
                    self.consumer.context().tell(Membership::Trouble(trouble));
                }
            }
        }
        drop(epochs);
        self.pending.reverse();
        self.deliver();
    }

    /// Says an error once a minute, not at each poll.
    fn report(&self, error: &KafkaError, told: &mut Option<(String, Instant)>) {
        let text = error.to_string();
        if told.as_ref().is_some_and(|(last, at)| *last == text && at.elapsed() < Duration::from_secs(60)) {
            return;
        }
        *told = Some((text, Instant::now()));
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        let error = kafka_error("reading from Kafka failed", error);
        let error = self.consumer.context().trouble().explain(error);
        self.consumer.context().tell(if fatal {
            Membership::Failed(error.no_retry())
        } else {
            Membership::Trouble(error)
        });
    }
}
