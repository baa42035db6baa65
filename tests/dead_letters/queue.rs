//! A queue that cannot be made or written to: the task fails and says why, and nothing is acknowledged.

use crate::support::{Record, services, unique};
use crate::{SECRET, connector, failed, lines, start};

fn yaml(id: &str, more: &str) -> String {
    let keys = "connector.class: file-sink\nfile: out\nerrors.tolerance: all\nvalue.converter: JsonConverter\n\
                value.converter.schemas.enable: false\nerrors.deadletterqueue.context.headers.enable: true";
    connector(id, &format!("{keys}\ntopics: {id}\nerrors.deadletterqueue.topic.name: {id}-dead\n{more}"))
}

#[test]
fn a_queue_that_takes_no_record_of_that_size_fails_the_task_and_nothing_is_acknowledged() {
    let (kafka, id) = (services().kafka, unique("small"));
    kafka.create_topic(&id, 1);
    let bad = format!("{{{SECRET}{}", "x".repeat(2000));
    kafka.produce([Record::new(&id, "{\"n\":1}"), Record::new(&id, bad), Record::new(&id, "{\"n\":2}")]);
    let topics = format!("topics:\n  {id}-dead: {{config: {{max.message.bytes: 500}}}}\n");
    let worker = start(&[("a.yaml", &yaml(&id, "")), ("topics.yaml", &topics)]);
    let queue = format!("a record could not be written to the dead letter queue {id}-dead");
    failed(&worker, &id, &[&queue, "max.message.bytes"]);
    assert_eq!(kafka.committed(&format!("connect-{id}"), &id).get(&0), None);
    assert_eq!(kafka.read(&format!("{id}-dead")).len(), 0);
    let failures = "kafka_connect_task_error_metrics_deadletterqueue_produce_failures";
    assert_eq!(worker.metrics().sum(failures, &[("connector", &id)]), 1);
}

/// DLQ-19.
#[test]
fn a_queue_that_cannot_be_made_fails_the_task_before_it_reads() {
    let (kafka, id) = (services().kafka, unique("three"));
    kafka.create_topic(&id, 1);
    kafka.produce([Record::new(&id, "{\"n\":1}")]);
    // Connect's default is three replicas, and there is one broker.
    let worker = start(&[("a.yaml", &yaml(&id, ""))]);
    let text = format!("Could not initialize dead letter queue with topic={id}-dead");
    failed(&worker, &id, &[&text, "replication", "errors.deadletterqueue.topic.replication.factor"]);
    assert_eq!(lines(&worker, "out"), Vec::<String>::new());
    assert_eq!(kafka.committed(&format!("connect-{id}"), &id).get(&0), None);
    assert_eq!(kafka.partition_count(&format!("{id}-dead")), 0);
}
