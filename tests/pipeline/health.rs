//! What the worker says about itself.

use serde_json::{Value, json};

use crate::SOON;
use crate::support::{Metrics, Record, Services, Sidestream, services, unique, wait_until};

#[test]
fn health_is_connects_and_metrics_account_for_every_record() {
    let Services { kafka, .. } = services();
    let topic = unique("metrics");
    kafka.create_topic(&topic, 2);
    let good = |n: i64| json!({"ind": n, "first_name": "Ada", "last_name": "Map", "age": 36, "date_joined": "2016-07-08T09:10:11"});
    // Two of ten are pins that somebody posted to the users' topic.
    let bad = |n: i64| json!({"index": n, "title": "mis-sent"});
    kafka.produce((0..100).map(|n| {
        let value = if n % 10 < 2 { bad(n) } else { good(n) };
        Record::new(&topic, value.to_string()).partition((n % 2) as i32)
    }));
    let yaml = format!(
        "connectors:
  {topic}:
    connector.class: s3-sink
    topics: {topic}
    transforms: [{{name: clean, type: user-cleaner}}]
    errors.tolerance: all
    store.url: memory://{topic}
    s3.bucket.name: b
    flush.size: 10
  {topic}-lines:
    connector.class: file-source
    file: lines.txt
    topic: {topic}-lines
topics:
  {topic}-lines:
"
    );
    let before = chrono::Utc::now().timestamp();
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    worker.rewrite("lines.txt", "one\ntwo\nthree\n");

    let (status, body) = worker.get("/health");
    assert_eq!(status, 200);
    assert_eq!(
        body,
        r#"{"status":"healthy","message":"Worker has completed startup and is ready to handle requests."}"#
    );
    let tasks = worker.wait_state(&topic, "RUNNING", SOON);
    assert_eq!((tasks.len(), tasks[0].kind.as_str(), tasks[0].plugin.as_str()), (1, "sink", "s3-sink"));
    let all: Value = serde_json::from_str(&worker.get("/health/tasks").1).unwrap();
    for task in all.as_array().unwrap() {
        let since = task["since"].as_str().unwrap();
        let since = chrono::DateTime::parse_from_rfc3339(since).unwrap_or_else(|e| panic!("{since}: {e}"));
        assert!((before..=before + 120).contains(&since.timestamp()), "{task}");
    }

    // 40 users in each partition: four objects of ten.
    let metrics = wait_until(SOON, "100 records are read, 80 delivered, 20 rejected", || {
        let metrics = worker.metrics();
        (metrics.records(&topic) == [100, 80, 0, 20]).then_some(metrics)
    });
    let labels = [("connector", topic.as_str()), ("task", "0")];
    let of_sink = |name: &str| metrics.sum(&format!("kafka_connect_sink_task_metrics_{name}"), &labels);
    assert_eq!(of_sink("sink_record_read_total"), 100);
    assert_eq!(of_sink("sink_record_send_total"), 80);
    assert_eq!(of_sink("partition_count"), 2);
    assert_eq!(of_sink("sink_record_lag_max"), 0);
    assert!(of_sink("offset_commit_completion_total") >= 1);
    assert_eq!(metrics.sum("kafka_connect_task_error_metrics_total_records_skipped", &labels), 20);
    assert_eq!(metrics.sum("sidestream_task_lag_records", &labels), 0);
    let flushed = metrics.sum("sidestream_task_last_flush_timestamp_seconds", &labels);
    assert!((before..=before + 120).contains(&flushed), "{flushed}");
    assert_eq!(metrics.sum("kafka_connect_connect_worker_metrics_connector_count", &[]), 2);
    assert_eq!(metrics.sum("kafka_connect_connect_worker_metrics_task_count", &[]), 2);
    let running = [("connector", topic.as_str()), ("task", "0"), ("status", "running")];
    assert_eq!(metrics.sum("kafka_connect_connector_task_metrics_status", &running), 1);

    let source = format!("{topic}-lines");
    let metrics = wait_until(SOON, "three lines are written", || {
        let metrics = worker.metrics();
        (metrics.records(&source) == [3, 3, 0, 0]).then_some(metrics)
    });
    let of_source = |name: &str| {
        metrics.sum(&format!("kafka_connect_source_task_metrics_{name}"), &[("connector", &source)])
    };
    assert_eq!((of_source("source_record_poll_total"), of_source("source_record_write_total")), (3, 3));
    assert!(metrics.types.values().any(|kind| kind == "counter"));
    balanced(&metrics, &[&topic, &source]);
}

/// Every record that was read is delivered, filtered or rejected.
#[track_caller]
fn balanced(metrics: &Metrics, connectors: &[&str]) {
    for connector in connectors {
        let [read, delivered, filtered, rejected] = metrics.records(connector);
        assert_eq!(read, delivered + filtered + rejected, "{connector}");
    }
}
