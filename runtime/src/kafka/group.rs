//! Membership in a consumer group: librdkafka's rebalance callbacks as events. No I/O happens in a callback.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use connector_core::{Offset, Result, TopicPartition};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as NativeOffset, TopicPartitionList};
use tokio::sync::mpsc;

use super::auth::trouble::Trouble;
use super::batch::MessageQueue;
use super::client::Context;
use super::kafka_error;
use crate::task::feed::{CommitOutcome, Membership};
use crate::task::mark::Mark;

/// How long a seek may take.
const SEEK_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Epochs {
    last: u64,
    pub(super) of: BTreeMap<TopicPartition, u64>,
}

/// Turns rebalance callbacks into [`Membership`] events. No I/O happens here.
pub struct GroupContext {
    inner: Context,
    membership: mpsc::UnboundedSender<Membership>,
    queue: Mutex<Option<Weak<Mutex<MessageQueue<GroupContext>>>>>,
    epochs: Mutex<Epochs>,
    drain_timeout: Duration,
    /// Held by a commit that is under way: partitions go away before it or after it.
    commits: Mutex<()>,
    /// What the group wants back, until the task has let go of it.
    asked_back: Mutex<Vec<AskedBack>>,
    closing: AtomicBool,
}

struct AskedBack {
    list: TopicPartitionList,
    /// Broken off when the task has let go.
    wait: std_mpsc::Receiver<()>,
    until: Instant,
}

impl GroupContext {
    pub(super) fn trouble(&self) -> &Trouble {
        &self.inner.trouble
    }

