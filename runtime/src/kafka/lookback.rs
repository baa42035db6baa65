//! What Kafka can prove after the fact: where a group is, which offsets a topic still has, which records became dead
//! letters. Reads without joining the group, and commits nothing. Its calls block.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_core::{ConnectError, Offset, Result, TopicPartition};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset as NativeOffset, TopicPartitionList};

use super::batch;
use super::client::{self, ClientSettings, Context};
use super::kafka_error;
use super::standings::mark_of;
use crate::task::mark::{Foreign, Mark};

const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a read may bring nothing.
const QUIET: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(200);

/// Reads as a connector's consumers would.
pub struct Lookback {
    consumer: BaseConsumer<Context>,
    /// The connector's group.
    pub group: String,
    /// Whether the group began at the beginning of its topics.
    pub from_beginning: bool,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug)]
pub struct Committed {
    pub offset: Option<Offset>,
    pub mark: Result<Option<Mark>, Foreign>,
}

/// Which records of a connector are in its queue of dead letters.
#[derive(Debug, Default)]
pub struct Letters {
    /// Where they were consumed; a record may have several letters.
    pub of: BTreeMap<TopicPartition, Vec<Offset>>,
    /// Letters that do not say whose they are.
    pub unnamed: u64,
}

/// A record as Kafka has it.
#[derive(Clone, Debug)]
pub struct Captured {
    pub partition: i32,
    pub offset: Offset,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Captured {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

impl Lookback {
    /// `settings` are those of the connector's consumers.
    pub fn new(settings: ClientSettings, group: String) -> Result<Self> {
        let ClientSettings { mut config, context } = settings;
        let group = config.get("group.id").map_or(group, str::to_owned);
        let reset = config.get("auto.offset.reset").unwrap_or("earliest");
        let from_beginning = !["latest", "largest", "end"].contains(&reset);
        config.set("group.id", &group);
        config.remove("group.instance.id");
        config.set("auto.offset.reset", "error");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config.set("allow.auto.create.topics", "false");
        config.set_log_level(RDKafkaLogLevel::Warning);
        let consumer = config
            .create_with_context(context)
            .map_err(|e| kafka_error("the Kafka consumer cannot be created", &e).no_retry())?;
        client::let_in(&consumer);
        Ok(Self { consumer, group, from_beginning })
    }

    /// Kafka's ids of these topics; none where the cluster has no ids.
    pub fn topic_ids(&self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        batch::topic_ids(self.consumer.client(), topics, ASK_TIMEOUT)
            .map_err(|e| kafka_error("asking for the ids of topics failed", &e))
    }

    /// The group's offsets.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Committed>> {
        let mut list = TopicPartitionList::new();
        for tp in partitions {
            list.add_partition(&tp.topic, tp.partition);
        }
        let failed = |e: &KafkaError| kafka_error("asking for the group's offsets failed", e);
        let end = Instant::now() + ASK_TIMEOUT;
        let found = loop {
            match self.consumer.committed_offsets(list.clone(), ASK_TIMEOUT) {
                Ok(found) => break found,
                // It has just moved to another broker, or its broker has just started.
                Err(error) if is_moving(&error) && Instant::now() < end => std::thread::sleep(STEP),
                Err(error) => return Err(failed(&error)),
            }
        };
        let mut committed = BTreeMap::new();
        for entry in found.elements() {
            entry.error().map_err(|e| failed(&e))?;
            let offset = match entry.offset() {
                NativeOffset::Offset(offset) => Some(offset),
                _ => None,
            };
            let mark = mark_of(&entry);
            committed
                .insert(TopicPartition::new(entry.topic(), entry.partition()), Committed { offset, mark });
        }
        Ok(committed)
    }

    /// From the first offset that the partition has to the one after its last.
    pub fn log(&self, tp: &TopicPartition) -> Result<Range<Offset>> {
        let ends = self.consumer.fetch_watermarks(&tp.topic, tp.partition, ASK_TIMEOUT);
        let (start, end) =
            ends.map_err(|e| kafka_error(&format!("asking for the ends of {tp} failed"), &e))?;
        Ok(start..end)
    }

    /// The offsets of `range` that the partition does not have: ends of transactions, and records that were aborted or
    /// compacted away. `seen` is told how many offsets were passed.
    pub fn absent(
        &self,
        tp: &TopicPartition,
        range: Range<Offset>,
        mut seen: impl FnMut(u64),
    ) -> Result<Vec<Range<Offset>>> {
        let (mut absent, mut next) = (Vec::new(), range.start);
        self.read(tp, range.clone(), |message| {
            let offset = message.offset();
            if offset > next {
                absent.push(next..offset.min(range.end));
            }
            seen(u64::try_from(offset + 1 - next).unwrap_or(0));
            next = next.max(offset + 1);
        })?;
        if next < range.end {
            absent.push(next..range.end);
        }
        Ok(absent)
    }

    /// Reads the queue `topic`, which has so many partitions. `seen` is told of each letter.
    pub fn letters(
        &self,
        topic: &str,
        partitions: u32,
        connector: &str,
        mut seen: impl FnMut(),
    ) -> Result<Letters> {
        let mut letters = Letters::default();
        for partition in 0..partitions {
            let tp = TopicPartition::new(topic, i32::try_from(partition).unwrap_or(i32::MAX));
            let range = self.log(&tp)?;
            self.read(&tp, range, |message| {
                seen();
                match origin(message) {
                    Some((of, ..)) if of != connector => {}
                    Some((_, tp, offset)) => letters.of.entry(tp).or_default().push(offset),
                    None => letters.unnamed += 1,
                }
            })?;
        }
        Ok(letters)
    }

    /// The last records of a topic, `count` at most, partition by partition.
    pub fn latest(&self, topic: &str, count: usize) -> Result<Vec<Captured>> {
        let found = self.consumer.fetch_metadata(Some(topic), ASK_TIMEOUT);
        let found = found.map_err(|e| kafka_error(&format!("asking for the topic `{topic}` failed"), &e))?;
        let partitions = found.topics().first().map_or(&[][..], |topic| topic.partitions());
        let mut captured = Vec::new();
        for partition in partitions {
            let tp = TopicPartition::new(topic, partition.id());
            let Range { start, end } = self.log(&tp)?;
            let missing = Offset::try_from(count - captured.len()).unwrap_or(Offset::MAX);
            self.read(&tp, start.max(end.saturating_sub(missing))..end, |message| {
                if captured.len() < count {
                    captured.push(Captured::of(message));
                }
            })?;
        }
        Ok(captured)
    }

    /// Shows the records of `range`; maybe also one behind it.
    fn read(
        &self,
        tp: &TopicPartition,
        range: Range<Offset>,
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<()> {
        if range.start >= range.end {
            return Ok(());
        }
        let failed = |e: &KafkaError| kafka_error(&format!("reading {tp} failed"), e);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&tp.topic, tp.partition, NativeOffset::Offset(range.start))
            .map_err(|e| failed(&e))?;
        self.consumer.assign(&list).map_err(|e| failed(&e))?;
        let (mut quiet, mut trouble) = (Duration::ZERO, None);
        let outcome = loop {
            match self.consumer.poll(STEP) {
                Some(Ok(message)) => {
                    quiet = Duration::ZERO;
                    each(&message);
                    if message.offset() + 1 >= range.end {
                        break Ok(());
                    }
                }
                // The last offsets hold no records.
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(()),
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                        let text = format!(
                            "{tp}: Kafka deleted records from offset {} on while they were read",
                            range.start
                        );
                        break Err(ConnectError::external("kafka.expired", text).hint("run it again"));
                    }
                    // librdkafka connects again by itself.
                    _ => trouble = Some(error),
                },
                None => quiet += STEP,
            }
            if quiet > QUIET {
                break Err(match &trouble {
                    Some(error) => failed(error),
                    None => {
                        ConnectError::external("kafka.no_progress", format!("reading {tp} made no progress"))
                            .hint("check that the partition has a leader")
                    }
                });
            }
        };
        let _ = self.consumer.assign(&TopicPartitionList::new());
        outcome
    }
}

/// The group's coordinator is on its way from one broker to another.
fn is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let code = error.rdkafka_error_code();
    code.is_some_and(|c| [CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator].contains(&c))
}

/// The connector and the place in a topic that a dead letter names. A letter that was read again by a connector names two:
/// the last one counts.
fn origin(letter: &BorrowedMessage<'_>) -> Option<(String, TopicPartition, Offset)> {
    let headers = letter.headers()?;
    let text = |name: &str| {
        let found = headers.iter().filter(|header| header.key == name).last()?;
        std::str::from_utf8(found.value?).ok()
    };
    let partition: i32 = text("__connect.errors.partition")?.parse().ok()?;
    let offset: Offset = text("__connect.errors.offset")?.parse().ok()?;
    let tp = TopicPartition::new(text("__connect.errors.topic")?, partition);
    Some((text("__connect.errors.connector.name")?.to_owned(), tp, offset))
}
