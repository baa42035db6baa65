//! `errors.*`, in Connect's words (E-01, E-03, E-08; CFG-01 to CFG-04, CFG-27).

use std::time::Duration;

use insta::assert_snapshot;

use super::{WORKER, load, right, text, wrong, wrong_yaml};
use crate::config::{ConnectorConfig, DeadLetterTopic};

const SINK: &str = "
connectors:
  a:
    connector.class: s3-sink
    topics: [a, b]
    flush.size: 1
    s3.bucket.name: b
";

fn sink(keys: &str) -> String {
    keys.lines().fold(SINK.to_owned(), |text, line| format!("{text}    {}\n", line.trim()))
}

fn connector(keys: &str) -> ConnectorConfig {
    right(&[("worker.yaml", WORKER), ("a.yaml", &sink(keys))]).connectors.remove(0)
}

#[test]
fn connects_defaults_hold_e_01_e_03() {
    let errors = connector("").errors;
    assert_eq!((errors.retries.timeout_ms, errors.retries.delay_max), (0, Duration::from_secs(60)));
    assert!(!errors.log.enabled && !errors.log.with_place && errors.dead_letters.is_none());
    let queue = connector("errors.deadletterqueue.topic.name: dead").errors.dead_letters;
    let expected = DeadLetterTopic { name: "dead".to_owned(), replication_factor: 3, context_headers: false };
    assert_eq!(queue, Some(expected));
    let restarts = connector("").restarts;
    assert_eq!((restarts.attempts, restarts.window), (3, Duration::from_secs(600)));
}

#[test]
fn values_that_connect_takes_are_taken_cfg_27() {
    let errors =
        connector("errors.retry.delay.max.ms: -5\nerrors.retry.timeout: -1\nerrors.log.enable: TRUE").errors;
    assert_eq!((errors.retries.timeout_ms, errors.retries.delay_max), (-1, Duration::ZERO));
    assert!(errors.log.enabled);
}

#[test]
fn values_of_another_type_are_refused_in_connects_words_cfg_01_cfg_04() {
    let keys = "errors.tolerance: some
        errors.retry.timeout: x
        errors.log.enable: maybe
        errors.deadletterqueue.topic.replication.factor: 40000";
    assert_snapshot!(wrong_yaml(&sink(keys)), @r#"
    a.yaml:8:5: error: connector "a": Invalid value some for configuration errors.tolerance: String must be one of: none, all
      8 | errors.tolerance: some
        | ^
      hint: `none` fails the task at a record that cannot be processed, `all` skips such records
    a.yaml:9:5: error: connector "a": Invalid value x for configuration errors.retry.timeout: Not a number of type LONG
      9 | errors.retry.timeout: x
        | ^
      hint: write milliseconds: 60000
    a.yaml:10:5: error: connector "a": Invalid value maybe for configuration errors.log.enable: Expected value to be either true or false
      10 | errors.log.enable: maybe
         | ^
      hint: write true or false
    a.yaml:11:5: error: connector "a": Invalid value 40000 for configuration errors.deadletterqueue.topic.replication.factor: Not a number of type SHORT
      11 | errors.deadletterqueue.topic.replication.factor: 40000
         | ^
      hint: write a number of replicas: 3
    "#);
}

#[test]
fn a_queue_is_not_among_the_topics_that_are_read_e_08_cfg_03() {
    assert_snapshot!(wrong_yaml(&sink("errors.deadletterqueue.topic.name: b")), @r#"
    a.yaml:5:5: error: connector "a": The DLQ topic 'b' may not be included in the list of topics ('topics=[a, b]') consumed by the connector
      5 | topics: [a, b]
        | ^
      hint: a sink that reads its own dead letters would never come to an end: give the queue a topic of its own
    "#);
    let pattern =
        sink("errors.deadletterqueue.topic.name: tdlq").replace("topics: [a, b]", "topics.regex: t.*");
    assert_snapshot!(wrong_yaml(&pattern), @r#"
    a.yaml:5:5: error: connector "a": The DLQ topic 'tdlq' may not be matched by the regex for the topics ('topics.regex=t.*') consumed by the connector
      5 | topics.regex: t.*
        | ^
      hint: a sink that reads its own dead letters would never come to an end: give the queue a topic of its own
    "#);
    assert_snapshot!(wrong_yaml(&sink("errors.deadletterqueue.topic.name: a b")), @r#"
    a.yaml:8:5: error: connector "a": `errors.deadletterqueue.topic.name`: the name `a b` has a character that Kafka does not take
      8 | errors.deadletterqueue.topic.name: a b
        | ^
      hint: letters, digits, `.`, `_` and `-`, at most 249
    "#);
}

#[test]
fn skipping_records_without_a_trace_is_warned_of() {
    let all = |more: &str| {
        let yaml = sink(&format!("errors.tolerance: all\n{more}"));
        text(&right(&[("worker.yaml", WORKER), ("a.yaml", &yaml)]).diagnostics)
    };
    assert_snapshot!(all(""), @r#"
    a.yaml:8:5: warning: connector "a": `errors.tolerance: all` without a dead letter queue: records that cannot be processed are only counted and logged, and then gone
      8 | errors.tolerance: all
        | ^
      hint: name a topic for them: `errors.deadletterqueue.topic.name: <topic>`
    "#);
    assert_eq!(all("errors.deadletterqueue.topic.name: dead"), "");
}

#[test]
fn a_source_takes_the_keys_of_a_queue_and_has_none_dlq_31() {
    let yaml = "
connectors:
  a:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:8081
    webhook.topics: [a]
    errors.tolerance: all
    errors.deadletterqueue.topic.name: nope
";
    let mut deployment = right(&[("worker.yaml", WORKER), ("a.yaml", yaml)]);
    assert_eq!(deployment.connectors.remove(0).errors.dead_letters, None);
    assert_snapshot!(text(&deployment.diagnostics), @r#"
    a.yaml:3:3: note: connector "a": accepted, needs no action here: `errors.deadletterqueue.topic.name`
    "#);
}

#[test]
fn a_direct_pipeline_needs_kafka_for_its_dead_letters() {
    let yaml = "
connectors:
  a:
    source: {class: webhook-source, webhook.listen: 127.0.0.1:8081, webhook.topics: [a]}
    sink: {class: s3-sink, flush.size: 1, s3.bucket.name: b}
    errors.deadletterqueue.topic.name: dead
";
    let worker = "worker: {offset.storage.file.filename: /tmp/offsets}\n";
    assert_snapshot!(wrong(&[("worker.yaml", worker), ("a.yaml", yaml)]), @r#"
    a.yaml:6:5: error: connector "a": `errors.deadletterqueue.topic.name` needs Kafka, and the worker has none
      6 | errors.deadletterqueue.topic.name: dead
        | ^
      hint: name `bootstrap.servers` in the worker's keys, or leave the queue out
    "#);
    assert!(load(&[("worker.yaml", WORKER), ("a.yaml", yaml)]).is_ok());
}
