//! A worker that is killed or stopped in the middle of its work, and started again.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use support::layout::{Coverage, coverage, objects};
use support::{Database, Kafka, Record, Services, Sidestream, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(150);

#[test]
fn a_sink_that_is_killed_again_and_again_leaves_every_offset_exactly_once_under_connects_keys() {
    const PARTITIONS: i64 = 4;
    const KILLS: usize = 5;
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("kill"), unique("kill-bucket"));
    s3.create_bucket(&bucket);
    kafka.create_topic(&id, PARTITIONS as i32);
    let yaml = format!(
        "connectors:
  {id}:
    connector.class: s3-sink
    topics: {id}
    tasks.max: 2
    flush.size: 100
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {}
",
        s3.url
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &s3.credentials());
    let (mut produced, mut at_kills) = (0, Vec::new());
    for _ in 0..KILLS {
        let before = s3.keys(&bucket).len();
        let batch = produced..produced + 2600 * PARTITIONS;
        kafka.produce(batch.clone().map(|n| {
            Record::new(&id, json!({"n": n / PARTITIONS}).to_string()).partition((n % PARTITIONS) as i32)
        }));
        produced = batch.end;
        // Each round makes 104 objects: some are there, and more are being written.
        wait_until(SOON, "some objects of this round are written", || {
            (s3.keys(&bucket).len() > before + 8).then_some(())
        });
        worker.kill();
        at_kills.push(s3.keys(&bucket).len());
        worker = worker.restart(&s3.credentials());
    }
    let each = produced / PARTITIONS;
    let ends: BTreeMap<_, _> = (0..PARTITIONS as i32).map(|partition| (partition, each)).collect();
    wait_until(LONG, "all offsets are committed", || {
        (kafka.committed(&format!("connect-{id}"), &id) == ends).then_some(())
    });
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let found = objects(&s3, &bucket, "topics");
    let mut total = Coverage::default();
    for (partition, end) in ends {
        let objects = &found[&(id.clone(), partition)];
        let expected = Coverage {
            objects: (each / 100) as usize,
            covered: each as usize,
            end: each,
            ..Coverage::default()
        };
        let covered = coverage(objects, end);
        assert_eq!(covered, expected, "{id}-{partition}");
        for object in objects {
            assert_eq!(
                (object.start % 100, object.lines.len()),
                (0, 100),
                "{id}-{partition}: {}",
                object.start
            );
            for (offset, line) in (object.start..).zip(&object.lines) {
                assert_eq!(line, &json!({ "n": offset }), "{id}-{partition}");
            }
        }
        total.objects += covered.objects;
        total.covered += covered.covered;
    }
    assert_eq!(found.len() as i64, PARTITIONS);
    println!(
        "killed with {at_kills:?} objects; {} objects, {} offsets, duplicates 0, missing 0",
        total.objects, total.covered
    );
}

// ---- the database source -------------------------------------------------------------------------------------------

const ROWS: i64 = 12_000;

/// A table that grows while it is read, and the connector that reads it.
struct Growing {
    id: String,
    database: Database,
    inserted: AtomicI64,
    failed: AtomicBool,
}

impl Growing {
    fn new(mysql: &str) -> Self {
        let database = Database::create(mysql);
        database.run("CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(40) NOT NULL)");
        Self { id: unique("grow"), database, inserted: AtomicI64::new(0), failed: AtomicBool::new(false) }
    }

    fn yaml(&self) -> String {
        let (id, url) = (&self.id, &self.database.url);
        format!(
            "worker: {{group.id: {id}, offset.storage.replication.factor: 1}}
topics:
  {id}.events: {{partitions: 1}}
connectors:
  {id}:
    connector.class: io.confluent.connect.jdbc.JdbcSourceConnector
    connection.url: {url}
    mode: incrementing
    table.whitelist: events
    topic.prefix: {id}.
    poll.interval.ms: 20
    batch.max.rows: 50
"
        )
    }

    fn topic(&self) -> String {
        format!("{}.events", self.id)
    }

