//! Topics, records and committed offsets, seen from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{block_on, wait_until};

const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port`
    pub brokers: String,
}

/// A record to produce, or one that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub topic: String,
    /// `None` lets the producer choose; set in what was read.
    pub partition: Option<i32>,
    /// Set in what was read; ignored by `produce`.
    pub offset: i64,
    /// Milliseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    pub fn new(topic: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.to_owned(), value: Some(value.into()), ..Self::default() }
    }

    #[must_use]
    pub fn key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }
}

impl Kafka {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topics([(name, partitions)]);
    }

    /// Creates topics of one replica. Records with old timestamps stay: retention is off.
    pub fn create_topics<'a>(&self, topics: impl IntoIterator<Item = (&'a str, i32)>) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(name, partitions)| {
                NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1")
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for created in block_on(admin.create_topics(&topics, &options)).unwrap() {
            created.unwrap_or_else(|(topic, error)| panic!("cannot create topic {topic}: {error}"));
        }
    }

    /// Removes topics and groups of an earlier run, if there are any, and creates the topics.
    pub fn fresh_topics(&self, topics: &BTreeMap<String, i32>, groups: &[String]) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let names: Vec<&str> = topics.keys().map(String::as_str).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        // What is not there cannot be deleted, which is fine.
        block_on(admin.delete_topics(&names, &options)).unwrap();
        if !groups.is_empty() {
            block_on(admin.delete_groups(&groups, &options)).unwrap();
        }
        wait_until(TIMEOUT, "the topics of an earlier run are gone", || {
            let metadata = admin.inner().fetch_metadata(None, TIMEOUT).unwrap();
            metadata.topics().iter().all(|topic| !topics.contains_key(topic.name())).then_some(())
        });
        self.create_topics(topics.iter().map(|(name, partitions)| (name.as_str(), *partitions)));
    }

    /// One record and the end of its transaction, which takes an offset too.
    pub fn produce_in_transaction(&self, record: &Record) {
        let id = super::unique("transaction");
        let producer: FutureProducer = self.config().set("transactional.id", id).create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        let mut sent = FutureRecord::<(), [u8]>::to(&record.topic);
        sent.partition = record.partition;
        sent.payload = record.value.as_deref();
        block_on(producer.send(sent, TIMEOUT)).unwrap();
        producer.commit_transaction(TIMEOUT).unwrap();
    }

    /// Writes the records in their order; all are acknowledged when this returns.
    pub fn produce(&self, records: impl IntoIterator<Item = Record>) {
        self.producer().produce(records);
    }

    /// For who writes again and again.
    pub fn producer(&self) -> Producer {
        // Without idempotence a batch that is sent again, as while a new topic gets its leader, comes after later ones.
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("partitioner", "murmur2_random");
        Producer(config.create().unwrap())
    }

    /// The offsets that a group has committed for a topic, by partition; partitions without one are left out.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut wanted = TopicPartitionList::new();
        for partition in partitions(&consumer, topic) {
            wanted.add_partition(topic, partition);
        }
        // The coordinator of a young broker may not be there yet.
        let committed = wait_until(TIMEOUT, &format!("{group} has a coordinator"), || {
            consumer.committed_offsets(wanted.clone(), TIMEOUT).ok()
        });
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        committed.elements().iter().filter_map(|e| Some((e.partition(), offset(e.offset())?))).collect()
    }

    /// Sets the offset of a group as an administrator does: once it has no members any more.
    pub fn set_committed(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.set_committed_with(group, topic, partition, offset, "");
    }

    /// As [`Self::set_committed`], with metadata beside it.
    pub fn set_committed_with(&self, group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut wanted = TopicPartitionList::new();
        let mut entry = wanted.add_partition(topic, partition);
        entry.set_offset(Offset::Offset(offset)).unwrap();
        entry.set_metadata(metadata);
        wait_until(TIMEOUT, &format!("{group} has no members"), || {
            consumer.commit(&wanted, CommitMode::Sync).ok()
        });
    }

    /// What stands beside the offset that a group has committed for a partition.
    pub fn committed_metadata(&self, group: &str, topic: &str, partition: i32) -> String {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition(topic, partition);
        let committed = consumer.committed_offsets(wanted, TIMEOUT).unwrap();
        committed.elements()[0].metadata().to_owned()
    }

    /// Lets the records of a partition before `offset` expire.
    pub fn expire(&self, topic: &str, partition: i32, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let expired = block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
        expired.elements()[0].error().unwrap();
    }

    /// State and number of members of a group, as the broker sees them: `Stable`, `PreparingRebalance`, …
    pub fn group(&self, group: &str) -> (String, usize) {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let groups = consumer.fetch_group_list(Some(group), TIMEOUT).unwrap();
        groups.groups().first().map_or_else(Default::default, |g| (g.state().to_owned(), g.members().len()))
    }

    /// How many partitions a topic has; 0: there is no such topic.
    pub fn partition_count(&self, topic: &str) -> usize {
        let consumer: BaseConsumer = self.config().create().unwrap();
        partitions(&consumer, topic).len()
    }

    /// A setting of a topic, such as `retention.ms`.
    pub fn topic_setting(&self, topic: &str, key: &str) -> Option<String> {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let wanted = [ResourceSpecifier::Topic(topic)];
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let described = block_on(admin.describe_configs(&wanted, &options)).unwrap().remove(0).unwrap();
        described.get(key)?.value.clone()
    }

    /// The offset after the last record of each partition.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let end = |partition| watermarks(&consumer, topic, partition).1;
        partitions(&consumer, topic).into_iter().map(|partition| (partition, end(partition))).collect()
    }

    /// All records that a topic holds now, partition by partition in the order of their offsets.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = self.config().set("group.id", "test-reader").create().unwrap();
        let mut records = Vec::new();
        for partition in partitions(&consumer, topic) {
            let (start, end) = watermarks(&consumer, topic, partition);
            if start == end {
                continue;
            }
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(topic, partition, Offset::Offset(start)).unwrap();
            consumer.assign(&from).unwrap();
            // The position moves over transaction markers too, which are no records.
            while position(&consumer, topic, partition) < end {
                if let Some(message) = consumer.poll(Duration::from_secs(1)) {
                    records.push(record(&message.unwrap()));
                }
            }
        }
        records
    }
}

/// A connection that stays.
pub struct Producer(FutureProducer);

impl Producer {
    /// Writes the records in their order; all are acknowledged when this returns.
    pub fn produce(&self, records: impl IntoIterator<Item = Record>) {
        let producer = &self.0;
        let mut sent = Vec::new();
        for record in records {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: value.as_ref() });
            }
            let mut next = FutureRecord::<[u8], [u8]>::to(&record.topic);
            (next.partition, next.timestamp) = (record.partition, record.timestamp);
            (next.key, next.payload) = (record.key.as_deref(), record.value.as_deref());
            next.headers = (!record.headers.is_empty()).then_some(headers);
            loop {
                match producer.send_result(next) {
                    Ok(delivery) => break sent.push(delivery),
                    Err((_, again)) => {
                        // The queue is full.
                        producer.flush(TIMEOUT).unwrap();
                        next = again;
                    }
                }
            }
        }
        for delivery in sent {
            block_on(delivery)
                .unwrap()
                .unwrap_or_else(|(error, _)| panic!("a record was not written: {error}"));
        }
    }
}

/// First offset of a partition, and the one after its last; a partition of a new topic may have no leader yet.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    wait_until(TIMEOUT, &format!("{topic}-{partition} has a leader"), || {
        consumer.fetch_watermarks(topic, partition, TIMEOUT).ok()
    })
}

fn position(consumer: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    let position = consumer.position().unwrap();
    match position.find_partition(topic, partition).map(|e| e.offset()) {
        Some(Offset::Offset(next)) => next,
        _ => -1,
    }
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    let mut ids: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    ids.sort_unstable();
    ids
}

fn record(message: &impl Message) -> Record {
    let headers = message
        .headers()
        .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect());
    Record {
        topic: message.topic().to_owned(),
        partition: Some(message.partition()),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
