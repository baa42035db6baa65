//! A source task: source → transforms → converter → Kafka, and back: acknowledgement → stored position → source.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use connector_core::envelope::OFFSET;
use connector_core::source::AckError;
use connector_core::{
    Ack, Acks, ConnectError, Envelope, Offset, PollBudget, Result, Run, Source, SourceBatch, SourceOffset,
    TopicPartition,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::background::Background;
use super::pipeline::Pipeline;
use super::positions::{self, Positions};
use super::retry;
use super::sink::now_ms;
use super::status::{Counters, State, TaskStatus};
use crate::config::Tolerance;
use crate::kafka::producer::{Delivered, OnDelivery, Producer, Record};

/// Batches that are sent and not yet acknowledged.
const MAX_IN_FLIGHT: usize = 64;
pub(super) const POLL: PollBudget = PollBudget { max_records: 10_000, max_bytes: 4 << 20 };

/// What a source task is made of; the source is open.
pub struct SourceTask {
    pub source: Arc<dyn Source>,
    pub pipeline: Pipeline,
    pub tolerance: Tolerance,
    pub producer: Producer,
    pub positions: Arc<dyn Positions>,
    pub status: Arc<TaskStatus>,
    pub stop: CancellationToken,
    pub drain_timeout: Duration,
    /// The task ends with its source; otherwise it waits for `stop` then.
    pub bounded: bool,
}

/// One polled batch on its way to Kafka.
struct InFlight {
    offset: SourceOffset,
    /// Rows that came from the source.
    total: usize,
    filtered: usize,
    rejected: usize,
    sent: Arc<Sent>,
}

/// Deliveries of one batch, counted on the producer's thread.
struct Sent {
    left: AtomicUsize,
    /// One a row of the polled batch, only if the source wants them.
    rows: Option<Mutex<Vec<Ack>>>,
    failed: Mutex<Option<ConnectError>>,
    /// Destination of each sent row's run, and its row in the polled batch.
    targets: Mutex<Vec<(Arc<str>, usize)>>,
    done: Arc<Notify>,
}

impl OnDelivery for Sent {
    fn delivered(&self, index: usize, outcome: Delivered) {
        if let Some(rows) = &self.rows {
            let target = lock(&self.targets).get(index).cloned();
            if let Some((topic, row)) = target
                && let Some(ack) = lock(rows).get_mut(row)
            {
                *ack = acknowledge(topic, &outcome);
            }
        }
        if let Err(error) = outcome {
            lock(&self.failed).get_or_insert(error);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

impl Sent {
    fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acknowledge(topic: Arc<str>, outcome: &Delivered) -> Ack {
    match outcome {
        Ok((partition, offset)) => Ack {
            destination: topic,
            partition: partition.to_string(),
            offset: offset.to_string(),
            error: None,
        },
        Err(error) => refuse(topic, proxy_code(error), error),
    }
}

/// REST Proxy's codes: 50003 may pass when it is tried again, 50002 will not.
fn proxy_code(error: &ConnectError) -> i32 {
    match error.code.strip_prefix("kafka.").unwrap_or_default() {
        "Authentication" | "SaslAuthenticationFailed" => 40101,
        "TopicAuthorizationFailed" | "ClusterAuthorizationFailed" => 40301,
        "UnknownTopic" | "UnknownTopicOrPartition" => 40401,
        "UnknownPartition" => 40402,
        _ if error.is_retriable() => 50003,
        _ => 50002,
    }
}

pub(super) fn refuse(topic: Arc<str>, code: i32, error: &ConnectError) -> Ack {
    let error = AckError { code, message: error.to_string(), retriable: error.is_retriable() };
    Ack { destination: topic, partition: String::new(), offset: String::new(), error: Some(error) }
}

impl SourceTask {
    /// Runs until `stop`, the end of the source, or an error that retrying does not mend.
    pub async fn run(self) -> Result<()> {
        let mut running = Running {
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
        let drained = match outcome {
            Ok(()) => {
                let limit = running.task.drain_timeout;
                tokio::time::timeout(limit, running.acknowledge_all()).await.unwrap_or_else(|_| {
                    let message =
                        format!("Kafka did not acknowledge everything within {} ms", limit.as_millis());
                    Err(ConnectError::external("stop.timeout", message)
                        .hint("what is not acknowledged will be sent again after the next start"))
                })
            }
            Err(error) => Err(error),
        };
        let closed = running.task.source.close().await;
        drained.and(closed)
    }
}

type Polling = Background<Option<SourceBatch>>;

async fn wait_for(polling: &mut Option<Polling>) -> Result<Option<SourceBatch>> {
    match polling {
        Some(polling) => polling.outcome().await,
        None => std::future::pending().await,
    }
}

struct Running {
    task: SourceTask,
    /// Kept over acknowledgements: a read that is under way is not begun again.
    polling: Option<Polling>,
    in_flight: VecDeque<InFlight>,
    done: Arc<Notify>,
    /// Numbers records, so that a row is known after transforms.
    numbers: Offset,
}

impl Running {
    async fn pump(&mut self) -> Result<()> {
        self.task.status.set(State::Running, "");
        loop {
            self.acknowledge_ready().await?;
            if self.polling.is_none() && self.in_flight.len() < MAX_IN_FLIGHT {
                self.polling = Some(self.poll());
            }
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
                    self.task.status.remark("the source has come to its end");
                    let (connector, task) = (&self.task.status.connector, self.task.status.task);
                    tracing::info!(connector, task, "the source has come to its end");
                    if !self.task.bounded {
                        self.task.stop.cancelled().await;
                    }
                    return Ok(());
                }
                Err(_) if self.task.stop.is_cancelled() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn poll(&self) -> Polling {
        let (source, status, stop) =
            (self.task.source.clone(), self.task.status.clone(), self.task.stop.clone());
        Background::start(async move { retry::with_backoff(&status, &stop, || source.poll(POLL)).await })
    }

    async fn send(&mut self, batch: SourceBatch) -> Result<()> {
        let total: usize = batch.runs.iter().map(|r| r.records.num_rows()).sum();
        Counters::add(&self.task.status.counters.read, total);
        let wants_acks = self.task.source.wants_acks();
        let unknown =
            Ack { destination: "".into(), partition: String::new(), offset: String::new(), error: None };
        let base = self.numbers;
        self.numbers += i64::try_from(total).unwrap_or(0);
        let sent = Arc::new(Sent {
            // One more than the rows, so that it is not done before all are sent.
            left: AtomicUsize::new(1),
            rows: wants_acks.then(|| Mutex::new(vec![unknown; total])),
            failed: Mutex::default(),
            targets: Mutex::default(),
            done: self.done.clone(),
        });
        let mut flight =
            InFlight { offset: batch.offset, total, filtered: 0, rejected: 0, sent: sent.clone() };
        self.task.status.unreadable(self.task.tolerance, "", batch.rejected)?;
        let mut next = base;
        for run in batch.runs {
            let topic = run.topic.clone().ok_or_else(|| {
                ConnectError::internal("source.topic", "the source gave records without a topic")
            })?;
            let rows = i64::try_from(run.records.num_rows()).unwrap_or(0);
            let run = Run { records: number(&run.records, next)?, ..run };
            next += rows;
            let origin = TopicPartition::new(topic, i32::try_from(self.task.status.task).unwrap_or(0));
            let processed = self.task.pipeline.process(run, &origin).await?;
            flight.filtered += processed.filtered;
            for (number, rejection) in processed.rejected {
                let row = number.and_then(|number| usize::try_from(number - base).ok());
                self.reject(&mut flight, &origin.topic, row, rejection.error)?;
            }
            for run in processed.runs {
                self.produce(&run, &sent, base).await?;
            }
        }
        sent.delivered_all();
        self.in_flight.push_back(flight);
        Ok(())
    }

    /// `row`: of the polled batch.
    fn reject(
        &self,
        flight: &mut InFlight,
        topic: &Arc<str>,
        row: Option<usize>,
        error: ConnectError,
    ) -> Result<()> {
        flight.rejected += 1;
        if let Some(rows) = &flight.sent.rows {
            if let Some(ack) = lock(rows).get_mut(row.unwrap_or(0)) {
                *ack = refuse(topic.clone(), 42206, &error);
            }
            return Ok(());
        }
        let origin = row.and_then(|row| self.task.source.place(flight.offset.token, row));
        let place = match origin {
            Some(origin) => format!("a record for topic `{topic}` ({origin})"),
            None => format!("a record for topic `{topic}`"),
        };
        match self.task.tolerance {
            Tolerance::All => {
                self.task.status.told_skipped(&format!("{place}: "), &error);
                Ok(())
            }
            Tolerance::None => Err(error.no_retry().at(place)),
        }
    }

    async fn produce(&self, run: &Run, sent: &Arc<Sent>, base: Offset) -> Result<()> {
        let envelope = Envelope::of(&run.records)?;
        let topic = run.topic.clone().unwrap_or_else(|| "".into());
        let not_bytes = || ConnectError::internal("source.encode", "a record was not turned into bytes");
        let values = envelope.value().as_binary_opt::<i32>().ok_or_else(not_bytes)?;
        let keys = match envelope.key() {
            Some(keys) => Some(keys.as_binary_opt::<i32>().ok_or_else(not_bytes)?),
            None => None,
        };
        let (numbers, timestamps, headers) = (envelope.offsets(), envelope.timestamps(), envelope.headers());
        let rows = run.records.num_rows();
        let first = {
            let mut targets = lock(&sent.targets);
            let first = targets.len();
            if sent.rows.is_some() {
                targets.extend((0..rows).map(|row| {
                    let number = numbers.map_or(0, |n| n.value(row) - base);
                    (topic.clone(), usize::try_from(number).unwrap_or(0))
                }));
            }
            first
        };
        sent.left.fetch_add(rows, Ordering::AcqRel);
        for row in 0..rows {
            let record = Record {
                topic: &topic,
                partition: run.partition,
                key: keys.filter(|k| k.is_valid(row)).map(|k| k.value(row)),
                value: values.is_valid(row).then(|| values.value(row)),
                timestamp: timestamps.filter(|t| t.is_valid(row)).map(|t| t.value(row)),
                headers: headers.map(|h| headers_of(h, row)).unwrap_or_default(),
            };
            let waits: Arc<dyn OnDelivery> = sent.clone();
            if let Err(error) = self.task.producer.send(&record, waits, first + row).await {
                sent.delivered(first + row, Err(error));
            }
        }
        Ok(())
    }

    /// Acknowledges batches at the head of the queue, in order.
    async fn acknowledge_ready(&mut self) -> Result<()> {
        while self.in_flight.front().is_some_and(|f| f.sent.is_done()) {
            // Positions of several batches are one write: only the last of a source partition matters.
            let mut ready = Vec::new();
            while self.in_flight.front().is_some_and(|f| f.sent.is_done()) {
                ready.extend(self.in_flight.pop_front());
            }
            self.acknowledge(ready).await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, ready: Vec<InFlight>) -> Result<()> {
        let wants_acks = self.task.source.wants_acks();
        for flight in &ready {
            if let Some(error) = lock(&flight.sent.failed).take_if(|_| !wants_acks) {
                return Err(error.no_retry());
            }
        }
        let positions = positions::last(ready.iter().flat_map(|flight| &flight.offset.positions));
        if !positions.is_empty() {
            let store = self.task.positions.clone();
            retry::with_backoff(&self.task.status, &self.task.stop, || store.store(&positions)).await?;
        }
        let counters = &self.task.status.counters;
        for flight in ready {
            let rows =
                flight.sent.rows.as_ref().map(|rows| std::mem::take(&mut *lock(rows))).unwrap_or_default();
            let refused = rows.iter().filter(|a| a.error.is_some()).count().max(flight.rejected);
            let delivered = flight.total - (flight.filtered + refused).min(flight.total);
            let acks = Acks { delivered: delivered + flight.filtered, rows };
            self.task.source.commit(&flight.offset, &acks).await?;
            Counters::add(&counters.delivered, delivered);
            Counters::add(&counters.filtered, flight.filtered);
            Counters::add(&counters.rejected, refused);
            Counters::add(&counters.commits, 1);
        }
        counters.last_flush_ms.store(now_ms(), Ordering::Relaxed);
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

impl Sent {
    /// All rows are with the producer.
    fn delivered_all(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

pub(super) fn number(records: &RecordBatch, first: Offset) -> Result<RecordBatch> {
    let rows = i64::try_from(records.num_rows()).unwrap_or(0);
    let numbers: Int64Array = (first..first + rows).collect::<Vec<_>>().into();
    let field = arrow::datatypes::Field::new(OFFSET, arrow::datatypes::DataType::Int64, false);
    connector_core::envelope::with_column(records, field, Arc::new(numbers))
}

fn headers_of(headers: &arrow::array::ListArray, row: usize) -> Vec<(&str, Option<&[u8]>)> {
    let entries = headers.values().as_struct_opt();
    let (Some(entries), Some(range)) =
        (entries, headers.offsets().windows(2).nth(row).map(|w| w[0] as usize..w[1] as usize))
    else {
        return Vec::new();
    };
    let (Some(names), Some(values)) =
        (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_binary_opt::<i32>())
    else {
        return Vec::new();
    };
    range.map(|at| (names.value(at), values.is_valid(at).then(|| values.value(at)))).collect()
}