    /// Adds rows 1 to `ROWS`, a hundred at a time, and no faster than `read` follows.
    fn insert(&self, read: impl Fn() -> i64) {
        for start in (1..=ROWS).step_by(100) {
            let rows: Vec<_> = (start..start + 100).map(|n| format!("({n}, 'event {n}')")).collect();
            self.database.run(&format!("INSERT INTO events (id, what) VALUES {}", rows.join(", ")));
            self.inserted.store(start + 99, Ordering::Relaxed);
            while read() + 3000 < start && !self.failed.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Runs the connector while the table grows; `interrupt` ends the worker `times` times. The topic's rows in the end.
    fn run(&self, kafka: &Kafka, times: i64, interrupt: impl Fn(&mut Sidestream)) -> Vec<i64> {
        let topic = self.topic();
        let mut worker = Sidestream::start(&[("a.yaml", &self.yaml())], &[]);
        let mut worker = thread::scope(|scope| {
            scope.spawn(|| self.insert(|| kafka.ends(&topic)[&0]));
            let _end = EndOnPanic(&self.failed);
            for time in 1..=times {
                wait_until(SOON, "rows arrive", || {
                    (kafka.ends(&topic)[&0] >= time * ROWS / (times + 2)).then_some(())
                });
                interrupt(&mut worker);
                let inserted = self.inserted.load(Ordering::Relaxed);
                assert!(inserted < ROWS, "the worker ended too late to be in the middle");
                let written = kafka.ends(&topic)[&0];
                println!("interrupted with {inserted} rows in the table and {written} records in the topic");
                worker = worker.restart(&[]);
            }
            worker
        });
        wait_until(LONG, "all rows are in the topic and nothing is on its way", || {
            let [read, delivered, ..] = worker.metrics().records(&self.id);
            (read == delivered && rows(kafka, &topic).last() == Some(&ROWS)).then_some(())
        });
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
        rows(kafka, &topic)
    }
}

/// Lets the inserting thread end when the test fails.
struct EndOnPanic<'a>(&'a AtomicBool);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The ids of the rows in a topic, in the order of their offsets.
fn rows(kafka: &Kafka, topic: &str) -> Vec<i64> {
    let row = |record: Record| {
        let row: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        let id = row["id"].as_i64().unwrap();
        assert_eq!(row, json!({"id": id, "what": format!("event {id}")}));
        id
    };
    kafka.read(topic).into_iter().map(row).collect()
}

#[test]
fn a_database_source_that_is_killed_loses_no_row() {
    let Services { kafka, mysql, .. } = services();
    let growing = Growing::new(&mysql);
    let rows = growing.run(&kafka, 3, Sidestream::kill);
    let distinct: BTreeSet<_> = rows.iter().copied().collect();
    assert_eq!(distinct, (1..=ROWS).collect());
    // What Kafka had acknowledged and the offset topic had not is sent again: never more than was in flight.
    let doubled = rows.len() - distinct.len();
    println!("killed three times: {} rows, {doubled} records twice, none lost", distinct.len());
    assert!(doubled < 3 * 64 * 50, "{doubled} records came twice");
}

#[test]
fn a_database_source_that_is_stopped_neither_loses_nor_doubles_a_row() {
    let Services { kafka, mysql, .. } = services();
    let growing = Growing::new(&mysql);
    let rows = growing.run(&kafka, 3, |worker| {
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    });
    assert_eq!(rows, (1..=ROWS).collect::<Vec<_>>());
    println!("stopped three times: {} rows, none lost, none twice", rows.len());
}

#[test]
fn positions_of_sources_are_in_the_offset_topic_as_connect_stores_them_d_02() {
    let Services { kafka, mysql, .. } = services();
    let id = unique("offsets");
    let database = Database::create(&mysql);
    database.run("CREATE TABLE orders (id BIGINT PRIMARY KEY, what VARCHAR(20))");
    database.run("INSERT INTO orders VALUES (3, 'a'), (7, 'b'), (42, 'c')");
    let url = &database.url;
    let yaml = format!(
        "worker: {{group.id: {id}, offset.storage.replication.factor: 1}}
topics: {{{id}.orders: {{}}, {id}.lines: {{}}}}
connectors:
  {id}-db: {{connector.class: rds-source, connection.url: '{url}', mode: incrementing, topic.prefix: {id}., poll.interval.ms: 50}}
  {id}-file: {{connector.class: file-source, file: in.txt, topic: {id}.lines}}
"
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    worker.rewrite("in.txt", "one\ntwo\n");
    let topic = format!("{id}-offsets");
    let db = json!([format!("{id}-db"), {"protocol": "1", "table": format!("{}.orders", database.name)}]);
    let file = json!([format!("{id}-file"), {"filename": "in.txt"}]);
    let expected = BTreeMap::from([
        (db.to_string(), json!({"incrementing": 42})),
        (file.to_string(), json!({"position": 8})),
    ]);
    wait_until(SOON, "both positions are stored", || (stored(&kafka, &topic)? == expected).then_some(()));
    assert_eq!(kafka.partition_count(&topic), 25);
    assert_eq!(kafka.topic_setting(&topic, "cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    // What Connect has written counts: keys in another order, and a null value resets.
    kafka.produce([
        Record::new(&topic, json!({"incrementing": 7}).to_string()).key(db.to_string()),
        Record { value: None, ..Record::new(&topic, "").key(file.to_string()) },
    ]);
    let before = [kafka.ends(&format!("{id}.orders"))[&0], kafka.ends(&format!("{id}.lines"))[&0]];
    assert_eq!(before, [3, 2]);
    let mut worker = worker.restart(&[]);
    wait_until(SOON, "the row after 7 and both lines are read again", || {
        let now = [kafka.ends(&format!("{id}.orders"))[&0], kafka.ends(&format!("{id}.lines"))[&0]];
        (now == [4, 4]).then_some(())
    });
    let last: Value =
        serde_json::from_slice(&kafka.read(&format!("{id}.orders")).pop().unwrap().value.unwrap()).unwrap();
    assert_eq!(last["id"], 42);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

/// The last value of each key of an offset topic; `None` while there is no such topic.
fn stored(kafka: &Kafka, topic: &str) -> Option<BTreeMap<String, Value>> {
    if kafka.partition_count(topic) == 0 {
        return None;
    }
    let mut stored = BTreeMap::new();
    for record in kafka.read(topic) {
        let key: Value = serde_json::from_slice(&record.key.unwrap()).unwrap();
        let value = record.value.map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap());
        // As text with sorted keys.
        let partition: BTreeMap<String, Value> = serde_json::from_value(key[1].clone()).unwrap();
        stored.insert(json!([key[0], partition]).to_string(), value);
    }
    Some(stored)
}
