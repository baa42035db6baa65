//! Where a consumer group stands with partitions, and what that means: its offsets, what was written beside them, and
//! what the topics still have.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use connector_core::{ConnectError, Offset, Result, Resume, TopicPartition};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};

use super::group::GroupContext;
use super::kafka_error;
use crate::task::feed::{CommitOutcome, Standing, Unfinished};
use crate::task::mark::{Foreign, Mark};

/// How long the group's offsets, and the ends of a partition, are waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Where reading begins when the group knows nothing: `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    Earliest,
    Latest,
    /// The task fails.
    Error,
}

impl Reset {
    /// Takes the setting out of librdkafka's hands: it would skip or repeat records without a word.
    pub fn take(config: &mut ClientConfig) -> Self {
        let reset = match config.get("auto.offset.reset").unwrap_or("earliest") {
            "latest" | "largest" | "end" => Self::Latest,
            "error" | "none" => Self::Error,
            _ => Self::Earliest,
        };
        config.set("auto.offset.reset", "error");
        reset
    }
}

/// What is known of a group.
#[derive(Clone)]
pub struct Standings {
    group: Arc<str>,
    reset: Reset,
    /// Whether the brokers keep commit metadata: 0 not known, 1 they do, 2 they do not.
    keeps: Arc<AtomicU8>,
}

type Group = BaseConsumer<GroupContext>;
/// An offset, and what stands beside it.
type Committed = (Option<Offset>, Option<Mark>);

impl Standings {
    pub fn new(group: String, reset: Reset) -> Self {
        Self { group: group.into(), reset, keeps: Arc::default() }
    }

    pub fn keeps_marks(&self) -> Option<bool> {
        match self.keeps.load(Ordering::Relaxed) {
            0 => None,
            known => Some(known == 1),
        }
    }

    fn keep(&self, keeps: bool) {
        self.keeps.store(if keeps { 1 } else { 2 }, Ordering::Relaxed);
    }

    /// Where each partition begins. `resume`: offsets of the sink, which win; `ids`: of the topics as they are now;
    /// `stable`: ranges are to be kept in commit metadata, so it is tried whether the brokers keep any.
    pub fn of(
        &self,
        consumer: &Group,
        partitions: &[TopicPartition],
        resume: &Resume,
        ids: &BTreeMap<Arc<str>, Arc<str>>,
        stable: bool,
    ) -> Result<BTreeMap<TopicPartition, Standing>> {
        let committed = self.committed(consumer, partitions)?;
        let mut standings = BTreeMap::new();
        let mut unmarked = Vec::new();
        for tp in partitions {
            let (offset, mark) = committed.get(tp).cloned().unwrap_or_default();
            if let Some(&sinks) = resume.get(tp) {
                self.report_other(tp, sinks, offset);
                standings.insert(tp.clone(), Standing { offset: sinks, unfinished: None });
                continue;
            }
            if mark.is_some() {
                self.keep(true);
            } else {
                unmarked.push(tp.clone());
            }
            let id = ids.get(&tp.topic);
            let standing = match (offset, mark) {
                (Some(offset), Some(mark))
                    if mark.topic_id.is_some() && id.is_some() && mark.topic_id.as_ref() != id =>
                {
                    tracing::warn!(
                        group = &*self.group,
                        "{tp}: the topic was deleted and made again since the group read it up to {offset}; it is read from \
                         its beginning"
                    );
                    unmarked.push(tp.clone());
                    Standing { offset: self.ends(consumer, tp)?.0, unfinished: None }
                }
                (Some(offset), mark) => Standing { offset, unfinished: mark.and_then(unfinished) },
                (None, _) => Standing { offset: self.first(consumer, tp)?, unfinished: None },
            };
            standings.insert(tp.clone(), standing);
        }
        if stable {
            self.try_marks(consumer, &unmarked, &standings, ids)?;
        }
        Ok(standings)
    }

