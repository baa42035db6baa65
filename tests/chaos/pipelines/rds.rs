//! A table of MariaDB that grows, to Kafka, exactly once: what counts is what readers of committed records see.

use std::ops::Range;

use serde_json::Value;

use super::Pipeline;
use crate::account::{Account, Arrived};
use crate::support::{Database, Kafka, Services, services, unique};

pub struct Rds {
    id: String,
    kafka: Kafka,
    database: Database,
}

impl Rds {
    pub fn new() -> Self {
        let Services { mysql, kafka, .. } = services();
        Self::on(&mysql, &kafka)
    }

    /// From a database on this server, `mysql://user:password@host:port/name`, to this cluster.
    pub fn on(server: &str, kafka: &Kafka) -> Self {
        let id = unique("chaos-rds");
        let database = Database::create(server);
        database.run("CREATE TABLE events (id BIGINT PRIMARY KEY, what VARCHAR(40) NOT NULL)");
        kafka.create_topic(&format!("{id}.events"), 1);
        Self { id, kafka: kafka.clone(), database }
    }

    /// Ids in the topic, in its order. Row `id` is record `id - 1`.
    fn ids(&self) -> Vec<i64> {
        let id = |value: Vec<u8>| {
            let row: Value = serde_json::from_slice(&value).unwrap();
            let id = row["id"].as_i64().unwrap();
            assert_eq!(row["what"], format!("event {id}"));
            id
        };
        let records = self.kafka.read(&format!("{}.events", self.id));
        records.into_iter().map(|record| id(record.value.unwrap())).collect()
    }
}

impl Pipeline for Rds {
    fn connector(&self) -> &str {
        &self.id
    }

    fn yaml(&self) -> String {
        let (Self { id, .. }, url) = (self, &self.database.url);
        format!(
            "worker:
  group.id: {id}
  offset.storage.replication.factor: 1
  offset.storage.partitions: 1
  exactly.once.source.support: enabled
connectors:
  {id}:
    connector.class: rds-source
    connection.url: {url}
    mode: incrementing
    incrementing.column.name: id
    table.whitelist: events
    topic.prefix: {id}.
    poll.interval.ms: 20
    batch.max.rows: 50
    errors.retry.delay.max.ms: 300
    connection.attempts: 2
    connection.backoff.ms: 300
    exactly.once.support: required
"
        )
    }

    fn env(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn put(&self, numbers: Range<i64>) {
        let rows: Vec<_> = numbers.map(|n| n + 1).map(|id| format!("({id}, 'event {id}')")).collect();
        self.database.run(&format!("INSERT INTO events (id, what) VALUES {}", rows.join(", ")));
    }

    fn is_settled(&self, count: i64) -> bool {
        self.ids().last() == Some(&count)
    }

    fn account(&self, count: i64) -> Account {
        let (mut arrived, mut last) = (Arrived::new(), 0);
        for id in self.ids() {
            let times = arrived.entry(id - 1).or_default();
            *times += 1;
            assert!(*times > 1 || id > last, "row {id} comes after row {last}");
            last = last.max(id);
        }
        Account::of(0..count, arrived)
    }
}
