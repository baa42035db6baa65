//! Dead letter queues (KIP-298): records that cannot be processed, as they came, with what went wrong as headers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch};
use connector_core::{ConnectError, Envelope, Offset, Result, TopicDirectory, TopicPartition};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::admin::Admin;
use super::producer::{Delivered, OnDelivery, Producer, Record};
use crate::config::TopicSpec;
use crate::task::errors::ErrorCounters;
use crate::task::exceptions::stage_name;
use crate::task::pipeline::Refused;
use crate::task::retry;
use crate::task::status::TaskStatus;

/// What a queue is made of; there is one a task.
pub struct DeadLetterOptions {
    pub topic: String,
    /// Of the topic, if it has to be made; -1: the broker's default.
    pub replication_factor: i32,
    /// Whether letters carry the `__connect.errors.*` headers.
    pub context_headers: bool,
    pub admin: Admin,
    pub producer: Producer,
    /// Of the task: names the connector and the task, and counts.
    pub status: Arc<TaskStatus>,
    /// Of the worker.
    pub fatal: FatalRecords,
}

/// A record that cannot be processed: its own bytes, and why.
pub struct Letter<'a> {
    pub origin: &'a TopicPartition,
    pub offset: Offset,
    /// Epoch milliseconds.
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub refused: &'a Refused,
}

impl<'a> Letter<'a> {
    /// The only record of a batch whose keys and values are bytes.
    pub fn of(origin: &'a TopicPartition, record: &'a RecordBatch, refused: &'a Refused) -> Result<Self> {
        let envelope = Envelope::of(record)?;
        let not_bytes = || ConnectError::internal("dead_letters", "a record for the queue has no bytes");
        let cell = |column: &'a ArrayRef| {
            let bytes = column.as_binary_opt::<i32>().ok_or_else(not_bytes)?;
            Ok::<_, ConnectError>(bytes.iter().next().flatten())
        };
        Ok(Self {
            origin,
            offset: envelope.offsets().map_or(-1, |offsets| offsets.value(0)),
            timestamp: envelope.timestamps().and_then(|timestamps| timestamps.iter().next().flatten()),
            key: envelope.key().map(cell).transpose()?.flatten(),
            value: cell(envelope.value())?,
            headers: envelope.headers().map(headers_of).unwrap_or_default(),
            refused,
        })
    }
}

/// The headers of the first record.
fn headers_of(headers: &ListArray) -> Vec<(&str, Option<&[u8]>)> {
    let [first, last, ..] = headers.value_offsets() else { return Vec::new() };
    let Some(entries) = headers.values().as_struct_opt() else { return Vec::new() };
    let columns = (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_binary_opt::<i32>());
    let (Some(names), Some(values)) = columns else { return Vec::new() };
    let entry = |at: usize| (names.value(at), values.is_valid(at).then(|| values.value(at)));
    (*first as usize..*last as usize).map(entry).collect()
}

/// Records that failed their task and are in a queue already. A restarted task meets such a record again; Connect then
/// writes it again each time (DLQ-36), here it is written once in the life of the worker.
#[derive(Clone, Default)]
pub struct FatalRecords(Arc<Mutex<BTreeSet<Place>>>);

/// Connector, partition, offset, timestamp: a topic that is made again has other timestamps.
type Place = (String, TopicPartition, Offset, Option<i64>);

/// The dead letter queue of a task. Letters are sent while the task goes on; no range of offsets is committed before
/// those of its records are delivered ([`Self::settled`]).
pub struct DeadLetters {
    options: DeadLetterOptions,
    deliveries: Arc<Deliveries>,
}

#[derive(Default)]
struct Deliveries {
    open: Mutex<Open>,
    changed: Notify,
}

#[derive(Default)]
struct Open {
    next: usize,
    /// Numbers of letters that are not delivered yet.
    numbers: BTreeSet<usize>,
    /// Why a letter was lost: from then on nothing may be committed.
    failed: Option<Failure>,
}

#[derive(Clone)]
struct Failure {
    message: String,
    hint: String,
}

