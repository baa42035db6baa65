//! Connectors and tasks side by side.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use crate::support::{Metrics, Record, Services, Sidestream, services, unique, wait_until};
use crate::{SOON, wait_committed};

#[test]
fn a_connector_that_fails_stops_no_other() {
    let Services { kafka, s3, .. } = services();
    let id = unique("fail");
    kafka.create_topic(&id, 1);
    kafka.produce((0..50).map(|n| Record::new(&id, n.to_string())));
    let yaml = format!(
        "connectors:
  {id}-no-bucket:
    {{connector.class: s3-sink, topics: {id}, flush.size: 1, s3.bucket.name: {id}-none, store.url: {}}}
  {id}-no-dir: {{connector.class: file-sink, topics: {id}, file: nowhere/out.txt}}
  {id}-good: {{connector.class: file-sink, topics: {id}, file: out.txt}}
",
        s3.url
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &s3.credentials());
    let no_bucket = worker.wait_state(&format!("{id}-no-bucket"), "FAILED", SOON);
    assert!(no_bucket[0].reason.contains(&format!("{id}-none")), "{no_bucket:?}");
    let no_dir = worker.wait_state(&format!("{id}-no-dir"), "FAILED", SOON);
    assert!(no_dir[0].reason.contains("nowhere/out.txt"), "{no_dir:?}");

    // Records that come after the failures still go through.
    kafka.produce((50..100).map(|n| Record::new(&id, n.to_string())));
    let out = worker.dir.path().join("out.txt");
    let expected: String = (0..100).map(|n| format!("{n}\n")).collect();
    wait_until(SOON, "the good connector writes everything", || {
        (fs::read_to_string(&out).unwrap_or_default() == expected).then_some(())
    });
    assert_eq!(worker.wait_state(&format!("{id}-good"), "RUNNING", SOON)[0].reason, "");
    let failed = worker.metrics().sum("kafka_connect_connector_task_metrics_status", &[("status", "failed")]);
    assert_eq!(failed, 2);
    assert_eq!(worker.get("/health").0, 200);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

#[test]
fn tasks_share_partitions_and_connectors_share_nothing() {
    let Services { kafka, .. } = services();
    let id = unique("tasks");
    kafka.create_topic(&id, 3);
    let records = |from: i64| {
        (from..from + 300)
            .map(|n| Record::new(&id, n.to_string()).partition((n % 3) as i32))
            .collect::<Vec<_>>()
    };
    kafka.produce(records(0));
    let yaml = format!(
        "connectors:
  {id}-a: {{connector.class: file-sink, topics: {id}, file: a.txt, tasks.max: 3}}
  {id}-b: {{connector.class: file-sink, topics: {id}, file: b.txt, tasks.max: 1}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let (a, b) = (format!("{id}-a"), format!("{id}-b"));
    assert_eq!(worker.wait_state(&a, "RUNNING", SOON).len(), 3);
    // Members join one after the other; a partition that moved meanwhile may leave lines that are written twice.
    let per_task = |metrics: &Metrics, connector: &str, task: &str| {
        let labels = [("connector", connector), ("task", task)];
        metrics.sum("kafka_connect_sink_task_metrics_partition_count", &labels)
    };
    let mut round = 0;
    wait_until(SOON, "each task has one partition", || {
        round += 1;
        kafka.produce(records(300 * round));
        let metrics = worker.metrics();
        ["0", "1", "2"].iter().all(|task| per_task(&metrics, &a, task) == 1).then_some(())
    });
    let total = 300 * (round + 1);
    let numbers = |name: &str| {
        let text = fs::read_to_string(worker.dir.path().join(name)).unwrap_or_default();
        text.lines().map(|line| line.parse::<i64>().unwrap()).collect::<BTreeSet<_>>()
    };
    for (connector, file) in [(&a, "a.txt"), (&b, "b.txt")] {
        let ends: Vec<_> = (0..3).map(|partition| (partition, total / 3)).collect();
        wait_committed(&kafka, &format!("connect-{connector}"), &id, &ends);
        assert_eq!(numbers(file), (0..total).collect(), "{connector}");
    }
    let metrics = worker.metrics();
    let read: Vec<_> = ["0", "1", "2"]
        .iter()
        .map(|task| metrics.sum("sidestream_task_records_read_total", &[("connector", &a), ("task", task)]))
        .collect();
    assert!(read.iter().all(|n| *n > 0), "each task has read: {read:?}");
    assert_eq!(per_task(&metrics, &b, "0"), 3);
}

#[test]
fn lines_of_a_file_go_through_a_topic_to_another_file_by_the_jvm_class_names() {
    let Services { kafka, .. } = services();
    let id = unique("file");
    let source = format!(
        "name={id}-source
connector.class=org.apache.kafka.connect.file.FileStreamSourceConnector
tasks.max=1
file=test.txt
topic={id}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
"
    );
    let sink = json!({"name": format!("{id}-sink"), "config": {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": "1",
        "file": "test.sink.txt",
        "topics": id,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    }})
    .to_string();
    let topics = format!("topics:\n  {id}: {{partitions: 1}}\n");
    let files = [("topics.yaml", topics.as_str()), ("source.properties", &source), ("sink.json", &sink)];
    let mut worker = Sidestream::start(&files, &[]);
    let out = worker.dir.path().join("test.sink.txt");
    let wait_out = |expected: &str| {
        wait_until(SOON, "the lines arrive", || {
            (fs::read_to_string(&out).unwrap_or_default() == expected).then_some(())
        });
    };
    worker.rewrite("test.txt", "foo\nbär \"x\" 🗺\n");
    wait_out("foo\nbär \"x\" 🗺\n");
    // The last line has no end yet, so it is none.
    worker.rewrite("test.txt", "foo\nbär \"x\" 🗺\nthird\nfour");
    wait_out("foo\nbär \"x\" 🗺\nthird\n");
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    // Both go on where they were.
    worker.rewrite("test.txt", "foo\nbär \"x\" 🗺\nthird\nfourth\n");
    let mut worker = worker.restart(&[]);
    wait_out("foo\nbär \"x\" 🗺\nthird\nfourth\n");
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    let values: Vec<_> =
        kafka.read(&id).into_iter().map(|r| String::from_utf8(r.value.unwrap()).unwrap()).collect();
    assert_eq!(values, ["foo", "bär \"x\" 🗺", "third", "fourth"]);
}