    pub(super) fn new(
        inner: Context,
        membership: mpsc::UnboundedSender<Membership>,
        drain_timeout: Duration,
    ) -> Self {
        Self {
            inner,
            membership,
            queue: Mutex::new(None),
            epochs: Mutex::new(Epochs::default()),
            drain_timeout,
            commits: Mutex::default(),
            asked_back: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// No task lets go of anything any more.
    pub(super) fn closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Gives back what the task has let go of, or has kept for too long. To be called often, on the consumer's thread;
    /// the other partitions go on meanwhile.
    pub(super) fn give_back(&self, consumer: &BaseConsumer<Self>) {
        let mut asked_back = lock(&self.asked_back);
        asked_back.retain(|asked| {
            let waiting = matches!(asked.wait.try_recv(), Err(std_mpsc::TryRecvError::Empty));
            if waiting && Instant::now() < asked.until && !self.closing.load(Ordering::Acquire) {
                return true;
            }
            self.disown(&asked.list);
            if let Err(error) = unassign(consumer, &asked.list) {
                self.tell(Membership::Failed(kafka_error("giving partitions back failed", &error)));
            }
            false
        });
    }

    /// From here on nothing of these partitions is committed.
    fn disown(&self, list: &TopicPartitionList) {
        let _none_under_way = lock(&self.commits);
        let elements = list.elements();
        let gone = |tp: &TopicPartition| {
            elements.iter().any(|e| e.topic() == &*tp.topic && e.partition() == tp.partition)
        };
        lock(&self.epochs).of.retain(|tp, _| !gone(tp));
    }

    /// Commits offsets with their marks, if all of the partitions are still those of the given assignments. Waits for
    /// the broker.
    pub(super) fn commit(
        &self,
        consumer: &BaseConsumer<Self>,
        offsets: &[(TopicPartition, u64, Offset, Mark)],
    ) -> Result<CommitOutcome> {
        let failed = |e: &KafkaError| kafka_error("committing offsets failed", e);
        let mut list = TopicPartitionList::new();
        for (tp, _, offset, mark) in offsets {
            let mut entry = list.add_partition(&tp.topic, tp.partition);
            entry.set_offset(NativeOffset::Offset(*offset)).map_err(|e| failed(&e))?;
            entry.set_metadata(mark.text());
        }
        let _under_way = lock(&self.commits);
        {
            let epochs = lock(&self.epochs);
            if offsets.iter().any(|(tp, epoch, ..)| epochs.of.get(tp) != Some(epoch)) {
                return Ok(CommitOutcome::Fenced);
            }
        }
        match consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Ok(CommitOutcome::Committed),
            Err(e) => match e.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::RebalanceInProgress
                    | RDKafkaErrorCode::AssignmentLost,
                ) => Ok(CommitOutcome::Fenced),
                _ => Err(failed(&e)),
            },
        }
    }

    fn restart(&self, consumer: &BaseConsumer<Self>, stopped: &TopicPartitionList) -> KafkaResult<()> {
        if is_cooperative(consumer) {
            consumer.incremental_unassign(stopped)?;
            self.forward(&partitions_of(stopped));
            return consumer.incremental_assign(stopped);
        }
        let all = consumer.position()?;
        for entry in stopped.elements() {
            if let Some(mut at) = all.find_partition(entry.topic(), entry.partition()) {
                at.set_offset(entry.offset())?;
            }
        }
        self.forward(&partitions_of(stopped));
        consumer.assign(&all)
    }

    /// Sends the messages of partitions where the poller waits for them.
    fn forward(&self, partitions: &[TopicPartition]) {
        if let Some(queue) = lock(&self.queue).as_ref().and_then(Weak::upgrade) {
            let queue = lock(&queue);
            partitions.iter().for_each(|tp| queue.take_partition(tp));
        }
    }

    /// Reads on at these offsets, and where none is given, where librdkafka is. Partitions that are not assigned any
    /// more are left out.
    pub(super) fn go_to(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[(TopicPartition, Option<Offset>)],
    ) -> Result<()> {
        let (mut all, mut seek) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (tp, offset) in partitions {
            if !lock(&self.epochs).of.contains_key(tp) {
                continue;
            }
            all.add_partition(&tp.topic, tp.partition);
            if let Some(offset) = offset {
                seek.add_partition_offset(&tp.topic, tp.partition, NativeOffset::Offset(*offset))
                    .map_err(|e| kafka_error("seeking failed", &e))?;
            }
        }
        if seek.count() > 0 {
            let failed = |e: &KafkaError| kafka_error("seeking to where reading goes on failed", e);
            let sought = consumer.seek_partitions(seek, SEEK_TIMEOUT).map_err(|e| failed(&e))?;
            let mut stopped = TopicPartitionList::new();
            for entry in sought.elements() {
                match entry.error().map_err(|e| (e.rdkafka_error_code(), failed(&e))) {
                    Ok(()) => {}
                    // librdkafka stops where a record is not there; only an assignment sets it going again.
                    Err((Some(RDKafkaErrorCode::State), _)) => {
                        stopped
                            .add_partition_offset(entry.topic(), entry.partition(), entry.offset())
                            .map_err(|e| failed(&e))?;
                    }
                    Err((_, error)) => return Err(error),
                }
            }
            if stopped.count() > 0 {
                self.restart(consumer, &stopped).map_err(|e| failed(&e))?;
            }
        }
        consumer.resume(&all).map_err(|e| kafka_error("resuming partitions failed", &e))
    }

    /// Where messages of assigned partitions go.
    pub(super) fn set_queue(&self, queue: &Arc<Mutex<MessageQueue<GroupContext>>>) {
        *lock(&self.queue) = Some(Arc::downgrade(queue));
    }

    pub(super) fn tell(&self, event: Membership) {
        let _ = self.membership.send(event);
    }

    /// Partitions that are assigned now, with their epoch.
    pub(super) fn epochs(&self) -> std::sync::MutexGuard<'_, Epochs> {
        lock(&self.epochs)
    }
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
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = partitions_of(list);
        let outcome = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.forward(&partitions);
                let epoch = {
                    let mut epochs = lock(&self.epochs);
                    epochs.last += 1;
                    let epoch = epochs.last;
                    epochs.of.extend(partitions.iter().map(|tp| (tp.clone(), epoch)));
                    epoch
                };
                // The task says where to begin, after it has asked group and sink: nobody waits for that here.
                let done = list
                    .set_all_offsets(NativeOffset::Beginning)
                    .and_then(|()| assign(consumer, list))
                    .and_then(|()| consumer.pause(list));
                if !partitions.is_empty() {
                    let _ = self.membership.send(Membership::Assigned { partitions, epoch });
                }
                done
            }
            _ => {
                let lost = consumer.assignment_lost();
                let (done, wait) = std_mpsc::channel();
                if lost || self.closing.load(Ordering::Acquire) {
                    self.disown(list);
                    let _ = self.membership.send(Membership::Revoked { partitions, lost, done });
                    unassign(consumer, list)
                } else {
                    // Nothing more of them is fetched; the others go on while the task finishes what it has.
                    let paused = consumer.pause(list);
                    let until = Instant::now() + self.drain_timeout;
                    lock(&self.asked_back).push(AskedBack { list: named(&partitions), wait, until });
                    let _ = self.membership.send(Membership::Revoked { partitions, lost, done });
                    paused
                }
            }
        };
        if let Err(error) = outcome {
            let error = kafka_error("taking part in a rebalance failed", &error);
            let _ = self.membership.send(Membership::Failed(error));
        }
    }
}

/// A list of nothing but names. A copy of a list of librdkafka's holds on to its partitions, and a client whose context
/// keeps one is never destroyed.
fn named(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for tp in partitions {
        list.add_partition(&tp.topic, tp.partition);
    }
    list
}

fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|e| TopicPartition::new(e.topic(), e.partition())).collect()
}

fn is_cooperative(consumer: &BaseConsumer<GroupContext>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

fn assign(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_assign(list) } else { consumer.assign(list) }
}

fn unassign(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_unassign(list) } else { consumer.unassign() }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
