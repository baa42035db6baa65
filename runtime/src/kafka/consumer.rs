//! A group member on its own thread: it polls always, so that callbacks are served even when the task is stuck.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use connector_core::{Batch, ConnectError, Offset, Result, TopicPartition};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as NativeOffset, TopicPartitionList};
use tokio::sync::mpsc;

use super::batch::MessageQueue;
use super::client::{ClientSettings, Context};
use super::kafka_error;
use crate::task::budget::MemoryBudget;

/// At most this many messages a fetch; how many it really is follows from their size.
const MAX_MESSAGES: usize = 10_000;
/// Bytes that one fetch aims at.
const FETCH_BYTES: usize = 1 << 20;
/// Batches that wait for the task.
const QUEUED_BATCHES: usize = 2;
const TICK: Duration = Duration::from_millis(20);

/// What happens to the group membership, in order.
#[derive(Debug)]
pub enum Membership {
    /// New partitions, paused until [`ConsumerHandle::resume`]. Batches of this assignment carry `epoch`.
    Assigned { partitions: Vec<TopicPartition>, epoch: u64 },
    /// Partitions go away once `done` is dropped or the drain timeout has passed. `lost`: another member may own
    /// them already, so nothing of them may be committed.
    Revoked { partitions: Vec<TopicPartition>, lost: bool, done: std_mpsc::Sender<()> },
    /// Something went wrong that the consumer goes on trying.
    Trouble(ConnectError),
    /// The member cannot go on.
    Failed(ConnectError),
}

/// A batch, and the assignment under which it was fetched.
#[derive(Debug)]
pub struct Fetched {
    pub epoch: u64,
    pub batch: Batch,
    pub last_offset: Offset,
    /// Offset after the last record of the partition; negative when unknown.
    pub high_watermark: Offset,
}

/// A committed offset with its metadata.
pub type Committed = BTreeMap<TopicPartition, (Offset, String)>;

/// The task's side of a group member.
pub struct ConsumerHandle {
    pub membership: mpsc::UnboundedReceiver<Membership>,
    pub batches: mpsc::Receiver<Fetched>,
    consumer: Arc<BaseConsumer<GroupContext>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How a group member is set up.
pub struct ConsumerOptions {
    pub settings: ClientSettings,
    pub group: String,
    /// Static membership: a member that comes back under this name gets its partitions at once.
    pub instance: String,
    pub topics: Vec<String>,
    pub budget: MemoryBudget,
    /// How long a revoke waits for the task.
    pub drain_timeout: Duration,
}

impl ConsumerHandle {
    pub fn start(options: ConsumerOptions) -> Result<Self> {
        let ClientSettings { mut config, context, .. } = options.settings;
        group_defaults(&mut config, &options.group, &options.instance);
        let (membership_sender, membership) = mpsc::unbounded_channel();
        let (batch_sender, batches) = mpsc::channel(QUEUED_BATCHES);
        let context = GroupContext {
            inner: context,
            membership: membership_sender,
            queue: Mutex::new(None),
            epochs: Mutex::new(Epochs::default()),
            drain_timeout: options.drain_timeout,
        };
        let consumer: BaseConsumer<GroupContext> = config
            .create_with_context(context)
            .map_err(|e| kafka_error("the Kafka consumer cannot be created", &e).no_retry())?;
        let consumer = Arc::new(consumer);
        let queue = MessageQueue::new(consumer.clone(), MAX_MESSAGES)
            .ok_or_else(|| ConnectError::internal("kafka.queue", "librdkafka gave no queue"))?;
        let queue = Arc::new(Mutex::new(queue));
        *lock(&consumer.context().queue) = Some(Arc::downgrade(&queue));
        let names: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|e| kafka_error("subscribing failed", &e).no_retry())?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let mut poller = Poller {
                consumer: consumer.clone(),
                queue,
                batches: batch_sender,
                budget: options.budget,
                stop: stop.clone(),
                pending: Vec::new(),
                average: 1024,
            };
            std::thread::Builder::new()
                .name(format!("consumer {}", options.group))
                .spawn(move || poller.run())
                .map_err(|e| ConnectError::external("thread", "no thread for the consumer").caused_by(e))?
        };
        Ok(Self { membership, batches, consumer, stop, thread: Some(thread) })
    }

    /// Replaces the topics that are subscribed to.
    pub fn subscribe(&self, topics: &[String]) -> Result<()> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&names).map_err(|e| kafka_error("subscribing failed", &e))
    }

    /// Starts fetching partitions of a [`Membership::Assigned`], from the given offset if there is one.
    pub async fn resume(&self, partitions: Vec<(TopicPartition, Option<Offset>)>) -> Result<()> {
        let consumer = self.consumer.clone();
        blocking(move || {
            let (mut all, mut seek) = (TopicPartitionList::new(), TopicPartitionList::new());
            for (tp, offset) in &partitions {
                all.add_partition(&tp.topic, tp.partition);
                if let Some(offset) = offset {
                    seek.add_partition_offset(&tp.topic, tp.partition, NativeOffset::Offset(*offset))
                        .map_err(|e| kafka_error("seeking failed", &e))?;
                }
            }
            if seek.count() > 0 {
                consumer
                    .seek_partitions(seek, Duration::from_secs(30))
                    .map_err(|e| kafka_error("seeking to the sink's own offsets failed", &e))?;
            }
            consumer.resume(&all).map_err(|e| kafka_error("resuming partitions failed", &e))
        })
        .await
    }

    /// Commits offsets (of the next record to read) with their metadata, and waits for the broker.
    pub fn committer(&self) -> Committer {
        Committer(self.consumer.clone())
    }

    /// Leaves the poll loop and closes the member; partitions that were not given back are lost to it.
    pub async fn close(mut self) {
        self.stop.store(true, Ordering::Release);
        self.batches.close();
        if let Some(thread) = self.thread.take() {
            // Revocations of the closing consumer have nobody to wait for.
            self.membership.close();
            let consumer = self.consumer.clone();
            drop(self);
            // The last reference closes the member, which takes a round trip. A static member does not leave its group.
            let _ = tokio::task::spawn_blocking(move || {
                let _ = thread.join();
                drop(consumer);
            })
            .await;
        }
    }
}

