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
    let errors = connector("errors.retry.delay.max.ms: -5\nerrors.retry.timeout: -1\nerrors.log.enable: TRUE").errors;
    assert_eq!((errors.retries.timeout_ms, errors.retries.delay_max), (-1, Duration::ZERO));
    assert!(errors.log.enabled);
}

#[test]
fn values_of_another_type_are_refused_in_connects_words_cfg_01_cfg_04() {
    let keys = "errors.tolerance: some
        errors.retry.timeout: x
        errors.log.enable: maybe
        errors.deadletterqueue.topic.replication.factor: 40000";
    assert_snapshot!(wrong_yaml(&sink(keys)), @"");
}

#[test]
fn a_queue_is_not_among_the_topics_that_are_read_e_08_cfg_03() {
    assert_snapshot!(wrong_yaml(&sink("errors.deadletterqueue.topic.name: b")), @"");
    let pattern = sink("errors.deadletterqueue.topic.name: tdlq").replace("topics: [a, b]", "topics.regex: t.*");
    assert_snapshot!(wrong_yaml(&pattern), @"");
    assert_snapshot!(wrong_yaml(&sink("errors.deadletterqueue.topic.name: a b")), @"");
}

#[test]
fn skipping_records_without_a_trace_is_warned_of() {
    let all = |more: &str| {
        let yaml = sink(&format!("errors.tolerance: all\n{more}"));
        text(&right(&[("worker.yaml", WORKER), ("a.yaml", &yaml)]).diagnostics)
    };
    assert_snapshot!(all(""), @"");
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
    assert_snapshot!(text(&deployment.diagnostics), @"");
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
    assert_snapshot!(wrong(&[("worker.yaml", worker), ("a.yaml", yaml)]), @"");
    assert!(load(&[("worker.yaml", WORKER), ("a.yaml", yaml)]).is_ok());
}
