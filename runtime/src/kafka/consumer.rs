//! A consumer group as a [`Feed`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connector_core::{ConnectError, FlushRange, Offset, Result, TopicPartition};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};
use tokio::sync::mpsc;

use super::batch::{self, MessageQueue};
use super::client::ClientSettings;
use super::group::{GroupContext, lock};
use super::kafka_error;
use super::poller::{MAX_MESSAGES, Poller};
use crate::task::budget::MemoryBudget;
use crate::task::feed::{CommitOutcome, Ends, Feed, Reader};

/// Batches that wait for the task.
const QUEUED_BATCHES: usize = 2;
/// How long topics' ids, and the group's offsets, are waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The task's side of a group member.
struct Member {
    group: String,
    /// Of the topics with partitions that were assigned.
    topic_ids: Mutex<BTreeMap<Arc<str>, Arc<str>>>,
    consumer: Arc<BaseConsumer<GroupContext>>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
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
    /// Tell the task when a partition has been read to its present end.
    pub tell_ends: bool,
}

/// Joins the group and starts reading.
pub fn start(options: ConsumerOptions) -> Result<Feed> {
    let ClientSettings { mut config, context, .. } = options.settings;
    group_defaults(&mut config, &options.group, &options.instance);
    if options.tell_ends {
        config.set("enable.partition.eof", "true");
    }
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
    let reader = Arc::new(Member {
        group: options.group,
        topic_ids: Mutex::default(),
        consumer,
        stop,
        thread: Mutex::new(Some(thread)),
    });
    Ok(Feed { membership, batches, reader })
}

impl Member {
    async fn ask_topic_ids(&self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        let consumer = self.consumer.clone();
        blocking(move || {
            batch::topic_ids(consumer.client(), &topics, ASK_TIMEOUT)
                .map_err(|e| kafka_error("asking for the ids of topics failed", &e))
        })
        .await
    }
}

#[async_trait]
impl Reader for Member {
    fn subscribe(&self, topics: &[String]) -> Result<()> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&names).map_err(|e| kafka_error("subscribing failed", &e))
    }

    async fn topic_ids(&self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        let ids = self.ask_topic_ids(topics.to_vec()).await?;
        lock(&self.topic_ids).extend(ids.clone());
        Ok(ids)
    }

    async fn resume(&self, partitions: Vec<(TopicPartition, Option<Offset>)>) -> Result<()> {
        let (consumer, group) = (self.consumer.clone(), self.group.clone());
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
                report_other_offsets(&consumer, &group, &seek);
                consumer
                    .seek_partitions(seek, Duration::from_secs(30))
                    .map_err(|e| kafka_error("seeking to the sink's own offsets failed", &e))?;
            }
            consumer.resume(&all).map_err(|e| kafka_error("resuming partitions failed", &e))
        })
        .await
    }

    /// Nobody waits for a record of Kafka.
    fn refuse(&self, _: Offset, _: &ConnectError) -> bool {
        false
    }

    /// The group's offset is enough, if it is still the topic that was assigned: reading goes on in the middle of one
    /// that was made again under its name, and the records before that would never be read.
    async fn intend(&self, ranges: &[FlushRange]) -> Result<()> {
        let known = lock(&self.topic_ids).clone();
        let topics: BTreeSet<_> = ranges.iter().map(|range| range.partition.topic.clone()).collect();
        let topics: Vec<_> = topics.into_iter().filter(|topic| known.contains_key(topic)).collect();
        if topics.is_empty() {
            return Ok(());
        }
        for (topic, id) in self.ask_topic_ids(topics).await? {
            if let Some(assigned) = known.get(&topic).filter(|assigned| **assigned != id) {
                let text = format!(
                    "topic `{topic}` was deleted and made again while it was read: its id was {assigned} and is {id}"
                );
                return Err(ConnectError::user("kafka.topic_made_again", text)
                    .hint("restart the connector: it reads the new topic from its beginning"));
            }
        }
        Ok(())
    }

    /// Waits for the broker.
    async fn commit(&self, ends: &Ends) -> Result<CommitOutcome> {
        let (consumer, ends) = (self.consumer.clone(), ends.clone());
        blocking(move || {
            let mut list = TopicPartitionList::new();
            for (tp, offset) in &ends {
                list.add_partition(&tp.topic, tp.partition)
                    .set_offset(NativeOffset::Offset(*offset))
                    .map_err(|e| kafka_error("committing offsets failed", &e))?;
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

    /// Leaves the poll loop and closes the member; partitions that were not given back are lost to it.
    async fn close(&self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        let thread = lock(&self.thread).take();
        // A static member does not leave its group; the last reference to the consumer closes it.
        blocking(move || Ok(thread.map(std::thread::JoinHandle::join))).await.map(drop)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Says where the group's offsets are not those of the sink, which count: after a crash they are a publish behind, but
/// somebody may also have moved them and wait for records that do not come.
fn report_other_offsets(consumer: &BaseConsumer<GroupContext>, group: &str, sink: &TopicPartitionList) {
    // Whatever keeps the group from answering shows elsewhere.
    let Ok(committed) = consumer.committed_offsets(sink.clone(), ASK_TIMEOUT) else { return };
    for at in sink.elements() {
        let of_group = committed.find_partition(at.topic(), at.partition()).map(|of| of.offset());
        if let (Some(NativeOffset::Offset(of_group)), NativeOffset::Offset(at_sink)) = (of_group, at.offset())
            && of_group != at_sink
        {
            tracing::warn!(
                group,
                "{}-{}: goes on at offset {at_sink}, behind what the sink has, and not at the group's {of_group}",
                at.topic(),
                at.partition()
            );
        }
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
