//! A consumer group as a [`Feed`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connector_core::{ConnectError, Offset, Result, Resume, TopicPartition};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::mpsc;

use super::batch::{self, MessageQueue};
use super::client::ClientSettings;
use super::group::{GroupContext, lock};
use super::kafka_error;
use super::poller::{MAX_MESSAGES, Poller};
use super::standings::{Reset, Standings};
use crate::task::budget::MemoryBudget;
use crate::task::feed::{CommitOutcome, Feed, Planned, Reader, Standing};
use crate::task::mark::Mark;

/// Batches that wait for the task.
const QUEUED_BATCHES: usize = 2;
/// How long topics' ids are waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The task's side of a group member.
struct Member {
    /// Of the topics with partitions that were assigned.
    topic_ids: Mutex<BTreeMap<Arc<str>, Arc<str>>>,
    standings: Standings,
    stable: bool,
    /// `None` once it is closed.
    consumer: Mutex<Option<Arc<BaseConsumer<GroupContext>>>>,
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
    /// Ranges are to end at the same place every time, so it is found out whether the brokers keep commit metadata.
    pub stable: bool,
}

/// Joins the group and starts reading.
pub fn start(options: ConsumerOptions) -> Result<Feed> {
    let ClientSettings { mut config, context, .. } = options.settings;
    group_defaults(&mut config, &options.group, &options.instance, &options.budget);
    let reset = Reset::take(&mut config);
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
        topic_ids: Mutex::default(),
        standings: Standings::new(options.group, reset),
        stable: options.stable,
        consumer: Mutex::new(Some(consumer)),
        stop,
        thread: Mutex::new(Some(thread)),
    });
    Ok(Feed { membership, batches, reader })
}

impl Member {
    fn consumer(&self) -> Result<Arc<BaseConsumer<GroupContext>>> {
        let closed = || ConnectError::internal("kafka.closed", "the consumer is closed already");
        lock(&self.consumer).clone().ok_or_else(closed)
    }

    async fn check_topics(&self, topics: BTreeSet<Arc<str>>) -> Result<()> {
        let known = lock(&self.topic_ids).clone();
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

    async fn commit_all(
        &self,
        ranges: &[Planned],
        what: impl Fn(&Planned) -> (Offset, Mark),
    ) -> Result<CommitOutcome> {
        let offsets: Vec<_> = ranges
            .iter()
            .map(|planned| {
                let (offset, mark) = what(planned);
                (planned.range.partition.clone(), planned.epoch, offset, mark)
            })
            .collect();
        let consumer = self.consumer()?;
        blocking(move || consumer.context().commit(&consumer, &offsets)).await
    }

    async fn ask_topic_ids(&self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        let consumer = self.consumer()?;
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
        self.consumer()?.subscribe(&names).map_err(|e| kafka_error("subscribing failed", &e))
    }

    async fn topic_ids(&self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        let ids = self.ask_topic_ids(topics.to_vec()).await?;
        lock(&self.topic_ids).extend(ids.clone());
        Ok(ids)
    }

    async fn standings(
        &self,
        partitions: &[TopicPartition],
        resume: &Resume,
    ) -> Result<BTreeMap<TopicPartition, Standing>> {
        let (consumer, standings) = (self.consumer()?, self.standings.clone());
        let (partitions, resume) = (partitions.to_vec(), resume.clone());
        let (ids, stable) = (lock(&self.topic_ids).clone(), self.stable);
        blocking(move || standings.of(&consumer, &partitions, &resume, &ids, stable)).await
    }

    fn keeps_intents(&self) -> Option<bool> {
        self.standings.keeps_marks()
    }

    async fn resume(&self, partitions: Vec<(TopicPartition, Option<Offset>)>) -> Result<()> {
        let consumer = self.consumer()?;
        blocking(move || consumer.context().go_to(&consumer, &partitions)).await
    }

    async fn beyond(&self, partition: &TopicPartition, at: Offset) -> Result<Offset> {
        self.check_topics(BTreeSet::from([partition.topic.clone()])).await?;
        let (consumer, standings, partition) = (self.consumer()?, self.standings.clone(), partition.clone());
        blocking(move || standings.beyond(&consumer, &partition, at)).await
    }

    /// Nobody waits for a record of Kafka.
    fn refuse(&self, _: Offset, _: &ConnectError) -> bool {
        false
    }

    /// Checks that it is still the topic that was assigned: reading goes on in the middle of one that was made again
    /// under its name, and the records before that would never be read. Then commits where the ranges begin, unchanged,
    /// with where they end, if that matters: a member that the group does not know any more is told so before anything is
    /// visible.
    async fn intend(&self, ranges: &[Planned]) -> Result<CommitOutcome> {
        self.check_topics(ranges.iter().map(|planned| planned.range.partition.topic.clone()).collect())
            .await?;
        let ids = lock(&self.topic_ids).clone();
        let intent = |planned: &Planned| {
            let Planned { range, owed, recipe, .. } = planned;
            let id = ids.get(&range.partition.topic).cloned();
            let mark = match recipe {
                Some(recipe) => Mark::intent(id, owed.unwrap_or(range.end), recipe),
                None => Mark::settled(id),
            };
            (range.start, mark)
        };
        self.commit_all(ranges, intent).await
    }

    /// Waits for the broker.
    async fn commit(&self, ranges: &[Planned]) -> Result<CommitOutcome> {
        let ids = lock(&self.topic_ids).clone();
        let done = |planned: &Planned| {
            let Planned { range, owed, recipe, .. } = planned;
            let id = ids.get(&range.partition.topic).cloned();
            let mark = match (owed, recipe) {
                // The rest of it is still to be published as it was begun.
                (Some(end), Some(recipe)) => Mark::intent(id, *end, recipe),
                _ => Mark::settled(id),
            };
            (range.end, mark)
        };
        self.commit_all(ranges, done).await
    }

    /// Leaves the poll loop and closes the member; partitions that were not given back are lost to it.
    async fn close(&self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        let (thread, consumer) = (lock(&self.thread).take(), lock(&self.consumer).take());
        if let Some(consumer) = &consumer {
            consumer.context().closing();
        }
        // A static member does not leave its group; the last reference to the consumer closes it, which may take a while.
        blocking(move || {
            let joined = thread.map(std::thread::JoinHandle::join);
            drop(consumer);
            Ok(joined)
        })
        .await
        .map(drop)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ConnectError::internal("task", "a blocking call broke off").caused_by(e))?
}

/// What librdkafka keeps ready of each partition, beside the memory budget: little where the budget is.
fn queue_kib(budget: &MemoryBudget) -> usize {
    (budget.total_bytes() / 1024 / 64).clamp(256, 8192)
}

fn group_defaults(config: &mut ClientConfig, group: &str, instance: &str, budget: &MemoryBudget) {
    let mut default = |key: &str, value: &str| {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    };
    default("group.id", group);
    default("group.instance.id", instance);
    default("partition.assignment.strategy", "cooperative-sticky");
    default("fetch.queue.backoff.ms", "5");
    let queue_kib = queue_kib(budget);
    default("queued.max.messages.kbytes", &queue_kib.to_string());
    default("queued.min.messages", "20000");
    default("max.partition.fetch.bytes", &(queue_kib.min(1024) * 1024).to_string());
    // Connect's user names a topic that comes later: it is picked up soon after it exists.
    default("topic.metadata.refresh.interval.ms", "30000");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("allow.auto.create.topics", "false");
    config.set_log_level(RDKafkaLogLevel::Warning);
}
