//! Database and posting client, Kafka, S3 raw and cleaned, over a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::cleaned::check_cleaned;
use crate::client::{Client, EndOnDrop};
use crate::support::layout::{Coverage, coverage, objects};
use crate::support::process::free_port;
use crate::support::{
    Database, Record, S3, Services, Sidestream, rows, services, sidestream, unique, wait_until,
};
use crate::{LONG, SOON, TABLES, wait_committed};

const DATABASE_ROWS: usize = 10_000;
const POSTED_STEPS: usize = 700;
/// Numbers of posted rows begin here, so that they differ from the database's.
const POSTED_FROM: i64 = 1_000_000;

fn pipeline_yaml(id: &str, bucket: &str, s3: &S3, database: &Database, webhook: u16) -> String {
    let store = &s3.url;
    let clean = |name: &str, table: &str| {
        format!(
            "  {id}-{table}-clean:
    connector.class: s3-sink
    topics: {id}.{table}
    transforms: [{{name: clean, type: {name}-cleaner}}]
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
    topics.dir: clean
    flush.size: 1000
    flush.on.stop: true
"
        )
    };
    let (pins, geos, users) = (clean("pin", "pin"), clean("geo", "geo"), clean("user", "user"));
    let url = &database.url;
    format!(
        "worker:
  group.id: {id}
  task.shutdown.graceful.timeout.ms: 30000

topics:
  {id}.pin: {{partitions: 1}}
  {id}.geo: {{partitions: 1}}
  {id}.user: {{partitions: 1}}

connectors:
  {id}-gateway:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:{webhook}
    webhook.topics: [\"{id}.*\"]

  {id}-database:
    connector.class: rds-source
    connection.url: {url}
    mode: incrementing
    tasks.max: 3
    poll.interval.ms: 200
    batch.max.rows: 500
    topic.mapping: {{pinterest_data: {id}.pin, geolocation_data: {id}.geo, user_data: {id}.user}}
    incrementing.column.mapping: {{pinterest_data: index, geolocation_data: ind, user_data: ind}}

  {id}-raw:
    connector.class: io.confluent.connect.s3.S3SinkConnector
    s3.region: us-east-1
    flush.size: 1000
    schema.compatibility: NONE
    tasks.max: 3
    topics.regex: {id}\\..*
    format.class: io.confluent.connect.s3.format.json.JsonFormat
    partitioner.class: io.confluent.connect.storage.partitioner.DefaultPartitioner
    value.converter.schemas.enable: false
    value.converter: org.apache.kafka.connect.json.JsonConverter
    storage.class: io.confluent.connect.s3.storage.S3Storage
    key.converter: org.apache.kafka.connect.storage.StringConverter
    s3.bucket.name: {bucket}
    store.url: {store}

{pins}
{geos}
{users}"
    )
}

#[test]
fn rows_of_a_database_and_of_a_posting_client_are_in_s3_exactly_once_raw_and_cleaned_over_a_restart() {
    let Services { kafka, s3, mysql, .. } = services();
    let (id, bucket, webhook) = (unique("pipe"), unique("pipe-bucket"), free_port());
    s3.create_bucket(&bucket);
    let database = Database::create(&mysql);
    // The other half of the rows comes after the restart.
    fill(&database, DATABASE_ROWS / 2);
    let mut posted = rows(POSTED_STEPS, 11);
    for (table, rows) in posted.iter_mut().enumerate() {
        let key = if table == 0 { "index" } else { "ind" };
        for (step, row) in rows.iter_mut().enumerate() {
            row[key] = (row[key].as_i64().unwrap() + POSTED_FROM).into();
            // Clients send either form of a time.
            for time in ["timestamp", "date_joined"] {
                if let Some(text) = row.get(time).and_then(Value::as_str).filter(|_| step % 2 == 1) {
                    row[time] = text.replace('T', " ").into();
                }
            }
        }
    }

    let yaml = pipeline_yaml(&id, &bucket, &s3, &database, webhook);
    let mut worker = Sidestream::start(&[("pipeline.yaml", &yaml)], &s3.credentials());
    let topics = TABLES.map(|table| format!("{id}.{table}"));
    let mut cleaned_before = [0; 3];
    let client = Client { address: format!("127.0.0.1:{webhook}"), id: id.clone(), ..Client::default() };
    let mut worker = std::thread::scope(|scope| {
        // When the test fails, the client ends too, and the failure is seen.
        let _end = EndOnDrop(&client.give_up);
        let posting = scope.spawn(|| client.run(&posted));

        // In the middle: the database is being read, the client posts, objects were written.
        let raw = format!("{id}-raw");
        wait_until(SOON, "records come from both sides and go to S3", || {
            let metrics = worker.metrics();
            let [read, ..] = metrics.records(&format!("{id}-database"));
            let [_, delivered, ..] = metrics.records(&raw);
            (read >= 1000 && delivered >= 1000 && client.answered() >= 30).then_some(())
        });
        let (status, answered) = (worker.stop(SOON), client.answered());
        assert_eq!(status.code(), Some(0), "{}", worker.log());
        assert!(answered < 3 * POSTED_STEPS, "the restart came too late to be in the middle");
        let ends = topics.each_ref().map(|topic| kafka.ends(topic)[&0]);
        println!("stopped after {ends:?} records (pin, geo, user) and {answered} answered posts");
        for ((before, table), topic) in cleaned_before.iter_mut().zip(TABLES).zip(&topics) {
            let committed = kafka.committed(&format!("connect-{id}-{table}-clean"), topic);
            *before = committed.get(&0).copied().unwrap_or(0);
        }
        let worker = worker.restart(&s3.credentials());
        let filling = scope.spawn(|| fill(&database, DATABASE_ROWS));
        posting.join().unwrap();
        filling.join().unwrap();
        worker
    });

    let records: Vec<Vec<Record>> = {
        wait_until(LONG, "all rows are in Kafka", || {
            let done = |topic: &String| kafka.ends(topic)[&0] >= (DATABASE_ROWS + POSTED_STEPS) as i64;
            topics.iter().all(done).then_some(())
        });
        topics.iter().map(|topic| kafka.read(topic)).collect()
    };
    check_topics(&records, &posted, &client);

    // What is not a full object stays open in `raw`; the cleaned tails are written at the stop.
    let raw_group = format!("connect-{id}-raw");
    for (topic, records) in topics.iter().zip(&records) {
        let full = records.len() as i64 / 1000 * 1000;
        wait_committed(&kafka, &raw_group, topic, &[(0, full)]);
    }
    wait_until(LONG, "the cleaners have read everything", || {
        let metrics = worker.metrics();
        let done = |table: usize| {
            let [read, ..] = metrics.records(&format!("{id}-{}-clean", TABLES[table]));
            cleaned_before[table] + read == records[table].len() as i64
        };
        (0..3).all(done).then_some(())
    });
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let (raw, clean) = (objects(&s3, &bucket, "topics"), objects(&s3, &bucket, "clean"));
    let partitions: BTreeSet<_> = topics.iter().map(|topic| (topic.clone(), 0)).collect();
    assert_eq!(raw.keys().cloned().collect::<BTreeSet<_>>(), partitions);
    assert_eq!(clean.keys().cloned().collect::<BTreeSet<_>>(), partitions);
    for (table, (topic, records)) in TABLES.into_iter().zip(topics.iter().zip(&records)) {
        let (raw, clean) = (&raw[&(topic.clone(), 0)], &clean[&(topic.clone(), 0)]);
        let all = records.len();
        let full = all / 1000 * 1000;
        let values: Vec<Value> =
            records.iter().map(|r| serde_json::from_slice(r.value.as_ref().unwrap()).unwrap()).collect();

        let expected =
            Coverage { objects: full / 1000, covered: full, end: full as i64, ..Coverage::default() };
        assert_eq!(coverage(raw, full as i64), expected, "{topic}, raw");
        for object in raw {
            assert_eq!((object.start % 1000, object.lines.len()), (0, 1000), "{topic}+0+{}", object.start);
            for (offset, line) in (object.start..).zip(&object.lines) {
                assert_eq!(line, &values[offset as usize], "{topic} offset {offset}");
            }
        }
        let covered = coverage(clean, all as i64);
        let expected =
            Coverage { objects: covered.objects, covered: all, end: all as i64, ..Coverage::default() };
        assert_eq!(covered, expected, "{topic}, cleaned");
        for object in clean {
            assert!(object.lines.len() <= 1000, "{topic}+0+{}", object.start);
            for (offset, line) in (object.start..).zip(&object.lines) {
                check_cleaned(table, &values[offset as usize], line);
            }
        }
        println!(
            "{topic}: {all} records in Kafka; raw: {} objects, {full} offsets, duplicates 0, missing 0 \
             (open tail {}); cleaned: {} objects, {} offsets, duplicates {}, missing {}",
            raw.len(),
            all - full,
            covered.objects,
            covered.covered,
            covered.duplicates,
            covered.missing
        );
    }
}

fn fill(database: &Database, rows: usize) {
    let count = rows.to_string();
    let filled = sidestream(Path::new("/"), &["datagen", "--into", &database.url, "--rows", &count], &[]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
}

/// Each row of the database once, each answered post at the offset of its answer.
fn check_topics(records: &[Vec<Record>], posted: &[Vec<Value>; 3], client: &Client) {
    let answers = client.answers.lock().unwrap();
    for (table, records) in records.iter().enumerate() {
        let key = if table == 0 { "index" } else { "ind" };
        let mut times: BTreeMap<i64, usize> = BTreeMap::new();
        for record in records {
            assert_eq!(record.key, None);
            let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            *times.entry(value[key].as_i64().unwrap()).or_default() += 1;
        }
        for number in 0..DATABASE_ROWS as i64 {
            assert_eq!(times.get(&number), Some(&1), "{} row {number} of the database", TABLES[table]);
        }
        let mut answered = 0;
        for (_, number, offset) in answers.iter().filter(|(of, ..)| *of == table) {
            let value: Value =
                serde_json::from_slice(records[*offset as usize].value.as_ref().unwrap()).unwrap();
            assert_eq!(value, posted[table][*number], "{} step {number}, offset {offset}", TABLES[table]);
            answered += 1;
        }
        assert_eq!(answered, POSTED_STEPS, "every post was answered in the end");
        let doubled = records.len() - DATABASE_ROWS - POSTED_STEPS;
        assert!(doubled <= client.repeated.load(Ordering::Relaxed), "{doubled} records that nobody sent");
    }
}
