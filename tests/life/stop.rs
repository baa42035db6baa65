//! The first signal, and the second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http_faults::{Fate, HttpFaults};
use crate::support::layout::{Coverage, coverage, objects};
use crate::support::{Record, S3, Services, Sidestream, services, unique, wait_until};
use crate::{SOON, readiness};

const RECORDS: i64 = 1_050;

/// An S3 that takes uploads in only while it is open.
fn gate(s3: &S3) -> (Arc<AtomicBool>, HttpFaults) {
    let open = Arc::new(AtomicBool::new(true));
    let flag = open.clone();
    let faults = HttpFaults::before(&s3.url, move |request| {
        let closed = request.method() == "PUT" && !flag.load(Ordering::Acquire);
        if closed { Fate::Late(Duration::from_millis(100), Box::new(Fate::Drop)) } else { Fate::Pass }
    });
    (open, faults)
}

fn yaml(id: &str, bucket: &str, store: &str, graceful_ms: u64) -> String {
    format!(
        "worker: {{task.shutdown.graceful.timeout.ms: {graceful_ms}}}
connectors:
  {id}:
    connector.class: s3-sink
    topics: {id}
    flush.size: 100
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
"
    )
}

fn is_whole(s3: &S3, bucket: &str, topic: &str) {
    let found = objects(s3, bucket, "topics");
    let expected = Coverage { objects: 10, covered: 1000, end: 1000, ..Coverage::default() };
    assert_eq!(
        coverage(&found[&(topic.to_owned(), 0)], 1000),
        expected,
        "each full object once, the rest in Kafka"
    );
}

#[test]
fn sigterm_ends_within_the_graceful_timeout_although_s3_does_not_answer_and_loses_nothing() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("drain"), unique("drain-bucket"));
    s3.create_bucket(&bucket);
    kafka.create_topic(&id, 1);
    let (open, faults) = gate(&s3);
    open.store(false, Ordering::Release);
    kafka.produce((0..RECORDS).map(|n| Record::new(&id, json!({"n": n}).to_string())));
    let mut worker =
        Sidestream::start(&[("a.yaml", &yaml(&id, &bucket, &faults.url, 3000))], &s3.credentials());
    worker.wait_log("trying again", SOON);
    let told = Instant::now();
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    // The timeout is a promise: orchestrators kill what takes longer.
    assert!(told.elapsed() < Duration::from_secs(6), "{:?}", told.elapsed());
    assert!(kafka.committed(&format!("connect-{id}"), &id).values().all(|offset| *offset == 0));

    open.store(true, Ordering::Release);
    let mut worker = worker.restart(&s3.credentials());
    wait_until(SOON, "the full objects are there", || (s3.keys(&bucket).len() == 10).then_some(()));
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    is_whole(&s3, &bucket, &id);
}

#[test]
fn a_second_signal_ends_at_once_and_nothing_is_lost_or_doubled() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("twice"), unique("twice-bucket"));
    s3.create_bucket(&bucket);
    kafka.create_topic(&id, 1);
    let (open, faults) = gate(&s3);
    let files = yaml(&id, &bucket, &faults.url, 600_000);
    let mut worker = Sidestream::start(&[("a.yaml", &files)], &s3.credentials());
    kafka.produce((0..500).map(|n| Record::new(&id, json!({"n": n}).to_string())));
    wait_until(SOON, "five objects", || (s3.keys(&bucket).len() == 5).then_some(()));
    open.store(false, Ordering::Release);
    kafka.produce((500..RECORDS).map(|n| Record::new(&id, json!({"n": n}).to_string())));
    worker.wait_log("trying again", SOON);
    worker.signal("TERM");
    worker.wait_log("stopping", SOON);
    // Ten minutes are its own: it drains, and says so to whoever sends it traffic.
    let (status, answer) = readiness(&worker);
    assert_eq!((status, &answer["status"]), (503, &Value::from("stopping")), "{answer}");
    assert_eq!(worker.get("/health/live").0, 200);
    worker.signal("TERM");
    let ended = worker.wait_end(Duration::from_secs(10));
    assert_eq!(ended.code(), Some(3), "{}", worker.log());
    assert!(worker.log().contains("a second signal"), "{}", worker.log());

    open.store(true, Ordering::Release);
    let mut worker = worker.restart(&s3.credentials());
    wait_until(SOON, "the full objects are there", || (s3.keys(&bucket).len() == 10).then_some(()));
    wait_until(SOON, "they are committed", || {
        (kafka.committed(&format!("connect-{id}"), &id).values().sum::<i64>() == 1000).then_some(())
    });
    worker.kill();
    is_whole(&s3, &bucket, &id);
}
