//! Where transactions end, and what is told of them.

use support::http::{KAFKA_JSON, post};
use support::process::free_port;

use super::*;

const SIZE: &str = "kafka_connect_source_task_metrics_transaction_size_";

#[test]
fn a_polled_batch_is_one_transaction_and_positions_are_part_of_it() {
    let mut table = Table::new("poll");
    table.insert(100);
    let mut worker = Sidestream::start(&[("a.yaml", &table.yaml("enabled", ""))], &[]);
    assert_eq!(table.wait_written(), table.all());
    let metrics = wait_until(SOON, "all is acknowledged", || {
        let metrics = worker.metrics();
        (metrics.records(&table.id)[1] == 100).then_some(metrics)
    });
    assert_eq!(["min", "max", "avg"].map(|what| metrics.sum(&format!("{SIZE}{what}"), &[])), [10; 3]);
    let task = &worker.tasks()[0];
    assert_eq!((task.delivery.as_str(), task.delivery_reason.as_str()), ("exactly-once", ""));
    // Each transaction ends in a marker, which takes an offset too.
    assert_eq!(table.kafka.ends(&table.topic())[&0], 110);
    stop(&mut worker);
    assert_eq!(table.written(), table.all());
}

#[test]
fn a_transaction_of_an_interval_holds_many_batches_and_a_stop_ends_it() {
    let mut table = Table::new("interval");
    table.insert(200);
    let yaml = table.yaml("enabled", "    transaction.boundary: interval\n");
    let yaml = yaml.replace("worker:\n", "worker:\n  offset.flush.interval.ms: 600000\n");
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    wait_until(SOON, "all rows are read", || {
        (worker.metrics().records(&table.id)[..2] == [200, 0]).then_some(())
    });
    assert_eq!(table.written(), [0; 0], "nothing is committed");
    stop(&mut worker);
    assert_eq!(table.written(), table.all());
    assert_eq!(table.kafka.ends(&table.topic())[&0], 201, "one transaction");

    table.insert(30);
    worker.rewrite("a.yaml", &yaml.replace("600000", "100"));
    let mut worker = worker.restart(&[]);
    assert_eq!(table.wait_written(), table.all());
    stop(&mut worker);
    assert_eq!(table.written(), table.all());
}

#[test]
fn positions_may_have_a_topic_of_their_own_and_go_on_from_the_workers() {
    let mut table = Table::new("own");
    table.insert(40);
    let mut worker = Sidestream::start(&[("a.yaml", &table.yaml("disabled", ""))], &[]);
    table.wait_written();
    stop(&mut worker);
    let own = format!("{}-own", table.id);
    for insert in [20, 20] {
        table.insert(insert);
        worker.rewrite("a.yaml", &table.yaml("enabled", &format!("    offsets.storage.topic: {own}\n")));
        worker = worker.restart(&[]);
        assert_eq!(table.wait_written(), table.all());
        stop(&mut worker);
    }
    let positions = table.kafka.read(&own).into_iter().filter_map(|record| {
        let offset: Value = serde_json::from_slice(&record.value?).ok()?;
        offset["incrementing"].as_i64()
    });
    assert_eq!(positions.max(), Some(table.rows));
}

#[test]
fn a_request_is_answered_once_its_transaction_is_committed() {
    let Services { kafka, .. } = services();
    let (id, port) = (unique("hook"), free_port());
    let yaml = format!(
        "worker: {{group.id: {id}, offset.storage.replication.factor: 1, exactly.once.source.support: enabled}}
topics: {{{id}: {{partitions: 1}}}}
connectors:
  {id}: {{connector.class: webhook-source, webhook.listen: '127.0.0.1:{port}', webhook.topics: {id}}}
"
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    worker.wait_state(&id, "RUNNING", SOON);
    for n in 0..10 {
        let body = format!(r#"{{"records":[{{"value":{n}}},{{"value":"x"}}]}}"#);
        let answer =
            post(&format!("127.0.0.1:{port}"), &format!("/topics/{id}"), KAFKA_JSON, body.as_bytes())
                .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let offset = answer.json()["offsets"][0]["offset"].as_i64().unwrap();
        let read = kafka.read(&id);
        assert_eq!(read.len(), 2 * (n + 1), "committed before the answer");
        let record = read.iter().find(|record| record.offset == offset).unwrap();
        assert_eq!(record.value.as_deref(), Some(n.to_string().as_bytes()));
    }
    // What a client sends twice is there twice.
    let task = &worker.tasks()[0];
    assert_eq!(task.delivery, "at-least-once");
    assert!(task.delivery_reason.contains("webhook-source"), "{}", task.delivery_reason);
    stop(&mut worker);
}
