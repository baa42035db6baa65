//! `/metrics`: Connect's names, values that are true, and a page that Prometheus takes; the same for CloudWatch.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::wait_until;
use crate::{SOON, Working};

/// Groups of Connect's JMX beans and their attributes, as jmx_exporter spells them.
const NAMES: [(&str, &str); 6] = [
    (
        "connector_task_metrics",
        "status running_ratio pause_ratio offset_commit_max_time_ms offset_commit_avg_time_ms \
         offset_commit_success_percentage offset_commit_failure_percentage batch_size_max batch_size_avg",
    ),
    (
        "source_task_metrics",
        "source_record_poll_rate source_record_poll_total source_record_write_rate source_record_write_total \
         poll_batch_max_time_ms poll_batch_avg_time_ms source_record_active_count source_record_active_count_max \
         source_record_active_count_avg transaction_size_min transaction_size_max transaction_size_avg",
    ),
    (
        "sink_task_metrics",
        "sink_record_read_rate sink_record_read_total sink_record_send_rate sink_record_send_total sink_record_lag_max \
         partition_count offset_commit_seq_no offset_commit_completion_rate offset_commit_completion_total \
         offset_commit_skip_rate offset_commit_skip_total put_batch_max_time_ms put_batch_avg_time_ms \
         sink_record_active_count sink_record_active_count_max sink_record_active_count_avg",
    ),
    (
        "connect_worker_metrics",
        "connector_count task_count connector_startup_attempts_total connector_startup_success_total \
         connector_startup_failure_total connector_startup_success_percentage connector_startup_failure_percentage \
         task_startup_attempts_total task_startup_success_total task_startup_failure_total \
         task_startup_success_percentage task_startup_failure_percentage connector_total_task_count \
         connector_running_task_count connector_paused_task_count connector_failed_task_count \
         connector_unassigned_task_count connector_destroyed_task_count connector_restarting_task_count",
    ),
    (
        "connect_worker_rebalance_metrics",
        "completed_rebalances_total rebalancing rebalance_max_time_ms rebalance_avg_time_ms time_since_last_rebalance_ms",
    ),
    (
        "task_error_metrics",
        "total_record_failures total_record_errors total_records_skipped total_retries total_errors_logged \
         deadletterqueue_produce_requests deadletterqueue_produce_failures last_error_timestamp",
    ),
];

