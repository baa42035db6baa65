//! `kinesis-source` in the program: Kinesis to Kafka over kills, splits and merges, and without Kafka to a file.

#[allow(dead_code)]
#[path = "../sources/kinesis/tests/it/stream.rs"]
mod stream;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use stream::{Stream, kinesalite};
use support::{Record, Services, Sidestream, block_on, services, sidestream, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);
const KEYS: usize = 16;

/// A row as the pipeline has them, with what a parser would change: blanks, number text, escapes, an odd space.
fn row(n: usize) -> String {
    format!(r#"{{"ind": {n}, "title":"Art.\u2026{}", "ratio": 1.10}}"#, '\u{a0}')
}

/// As the file sink writes it: the blanks between JSON's tokens go, nothing else.
fn compact(n: usize) -> String {
    row(n).replace("\": ", "\":").replace(", \"", ",\"")
}

async fn put(stream: &Stream, rows: std::ops::Range<usize>) {
    for n in rows {
        stream.put(&format!("user-{}", n % KEYS), row(n)).await;
    }
}

fn yaml(stream: &Stream, id: &str, rest: &str) -> String {
    let Stream { name, endpoint, .. } = stream;
    format!(
        "connectors:
  {id}:
    tasks.max: 2
    {rest}
      kinesis.stream: {name}
      kinesis.endpoint: {endpoint}
      kinesis.region: us-east-1
      kinesis.record.limit: 10
      kinesis.empty.records.backoff.ms: 200
      kinesis.shard.discovery.interval.ms: 500
"
    )
}

const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

fn delivered(worker: &Sidestream, id: &str) -> i64 {
    worker.metrics().records(id)[1]
}

/// Each row is there as it was put, under its key; first occurrences are in order for each key.
fn assert_rows(records: &[Record], count: usize) {
    let (mut seen, mut by_key) = (BTreeSet::new(), BTreeMap::<&[u8], Vec<usize>>::new());
    let numbers: BTreeMap<String, usize> = (0..count).map(|n| (row(n), n)).collect();
    for record in records {
        let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
        let n = *numbers.get(&value).unwrap_or_else(|| panic!("not a row that was put: {value}"));
        let key = record.key.as_deref().unwrap();
        assert_eq!(key, format!("user-{}", n % KEYS).as_bytes());
        if seen.insert(n) {
            by_key.entry(key).or_default().push(n);
        }
    }
    assert_eq!(seen, (0..count).collect());
    for (key, numbers) in by_key {
        assert!(numbers.is_sorted(), "{}: {numbers:?}", String::from_utf8_lossy(key));
    }
}

#[test]
fn kinesis_to_kafka_goes_on_at_its_positions_after_kills_in_the_middle_of_resharding_k_06() {
    let Services { kafka, .. } = services();
    let id = unique("kinesis");
    kafka.create_topic(&id, 1);
    let stream = block_on(Stream::create(&kinesalite(), 2));
    let keys = format!("connector.class: kinesis-source\n    kafka.topic: {id}");
    let yaml = yaml(&stream, &id, &keys).replace("\n      kinesis", "\n    kinesis");
    block_on(put(&stream, 0..200));
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &CREDENTIALS);
    let mut read_before = 0;
    for round in 0..3 {
        wait_until(SOON, "some rows of this round are in Kafka", || {
            (delivered(&worker, &id) > 40).then_some(())
        });
        match round {
            0 => block_on(stream.split(0)),
            1 => block_on(stream.merge(1)),
            _ => block_on(stream.split(1)),
        }
        block_on(put(&stream, 200 + round * 100..300 + round * 100));
        worker.kill();
        read_before += 40;
        worker = worker.restart(&CREDENTIALS);
    }
    wait_until(SOON, "all rows are in Kafka", || {
        let distinct: BTreeSet<_> = kafka.read(&id).into_iter().map(|record| record.value).collect();
        (distinct.len() == 500).then_some(())
    });
    let records = kafka.read(&id);
    assert_rows(&records, 500);
    // Repeated is only what was under way at a kill, never all that came before.
    assert!(records.len() < 500 + read_before, "{} records", records.len());

    let shards = |s: &&support::metrics::Sample| {
        s.name == "sidestream_kinesis_behind_latest_milliseconds" && s.labels["connector"] == id
    };
    let open = block_on(stream.open_shards()).len();
    wait_until(SOON, "the open shards are shown, and no closed one", || {
        (worker.metrics().samples.iter().filter(shards).count() == open).then_some(())
    });

    // Stopped in peace, nothing is repeated.
    let before = kafka.read(&id).len();
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    let mut worker = worker.restart(&CREDENTIALS);
    block_on(stream.put("user-4", row(500)));
    wait_until(SOON, "the next row is in Kafka", || (delivered(&worker, &id) >= 1).then_some(()));
    assert_eq!(kafka.read(&id).len(), before + 1);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

#[test]
fn kinesis_to_a_file_without_kafka_needs_no_topic() {
    let id = unique("direct");
    let stream = block_on(Stream::create(&kinesalite(), 1));
    block_on(put(&stream, 0..30));
    let ends = "sink: {class: file-sink, file: out.txt}\n    source:\n      class: kinesis-source";
    let worker = Sidestream::start(&[("a.yaml", &yaml(&stream, &id, ends))], &CREDENTIALS);
    let expected: String = (0..30).map(|n| compact(n) + "\n").collect();
    wait_until(SOON, "all rows are in the file", || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        (text.lines().count() == 30).then(|| assert_eq!(text, expected))
    });
}

#[test]
fn a_batch_run_reads_what_is_there_ends_and_goes_on_there_the_next_time() {
    let id = unique("batch");
    let stream = block_on(Stream::create(&kinesalite(), 2));
    let dir = tempfile::tempdir().unwrap();
    let ends = "sink: {class: file-sink, file: out.txt}\n    source:\n      class: kinesis-source\n      kinesis.until: latest";
    let listeners = format!("http://127.0.0.1:{}", support::process::free_port());
    let brokers = services().kafka.brokers;
    let worker = format!("worker:\n  listeners: {listeners}\n  bootstrap.servers: {brokers}\n");
    fs::write(dir.path().join("job.yaml"), worker + &yaml(&stream, &id, ends)).unwrap();
    for round in 1..=2 {
        block_on(put(&stream, (round - 1) * 25..round * 25));
        block_on(stream.split(0));
        let run = sidestream(dir.path(), &["run", "job.yaml", "--until", "caught-up"], &CREDENTIALS);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let text = fs::read_to_string(dir.path().join("out.txt")).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let mut expected: Vec<String> = (0..round * 25).map(compact).collect();
        expected.sort_unstable();
        assert_eq!(lines, expected, "round {round}");
    }
}

#[test]
fn a_stream_that_is_missing_fails_the_connector_and_names_it() {
    let id = unique("missing");
    let mut stream = block_on(Stream::create(&kinesalite(), 1));
    stream.name = format!("{id}-none");
    let keys = format!("connector.class: kinesis-source\n    kafka.topic: {id}");
    let yaml = yaml(&stream, &id, &keys).replace("\n      kinesis", "\n    kinesis");
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &CREDENTIALS);
    let tasks = worker.wait_state(&id, "FAILED", SOON);
    assert!(tasks[0].reason.contains(&format!("stream `{id}-none`")), "{tasks:?}");
    assert!(tasks[0].reason.contains("create the stream"), "{tasks:?}");
}