impl Drop for ConsumerHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Commits offsets for a task; may be used while the task goes on reading.
#[derive(Clone)]
pub struct Committer(Arc<BaseConsumer<GroupContext>>);

/// What became of a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    /// The group has moved on: the partitions belong to another member or will be read again.
    Fenced,
}

impl Committer {
    pub async fn commit(&self, offsets: Committed) -> Result<CommitOutcome> {
        let consumer = self.0.clone();
        blocking(move || {
            let mut list = TopicPartitionList::new();
            for (tp, (offset, metadata)) in &offsets {
                let mut element = list.add_partition(&tp.topic, tp.partition);
                element
                    .set_offset(NativeOffset::Offset(*offset))
                    .map_err(|e| kafka_error("committing offsets failed", &e))?;
                element.set_metadata(metadata);
            }
            match consumer.commit(&list, CommitMode::Sync) {
                Ok(()) => Ok(CommitOutcome::Committed),
                Err(e) => match e.rdkafka_error_code() {
                    Some(
                        RDKafkaErrorCode::IllegalGeneration
                        | RDKafkaErrorCode::UnknownMemberId
                        | RDKafkaErrorCode::FencedInstanceId
                        | RDKafkaErrorCode::AssignmentLost,
                    ) => Ok(CommitOutcome::Fenced),
                    _ => Err(kafka_error("committing offsets failed", &e)),
                },
            }
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ConnectError::internal("task", "a blocking call broke off").caused_by(e))?
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn group_defaults(config: &mut ClientConfig, group: &str, instance: &str) {
    let mut default = |key: &str, value: &str| {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    };
    default("group.id", group);
    default("group.instance.id", instance);
    default("auto.offset.reset", "earliest");
    default("partition.assignment.strategy", "cooperative-sticky");
    default("fetch.queue.backoff.ms", "5");
    // Per partition, beside the memory budget.
    default("queued.max.messages.kbytes", "8192");
    default("queued.min.messages", "20000");
    default("max.partition.fetch.bytes", "1048576");
    // Connect's user names a topic that comes later: it is picked up soon after it exists.
    default("topic.metadata.refresh.interval.ms", "30000");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("allow.auto.create.topics", "false");
    config.set_log_level(RDKafkaLogLevel::Warning);
}

#[derive(Default)]
struct Epochs {
    last: u64,
    of: BTreeMap<TopicPartition, u64>,
}

/// Turns rebalance callbacks into [`Membership`] events. No I/O happens here.
pub struct GroupContext {
    inner: Context,
    membership: mpsc::UnboundedSender<Membership>,
    queue: Mutex<Option<Weak<Mutex<MessageQueue<GroupContext>>>>>,
    epochs: Mutex<Epochs>,
    drain_timeout: Duration,
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.inner.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.inner.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        self.inner.generate_oauth_token(config)
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<TopicPartition> =
            list.elements().iter().map(|e| TopicPartition::new(e.topic(), e.partition())).collect();
        let outcome = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                if let Some(queue) = lock(&self.queue).as_ref().and_then(Weak::upgrade) {
                    let queue = lock(&queue);
                    partitions.iter().for_each(|tp| queue.take_partition(tp));
                }
                let epoch = {
                    let mut epochs = lock(&self.epochs);
                    epochs.last += 1;
                    let epoch = epochs.last;
                    epochs.of.extend(partitions.iter().map(|tp| (tp.clone(), epoch)));
                    epoch
                };
                let done = assign(consumer, list).and_then(|()| consumer.pause(list));
                if !partitions.is_empty() {
                    let _ = self.membership.send(Membership::Assigned { partitions, epoch });
                }
                done
            }
            _ => {
                let lost = consumer.assignment_lost();
                let (done, wait) = std_mpsc::channel();
                lock(&self.epochs).of.retain(|tp, _| !partitions.contains(tp));
                let told = self.membership.send(Membership::Revoked { partitions, lost, done });
                if told.is_ok() {
                    // Ends when the task drops its sender; a task that is stuck does not hold up the group for ever.
                    let _ = wait.recv_timeout(self.drain_timeout);
                }
                unassign(consumer, list)
            }
        };
        if let Err(error) = outcome {
            let error = kafka_error("taking part in a rebalance failed", &error);
            let _ = self.membership.send(Membership::Failed(error));
        }
    }
}

