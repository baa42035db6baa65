//! Files that are refused before anything starts.

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::SECRET;
use crate::support::process::free_port;
use crate::support::sidestream;

/// Both `validate` and `run` refuse the file with exit code 1 and the same findings, and touch no network.
#[track_caller]
fn refused(text: &str, parts: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.yaml"), text).unwrap();
    // Nothing listens there.
    let worker = format!("worker: {{bootstrap.servers: '127.0.0.1:{}'}}\n", free_port());
    fs::write(dir.path().join("worker.yaml"), worker).unwrap();
    let run = |command: &str| {
        let Output { status, stdout, stderr } =
            sidestream(dir.path(), &[command, "worker.yaml", "bad.yaml"], &[("PASSWORD", SECRET)]);
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{command}: {text}");
        assert!(!text.contains(SECRET) && !String::from_utf8(stdout).unwrap().contains(SECRET), "{text}");
        for part in parts {
            assert!(text.contains(part), "{command}: no `{part}` in:\n{text}");
        }
        text
    };
    let began = Instant::now();
    let told = run("validate");
    run("run");
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for something");
    told
}

#[test]
fn malformed_yaml_is_told_with_file_line_and_column() {
    let told = refused(
        "connectors:\n  a:\n    connector.class: [file-sink\n    topics: t\n  b: {connector.class: file-sink}\n",
        &["bad.yaml:", "error"],
    );
    let place =
        told.lines().find_map(|line| line.strip_prefix("bad.yaml:")).unwrap_or_else(|| panic!("{told}"));
    let mut numbers = place.split(':').map(|number| number.trim().parse::<usize>());
    let (line, column) = (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap());
    assert!((3..=4).contains(&line) && column >= 1, "{told}");
}

#[test]
fn an_unknown_key_is_told_with_the_key_that_was_meant() {
    refused(
        "connectors:
  pins:
    connector.class: s3-sink
    topics: t
    flush.size: 1
    s3.bucket.name: b
    aws.access.key.id: ${env:PASSWORD}
    aws.secret.access.key: ${env:PASSWORD}
    topics.dirr: raw
",
        &["bad.yaml:9:5: error", "\"pins\"", "`topics.dirr`", "did you mean `topics.dir`?"],
    );
}

#[test]
fn a_missing_key_is_named_with_what_it_is() {
    refused(
        "connectors:\n  pins:\n    connector.class: s3-sink\n    topics: t\n    flush.size: 1\n",
        &["bad.yaml:", "\"pins\"", "`s3.bucket.name` is required"],
    );
}

#[test]
fn an_unknown_class_is_told_with_the_one_that_was_meant() {
    refused(
        "connectors:\n  pins: {connector.class: s3-sinc, topics: t}\n",
        &["bad.yaml:2:", "\"pins\"", "s3-sinc", "did you mean `s3-sink`"],
    );
}

#[test]
fn two_webhooks_with_one_port_are_both_named() {
    refused(
        "connectors:
  first: {connector.class: webhook-source, webhook.topics: a, webhook.listen: '127.0.0.1:8999'}
  second: {connector.class: webhook-source, webhook.topics: b, webhook.listen: '0.0.0.0:8999'}
",
        &["bad.yaml:3:", "first", "second", "8999"],
    );
}

#[test]
fn a_topics_regex_that_is_none_is_told() {
    refused(
        "connectors:\n  pins: {connector.class: file-sink, topics.regex: 'a(b'}\n",
        &["bad.yaml:2:", "\"pins\"", "`topics.regex`", "Java's syntax", "whole topic names"],
    );
}

#[test]
fn everything_that_is_wrong_in_a_file_is_told_at_once() {
    refused(
        "connectors:
  a: {connector.class: s3-sinc, topics: t}
  b: {connector.class: file-sink, topics: t, tasks.max: many}
  c: {connector.class: s3-sink, topics: t, s3.bucket.name: b, flush.size: 1, flush.sise: 1}
topics:
  t: {partitions: 0}
",
        &[
            "bad.yaml:2:",
            "bad.yaml:3:",
            "`tasks.max`",
            "bad.yaml:4:",
            "`flush.sise`",
            "bad.yaml:6:",
            "`partitions`",
        ],
    );
}
