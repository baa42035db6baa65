//! Gives records to the producer; to a topic that takes less at once than the producer sends, in parts that fit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use connector_core::ConnectError;
use rdkafka::message::{Headers, Message, OwnedMessage};
use tokio::sync::Notify;

use super::sent::{Failure, Sent};
use crate::kafka::admin::Admin;
use crate::kafka::producer::{Delivered, OnDelivery, Producer, Record};

/// More than a record and its share of a batch take beside key, value and headers.
const OVERHEAD: usize = 200;

pub struct Sender {
    pub producer: Producer,
    admin: Admin,
    /// Bytes that a topic takes at once, of those that refused a batch.
    limits: HashMap<String, usize>,
}

impl Sender {
    pub fn new(producer: Producer, admin: Admin) -> Self {
        Self { producer, admin, limits: HashMap::new() }
    }

    /// A topic has refused a batch of several records: from now on it gets smaller ones.
    pub async fn learn(&mut self, topic: &str) {
        let limit = match self.limits.get(topic) {
            // It was told already, so it is less than it says.
            Some(known) => known / 2,
            None => {
                // Without the right to ask, each record goes alone.
                let asked = self.admin.largest_batch(topic).await.unwrap_or(1);
                tracing::warn!(
                    topic,
                    "the topic takes at most {asked} bytes at once, less than the producer sends: its records are sent in \
                     smaller parts, which is slower; raise max.message.bytes of the topic, or lower \
                     producer.override.batch.size"
                );
                asked
            }
        };
        self.limits.insert(topic.to_owned(), limit.max(1));
    }

    /// Records of one batch. [`Parts::end`] has to be awaited before others are sent.
    pub fn parts<'a>(&'a self, sent: &'a Arc<Sent>) -> Parts<'a> {
        Parts { sender: self, sent, open: HashMap::new() }
    }
}

/// The records of one batch that are with the producer.
pub struct Parts<'a> {
    sender: &'a Sender,
    sent: &'a Arc<Sent>,
    /// The last part of each topic with a limit, and its bytes.
    open: HashMap<String, (Arc<Part>, usize)>,
}

impl Parts<'_> {
    /// A record that cannot be sent fails in [`Sent`]; `index` is its name there.
    pub async fn send(&mut self, record: &Record<'_>, index: usize) {
        let limit = match self.sender.limits.is_empty() {
            true => None,
            false => self.sender.limits.get(record.topic).copied(),
        };
        let Some(limit) = limit else {
            let waits: Arc<dyn OnDelivery> = self.sent.clone();
            if let Err(error) = self.sender.producer.send(record, waits, index).await {
                self.sent.fail(Failure { index, error, crowded: None });
            }
            return;
        };
        let bytes = record.bytes() + OVERHEAD;
        if let Some((part, filled)) = self.open.get(record.topic)
            && filled + bytes > limit
        {
            part.done().await;
            self.open.remove(record.topic);
        }
        let new = || (Part::new(self.sent.clone()), 0);
        let (part, filled) = self.open.entry(record.topic.to_owned()).or_insert_with(new);
        *filled += bytes;
        part.expect();
        let waits: Arc<dyn OnDelivery> = part.clone();
        if let Err(error) = self.sender.producer.send(record, waits, index).await {
            part.delivered(index, Err(error));
        }
    }

    /// As it was sent before.
    pub async fn send_again(&mut self, message: &OwnedMessage, index: usize) {
        let headers = message.headers().map(|all| all.iter().map(|h| (h.key, h.value)).collect());
        let record = Record {
            topic: message.topic(),
            partition: Some(message.partition()).filter(|partition| *partition >= 0),
            key: message.key(),
            value: message.payload(),
            timestamp: message.timestamp().to_millis(),
            headers: headers.unwrap_or_default(),
        };
        self.send(&record, index).await;
    }

    pub async fn end(self) {
        for (part, _) in self.open.into_values() {
            part.done().await;
        }
    }
}

/// Records that may be in one batch.
struct Part {
    sent: Arc<Sent>,
    records: AtomicUsize,
    left: AtomicUsize,
    moved: Notify,
}

impl Part {
    fn new(sent: Arc<Sent>) -> Arc<Self> {
        Arc::new(Self { sent, records: AtomicUsize::new(0), left: AtomicUsize::new(0), moved: Notify::new() })
    }

    fn expect(&self) {
        self.records.fetch_add(1, Ordering::AcqRel);
        self.left.fetch_add(1, Ordering::AcqRel);
    }

    async fn done(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            self.moved.notified().await;
        }
    }

    fn count(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
        self.moved.notify_one();
    }
}

impl OnDelivery for Part {
    fn delivered(&self, index: usize, outcome: Delivered) {
        self.sent.delivered(index, outcome);
        self.count();
    }

    fn too_large(&self, index: usize, record: OwnedMessage, error: ConnectError) {
        let crowded = (self.records.load(Ordering::Acquire) > 1).then_some(record);
        self.sent.fail(Failure { index, error, crowded });
        self.count();
    }
}