impl DeadLetters {
    /// Makes the queue's topic, with one partition, unless it exists (E-03).
    pub async fn start(options: DeadLetterOptions, stop: &CancellationToken) -> Result<Arc<Self>> {
        let (topic, admin) = (&options.topic, &options.admin);
        let ensured = retry::with_backoff(&options.status, stop, || async {
            admin.refresh().await?;
            if admin.partitions(topic).is_some() {
                return Ok(());
            }
            tracing::info!(
                connector = options.status.connector,
                task = options.status.task,
                "Topic {topic} doesn't exist. Will attempt to create topic."
            );
            admin.ensure(&spec(&options)).await
        });
        match ensured.await {
            Ok(()) => Ok(Arc::new(Self { options, deliveries: Arc::default() })),
            Err(error) if error.is_retriable() && stop.is_cancelled() => Err(error),
            Err(error) => {
                let message = format!("Could not initialize dead letter queue with topic={topic}");
                let hint = format!(
                    "create the topic, or set errors.deadletterqueue.topic.replication.factor to what the brokers allow \
                     (-1: their default); {}",
                    error.hint
                );
                let hint = hint.trim_end_matches("; ").to_owned();
                let cause = ConnectError { hint: String::new(), ..error };
                Err(ConnectError::user("dead_letters.topic", message).caused_by(cause).hint(hint))
            }
        }
    }

    pub fn topic(&self) -> &str {
        &self.options.topic
    }

    /// Hands a letter to the producer. An error is one of this letter; later ones show in [`Self::settled`].
    pub async fn send(&self, letter: &Letter<'_>) -> Result<()> {
        let context = self.options.context_headers.then(|| self.context(letter));
        let context = context.iter().flatten().map(|(name, text)| (*name, Some(text.as_bytes())));
        let record = Record {
            topic: &self.options.topic,
            partition: None,
            key: letter.key,
            value: letter.value,
            timestamp: letter.timestamp,
            headers: letter.headers.iter().copied().chain(context).collect(),
        };
        let counters = self.counters();
        ErrorCounters::add(&counters.dead_letters, 1);
        let number = self.deliveries.number();
        let waits: Arc<dyn OnDelivery> = Arc::new(Waiting {
            deliveries: self.deliveries.clone(),
            status: self.options.status.clone(),
            topic: self.options.topic.clone(),
        });
        if let Err(error) = self.options.producer.send(&record, waits.clone(), number).await {
            waits.delivered(number, Err(error));
        }
        self.deliveries.failure()
    }

    /// As [`Self::send`], of a record that fails its task: waits for the delivery, and does nothing if it was made before.
    pub async fn send_fatal(&self, letter: &Letter<'_>) -> Result<()> {
        let connector = self.options.status.connector.clone();
        let place = (connector, letter.origin.clone(), letter.offset, letter.timestamp);
        if lock(&self.options.fatal.0).contains(&place) {
            return Ok(());
        }
        self.send(letter).await?;
        self.settled().await?;
        lock(&self.options.fatal.0).insert(place);
        Ok(())
    }

    /// Waits until every letter that was sent before this call is delivered. After one was lost it always fails: offsets
    /// of its record must not be committed.
    pub async fn settled(&self) -> Result<()> {
        self.deliveries.settled().await
    }

    fn counters(&self) -> &ErrorCounters {
        &self.options.status.errors.counters
    }

    /// Connect's headers in its order (E-04).
    fn context(&self, letter: &Letter<'_>) -> [(&'static str, String); 10] {
        let exception = letter.refused.exception();
        let status = &self.options.status;
        [
            ("__connect.errors.topic", letter.origin.topic.to_string()),
            ("__connect.errors.partition", letter.origin.partition.to_string()),
            ("__connect.errors.offset", letter.offset.to_string()),
            ("__connect.errors.connector.name", status.connector.clone()),
            ("__connect.errors.task.id", status.task.to_string()),
            ("__connect.errors.stage", stage_name(letter.refused.stage).to_owned()),
            ("__connect.errors.class.name", letter.refused.class.to_string()),
            ("__connect.errors.exception.class.name", exception.class.to_owned()),
            ("__connect.errors.exception.message", status.redact(&exception.message)),
            ("__connect.errors.exception.stacktrace", status.redact(&exception.trace())),
        ]
    }
}

