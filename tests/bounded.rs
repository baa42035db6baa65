//! Runs that end by themselves: `sidestream run --until caught-up` and `run.until`, on a real cluster.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

mod support;

use support::{Record, services, sidestream, unique, wait_until};

fn run(dir: &Path, config: &str, arguments: &[&str]) -> Output {
    let worker = format!("worker:\n  listeners: http://127.0.0.1:{}\n", support::process::free_port());
    let brokers = format!("  bootstrap.servers: {}\n  group.id: {}\n", services().kafka.brokers, unique("g"));
    fs::write(dir.join("job.yaml"), format!("{worker}{brokers}{config}")).unwrap();
    sidestream(dir, &[&["run", "job.yaml", "--until", "caught-up"], arguments].concat(), &[])
}

#[track_caller]
fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", text(output)))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}

fn produce(topic: &str, partitions: i32, records: i64) {
    let kafka = services().kafka;
    kafka.create_topic(topic, partitions);
    let record = |n: i64| Record::new(topic, format!("{n}")).partition((n % i64::from(partitions)) as i32);
    kafka.produce((0..records).map(record));
}

fn sink(topic: &str) -> String {
    format!(
        "connectors:\n  {topic}-out:\n    connector.class: file-sink\n    file: out.txt\n    topics: {topic}\n    tasks.max: 2\n    \
         value.converter: StringConverter\n"
    )
}

#[test]
fn a_sink_ends_where_its_topics_ended_and_the_next_run_begins_there() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), unique("bounded"));
    produce(&topic, 3, 2000);
    let first = run(dir.path(), &sink(&topic), &["--output", "json"]);
    assert_eq!(code(&first), 0, "{}", text(&first));
    let mut rows: Vec<i64> = lines(&dir.path().join("out.txt")).iter().map(|n| n.parse().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..2000).collect::<Vec<_>>());
    let summary: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(summary["caught_up"], true);
    assert_eq!(summary["connectors"][0]["delivered"], 2000);

    let again = run(dir.path(), &sink(&topic), &["--output", "json"]);
    assert_eq!(code(&again), 0, "{}", text(&again));
    let summary: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(summary["connectors"][0]["read"], 0);
    assert_eq!(lines(&dir.path().join("out.txt")).len(), 2000);
}

#[test]
fn a_topic_whose_records_are_gone_or_that_has_none_is_caught_up() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), unique("bounded"));
    services().kafka.create_topic(&topic, 2);
    let empty = run(dir.path(), &sink(&topic), &[]);
    assert_eq!(code(&empty), 0, "{}", text(&empty));
    // The end of the partition is the marker of a transaction: no record ever comes from there.
    services().kafka.produce_in_transaction(&Record::new(&topic, "1").partition(0));
    // The marker is written after the transaction's end was promised; until then the record is not there for readers.
    wait_until(Duration::from_secs(30), "the record is committed", || {
        (services().kafka.read(&topic).len() == 1).then_some(())
    });
    let marked = run(dir.path(), &sink(&topic), &["--timeout", "60s"]);
    assert_eq!(code(&marked), 0, "{}", text(&marked));
    assert_eq!(lines(&dir.path().join("out.txt")), ["1"]);
}

#[test]
fn what_a_source_writes_in_the_same_run_is_part_of_it() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), unique("bounded"));
    let input: String = (0..5000).map(|n| format!("{n}\n")).collect();
    fs::write(dir.path().join("in.txt"), input).unwrap();
    let config = format!(
        "topics:\n  {topic}: {{partitions: 2}}\n{}  {topic}-in:\n    connector.class: file-source\n    file: in.txt\n    topic: {topic}\n    \
         file.stop.at.end: true\n    value.converter: StringConverter\n",
        sink(&topic)
    );
    let output = run(dir.path(), &config, &["--output", "json"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert_eq!(lines(&dir.path().join("out.txt")).len(), 5000);
}

#[test]
fn a_failed_task_makes_the_exit_code_1_and_says_why_while_the_others_finish() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), unique("bounded"));
    produce(&topic, 1, 100);
    let config = format!(
        "{}  {topic}-broken:\n    connector.class: file-sink\n    file: /proc/none/out.txt\n    topics: {topic}\n    value.converter: \
         StringConverter\n",
        sink(&topic)
    );
    let output = run(dir.path(), &config, &["--output", "json", "--timeout", "60s"]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["caught_up"], false);
    let errors = summary["connectors"].as_array().unwrap().iter().find_map(|c| c["errors"][0].as_str());
    let reason = errors.unwrap();
    assert!(reason.contains("/proc/none/out.txt"), "{reason}");
    assert_eq!(lines(&dir.path().join("out.txt")).len(), 100);
}

#[test]
fn a_topic_that_does_not_exist_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &sink("no-such-topic"), &[]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert!(text(&output).contains("topic `no-such-topic` does not exist"), "{}", text(&output));
}

#[test]
fn a_run_that_does_not_end_in_time_is_given_up_with_3() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), unique("bounded"));
    produce(&topic, 1, 10);
    let config = format!(
        "connectors:\n  {topic}-out:\n    connector.class: s3-sink\n    topics: {topic}\n    flush.size: 1\n    s3.bucket.name: b\n    \
         store.url: http://127.0.0.1:9\n    aws.access.key.id: k\n    aws.secret.access.key: s\n"
    );
    let output = run(dir.path(), &config, &["--timeout", "8s"]);
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert!(text(&output).contains("--timeout"), "{}", text(&output));
}

#[test]
fn an_endless_source_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let config = "connectors:\n  gate:\n    connector.class: webhook-source\n    webhook.topics: [a]\n";
    let output = run(dir.path(), config, &[]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert!(text(&output).contains("never comes to an end"), "{}", text(&output));
    assert!(!text(&output).contains("worker started"), "{}", text(&output));
}

#[test]
fn a_file_without_connectors_is_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), "", &[]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert!(text(&output).contains("nothing to run"), "{}", text(&output));
}

#[test]
fn one_connector_may_end_while_the_others_go_on() {
    let topic = unique("bounded");
    produce(&topic, 1, 50);
    let config = format!(
        "{}    run.until: caught-up\n  {topic}-on:\n    connector.class: file-sink\n    file: on.txt\n    topics: {topic}\n    \
         value.converter: StringConverter\n",
        sink(&topic)
    );
    let worker = support::Sidestream::start(&[("job.yaml", &config)], &[]);
    let deadline = Duration::from_secs(60);
    support::wait_until(deadline, "the bounded connector is finished", || {
        let tasks = worker.tasks();
        let mut own = tasks.iter().filter(|task| task.connector == format!("{topic}-out")).peekable();
        own.peek()?;
        own.all(|task| task.state == "UNASSIGNED" && task.reason == "finished").then_some(())
    });
    assert_eq!(worker.wait_state(&format!("{topic}-on"), "RUNNING", deadline).len(), 1);
    services().kafka.produce([Record::new(&topic, "more")]);
    support::wait_until(deadline, "the other connector goes on", || {
        (lines(&worker.dir.path().join("on.txt")).len() == 51).then_some(())
    });
    assert_eq!(lines(&worker.dir.path().join("out.txt")).len(), 50);
}
