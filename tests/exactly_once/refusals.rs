//! Records that Kafka does not take, and brokers without transactions.

use std::process::{Child, Command, Stdio};

use support::http::{KAFKA_JSON, post};
use support::process::free_port;

use super::*;

/// Who takes no record of 3,000 bytes.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// As little as that the other records of a page are too large together.
    Topic,
    Producer,
}

/// With and without transactions, refused by either side.
const CASES: [(&str, Limit); 4] = [
    ("enabled", Limit::Topic),
    ("disabled", Limit::Topic),
    ("enabled", Limit::Producer),
    ("disabled", Limit::Producer),
];

/// Twenty rows, of which the thirteenth is too large.
fn with_a_large_row((support, limit): (&str, Limit), tolerance: &str) -> (Table, Sidestream) {
    let mut table = Table::new("large");
    table.database.run("ALTER TABLE events MODIFY what VARCHAR(4000) NOT NULL");
    table.insert(12);
    table.database.run(&format!("INSERT INTO events VALUES (13, '{}')", "x".repeat(3000)));
    table.rows = 13;
    table.insert(7);
    let mut keys = format!("    errors.tolerance: {tolerance}\n");
    if let Limit::Producer = limit {
        keys += "    producer.override.max.request.size: 2000\n";
    }
    let mut yaml = table.yaml(support, &keys);
    if let Limit::Topic = limit {
        yaml = yaml.replace("{partitions: 1}", "{partitions: 1, config: {max.message.bytes: 400}}");
    }
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    (table, worker)
}

#[test]
fn a_record_that_is_too_large_is_skipped_where_errors_are_tolerated_and_all_others_are_written() {
    for case in CASES {
        let (table, mut worker) = with_a_large_row(case, "all");
        let mut expected = table.all();
        expected.retain(|id| *id != 13);
        let mut written = table.wait_written();
        if let ("disabled", Limit::Topic) = case {
            // Later batches were on their way when an earlier one was found too large.
            written.sort_unstable();
        }
        assert_eq!(written, expected, "{case:?}");
        wait_until(SOON, "all records are accounted for", || {
            (worker.metrics().records(&table.id) == [20, 19, 0, 1]).then_some(())
        });
        let log = worker.log();
        let told: Vec<_> = log.lines().filter(|line| line.contains("record skipped")).collect();
        assert_eq!(told.len(), 1, "{case:?}: {log}");
        assert!(told[0].contains(&table.topic()) && told[0].contains("a record of 30"), "{}", told[0]);
        assert!(!log.contains("xxxx"), "a value is in the log");
        stop(&mut worker);
        assert_eq!(table.written().len(), expected.len(), "{case:?}");
    }
}

#[test]
fn a_record_that_is_too_large_fails_the_task_with_its_topic_its_size_and_the_remedy() {
    for case in CASES {
        let (table, worker) = with_a_large_row(case, "none");
        let reason = &worker.wait_state(&table.id, "FAILED", SOON)[0].reason;
        for part in
            ["a record of 30", &table.topic(), "max.message.bytes", "producer.override.max.request.size"]
        {
            assert!(reason.contains(part), "{case:?}: `{part}` is not in: {reason}");
        }
        // In transactions nothing of a batch is seen that could not be written whole.
        let written = table.written();
        let whole: Vec<i64> = (1..=10).collect();
        let missing: Vec<_> = whole.iter().filter(|id| !written.contains(id)).collect();
        assert!(missing.is_empty() && !written.contains(&13), "{case:?}: {written:?}");
        assert!(case.0 == "disabled" || written == whole, "{case:?}: {written:?}");
    }
}

#[test]
fn a_client_is_told_which_of_its_records_is_too_large_and_the_others_are_committed() {
    let Services { kafka, .. } = services();
    let (id, port) = (unique("hook-large"), free_port());
    let yaml = format!(
        "worker: {{group.id: {id}, offset.storage.replication.factor: 1, exactly.once.source.support: enabled}}
topics: {{{id}: {{partitions: 1, config: {{max.message.bytes: 400}}}}}}
connectors:
  {id}: {{connector.class: webhook-source, webhook.listen: '127.0.0.1:{port}', webhook.topics: {id}}}
"
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    worker.wait_state(&id, "RUNNING", SOON);
    let large = "x".repeat(500);
    let body = format!(r#"{{"records":[{{"value":1}},{{"value":"{large}"}},{{"value":3}}]}}"#);
    let answer =
        post(&format!("127.0.0.1:{port}"), &format!("/topics/{id}"), KAFKA_JSON, body.as_bytes()).unwrap();
    let json = answer.json();
    let codes: Vec<_> =
        json["offsets"].as_array().unwrap().iter().map(|o| o["error_code"].as_i64()).collect();
    assert_eq!(codes, [None, Some(50002), None], "{}", answer.body);
    let values: Vec<_> = kafka.read(&id).into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, [b"1", b"3"]);
    stop(&mut worker);
}

/// The embedded broker; it ends with the test.
struct Embedded(Child);

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_broker_without_transactions_is_noticed_and_required_does_not_run_there() {
    let (dir, port, id) = (tempfile::tempdir().unwrap(), free_port(), unique("plain"));
    let address = format!("127.0.0.1:{port}");
    let mut broker = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    broker.args(["broker", "--listen", &address, "--data"]).arg(dir.path().join("broker.db"));
    let _broker = Embedded(broker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until(SOON, "the broker listens", || std::net::TcpStream::connect(&address).ok());
    let input = dir.path().join("in.txt");
    std::fs::write(&input, "one\ntwo\n").unwrap();
    let yaml = |wish: &str| {
        format!(
            "worker:
  bootstrap.servers: {address}
  group.id: {id}
  offset.storage.partitions: 1
  offset.storage.replication.factor: 1
  exactly.once.source.support: enabled
topics: {{{id}: {{partitions: 1, replication.factor: 1}}}}
connectors:
  {id}: {{connector.class: file-source, file: '{}', topic: {id}, exactly.once.support: {wish}}}
",
            input.display()
        )
    };
    let mut worker = Sidestream::start(&[("a.yaml", &yaml("requested"))], &[]);
    wait_until(SOON, "both lines are delivered", || (worker.metrics().records(&id)[1] == 2).then_some(()));
    let task = &worker.tasks()[0];
    assert_eq!(task.delivery, "at-least-once");
    assert!(task.delivery_reason.contains("no transactions"), "{}", task.delivery_reason);
    stop(&mut worker);
    worker.rewrite("a.yaml", &yaml("required"));
    let worker = worker.respawn(&[]);
    worker.wait_listening();
    let reason = &worker.wait_state(&id, "FAILED", SOON)[0].reason;
    assert!(reason.contains("no transactions") && reason.contains("requested"), "{reason}");
}