fn spec(options: &DeadLetterOptions) -> TopicSpec {
    TopicSpec {
        name: options.topic.clone(),
        partitions: 1,
        replication_factor: options.replication_factor,
        config: connector_core::ConfigMap::new(),
    }
}

impl Deliveries {
    fn number(&self) -> usize {
        let mut open = lock(&self.open);
        let number = open.next;
        open.next += 1;
        open.numbers.insert(number);
        number
    }

    async fn settled(&self) -> Result<()> {
        let until = lock(&self.open).next;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            self.failure()?;
            if lock(&self.open).numbers.first().is_none_or(|first| *first >= until) {
                return Ok(());
            }
            changed.await;
        }
    }

    fn failure(&self) -> Result<()> {
        match lock(&self.open).failed.clone() {
            None => Ok(()),
            Some(Failure { message, hint }) => {
                Err(ConnectError::user("dead_letters.write", message).hint(hint))
            }
        }
    }
}

/// What the producer tells of a letter's delivery.
struct Waiting {
    deliveries: Arc<Deliveries>,
    status: Arc<TaskStatus>,
    topic: String,
}

impl OnDelivery for Waiting {
    fn delivered(&self, number: usize, outcome: Delivered) {
        let mut open = lock(&self.deliveries.open);
        open.numbers.remove(&number);
        if let Err(error) = outcome {
            ErrorCounters::add(&self.status.errors.counters.dead_letters_failed, 1);
            let message = format!("a record could not be written to the dead letter queue {}", self.topic);
            let failure = Failure { message: format!("{message}: {}", error.message), hint: error.hint };
            open.failed.get_or_insert(failure);
        }
        drop(open);
        self.deliveries.changed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use connector_core::Kind;
    use futures::FutureExt;

    use super::*;
    use crate::config::SecretSet;
    use crate::task::status::StatusBoard;

    fn waiting(deliveries: &Arc<Deliveries>) -> Waiting {
        let status = StatusBoard::default().register("c", 0, (Kind::Sink, "s"), &SecretSet::default());
        Waiting { deliveries: deliveries.clone(), status, topic: "dead".to_owned() }
    }

    #[tokio::test]
    async fn whoever_commits_waits_for_the_letters_before_and_for_no_later_ones() {
        let deliveries = Arc::new(Deliveries::default());
        let waits = waiting(&deliveries);
        assert!(deliveries.settled().now_or_never().unwrap().is_ok(), "nothing was sent");
        let (first, second) = (deliveries.number(), deliveries.number());
        let settled = deliveries.settled();
        tokio::pin!(settled);
        assert!(settled.as_mut().now_or_never().is_none());
        let later = deliveries.number();
        waits.delivered(second, Ok((0, 0)));
        assert!(settled.as_mut().now_or_never().is_none(), "the first one is on its way");
        waits.delivered(first, Ok((0, 1)));
        assert!(settled.now_or_never().unwrap().is_ok(), "the later one does not count");
        assert!(deliveries.settled().now_or_never().is_none());
        waits.delivered(later, Ok((0, 2)));
        assert!(deliveries.settled().now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn after_a_lost_letter_nothing_is_ever_settled() {
        let deliveries = Arc::new(Deliveries::default());
        let waits = waiting(&deliveries);
        let (lost, other) = (deliveries.number(), deliveries.number());
        let settled = deliveries.settled();
        tokio::pin!(settled);
        assert!(settled.as_mut().now_or_never().is_none());
        waits.delivered(
            lost,
            Err(ConnectError::user("kafka.MessageSizeTooLarge", "too large").hint("raise it")),
        );
        let error = settled.now_or_never().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a record could not be written to the dead letter queue dead: too large (raise it)"
        );
        waits.delivered(other, Ok((0, 0)));
        assert!(deliveries.settled().now_or_never().unwrap().is_err());
        assert_eq!(
            waits.status.errors.counters.dead_letters_failed.load(std::sync::atomic::Ordering::Relaxed),
            1
        );
    }
}