fn is_cooperative(consumer: &BaseConsumer<GroupContext>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

fn assign(
    consumer: &BaseConsumer<GroupContext>,
    list: &TopicPartitionList,
) -> rdkafka::error::KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_assign(list) } else { consumer.assign(list) }
}

fn unassign(
    consumer: &BaseConsumer<GroupContext>,
    list: &TopicPartitionList,
) -> rdkafka::error::KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_unassign(list) } else { consumer.unassign() }
}

/// The thread: events first, then messages, as far as the memory budget and the task allow.
struct Poller {
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
    fn run(&mut self) {
        let mut told = None;
        while !self.stop.load(Ordering::Acquire) {
            let wait = if self.deliver() { Duration::ZERO } else { TICK };
            if let Some(Err(error)) = self.consumer.poll(wait) {
                self.report(&error, &mut told);
            }
            if self.pending.is_empty() {
                self.fetch();
            }
        }
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
            std::thread::sleep(TICK);
            return;
        };
        let max = (FETCH_BYTES / self.average.max(64)).clamp(16, MAX_MESSAGES);
        let fetched = lock(&self.queue).fetch(TICK, max);
        let (fetched, errors) = match fetched {
            Ok(both) => both,
            Err(error) => {
                let _ = self.consumer.context().membership.send(Membership::Failed(error));
                self.stop.store(true, Ordering::Release);
                return;
            }
        };
        for error in errors {
            let code: RDKafkaErrorCode = error.code.into();
            let trouble = kafka_error(&format!("reading {} failed", error.partition), &KafkaError::MessageConsumption(code));
            let _ = self.consumer.context().membership.send(Membership::Trouble(trouble));
        }
        let rows: usize = fetched.iter().map(|f| f.records.num_rows()).sum();
        let bytes: usize = fetched.iter().map(|f| f.bytes).sum();
        if let Some(average) = bytes.checked_div(rows) {
            self.average = (self.average + average) / 2;
        }
        let mut reserved = reserved;
        let epochs = lock(&self.consumer.context().epochs);
        for part in fetched {
            // Messages of a partition that was taken away meanwhile will be read by its new owner.
            let Some(&epoch) = epochs.of.get(&part.partition) else { continue };
            let permit = reserved.split_off(part.bytes + part.records.num_rows() * 48);
            let batch = Batch { partition: part.partition, records: part.records, permit };
            let (last_offset, high_watermark) = (part.last_offset, part.high_watermark);
            self.pending.push(Fetched { epoch, batch, last_offset, high_watermark });
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
        let _ = self.consumer.context().membership.send(if fatal {
            Membership::Failed(error.no_retry())
        } else {
            Membership::Trouble(error)
        });
    }
}
