//! Whose offsets count: the table's, and only for the topic that they were written for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Kafka, Record, Services, Sidestream, services, unique, wait_until};
use crate::{Lake, assert_each_row_once, keys, log, read, rows};

const SOON: Duration = Duration::from_secs(60);

fn yaml(id: &str, lake: &Lake, more: &str) -> String {
    format!(
        "worker: {{session.timeout.ms: 2000, heartbeat.interval.ms: 500}}
connectors:
  {id}: {{connector.class: delta-sink, topics: {id}, {}, transforms: [{{name: clean, type: user-cleaner}}]{more}}}
",
        lake.keys()
    )
}

fn put(kafka: &Kafka, topic: &str, numbers: std::ops::Range<usize>) {
    kafka.produce(numbers.map(|n| Record::new(topic, rows::raw(n).to_string())));
}

#[track_caller]
fn wait_delivered(lake: &Lake, count: usize) {
    wait_until(SOON, &format!("{count} rows are in the table"), || {
        (log::delivered(&lake.table()) >= count).then_some(())
    });
}

#[track_caller]
fn stop(worker: &mut Sidestream) {
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

#[test]
fn a_topic_that_was_deleted_and_made_again_is_read_from_its_beginning() {
    let Services { kafka, .. } = services();
    let (id, lake) = (unique("again"), Lake::new());
    kafka.create_topic(&id, 1);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml(&id, &lake, ""))], &[]);
    put(&kafka, &id, 0..300);
    wait_delivered(&lake, 300);
    stop(&mut worker);
    kafka.fresh_topics(&BTreeMap::from([(id.clone(), 1)]), &[]);
    // More than the first one had: its offsets would be a place in the middle.
    put(&kafka, &id, 300..800);
    let mut worker = worker.restart(&[]);
    wait_delivered(&lake, 800);
    stop(&mut worker);
    let ranges = log::ranges(&lake.table());
    log::assert_gapless(&ranges);
    let mut ends: Vec<_> = ranges.values().map(|ranges| ranges.last().unwrap().end).collect();
    ends.sort_unstable();
    assert_eq!(ends, [300, 500], "two topics of one name: {ranges:?}");
    assert_each_row_once(&lake.table(), 800);
}

#[test]
fn a_topic_that_is_made_again_while_it_is_read_stops_its_task_and_loses_nothing() {
    let Services { kafka, .. } = services();
    let (id, lake) = (unique("under"), Lake::new());
    kafka.create_topic(&id, 1);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml(&id, &lake, ""))], &[]);
    put(&kafka, &id, 0..300);
    wait_delivered(&lake, 300);
    kafka.fresh_topics(&BTreeMap::from([(id.clone(), 1)]), &[]);
    // librdkafka would go on at offset 300.
    put(&kafka, &id, 300..800);
    let tasks = worker.wait_state(&id, "FAILED", SOON);
    let said = format!("topic `{id}` was deleted and made again while it was read");
    assert!(tasks[0].reason.starts_with(&said), "{tasks:?}");
    assert!(tasks[0].reason.contains("restart the connector"), "{tasks:?}");
    assert_eq!(log::delivered(&lake.table()), 300);
    worker.kill();
    let mut worker = worker.restart(&[]);
    wait_delivered(&lake, 800);
    stop(&mut worker);
    assert_each_row_once(&lake.table(), 800);
}

#[test]
fn a_group_offset_that_was_set_back_doubles_nothing_and_is_reported_unless_the_group_decides() {
    let Services { kafka, .. } = services();
    let (id, lake) = (unique("back"), Lake::new());
    let group = format!("connect-{id}");
    kafka.create_topic(&id, 1);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml(&id, &lake, ""))], &[]);
    put(&kafka, &id, 0..300);
    wait_delivered(&lake, 300);
    stop(&mut worker);
    assert_eq!(kafka.committed(&group, &id), BTreeMap::from([(0, 300)]));
    kafka.set_committed(&group, &id, 0, 100);
    put(&kafka, &id, 300..310);
    let mut worker = worker.restart(&[]);
    wait_delivered(&lake, 310);
    stop(&mut worker);
    assert_each_row_once(&lake.table(), 310);
    let said = format!("{id}-0: goes on at offset 300, behind what the sink has, and not at the group's 100");
    assert!(worker.log().contains(&said), "{}", worker.log());

    // To write records again on purpose.
    kafka.set_committed(&group, &id, 0, 100);
    worker.rewrite("a.yaml", &yaml(&id, &lake, ", delta.resume: group"));
    let mut worker = worker.restart(&[]);
    wait_delivered(&lake, 310 + 210);
    stop(&mut worker);
    let mut expected: Vec<i64> = (0..310).chain(100..310).collect();
    expected.sort_unstable();
    assert_eq!(keys(&read(&lake.table())), expected);
}
