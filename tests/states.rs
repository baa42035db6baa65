//! A task says RUNNING only while it does something: stalled, started again, failed, each with the reason.

#[path = "plugins/libraries.rs"]
mod libraries;
mod support;

use std::time::Duration;

use serde_json::json;
use support::forward::Forward;
use support::{Record, Services, Sidestream, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A worker with a sink that misbehaves in the way that `misdeed` names, beside one that does not.
fn hostile(id: &str, misdeed: &str, more: &str) -> Sidestream {
    let kafka = services().kafka;
    let library = libraries::file(&libraries::build("plugin-hostile"), "plugin_hostile");
    kafka.create_topic(id, 1);
    let yaml = format!(
        "worker: {{plugin.path: '{}', task.shutdown.graceful.timeout.ms: 2000}}
connectors:
  {id}-bad: {{connector.class: hostile-sink, topics: {id}, do: {misdeed}, task.stall.timeout.ms: 1500{more}}}
  {id}-good: {{connector.class: file-sink, topics: {id}, file: out.txt}}
",
        library.display()
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    kafka.produce((0..10).map(|n| Record::new(id, json!({"n": n}).to_string())));
    worker
}

fn delivered(worker: &Sidestream, connector: &str) -> i64 {
    worker.metrics().records(connector)[1]
}

#[test]
fn a_plugin_that_does_not_answer_stalls_its_task_and_no_other() {
    for misdeed in ["never-write", "block-write"] {
        let id = unique("hang");
        let (bad, good) = (format!("{id}-bad"), format!("{id}-good"));
        let worker = hostile(&id, misdeed, "");
        let task = worker.wait_state(&bad, "STALLED", SOON).remove(0);
        assert!(task.reason.starts_with("writing to the sink has not ended for"), "{task:?}");
        wait_until(SOON, "the other sink has all", || (delivered(&worker, &good) == 10).then_some(()));
        assert_eq!(worker.wait_state(&good, "RUNNING", SOON).len(), 1);
        let stalled = [("connector", bad.as_str()), ("status", "stalled")];
        assert_eq!(worker.metrics().sum("kafka_connect_connector_task_metrics_status", &stalled), 1);
        assert!(
            worker.log().contains("task stalled: writing to the sink has not ended for"),
            "{}",
            worker.log()
        );
    }
}

#[test]
fn a_task_that_fails_is_started_again_so_often_and_no_more() {
    let id = unique("panics");
    let bad = format!("{id}-bad");
    let worker = hostile(&id, "write", ", restart.max.attempts: 2, restart.window.ms: 600000");
    let restarting = worker.wait_state(&bad, "RESTARTING", SOON).remove(0);
    assert!(restarting.reason.contains("it panicked at"), "{restarting:?}");
    assert!(restarting.reason.contains("starting again in"), "{restarting:?}");
    let failed = worker.wait_state(&bad, "FAILED", SOON).remove(0);
    assert!(failed.reason.contains("it panicked at"), "{failed:?}");
    let count = |name| worker.metrics().sum(name, &[("connector", &bad)]);
    assert_eq!(count("sidestream_task_restarts_total"), 2);
    assert_eq!(delivered(&worker, &bad), 0);
}

#[test]
fn connects_behaviour_is_to_fail_for_good_d_05() {
    let id = unique("once");
    let worker = hostile(&id, "write", ", restart.max.attempts: 0");
    worker.wait_state(&format!("{id}-bad"), "FAILED", SOON);
    assert!(!worker.log().contains("starting again"), "{}", worker.log());
}

#[test]
fn a_task_whose_service_is_away_is_stalled_until_it_comes_back_and_loses_nothing() {
    let Services { kafka, s3, .. } = services();
    let id = unique("away");
    let forward = Forward::closed(s3.url.trim_start_matches("http://"));
    s3.create_bucket(&id);
    kafka.create_topic(&id, 1);
    kafka.produce((0..50).map(|n| Record::new(&id, json!({"n": n}).to_string())));
    let yaml = format!(
        "connectors:
  {id}: {{connector.class: s3-sink, topics: {id}, flush.size: 10, s3.bucket.name: {id}, s3.region: us-east-1, store.url: 'http://{}',
    task.stall.timeout.ms: 2000, errors.retry.delay.max.ms: 1000}}
",
        forward.address
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &s3.credentials());
    let task = worker.wait_state(&id, "STALLED", SOON).remove(0);
    assert!(task.reason.starts_with("trying again: "), "{task:?}");
    forward.open();
    wait_until(SOON, "all objects are there", || (s3.keys(&id).len() == 5).then_some(()));
    let task = worker.wait_state(&id, "RUNNING", SOON).remove(0);
    assert_eq!((task.reason.as_str(), task.delivery.as_str()), ("", "exactly-once"), "{task:?}");
}

#[test]
fn a_broker_that_keeps_no_commit_metadata_is_noticed_at_the_start_and_delivery_is_said_to_be_less() {
    let (dir, id) = (tempfile::tempdir().unwrap(), unique("forgets"));
    let address = format!("127.0.0.1:{}", support::process::free_port());
    let mut broker = std::process::Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .args(["broker", "--listen", &address, "--data"])
        .arg(dir.path().join("broker.db"))
        .spawn()
        .unwrap();
    let kafka = support::Kafka { brokers: address.clone() };
    let yaml = format!(
        "worker: {{bootstrap.servers: '{address}'}}
topics: {{{id}: {{partitions: 1}}}}
connectors:
  {id}: {{connector.class: s3-sink, topics: {id}, flush.size: 10, s3.bucket.name: out, store.url: 'file:{}'}}
",
        dir.path().display()
    );
    let mut worker = Sidestream::spawn(&[("a.yaml", &yaml)], &[]);
    worker.wait_healthy();
    kafka.produce((0..25).map(|n| Record::new(&id, json!({"n": n}).to_string())));
    wait_until(SOON, "two objects are published", || (delivered(&worker, &id) == 20).then_some(()));
    let task = worker.wait_state(&id, "RUNNING", SOON).remove(0);
    assert_eq!(
        (task.delivery.as_str(), task.delivery_reason.as_str()),
        ("at-least-once", "the brokers keep no commit metadata")
    );
    let said = "delivery: at-least-once, because the brokers keep no commit metadata";
    assert!(worker.log().contains(said), "{}", worker.log());
    drop(worker);
    broker.kill().unwrap();
    broker.wait().unwrap();
}