#[test]
fn connects_metrics_are_there_with_true_values_and_promtool_takes_the_page() {
    let Working { worker, source, sink, failing } = Working::start("");
    let metrics = worker.metrics();
    for (group, attributes) in NAMES {
        for attribute in attributes.split_whitespace() {
            let name = format!("kafka_connect_{group}_{attribute}");
            assert!(metrics.types.contains_key(&name), "{name} is missing");
        }
    }
    let value = |name: &str, connector: &str| -> f64 {
        let of = metrics
            .samples
            .iter()
            .filter(|s| s.name == name && s.labels.get("connector").is_some_and(|c| c == connector));
        of.map(|sample| sample.value).sum()
    };
    let sink_metric = |name: &str| value(&format!("kafka_connect_sink_task_metrics_{name}"), &sink);
    assert_eq!(sink_metric("sink_record_read_total"), 201.0);
    assert_eq!(sink_metric("sink_record_send_total"), 200.0);
    assert_eq!(sink_metric("sink_record_active_count"), 0.0);
    assert_eq!(sink_metric("partition_count"), 2.0);
    assert!(sink_metric("sink_record_read_rate") > 1.0 && sink_metric("put_batch_max_time_ms") > 0.0);
    assert!(sink_metric("offset_commit_seq_no") >= 1.0);
    let source_metric = |name: &str| value(&format!("kafka_connect_source_task_metrics_{name}"), &source);
    assert_eq!(source_metric("source_record_poll_total"), 500.0);
    assert_eq!(source_metric("source_record_write_total"), 500.0);
    assert!(source_metric("source_record_write_rate") > 1.0 && source_metric("poll_batch_max_time_ms") > 0.0);
    let task = |name: &str, connector: &str| {
        value(&format!("kafka_connect_connector_task_metrics_{name}"), connector)
    };
    assert!(task("batch_size_max", &sink) >= 1.0 && task("offset_commit_max_time_ms", &sink) > 0.0);
    assert_eq!(task("offset_commit_success_percentage", &sink), 1.0);
    assert_eq!(value("kafka_connect_task_error_metrics_deadletterqueue_produce_requests", &sink), 1.0);
    let of_worker = |name: &str, connector: &str| {
        value(&format!("kafka_connect_connect_worker_metrics_{name}"), connector)
    };
    assert_eq!(of_worker("connector_running_task_count", &sink), 1.0);
    assert_eq!(of_worker("connector_failed_task_count", &failing), 1.0);
    assert_eq!(metrics.sum("kafka_connect_connect_worker_metrics_connector_count", &[]), 3);
    let resident = metrics.sum("process_resident_memory_bytes", &[]);
    assert!((10 << 20..4 << 30).contains(&resident), "{resident}");
    assert!(metrics.sum("process_open_fds", &[]) > 5);

    let page = worker.get("/metrics").1;
    let work = std::env::var_os("SIDESTREAM_WORK").map(PathBuf::from);
    let work = work.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".work"));
    let mut promtool = Command::new(work.join("bin/promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; `make setup` puts it there", work.join("bin/promtool").display())
        });
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    // 3: it would have named Connect's metrics otherwise.
    let findings =
        String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    let unavoidable = |line: &str| line.starts_with("kafka_connect_") || line.is_empty();
    assert!(matches!(said.status.code(), Some(0 | 3)) && findings.lines().all(unavoidable), "{findings}");
    println!(
        "{} families, {} samples; promtool's findings:\n{findings}",
        metrics.types.len(),
        metrics.samples.len()
    );
}

#[test]
fn cloudwatch_gets_the_names_of_msk_connect_as_lines_of_embedded_metrics() {
    let Working { worker, source, sink, failing } =
        Working::start("metrics.emf.namespace: Side/Stream, metrics.emf.interval.ms: 300");
    let line = |connector: &str| {
        wait_until(SOON, "a line of metrics", || {
            let lines = worker.log();
            let lines = lines.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut of = lines.filter(|line| line["ConnectorName"] == connector);
            of.next()
        })
    };
    let metrics = &line(&sink)["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(metrics["Namespace"], "Side/Stream");
    assert_eq!(metrics["Dimensions"], serde_json::json!([["ConnectorName"]]));
    let of_sink = line(&sink);
    for metric in metrics["Metrics"].as_array().unwrap() {
        let name = metric["Name"].as_str().unwrap();
        assert!(of_sink[name].is_number() && metric["Unit"].is_string(), "{name}: {of_sink}");
    }
    for name in [
        "CpuUtilization",
        "ErroredTaskCount",
        "MemoryUtilization",
        "RebalanceCompletedTotal",
        "RebalanceTimeAvg",
        "RebalanceTimeMax",
        "RebalanceTimeSinceLast",
        "RunningTaskCount",
        "SinkRecordReadRate",
        "SinkRecordSendRate",
        "SourceRecordPollRate",
        "SourceRecordWriteRate",
        "TaskStartupAttemptsTotal",
        "TaskStartupSuccessPercentage",
        "WorkerCount",
    ] {
        assert!(of_sink[name].is_number(), "{name}: {of_sink}");
    }
    assert!(of_sink["SinkRecordReadRate"].as_f64().unwrap() > 0.0);
    assert!(line(&source)["SourceRecordWriteRate"].as_f64().unwrap() > 0.0);
    wait_until(SOON, "the failed task is counted", || {
        (line(&failing)["ErroredTaskCount"] == 1.0).then_some(())
    });
}
