//! Producers: idempotent, `acks=all`, shared by the tasks whose configuration is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_core::{ConnectError, Result};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::client::{ClientSettings, Context};
use super::kafka_error;

/// What became of one record.
pub type Delivered = std::result::Result<(i32, i64), ConnectError>;

/// Called once per record, on the producer's thread.
pub trait OnDelivery: Send + Sync + 'static {
    fn delivered(&self, row: usize, outcome: Delivered);

    /// Told instead of `delivered`: the broker refused the batch that this record was in as too large. Alone it may fit.
    fn too_large(&self, row: usize, _record: OwnedMessage, error: ConnectError) {
        self.delivered(row, Err(error));
    }
}

/// One row of whoever waits.
pub struct Ticket {
    pub waits: Arc<dyn OnDelivery>,
    pub row: usize,
}

/// A record as Kafka takes it.
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Epoch milliseconds; `None`: now.
    pub timestamp: Option<i64>,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl Record<'_> {
    /// Of key, value and headers.
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len));
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers.sum::<usize>()
    }
}

pub struct DeliveryContext(Context);

impl ClientContext for DeliveryContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.generate_oauth_token(config)
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let (error, message) = match result {
            Ok(message) => {
                return ticket.waits.delivered(ticket.row, Ok((message.partition(), message.offset())));
            }
            Err(failed) => failed,
        };
        let headers = message.headers().into_iter().flat_map(|all| all.iter());
        let headers = headers.map(|h| h.key.len() + h.value.map_or(0, <[u8]>::len));
        let bytes = message.key().map_or(0, <[u8]>::len)
            + message.payload().map_or(0, <[u8]>::len)
            + headers.sum::<usize>();
        let told = self.0.trouble.explain(not_written(message.topic(), bytes, error));
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                ticket.waits.too_large(ticket.row, message.detach(), told);
            }
            _ => ticket.waits.delivered(ticket.row, Err(told)),
        }
    }
}

fn not_written(topic: &str, bytes: usize, error: &KafkaError) -> ConnectError {
    let doing = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            format!("writing a record of {bytes} bytes to topic `{topic}` failed")
        }
        _ => format!("writing to topic `{topic}` failed"),
    };
    kafka_error(&doing, error)
}

/// Sends records and reports each delivery.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<ThreadedProducer<DeliveryContext>>,
}

impl Producer {
    pub(super) fn new(settings: ClientSettings) -> Result<Self> {
        let ClientSettings { mut config, context, .. } = settings;
        defaults(&mut config);
        let inner = config
            .create_with_context(DeliveryContext(context))
            .map_err(|e| kafka_error("the Kafka producer cannot be created", &e).no_retry())?;
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(super) fn native(&self) -> &ThreadedProducer<DeliveryContext> {
        &self.inner
    }

    /// Queues one record; waits while librdkafka's queue is full.
    pub async fn send(&self, record: &Record<'_>, waits: Arc<dyn OnDelivery>, row: usize) -> Result<()> {
        loop {
            match self.try_send(record, waits.clone(), row) {
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(not_written(record.topic, record.bytes(), &error)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn try_send(
        &self,
        record: &Record<'_>,
        waits: Arc<dyn OnDelivery>,
        row: usize,
    ) -> std::result::Result<(), KafkaError> {
        let mut message: BaseRecord<'_, [u8], [u8], Box<Ticket>> =
            BaseRecord::with_opaque_to(record.topic, Box::new(Ticket { waits, row }));
        message.key = record.key;
        message.payload = record.value;
        message.partition = record.partition;
        message.timestamp = record.timestamp;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            message.headers = Some(
                record
                    .headers
                    .iter()
                    .fold(headers, |all, (key, value)| all.insert(Header { key, value: *value })),
            );
        }
        self.inner.send(message).map_err(|(error, _)| error)
    }

    /// Waits until everything that was queued is delivered or refused; at most `timeout`.
    pub async fn flush(&self, timeout: Duration) {
        let inner = self.inner.clone();
        let _ = tokio::task::spawn_blocking(move || inner.flush(timeout)).await;
    }
}

fn defaults(config: &mut ClientConfig) {
    let mut default = |key: &str, value: &str| {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    };
    default("enable.idempotence", "true");
    default("acks", "all");
    default("linger.ms", "5");
    default("queue.buffering.max.kbytes", "65536");
    // Java hashes keys so; a key keeps its partition when producers of both kinds write to a topic.
    default("partitioner", "murmur2_random");
    config.set_log_level(RDKafkaLogLevel::Warning);
}

/// The producers of a worker.
#[derive(Clone, Default)]
pub struct Producers {
    by_config: Arc<Mutex<BTreeMap<String, Producer>>>,
}

impl Producers {
    /// The producer with exactly these settings, made at first use.
    pub fn get(&self, settings: ClientSettings) -> Result<Producer> {
        let mut entries: Vec<(String, String)> =
            settings.config.config_map().iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        entries.sort();
        let key = format!("{entries:?}");
        let mut all = self.by_config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key) {
            return Ok(known.clone());
        }
        let producer = Producer::new(settings)?;
        all.insert(key, producer.clone());
        Ok(producer)
    }

    /// Flushes all of them.
    pub async fn flush(&self, timeout: Duration) {
        let all: Vec<Producer> =
            self.by_config.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        futures::future::join_all(all.iter().map(|p| p.flush(timeout))).await;
    }
}
