//! Exactly-once sources (KIP-618) on real services: killed at each step, taken over from, stopped, refused.
//!
//! Topics are read with `isolation.level=read_committed`.

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod refusals;
mod takeover;
mod transactions;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Database, Kafka, Services, Sidestream, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A table `events` and the topic that the connector writes it to.
struct Table {
    id: String,
    database: Database,
    kafka: Kafka,
    /// Rows that it has.
    rows: i64,
}

impl Table {
    fn new(what: &str) -> Self {
        let Services { kafka, mysql, .. } = services();
        let database = Database::create(&mysql);
        database.run("CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(40) NOT NULL)");
        Self { id: unique(what), database, kafka, rows: 0 }
    }

    /// Pages of ten rows, so that a few rows are many transactions; `keys` are further lines of the connector.
    fn yaml(&self, support: &str, keys: &str) -> String {
        let (id, url) = (&self.id, &self.database.url);
        format!(
            "worker:
  group.id: {id}
  offset.storage.replication.factor: 1
  offset.storage.partitions: 3
  exactly.once.source.support: {support}
topics:
  {id}.events: {{partitions: 1}}
connectors:
  {id}:
    connector.class: rds-source
    connection.url: {url}
    mode: incrementing
    table.whitelist: events
    topic.prefix: {id}.
    poll.interval.ms: 20
    batch.max.rows: 10
{keys}"
        )
    }

    fn insert(&mut self, count: i64) {
        let rows: Vec<_> =
            (self.rows + 1..=self.rows + count).map(|n| format!("({n}, 'event {n}')")).collect();
        self.database.run(&format!("INSERT INTO events (id, what) VALUES {}", rows.join(", ")));
        self.rows += count;
    }

    fn topic(&self) -> String {
        format!("{}.events", self.id)
    }

    /// The ids in the topic, in the order of their offsets.
    fn written(&self) -> Vec<i64> {
        let row = |record: support::Record| {
            let row: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            let id = row["id"].as_i64().unwrap();
            assert_eq!(row, json!({"id": id, "what": format!("event {id}")}));
            id
        };
        self.kafka.read(&self.topic()).into_iter().map(row).collect()
    }

    /// Waits until the last row is in the topic.
    #[track_caller]
    fn wait_written(&self) -> Vec<i64> {
        wait_until(SOON, "the last row is in the topic", || {
            let written = self.written();
            written.contains(&self.rows).then_some(written)
        })
    }

    fn all(&self) -> Vec<i64> {
        (1..=self.rows).collect()
    }
}

#[track_caller]
fn stop(worker: &mut Sidestream) {
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}
