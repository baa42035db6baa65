//! A port, a broker and a topic that are not to be had.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::forward::Forward;
use crate::support::{Record, Services, Sidestream, services, sidestream, unique, wait_until};
use crate::{SECRET, SOON, keeps_secrets, lines, logged};

#[test]
fn a_port_that_is_taken_ends_the_worker_with_its_name() {
    let Services { kafka, .. } = services();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = format!(
        "worker: {{bootstrap.servers: '{}', listeners: 'http://{address}'}}\n\
         connectors: {{a: {{connector.class: file-sink, topics: t}}}}\n",
        kafka.brokers
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), text).unwrap();
    let ended = sidestream(dir.path(), &["run", "a.yaml"], &[]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{told}");
    assert!(told.contains(&address) && told.contains("choose another port"), "{told}");
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_said_so() {
    let Services { kafka, .. } = services();
    let id = unique("away");
    kafka.create_topic(&id, 1);
    kafka.produce((0..20).map(|n| Record::new(&id, json!({"n": n, "secret": SECRET}).to_string())));
    let forward = Forward::closed(&kafka.brokers);
    let yaml = format!(
        "worker: {{bootstrap.servers: '{}'}}
connectors: {{{id}: {{connector.class: file-sink, topics: {id}, file: out.txt}}}}
",
        forward.address
    );
    let mut worker = Sidestream::spawn(&[("a.yaml", &yaml)], &[]);
    worker.wait_listening();

    let asked = Instant::now();
    let (status, body) = worker.get("/health");
    assert_eq!(status, 503, "{body}");
    assert!(asked.elapsed() >= Duration::from_secs(9), "Connect answers this only after 10 s");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["status"], "starting");
    let message = body["message"].as_str().unwrap();
    let began = message
        .strip_prefix(
            "Worker is still starting up. The worker is currently initializing and reading to the end of internal \
             topics, which began at ",
        )
        .and_then(|rest| rest.strip_suffix('.'))
        .unwrap_or_else(|| panic!("{message}"));
    assert!(chrono::DateTime::parse_from_rfc3339(began).is_ok(), "{began}");
    logged(&worker, "WARN", &["trying again", "bootstrap.servers"]);
    let task = worker.tasks().remove(0);
    assert_eq!(task.state, "UNASSIGNED");
    assert!(task.reason.contains("trying again") && task.reason.contains("bootstrap.servers"), "{task:?}");
    assert!(worker.log().lines().filter(|l| l.contains("trying again")).count() < 60, "it says so too often");

    // It ends when it is told to, and only then.
    let told = Instant::now();
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());

    // The same worker goes on when the broker comes.
    let worker = Sidestream::spawn(&[("a.yaml", &yaml)], &[]);
    worker.wait_listening();
    logged(&worker, "WARN", &["trying again", "bootstrap.servers"]);
    forward.open();
    wait_until(SOON, "all records arrive", || (lines(&worker, "out.txt").len() == 20).then_some(()));
    assert_eq!(worker.get("/health").0, 200);
    keeps_secrets(&worker);
}

#[test]
fn a_topic_that_is_missing_is_named_and_read_when_it_comes() {
    let Services { kafka, .. } = services();
    let id = unique("missing");
    let yaml = format!(
        "worker: {{consumer.metadata.max.age.ms: 1000}}
connectors: {{{id}: {{connector.class: file-sink, topics: {id}, file: out.txt}}}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    logged(&worker, "WARN", &[&format!("`{id}`"), "does not exist", "declare it under `topics:`"]);
    kafka.create_topic(&id, 2);
    kafka.produce(
        (0..20).map(|n| Record::new(&id, json!({"n": n, "s": SECRET}).to_string()).partition(n % 2)),
    );
    wait_until(SOON, "the topic is read", || (lines(&worker, "out.txt").len() == 20).then_some(()));
    keeps_secrets(&worker);
}
