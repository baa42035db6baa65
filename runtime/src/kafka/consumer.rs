//! A group member as a task sees it: events, batches, commits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_core::{Batch, ConnectError, Offset, Result, TopicPartition};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};
use tokio::sync::mpsc;

use super::batch::MessageQueue;
use super::client::ClientSettings;
use super::group::{GroupContext, Membership};
use super::kafka_error;
use super::poller::{MAX_MESSAGES, Poller};
use crate::task::budget::MemoryBudget;

/// Batches that wait for the task.
const QUEUED_BATCHES: usize = 2;

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
        let context = GroupContext::new(context, membership_sender, options.drain_timeout);
        let consumer: BaseConsumer<GroupContext> = config
            .create_with_context(context)
            .map_err(|e| kafka_error("the Kafka consumer cannot be created", &e).no_retry())?;
        let consumer = Arc::new(consumer);
        let queue = MessageQueue::new(consumer.clone(), MAX_MESSAGES)
            .ok_or_else(|| ConnectError::internal("kafka.queue", "librdkafka gave no queue"))?;
        let queue = Arc::new(Mutex::new(queue));
        consumer.context().set_queue(&queue);
        let names: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|e| kafka_error("subscribing failed", &e).no_retry())?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let mut poller = Poller::new(consumer.clone(), queue, batch_sender, options.budget, stop.clone());
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
