//! Kinesis → cleaner → Delta without Kafka in between: the stream's positions are in a file, or in the offsets topic.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::killing::Flow;
use crate::log;
use crate::stream::{Stream, kinesalite};
use crate::support::{Kafka, Services, block_on, services, unique};
use crate::{Lake, assert_each_row_once, rows};

const KILLS: u64 = 10;
const CLIENTS: usize = 4;
/// After this kill a shard is split.
const SPLIT: u64 = 4;
const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

struct Users {
    id: String,
    stream: Stream,
    lake: Lake,
}

impl Users {
    fn new() -> Self {
        let stream = block_on(Stream::create(&kinesalite(), 4));
        Self { id: unique("users"), stream, lake: Lake::new() }
    }

    fn yaml(&self, worker: &str) -> String {
        let (Self { id, stream, .. }, keys) = (self, self.lake.keys());
        format!(
            "worker: {{{worker}}}
connectors:
  {id}:
    tasks.max: 2
    transforms: [{{name: clean, type: user-cleaner}}]
    source:
      class: kinesis-source
      kinesis.stream: {}
      kinesis.endpoint: {}
      kinesis.region: us-east-1
      kinesis.record.limit: 50
      kinesis.empty.records.backoff.ms: 200
      kinesis.shard.discovery.interval.ms: 500
    sink: {{class: delta-sink, {keys}}}
",
            stream.name, stream.endpoint
        )
    }

    /// From several clients at once.
    fn put(&self, numbers: Range<usize>) {
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let numbers = numbers.clone().skip(client).step_by(CLIENTS);
                scope.spawn(move || {
                    for n in numbers {
                        let key = format!("user-{}", n % 100);
                        block_on(self.stream.put(&key, rows::raw(n).to_string()));
                    }
                });
            }
        });
    }

    /// Kills the worker and looks at what `positions` were stored at each death.
    fn survive(&self, yaml: &str, seed: u64, positions: impl Fn() -> Vec<(Value, Value)>) {
        let table = self.lake.table();
        let flow = Flow {
            table: &table,
            put: &|numbers| self.put(numbers),
            pause: Duration::from_millis(10),
            env: &CREDENTIALS,
        };
        let mut deaths = Deaths::default();
        let count = flow.kill(yaml, seed, KILLS, |time| {
            deaths.look(&positions(), &table);
            if time == SPLIT {
                block_on(self.stream.split(0));
            }
        });
        let orphans = log::orphans(&table);
        println!("{deaths:?}, {orphans} staged files left behind");
        assert!(deaths.before_commit + deaths.after_commit + orphans > 0, "no kill fell into a publish");
        log::assert_gapless(&log::ranges(&table));
        assert_each_row_once(&table, count);
    }
}

/// What tasks were doing when they were killed.
#[derive(Debug, Default)]
struct Deaths {
    /// The intent was stored, the table did not have it.
    before_commit: usize,
    /// The table had the intent's rows, and they were not acknowledged.
    after_commit: usize,
    between_publishes: usize,
}

impl Deaths {
    fn look(&mut self, positions: &[(Value, Value)], table: &Path) {
        let ends = log::ends(&log::ranges(table));
        let mut tasks = BTreeMap::new();
        for (partition, offset) in positions {
            if let (Some(task), None) = (partition["sidestream.task"].as_i64(), partition.get("part")) {
                tasks.insert(task, offset["end"].as_i64());
            }
        }
        for (task, intent) in tasks {
            let place = match intent {
                None => &mut self.between_publishes,
                intent if intent == ends.get(&task).copied() => &mut self.after_commit,
                _ => &mut self.before_commit,
            };
            *place += 1;
        }
    }
}

#[test]
fn kinesis_to_delta_with_positions_in_a_file_killed_ten_times_has_every_row_once() {
    let users = Users::new();
    let state = users.lake.0.path().join("positions");
    // It has no `bootstrap.servers`.
    let yaml = users.yaml(&format!("offset.storage.file.filename: {}", state.display()));
    let line = |line: &str| {
        let (_, partition, offset): (String, Value, Value) = serde_json::from_str(line).ok()?;
        Some((partition, offset))
    };
    let yaml = format!("# no bootstrap.servers\n{yaml}");
    users.survive(&yaml, 2, || {
        fs::read_to_string(&state).unwrap_or_default().lines().filter_map(line).collect()
    });
}

#[test]
fn kinesis_to_delta_with_positions_in_kafka_killed_ten_times_has_every_row_once() {
    let Services { kafka, .. } = services();
    let users = Users::new();
    let id = &users.id;
    let worker =
        format!("group.id: {id}, offset.storage.replication.factor: 1, offset.storage.partitions: 1");
    users.survive(&users.yaml(&worker), 3, || stored(&kafka, &format!("{id}-offsets")));
}

/// Source partitions and offsets of an offsets topic, oldest first.
fn stored(kafka: &Kafka, topic: &str) -> Vec<(Value, Value)> {
    if kafka.partition_count(topic) == 0 {
        return Vec::new();
    }
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    let pair = |(key, value): (Value, Value)| (key[1].clone(), value);
    let records = kafka.read(topic).into_iter().filter_map(|r| Some((parse(r.key?), parse(r.value?))));
    records.map(pair).collect()
}
