//! Source offsets in a compacted topic, in Connect's format (D-02): key `["connector",{partition}]`, value the offset
//! map, null = reset. A container without a disk can restart, and MSK Connect's own topic can be taken over.

mod reader;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use connector_core::{ConfigMap, ConnectError, Position, Result, TopicDirectory};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, oneshot};

use self::reader::Isolation;
use super::admin::Admin;
use super::client::{self, Role};
use super::producer::{Delivered, OnDelivery, Producer, Record};
use crate::config::{TopicSpec, WorkerConfig};
use crate::task::positions::{Positions, Table, key_of};

/// The positions of all source connectors of a worker in one topic; read once, at first use.
pub struct OffsetStore {
    topic: String,
    loaded: OnceCell<Mutex<Stored>>,
}

/// What an offsets topic holds.
#[derive(Default)]
struct Stored {
    positions: Table,
    /// The most tasks that a connector had when it began to write in transactions.
    tasks: HashMap<String, usize>,
}

/// In front of a connector's name in the key of its number of tasks: Connect's, which keeps it in its config topic (D-01).
const TASKS: &str = "tasks-fencing-";

impl OffsetStore {
    pub fn new(topic: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { topic: topic.into(), loaded: OnceCell::new() })
    }

    /// What was stored when this worker began, and since then by itself.
    async fn loaded(&self, of: &TopicPositions) -> Result<&Mutex<Stored>> {
        self.loaded
            .get_or_try_init(|| async { self.read(of, Isolation::Committed).await.map(Mutex::new) })
            .await
    }

    /// Reads the topic, which is made if there is none.
    async fn read(&self, of: &TopicPositions, isolation: Isolation) -> Result<Stored> {
        let TopicPositions { worker, admin, handle, .. } = of;
        admin.refresh().await?;
        admin.ensure(&self.spec(worker)).await?;
        admin.refresh().await?;
        let partitions = admin.partitions(&self.topic).unwrap_or(1);
        let settings = client::settings(worker, Role::Consumer, &ConfigMap::new(), handle)?;
        let topic = self.topic.clone();
        let read = move || reader::read_all(settings, &topic, partitions, isolation);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|e| ConnectError::internal("task", "reading stored offsets broke off").caused_by(e))?
    }

    /// Writes records and waits until Kafka has them.
    async fn write(&self, producer: &Producer, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<()> {
        let mut written = Vec::with_capacity(records.len());
        for (key, value) in records {
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
            written.push(answer);
        }
        for answer in written {
            answer
                .await
                .unwrap_or_else(|_| Err(ConnectError::internal("offsets", "the producer went away")))
                .map_err(|e| e.at("storing source offsets"))?;
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
#[derive(Clone)]
pub struct TopicPositions {
    /// Where they are written.
    pub store: Arc<OffsetStore>,
    /// Where positions are that `store` does not hold yet: the worker's own, of a connector with a topic of its own.
    pub former: Option<Arc<OffsetStore>>,
    pub connector: String,
    pub worker: WorkerConfig,
    pub admin: Admin,
    pub handle: Handle,
    pub producer: Producer,
}

impl TopicPositions {
    pub fn topic(&self) -> &str {
        &self.store.topic
    }

    /// Key and value of the record that stores a position, as Connect's.
    pub fn encode(&self, position: &Position) -> Result<(Vec<u8>, Vec<u8>)> {
        let key = serde_json::to_vec(&(&self.connector, &position.partition));
        match (key, serde_json::to_vec(&position.offset)) {
            (Ok(key), Ok(value)) => Ok((key, value)),
            _ => Err(ConnectError::internal("offsets", "a source position is not JSON")),
        }
    }

    /// Writes down how many tasks there are, for whoever has to fence them.
    pub async fn store_tasks(&self, tasks: usize) -> Result<()> {
        let key = format!("{TASKS}{}", self.connector).into_bytes();
        let value = json!({"task-count": tasks}).to_string().into_bytes();
        self.store.write(&self.producer, vec![(key, value)]).await
    }

    /// What all that wrote before have committed, whoever they were: to be called when they can write no more.
    pub async fn load_now(&self) -> Result<Vec<Position>> {
        let now = self.store.read(self, Isolation::Committed).await?.positions.of(&self.connector);
        self.with_former(now).await
    }

    /// How many tasks may have to be fenced: the most that there were. They may be in the middle of transactions, which are
    /// not waited for.
    pub async fn former_tasks(&self) -> Result<usize> {
        Ok(self
            .store
            .read(self, Isolation::Everything)
            .await?
            .tasks
            .get(&self.connector)
            .copied()
            .unwrap_or(0))
    }

    async fn with_former(&self, mut now: Vec<Position>) -> Result<Vec<Position>> {
        if let Some(former) = &self.former {
            let known: HashSet<String> = now.iter().map(|p| key_of(&p.partition)).collect();
            let all = lock(former.loaded(self).await?).positions.of(&self.connector);
            now.extend(all.into_iter().filter(|p| !known.contains(&key_of(&p.partition))));
        }
        Ok(now)
    }
}

#[async_trait]
impl Positions for TopicPositions {
    async fn load(&self) -> Result<Vec<Position>> {
        let now = lock(self.store.loaded(self).await?).positions.of(&self.connector);
        self.with_former(now).await
    }

    async fn store(&self, positions: &[Position]) -> Result<()> {
        let records = positions.iter().map(|position| self.encode(position)).collect::<Result<_>>()?;
        self.store.write(&self.producer, records).await?;
        if let Some(all) = self.store.loaded.get() {
            let mut all = lock(all);
            for Position { partition, offset } in positions {
                all.positions.put(&self.connector, partition.clone(), Some(offset.clone()));
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Waiting(Mutex<Option<oneshot::Sender<Delivered>>>);

impl OnDelivery for Waiting {
    fn delivered(&self, _: usize, outcome: Delivered) {
        if let Some(sender) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(outcome);
        }
    }
}
