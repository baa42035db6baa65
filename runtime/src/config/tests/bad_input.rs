use super::{WORKER, wrong, wrong_yaml};
use insta::assert_snapshot;

#[test]
fn malformed_yaml_tells_line_and_column() {
    assert_snapshot!(wrong_yaml("connectors:\n  a:\n    connector.class: [s3-sink\n  b: x\n"), @"");
}

#[test]
fn malformed_json_tells_line_and_column() {
    assert_snapshot!(wrong(&[("w.yaml", WORKER), ("a.json", "{\"name\": \"a\",\n \"config\": {\"x\" 1}}")]), @"");
}

#[test]
fn an_unknown_key_gets_a_did_you_mean() {
    assert_snapshot!(wrong_yaml("
connectors:
  pins:
    connector.class: s3-sink
    topics: a
    s3: {bucket.name: b, regoin: eu-west-1}
    flush.sise: 1000
    flush.size: 1
    something.else: 1
    transforms: [{name: clean, type: pin-cleaner, dropp: a}]
"), @"");
}

#[test]
fn a_missing_required_key_is_named_with_what_it_is() {
    assert_snapshot!(wrong_yaml("
connectors:
  pins:
    connector.class: s3-sink
    topics: a
"), @"");
}

#[test]
fn an_unknown_class_gets_the_nearest_and_the_list() {
    assert_snapshot!(wrong(&[
        ("w.yaml", WORKER),
        ("a.yaml", "connectors:\n  a: {connector.class: s3-sinc, topics: a}\n  b: {connector.class: pin-cleaner}\n"),
        ("c.properties", "name=c\nconnector.class=io.confluent.connect.s3.S3SinkConector\n"),
        ("d.properties", "name=d\nconnector.class=com.example.TeapotConnector\n"),
    ]), @"");
}

#[test]
fn a_missing_class_says_so() {
    assert_snapshot!(wrong(&[
        ("w.yaml", WORKER),
        ("a.yaml", "connectors:\n  a: {topics: a}\n"),
        ("b.properties", "name=b\ntopics=a\n"),
    ]), @"");
}

#[test]
fn two_webhooks_cannot_share_a_port() {
    assert_snapshot!(wrong_yaml("
connectors:
  a: {connector.class: webhook-source}
  b: {connector.class: webhook-source, webhook.listen: 0.0.0.0:8082}
  c: {connector.class: webhook-source, webhook.listen: \"localhost:8083\"}
  d: {connector.class: webhook-source, webhook.listen: \"localhost:8084\"}
"), @"");
}

#[test]
fn two_connectors_of_one_name_are_told_with_both_places() {
    assert_snapshot!(wrong(&[
        ("w.yaml", WORKER),
        ("a.yaml", "connectors:\n  a: {connector.class: webhook-source}\n"),
        ("b.properties", "# the other one\nname=a\nconnector.class=webhook-source\nwebhook.listen=127.0.0.1:1\n"),
    ]), @"");
}

#[test]
fn a_key_written_twice_is_told_with_both_places() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: a
    topics: b
    s3.bucket.name: x
    flush.size: 1
    s3:
      bucket: {name: y}
"), @"");
}

#[test]
fn all_errors_of_all_files_are_told_at_once() {
    assert_snapshot!(wrong(&[
        ("w.yaml", "worker: {group.id: x, bootstrap.server: a:1, listeners: http://127.0.0.1:1}\nconector: {}\n"),
        ("a.yaml", "connectors:\n  a:\n    connector.class: s3-sink\n    tasks.max: 0\n    flush.size: many\n    \
            s3.bucket.name: ${env:NOWHERE}\n    errors.tolerance: some\n    format.class: parquet\n"),
        ("b.json", "{\"connector.class\": \"S3Sink\", \"topics\": \"a\", \"topics.regex\": \"b(\", \"name\": null}"),
        ("c.yaml", "topics:\n  a b:\n  ok: {partitions: 0, retention.ms: 1}\n"),
    ]), @"");
}

#[test]
fn what_the_plugin_itself_refuses_has_a_place() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: a
    flush.size: 1
    s3.bucket.name: my_bucket
"), @"");
}

#[test]
fn a_regular_expression_that_is_none_is_told() {
    assert_snapshot!(wrong_yaml("
connectors:
  a: {connector.class: s3-sink, flush.size: 1, s3.bucket.name: b, topics.regex: \"a(\"}
  b: {connector.class: s3-sink, flush.size: 1, s3.bucket.name: b, topics: a.*}
"), @"");
}

#[test]
fn transforms_are_defined_and_named() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: webhook-source
    transforms: one,two,one
    transforms.two.type: pin-cleanr
    transforms.three.type: pin-cleaner
    transforms.three.drop: a
  b:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:1
    transforms: [{type: pin-cleaner}, {name: x, drop: a}]
"), @"");
}

#[test]
fn what_would_lose_records_is_refused_until_it_is_supported() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: a
    flush.size: 1
    s3.bucket.name: b
    errors.tolerance: all
    errors.retry.timeout: 60000
    errors.deadletterqueue.topic.name: dead
    transforms: [{name: clean, type: pin-cleaner, predicate: p, negate: true}]
    predicates: p
    predicates.p.type: RecordIsTombstone
  b:
    source: {class: webhook-source}
    sink: {class: s3-sink, s3.bucket.name: b, flush.size: 1}
"), @"");
}

#[test]
fn a_source_reads_no_topics() {
    assert_snapshot!(wrong_yaml("connectors:\n  a: {connector.class: webhook-source, topics: a}\n"), @"");
}

#[test]
fn a_value_that_is_missing_or_no_plain_value_is_told() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: [a, [b]]
    s3.bucket.name:
    flush.size: [\"1,2\"]
  b: s3-sink
"), @"");
}

#[test]
fn placeholders_that_cannot_be_resolved_are_named_and_cause_no_second_error() {
    assert_snapshot!(wrong_yaml("
connectors:
  a:
    connector.class: s3-sink
    topics: ${env:MISSING}.pin
    s3.bucket.name: ${file:/nowhere/secrets.properties:bucket}-${directory:/nowhere:b}
    flush.size: ${env:SIZE:-1}
    s3.region: ${vault:a:b}
    topics.dir: ${env:UNCLOSED
"), @"");
}

#[test]
fn a_file_that_declares_nothing_is_told() {
    assert_snapshot!(wrong(&[("w.yaml", WORKER), ("a.yaml", "hello: world\n"), ("b.yaml", "- a\n"), ("c.yaml", "")]), @"");
}

#[test]
fn a_name_without_visible_characters_is_refused() {
    assert_snapshot!(wrong_yaml("connectors:\n  \"a\\tb\": {connector.class: webhook-source}\n"), @"");
}

#[test]
fn findings_are_json_with_file_line_and_column() {
    let all =
        super::load(&[("w.yaml", WORKER), ("a.yaml", "connectors:\n  a: {connector.class: nothing}\n")]);
    assert_snapshot!(serde_json::to_string_pretty(&all.unwrap_err()).unwrap(), @"");
}
