//! `kinesis-sink` in the program: Kafka to Kinesis over kills, before a service that fails, as a role.

#[path = "support/kinesis_faults.rs"]
mod kinesis_faults;
#[allow(dead_code)]
#[path = "../sinks/kinesis/tests/it/stream.rs"]
mod stream;
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kinesis_faults::{Fault, KinesisFaults};
use stream::Stream;
use support::{Record, Services, Sidestream, block_on, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(90);
const KEYS: usize = 24;

fn row(n: usize) -> String {
    format!(r#"{{"index":{n},"title":"Art.\u2026{}","ratio":1.10}}"#, '\u{a0}')
}

/// Rows of the keys `pin-0` and on; each key is in one partition.
fn rows(topic: &str, numbers: std::ops::Range<usize>) -> Vec<Record> {
    let record = |n: usize| {
        let key = n % KEYS;
        Record::new(topic, row(n)).key(format!("pin-{key}")).partition((key % 2) as i32)
    };
    numbers.map(record).collect()
}

/// How many different rows are there; first copies are in order for each key.
fn in_order(stream: &Stream) -> usize {
    let numbers: BTreeMap<String, usize> = (0..10_000).map(|n| (row(n), n)).collect();
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let mut distinct = 0;
    for record in block_on(stream.records()) {
        let n = *numbers.get(&record.data).unwrap_or_else(|| panic!("not a row: {}", record.data));
        assert_eq!(record.key, format!("pin-{}", n % KEYS));
        let next = next.entry(record.key).or_insert(n % KEYS);
        assert!(n <= *next, "row {n} is there before {next}");
        if n == *next {
            *next += KEYS;
            distinct += 1;
        }
    }
    distinct
}

#[test]
fn kafka_to_kinesis_loses_nothing_and_keeps_each_keys_order_over_kills_and_failures_k_02() {
    let Services { kafka, moto, kinesalite, .. } = services();
    let id = unique("to-kinesis");
    kafka.create_topic(&id, 2);
    let stream = block_on(Stream::create(&kinesalite, "program", 2));
    let who = Arc::new(Mutex::new(String::new()));
    let (seen, mut turn) = (Arc::clone(&who), 0);
    let faults = KinesisFaults::before(&kinesalite, move |call| {
        seen.lock().unwrap().clone_from(&call.authorization);
        turn += 1;
        let late = |fault| Fault::Late(Duration::from_millis(30), Box::new(fault));
        match call.partition_keys().len() {
            0 => Fault::Pass,
            _ if turn % 17 == 0 => late(Fault::LoseAnswer),
            _ if turn % 23 == 0 => late(Fault::Refuse("InternalFailure")),
            entries => {
                let failed = (0..entries).filter(|at| (at + turn) % 4 == 0);
                late(Fault::Entries(
                    failed.map(|at| (at, "ProvisionedThroughputExceededException")).collect(),
                ))
            }
        }
    });
    let yaml = format!(
        "connectors:
  {id}:
    connector.class: kinesis-sink
    topics: {id}
    tasks.max: 2
    kinesis.stream: {}
    kinesis.endpoint: {}
    kinesis.region: us-east-1
    aws.role.arn: arn:aws:iam::123456789012:role/writer
",
        stream.name, faults.url
    );
    let sts = moto.url.clone();
    let environment = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
    ];
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &environment);
    let mut produced = 0;
    for round in 0..4 {
        kafka.produce(rows(&id, produced..produced + 600));
        produced += 600;
        let wanted = produced - 400;
        wait_until(SOON, "some rows of this round are in the stream", || {
            (block_on(stream.records()).len() >= wanted).then_some(())
        });
        if round < 3 {
            worker.kill();
            worker = worker.restart(&environment);
        }
    }
    wait_until(SOON, "all rows are in the stream", || (in_order(&stream) == produced).then_some(()));
    assert!(who.lock().unwrap().contains("Credential=ASIA"), "the role's credentials sign the calls");

    let figure = |name: &str| {
        let samples = worker.metrics().samples;
        let ours = samples.iter().filter(|s| s.name == name && s.labels.get("connector") == Some(&id));
        ours.map(|sample| sample.value).sum::<f64>()
    };
    assert!(figure("sidestream_kinesis_stored_records_total") >= 200.0);
    assert!(figure("sidestream_kinesis_throttled_entries_total") > 0.0);
    assert!(figure("sidestream_kinesis_retried_entries_total") > 0.0);
    wait_until(SOON, "nothing waits", || (figure("sidestream_kinesis_queued_bytes") == 0.0).then_some(()));
    // Stopped in peace, nothing is sent again.
    wait_until(SOON, "the offsets are committed", || {
        let committed = kafka.committed(&format!("connect-{id}"), &id);
        (committed.values().sum::<i64>() == produced as i64).then_some(())
    });
    let before = block_on(stream.records()).len();
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    let mut worker = worker.restart(&environment);
    kafka.produce(rows(&id, produced..produced + 1));
    wait_until(SOON, "the next row is in the stream", || (in_order(&stream) == produced + 1).then_some(()));
    assert!(
        block_on(stream.records()).len() <= before + 2,
        "only this row, and once more if its answer was lost"
    );
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

#[test]
fn a_missing_stream_fails_the_task_with_its_name_and_the_remedy() {
    let Services { kafka, kinesalite, .. } = services();
    let id = unique("no-stream");
    kafka.create_topic(&id, 1);
    let yaml = format!(
        "connectors:
  {id}: {{connector.class: com.amazon.kinesis.kafka.AmazonKinesisSinkConnector, topics: {id}, streamName: nowhere, \
           kinesisEndpoint: \"{kinesalite}\", region: us-east-1, aws.access.key.id: test, aws.secret.access.key: hunter2}}
"
    );
    let worker = Sidestream::spawn(&[("a.yaml", &yaml)], &[]);
    worker.wait_listening();
    let tasks = worker.wait_state(&id, "FAILED", SOON);
    assert!(
        tasks[0].reason.contains("`nowhere`") && tasks[0].reason.contains("create the stream"),
        "{tasks:?}"
    );
    assert!(!worker.log().contains("hunter2"));
}