    /// Committed offsets with what was written beside them.
    fn committed(
        &self,
        consumer: &Group,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>> {
        let mut list = TopicPartitionList::new();
        for tp in partitions {
            list.add_partition(&tp.topic, tp.partition);
        }
        let failed = |e: &KafkaError| kafka_error("asking for the group's offsets failed", e);
        let found = consumer.committed_offsets(list, ASK_TIMEOUT).map_err(|e| failed(&e))?;
        let mut committed = BTreeMap::new();
        for entry in found.elements() {
            entry.error().map_err(|e| failed(&e))?;
            let tp = TopicPartition::new(entry.topic(), entry.partition());
            let offset = match entry.offset() {
                NativeOffset::Offset(offset) => Some(offset),
                _ => None,
            };
            let mark = match mark_of(&entry) {
                Ok(mark) => mark,
                Err(foreign) => {
                    let text = format!("{tp} of group `{}`: {foreign}", self.group);
                    return Err(ConnectError::user("kafka.foreign_metadata", text).hint(
                        "stop what else commits in this group, or give the connector another name; then set the offsets \
                         with kafka-consumer-groups --reset-offsets, which clears the metadata",
                    ));
                }
            };
            committed.insert(tp, (offset, mark));
        }
        Ok(committed)
    }

    /// Where a partition begins of which the group knows nothing.
    fn first(&self, consumer: &Group, tp: &TopicPartition) -> Result<Offset> {
        let (low, high) = self.ends(consumer, tp)?;
        match self.reset {
            Reset::Earliest => Ok(low),
            Reset::Latest => Ok(high),
            Reset::Error => {
                let text =
                    format!("group `{}` has no offset of {tp}, and auto.offset.reset is `none`", self.group);
                Err(ConnectError::user("kafka.no_offset", text).hint(
                    "set the offset with kafka-consumer-groups, or auto.offset.reset to earliest or latest",
                ))
            }
        }
    }

    fn ends(&self, consumer: &Group, tp: &TopicPartition) -> Result<(Offset, Offset)> {
        consumer
            .fetch_watermarks(&tp.topic, tp.partition, ASK_TIMEOUT)
            .map_err(|e| kafka_error(&format!("asking for the ends of {tp} failed"), &e))
    }

    /// Where reading goes on when the record at `at` is not there: at the first that is left, which loses what expired.
    /// Beyond the end there is no right place.
    pub fn beyond(&self, consumer: &Group, tp: &TopicPartition, at: Offset) -> Result<Offset> {
        let (low, high) = self.ends(consumer, tp)?;
        match at {
            _ if at < low => Ok(if self.reset == Reset::Latest { high } else { low }),
            _ if at <= high => Ok(at),
            _ => {
                let text = format!(
                    "{tp}: the next record to read is {at}, but the topic ends at {high}: the offset was set by hand, or \
                     the topic was made again"
                );
                Err(ConnectError::user("kafka.offset_beyond_end", text).hint(format!(
                    "set the offset of group `{}` to where reading is to go on: kafka-consumer-groups --reset-offsets",
                    self.group
                )))
            }
        }
    }

    /// Commits where reading begins, marked, and looks whether the mark was kept. That pins the beginning, too.
    fn try_marks(
        &self,
        consumer: &Group,
        unmarked: &[TopicPartition],
        standings: &BTreeMap<TopicPartition, Standing>,
        ids: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Result<()> {
        let epochs: BTreeMap<_, _> = consumer.context().epochs().of.clone();
        let marks: Vec<_> = unmarked
            .iter()
            .filter_map(|tp| {
                let standing = standings.get(tp)?;
                let mark = Mark::settled(ids.get(&tp.topic).cloned());
                Some((tp.clone(), *epochs.get(tp)?, standing.offset, mark))
            })
            .collect();
        if marks.is_empty() || self.keeps_marks() == Some(false) {
            return Ok(());
        }
        // A group that is settling is asked again at the next assignment, or finds out with the first range.
        if consumer.context().commit(consumer, &marks)? == CommitOutcome::Committed
            && self.keeps_marks().is_none()
        {
            let tried: Vec<_> = marks.into_iter().map(|(tp, ..)| tp).collect();
            let kept = self.committed(consumer, &tried)?;
            self.keep(kept.values().any(|(_, mark)| mark.is_some()));
        }
        Ok(())
    }

    /// Says where the group's offset is not that of the sink, which counts: after a crash it is a publish behind, but
    /// somebody may also have moved it and wait for records that do not come.
    fn report_other(&self, tp: &TopicPartition, sinks: Offset, groups: Option<Offset>) {
        if let Some(groups) = groups.filter(|groups| *groups != sinks) {
            tracing::warn!(
                group = &*self.group,
                "{tp}: goes on at offset {sinks}, behind what the sink has, and not at the group's {groups}"
            );
        }
    }
}

/// What stands beside a committed offset.
pub(super) fn mark_of(entry: &TopicPartitionListElem<'_>) -> Result<Option<Mark>, Foreign> {
    // The wrapper panics where the metadata is no text.
    let metadata = catch_unwind(AssertUnwindSafe(|| entry.metadata().to_owned()));
    metadata.map_err(|_| Foreign::Unknown).and_then(|text| Mark::parse(&text))
}

fn unfinished(mark: Mark) -> Option<Unfinished> {
    let Mark { end, recipe, how, .. } = mark;
    end.map(|end| Unfinished { end, recipe, how })
}
