//! Source offsets in a compacted topic, in Connect's format (D-02): key `["connector",{partition}]`, value the offset
//! map, null = reset. A container without a disk can restart, and MSK Connect's own topic can be taken over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use connector_core::{ConfigMap, ConnectError, Position, Result, TopicDirectory};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, oneshot};

use super::admin::Admin;
use super::client::{self, Context, Role};
use super::kafka_error;
use super::producer::{Delivered, OnDelivery, Producer, Record};
use crate::config::{TopicSpec, WorkerConfig};
use crate::task::positions::{Positions, Table};

/// The store of all source connectors of a worker; read once, at first use.
pub struct OffsetStore {
    topic: String,
    loaded: OnceCell<Mutex<Table>>,
}

impl OffsetStore {
    pub fn new(topic: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { topic: topic.into(), loaded: OnceCell::new() })
    }

    /// Stored positions of a connector.
    async fn load(&self, of: &TopicPositions) -> Result<Vec<Position>> {
        let all = self
            .loaded
            .get_or_try_init(|| async {
                let TopicPositions { worker, admin, handle, .. } = of;
                admin.refresh().await?;
                admin.ensure(&self.spec(worker)).await?;
                admin.refresh().await?;
                let partitions = admin.partitions(&self.topic).unwrap_or(1);
                let settings = client::settings(worker, Role::Consumer, &ConfigMap::new(), handle)?;
                let topic = self.topic.clone();
                let read = tokio::task::spawn_blocking(move || read_all(settings, &topic, partitions));
                let read = read.await.map_err(|e| {
                    ConnectError::internal("task", "reading stored offsets broke off").caused_by(e)
                })??;
                Ok::<_, ConnectError>(Mutex::new(read))
            })
            .await?;
        Ok(all.lock().unwrap_or_else(PoisonError::into_inner).of(&of.connector))
    }

    /// Stores positions and waits until Kafka has them.
    async fn store(&self, connector: &str, positions: &[Position], producer: &Producer) -> Result<()> {
        let mut stored = Vec::with_capacity(positions.len());
        for position in positions {
            let key = serde_json::to_vec(&(connector, &position.partition));
            let value = serde_json::to_vec(&position.offset);
            let (Ok(key), Ok(value)) = (key, value) else {
                return Err(ConnectError::internal("offsets", "a source position is not JSON"));
            };
            let (sender, answer) = oneshot::channel();
            let record = Record {
                topic: &self.topic,
                partition: None,
                key: Some(&key),
                value: Some(&value),
                timestamp: None,
                headers: Vec::new(),
            };
            producer.send(&record, Arc::new(Waiting(Mutex::new(Some(sender)))), 0).await?;
            stored.push(answer);
        }
        for answer in stored {
            answer
                .await
                .unwrap_or_else(|_| Err(ConnectError::internal("offsets", "the producer went away")))
                .map_err(|e| e.at("storing source offsets"))?;
        }
        if let Some(all) = self.loaded.get() {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            for Position { partition, offset } in positions {
                all.put(connector, partition.clone(), Some(offset.clone()));
            }
        }
        Ok(())
    }

    fn spec(&self, worker: &WorkerConfig) -> TopicSpec {
        TopicSpec {
            name: self.topic.clone(),
            partitions: worker.offset_storage_partitions,
            replication_factor: worker.offset_storage_replication_factor,
            config: ConfigMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
        }
    }
}

/// The positions of one connector, and what reading and writing them takes.
pub struct TopicPositions {
    pub store: Arc<OffsetStore>,
    pub connector: String,
    pub worker: WorkerConfig,
    pub admin: Admin,
    pub handle: Handle,
    pub producer: Producer,
}

#[async_trait]
impl Positions for TopicPositions {
    async fn load(&self) -> Result<Vec<Position>> {
        self.store.load(self).await
    }

    async fn store(&self, positions: &[Position]) -> Result<()> {
        self.store.store(&self.connector, positions, &self.producer).await
    }
}

struct Waiting(Mutex<Option<oneshot::Sender<Delivered>>>);

impl OnDelivery for Waiting {
    fn delivered(&self, _: usize, outcome: Delivered) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(outcome);
        }
    }
}

/// Reads the topic from its beginning to its present end.
fn read_all(settings: client::ClientSettings, topic: &str, partitions: u32) -> Result<Table> {
    let mut config = settings.config;
    config.set("group.id", "sidestream-offsets-reader");
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    config.remove("group.instance.id");
    let failed = |e: &KafkaError| kafka_error(&format!("reading stored offsets from `{topic}` failed"), e);
    let consumer: BaseConsumer<Context> =
        config.create_with_context(settings.context).map_err(|e| failed(&e))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(|e| failed(&e))?;
    }
    consumer.assign(&list).map_err(|e| failed(&e))?;
    let (mut all, mut ended) = (Table::default(), std::collections::HashSet::new());
    let mut quiet = Duration::ZERO;
    const STEP: Duration = Duration::from_millis(200);
    while ended.len() < partitions as usize {
        match consumer.poll(STEP) {
            Some(Ok(message)) => {
                quiet = Duration::ZERO;
                keep(&mut all, message.key(), message.payload());
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => return Err(failed(&error)),
            None => {
                quiet += STEP;
                if quiet > Duration::from_secs(30) {
                    return Err(ConnectError::external(
                        "kafka.offsets",
                        format!("reading `{topic}` made no progress"),
                    )
                    .hint("check that all partitions of the topic have a leader"));
                }
            }
        }
    }
    Ok(all)
}

/// Keeps the newest offset of each source partition; foreign records in the topic are left alone.
fn keep(all: &mut Table, key: Option<&[u8]>, value: Option<&[u8]>) {
    let Some(Ok((connector, partition))) = key.map(serde_json::from_slice::<(String, Map<String, Value>)>)
    else {
        return;
    };
    let offset = value.and_then(|v| serde_json::from_slice::<Map<String, Value>>(v).ok());
    all.put(&connector, partition, offset);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(records: &[(&str, Option<&str>)]) -> Table {
        let mut all = Table::default();
        for (key, value) in records {
            keep(&mut all, Some(key.as_bytes()), value.map(str::as_bytes));
        }
        all
    }

    #[test]
    fn the_newest_offset_of_a_source_partition_counts_whatever_the_order_of_keys_d_02() {
        let all = stored(&[
            (r#"["db",{"protocol":"1","table":"a.t"}]"#, Some(r#"{"incrementing":1}"#)),
            (r#"["db",{"table":"a.t","protocol":"1"}]"#, Some(r#"{"incrementing":2}"#)),
            (r#"["other",{"table":"a.t","protocol":"1"}]"#, Some(r#"{"incrementing":9}"#)),
        ]);
        assert_eq!(all.of("db").len(), 1);
        assert_eq!(all.of("db")[0].offset["incrementing"], 2);
    }

    #[test]
    fn a_null_value_resets_a_source_partition_and_foreign_records_are_ignored() {
        let all = stored(&[
            (r#"["db",{"table":"t"}]"#, Some(r#"{"incrementing":1}"#)),
            ("not json", Some("{}")),
            (r#"["db",{"table":"t"}]"#, None),
        ]);
        assert!(all.of("db").is_empty());
    }
}
