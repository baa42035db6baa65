//! Membership in a consumer group: librdkafka's rebalance callbacks as events. No I/O happens in a callback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak, mpsc as std_mpsc};
use std::time::Duration;

use connector_core::TopicPartition;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::mpsc;

use super::batch::MessageQueue;
use super::client::Context;
use super::kafka_error;
use crate::task::feed::Membership;

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
}

impl GroupContext {
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
        }
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

fn assign(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_assign(list) } else { consumer.assign(list) }
}

fn unassign(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_cooperative(consumer) { consumer.incremental_unassign(list) } else { consumer.unassign() }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
