//! A worker that starts before everything that it needs.

use serde_json::Value;

use crate::support::forward::Forward;
use crate::support::{Database, Services, Sidestream, services, sidestream, unique, wait_until};
use crate::{SOON, readiness};

/// Why the task of `connector` does not move.
fn wait_reason(worker: &Sidestream, connector: &str, words: &[&str]) {
    wait_until(SOON, &format!("{connector} waits for {words:?}"), || {
        let tasks = worker.tasks();
        let says = |reason: &str| words.iter().all(|word| reason.contains(word));
        tasks.iter().any(|task| task.connector == connector && says(&task.reason)).then_some(())
    });
}

#[test]
fn each_connector_says_what_it_waits_for_and_goes_on_when_it_comes() {
    let Services { kafka, mysql, s3, .. } = services();
    let (rows, lake, bucket) = (unique("down-rows"), unique("down-lake"), unique("down-bucket"));
    let database = Database::create(&mysql);
    database.run("CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(40) NOT NULL)");
    database.run("INSERT INTO events (what) SELECT CONCAT('row ', seq) FROM seq_1_to_500");
    s3.create_bucket(&bucket);
    let broker = Forward::closed(&kafka.brokers);
    let rds = Forward::closed(database.address());
    let store = Forward::closed(s3.url.trim_start_matches("http://"));
    let yaml = format!(
        "worker: {{bootstrap.servers: '{broker}'}}
connectors:
  {rows}:
    connector.class: rds-source
    connection.url: '{url}'
    mode: incrementing
    incrementing.column.name: id
    table.whitelist: events
    topic.prefix: '{rows}.'
    poll.interval.ms: 200
  {lake}:
    connector.class: s3-sink
    topics: '{rows}.events'
    flush.size: 100
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: http://{store}
",
        broker = broker.address,
        url = database.url_at(&rds.address),
        store = store.address,
    );
    kafka.create_topic(&format!("{rows}.events"), 1);
    let mut worker = Sidestream::spawn(&[("a.yaml", &yaml)], &s3.credentials());
    worker.wait_listening();
    assert_eq!(worker.get("/health/live").0, 200, "the process serves, whatever it waits for");
    for connector in [&rows, &lake] {
        wait_reason(&worker, connector, &["waiting for Kafka", &broker.address]);
    }
    let (status, answer) = readiness(&worker);
    assert_eq!((status, &answer["status"]), (503, &Value::from("starting")), "{answer}");
    assert_eq!(answer["waiting"].as_array().unwrap().len(), 2, "{answer}");

    let probe = |what: &str| {
        let address = worker.url.trim_start_matches("http://");
        sidestream(worker.dir.path(), &["probe", what, "--address", address], &[]).status.code()
    };
    assert_eq!([probe("live"), probe("ready")], [Some(0), Some(3)]);
    assert_eq!(
        sidestream(worker.dir.path(), &["probe", "live", "--address", "127.0.0.1:1"], &[]).status.code(),
        Some(3)
    );

    broker.open();
    worker.wait_healthy();
    wait_reason(&worker, &rows, &[&rds.address]);
    rds.open();
    wait_until(SOON, "all rows are in Kafka", || {
        (kafka.ends(&format!("{rows}.events")).values().sum::<i64>() == 500).then_some(())
    });
    wait_reason(&worker, &lake, &[&store.address]);
    assert!(s3.keys(&bucket).is_empty());
    store.open();
    wait_until(SOON, "all rows are in S3", || (s3.keys(&bucket).len() == 5).then_some(()));
    wait_until(SOON, "the worker is ready", || (readiness(&worker).0 == 200).then_some(()));
    let probe = sidestream(
        worker.dir.path(),
        &["probe", "ready", "--address", worker.url.trim_start_matches("http://")],
        &[],
    );
    assert_eq!(probe.status.code(), Some(0), "{probe:?}");
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}
