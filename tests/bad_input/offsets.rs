//! What a consumer group says that cannot be right, and records that are gone.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Kafka, Record, Services, Sidestream, services, unique, wait_until};
use crate::{SECRET, SOON, failed, keeps_secrets, lines, logged};

fn yaml(id: &str) -> String {
    format!(
        "worker: {{session.timeout.ms: 6000, heartbeat.interval.ms: 500}}
connectors: {{{id}: {{connector.class: file-sink, topics: {id}, file: out.txt}}}}
"
    )
}

fn put(kafka: &Kafka, topic: &str, numbers: std::ops::Range<i64>) {
    let record = |n| Record::new(topic, json!({"n": n, "secret": SECRET}).to_string()).partition(0);
    kafka.produce(numbers.map(record));
}

fn numbers(worker: &Sidestream) -> Vec<i64> {
    lines(worker, "out.txt").iter().map(|line| line["n"].as_i64().unwrap()).collect()
}

#[track_caller]
fn wait_numbers(worker: &Sidestream, expected: impl IntoIterator<Item = i64>) {
    let expected: Vec<i64> = expected.into_iter().collect();
    wait_until(SOON, &format!("{} records are in the file", expected.len()), || {
        (numbers(worker).len() >= expected.len()).then_some(())
    });
    assert_eq!(numbers(worker), expected);
}

#[track_caller]
fn stop(worker: &mut Sidestream) {
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

#[test]
fn what_something_else_wrote_beside_our_offsets_is_not_overwritten() {
    let Services { kafka, .. } = services();
    let id = unique("foreign");
    let group = format!("connect-{id}");
    kafka.create_topic(&id, 1);
    put(&kafka, &id, 0..20);
    kafka.set_committed_with(&group, &id, 0, 5, "flink-checkpoint-7");
    let worker = Sidestream::start(&[("a.yaml", &yaml(&id))], &[]);
    let said =
        [format!("{id}-0 of group `{group}`"), "something else commits offsets in this group".to_owned()];
    failed(&worker, &id, &[&said[0], &said[1], "kafka-consumer-groups --reset-offsets"]);
    assert!(numbers(&worker).is_empty());
    drop(worker);
    assert_eq!(kafka.committed(&group, &id), BTreeMap::from([(0, 5)]));
    assert_eq!(kafka.committed_metadata(&group, &id, 0), "flink-checkpoint-7");
}

#[test]
fn an_offset_that_was_set_back_is_used_and_one_beyond_the_end_is_refused() {
    let Services { kafka, .. } = services();
    let id = unique("sethand");
    let group = format!("connect-{id}");
    kafka.create_topic(&id, 1);
    put(&kafka, &id, 0..20);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml(&id))], &[]);
    wait_numbers(&worker, 0..20);
    stop(&mut worker);
    assert!(kafka.committed_metadata(&group, &id, 0).starts_with(r#"{"v":1,"id":""#));

    kafka.set_committed(&group, &id, 0, 15);
    let mut worker = worker.restart(&[]);
    wait_numbers(&worker, (0..20).chain(15..20));
    stop(&mut worker);

    // Connect would read everything again.
    kafka.set_committed(&group, &id, 0, 5000);
    let worker = worker.restart(&[]);
    let said = format!("{id}-0: the next record to read is 5000, but the topic ends at 20");
    failed(&worker, &id, &[&said, "kafka-consumer-groups --reset-offsets"]);
    assert_eq!(numbers(&worker).len(), 25);
}

#[test]
fn records_that_expired_before_they_were_read_are_counted_as_lost_before_us() {
    let Services { kafka, .. } = services();
    let id = unique("expired");
    kafka.create_topic(&id, 1);
    put(&kafka, &id, 0..100);
    kafka.set_committed(&format!("connect-{id}"), &id, 0, 10);
    kafka.expire(&id, 0, 60);
    let worker = Sidestream::start(&[("a.yaml", &yaml(&id))], &[]);
    wait_numbers(&worker, 60..100);
    logged(
        &worker,
        "ERROR",
        &[&format!("{id}-0: 50 records (10 to 60) expired in Kafka before they were read")],
    );
    let lost =
        || worker.metrics().sum("sidestream_task_records_lost_before_read_total", &[("connector", &id)]);
    assert_eq!(lost(), 50);

    // Retention overtakes a reader that is held up.
    worker.signal("STOP");
    // The first ones answer the request that is open.
    put(&kafka, &id, 100..150);
    put(&kafka, &id, 150..300);
    kafka.expire(&id, 0, 250);
    worker.signal("CONT");
    wait_until(SOON, "reading goes on where there are records", || {
        (numbers(&worker).last() == Some(&299)).then_some(())
    });
    // What it had fetched before it was held is not lost.
    let lost = lost();
    let read = i64::try_from(numbers(&worker).len()).unwrap();
    assert_eq!(read + lost, 300 - 10, "read {read}, lost {lost}");
    assert!(lost > 50, "{lost}");
    keeps_secrets(&worker);
}

#[test]
fn a_topic_that_was_made_again_is_read_from_its_beginning_though_it_has_fewer_records() {
    let Services { kafka, .. } = services();
    let id = unique("again");
    kafka.create_topic(&id, 1);
    put(&kafka, &id, 0..100);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml(&id))], &[]);
    wait_numbers(&worker, 0..100);
    stop(&mut worker);
    let group = format!("connect-{id}");
    let metadata = kafka.committed_metadata(&group, &id, 0);
    kafka.fresh_topics(&BTreeMap::from([(id.clone(), 1)]), &[]);
    put(&kafka, &id, 100..130);
    // Brokers forget the offsets of a topic with it, unless they were restored from elsewhere, or deletion was under way.
    kafka.set_committed_with(&group, &id, 0, 100, &metadata);
    let worker = worker.restart(&[]);
    wait_numbers(&worker, 0..130);
    logged(&worker, "WARN", &[&format!("{id}-0: the topic was deleted and made again"), "up to 100"]);
}
