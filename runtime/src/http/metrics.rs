//! `GET /metrics` in Prometheus' text format: Connect's metrics in jmx_exporter's spelling, and our own per task.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use connector_core::{Kind, Metric, MetricKind};

use crate::task::host::Host;
use crate::task::status::TaskStatus;
use crate::task::worker::Worker;

pub async fn metrics(axum::extract::State(host): State<Arc<Host>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&host.worker()))
}

/// One metric with its samples.
struct Family<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.out, "{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.out, "{}{value}", if labels.is_empty() { " " } else { "} " });
    }
}

fn family<'a>(out: &'a mut String, name: &'a str, kind: &str, help: &str) -> Family<'a> {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    Family { out, name }
}

fn per_task<'t>(
    out: &mut String,
    (name, kind, help): (&'static str, &str, &str),
    tasks: impl Iterator<Item = &'t Arc<TaskStatus>>,
    value: impl Fn(&TaskStatus) -> i64,
) {
    let mut family = family(out, name, kind, help);
    for task in tasks {
        family.sample(&[("connector", &task.connector), ("task", &task.task.to_string())], value(task));
    }
}

/// What plugins count, by name: a metric's samples stand together.
fn of_plugins(out: &mut String, tasks: &[Arc<TaskStatus>]) {
    let mut by_name: BTreeMap<String, Vec<(&TaskStatus, Metric)>> = BTreeMap::new();
    for task in tasks {
        for metric in task.plugin_metrics().into_iter().filter(|m| is_name(&m.name)) {
            by_name.entry(metric.name.clone()).or_default().push((task, metric));
        }
    }
    for (name, metrics) in by_name {
        let Some((_, first)) = metrics.first() else { continue };
        let kind = match first.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        let help = first.help.replace('\n', " ");
        let mut family = family(out, &name, kind, &help);
        for (task, metric) in &metrics {
            let number = task.task.to_string();
            let own = metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels: Vec<_> =
                [("connector", task.connector.as_str()), ("task", &number)].into_iter().chain(own).collect();
            family.sample(&labels, metric.value);
        }
    }
}

/// Whether Prometheus takes it; a plugin's mistake must not spoil the page.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn count(n: &std::sync::atomic::AtomicU64) -> i64 {
    i64::try_from(n.load(Relaxed)).unwrap_or(i64::MAX)
}

/// Name, help and value of a counter.
type Ours = (&'static str, &'static str, fn(&TaskStatus) -> i64);

fn render(worker: &Worker) -> String {
    let tasks = worker.board.tasks();
    let sinks = || tasks.iter().filter(|t| t.kind == Kind::Sink);
    let sources = || tasks.iter().filter(|t| t.kind == Kind::Source);
    let mut text = String::new();
    let out = &mut text;

    let connectors = worker.deployment().connectors.len();
    family(
        out,
        "kafka_connect_connect_worker_metrics_connector_count",
        "untyped",
        "Connectors of this worker.",
    )
    .sample(&[], connectors);
    family(out, "kafka_connect_connect_worker_metrics_task_count", "untyped", "Tasks of this worker.")
        .sample(&[], tasks.len());
    let mut states = family(
        out,
        "kafka_connect_connector_task_metrics_status",
        "untyped",
        "1 for the state that a task is in.",
    );
    for task in &tasks {
        let state = task.condition().state.name();
        let number = task.task.to_string();
        states.sample(&[("connector", &task.connector), ("task", &number), ("status", state)], 1);
    }
    const READ: (&str, &str, &str) =
        ("kafka_connect_sink_task_metrics_sink_record_read_total", "counter", "Records read from Kafka.");
    per_task(out, READ, sinks(), |t| count(&t.counters.read));
    const SENT: (&str, &str, &str) = (
        "kafka_connect_sink_task_metrics_sink_record_send_total",
        "counter",
        "Records delivered by the sink.",
    );
    per_task(out, SENT, sinks(), |t| count(&t.counters.delivered));
    const COMMITS: (&str, &str, &str) = (
        "kafka_connect_sink_task_metrics_offset_commit_completion_total",
        "counter",
        "Offset commits that completed.",
    );
    per_task(out, COMMITS, sinks(), |t| count(&t.counters.commits));
    const PARTITIONS: (&str, &str, &str) =
        ("kafka_connect_sink_task_metrics_partition_count", "untyped", "Partitions read by the task.");
    per_task(out, PARTITIONS, sinks(), |t| i64::try_from(t.lag().len()).unwrap_or(0));
    const LAG: (&str, &str, &str) = (
        "kafka_connect_sink_task_metrics_sink_record_lag_max",
        "gauge",
        "Records behind the end, of the worst partition.",
    );
    per_task(out, LAG, sinks(), |t| t.lag().values().copied().max().unwrap_or(0));
    const POLLED: (&str, &str, &str) = (
        "kafka_connect_source_task_metrics_source_record_poll_total",
        "counter",
        "Records polled from the source.",
    );
    per_task(out, POLLED, sources(), |t| count(&t.counters.read));
    const WRITTEN: (&str, &str, &str) = (
        "kafka_connect_source_task_metrics_source_record_write_total",
        "counter",
        "Records acknowledged by Kafka.",
    );
    per_task(out, WRITTEN, sources(), |t| count(&t.counters.delivered));
    const ACTIVE: (&str, &str, &str) = (
        "kafka_connect_source_task_metrics_source_record_active_count",
        "untyped",
        "Records polled from the source and not yet acknowledged.",
    );
    per_task(out, ACTIVE, sources(), |t| {
        let done = [&t.counters.delivered, &t.counters.filtered, &t.counters.rejected];
        (count(&t.counters.read) - done.into_iter().map(count).sum::<i64>()).max(0)
    });
    const SKIPPED: (&str, &str, &str) = (
        "kafka_connect_task_error_metrics_total_records_skipped",
        "counter",
        "Records skipped because of errors.",
    );
    per_task(out, SKIPPED, tasks.iter(), |t| count(&t.counters.rejected));
    const RETRIES: (&str, &str, &str) =
        ("kafka_connect_task_error_metrics_total_retries", "counter", "Operations tried again.");
    per_task(out, RETRIES, tasks.iter(), |t| count(&t.counters.retries));
    const ERRORS: [Ours; 5] = [
        (
            "kafka_connect_task_error_metrics_total_record_failures",
            "Operations on records that failed, repetitions included.",
            |t| count(&t.errors.counters.failures),
        ),
        (
            "kafka_connect_task_error_metrics_total_record_errors",
            "Records whose processing ended in an error.",
            |t| count(&t.errors.counters.errors),
        ),
        ("kafka_connect_task_error_metrics_total_errors_logged", "Errors of records in the log.", |t| {
            count(&t.errors.counters.logged)
        }),
        (
            "kafka_connect_task_error_metrics_deadletterqueue_produce_requests",
            "Records given to the dead letter queue.",
            |t| count(&t.errors.counters.dead_letters),
        ),
        (
            "kafka_connect_task_error_metrics_deadletterqueue_produce_failures",
            "Records that could not be written to the dead letter queue.",
            |t| count(&t.errors.counters.dead_letters_failed),
        ),
    ];
    for (name, help, value) in ERRORS {
        per_task(out, (name, "counter", help), tasks.iter(), value);
    }
    const LAST_ERROR: (&str, &str, &str) = (
        "kafka_connect_task_error_metrics_last_error_timestamp",
        "untyped",
        "When the processing of a record last ended in an error, in ms since 1970; 0: never.",
    );
    per_task(out, LAST_ERROR, tasks.iter(), |t| t.errors.counters.last_error_ms.load(Relaxed));

    const OURS: [Ours; 8] = [
        ("sidestream_task_records_read_total", "Records read.", |t| count(&t.counters.read)),
        ("sidestream_task_records_delivered_total", "Records delivered.", |t| count(&t.counters.delivered)),
        ("sidestream_task_records_filtered_total", "Records dropped on purpose.", |t| {
            count(&t.counters.filtered)
        }),
        ("sidestream_task_records_rejected_total", "Records that could not go on.", |t| {
            count(&t.counters.rejected)
        }),
        (
            "sidestream_task_records_lost_before_read_total",
            "Records that expired in Kafka before they were read.",
            |t| count(&t.counters.lost_before),
        ),
        ("sidestream_task_records_given_back_total", "Records read that were given back unpublished.", |t| {
            count(&t.counters.given_back)
        }),
        ("sidestream_task_commits_refused_total", "Commits that the consumer group refused.", |t| {
            count(&t.counters.commits_refused)
        }),
        ("sidestream_task_restarts_total", "Starts after a failure.", |t| count(&t.counters.restarts)),
    ];
    for (name, help, value) in OURS {
        per_task(out, (name, "counter", help), tasks.iter(), value);
    }
    const FLUSH: (&str, &str, &str) =
        ("sidestream_task_last_flush_timestamp_seconds", "gauge", "When the task last published; 0: never.");
    per_task(out, FLUSH, tasks.iter(), |t| t.counters.last_flush_ms.load(Relaxed) / 1000);
    let mut lag =
        family(out, "sidestream_task_lag_records", "gauge", "Records behind the end of a partition.");
    for task in sinks() {
        for (tp, records) in task.lag() {
            let (number, partition) = (task.task.to_string(), tp.partition.to_string());
            let labels: [(&str, &str); 4] = [
                ("connector", &task.connector),
                ("task", &number),
                ("topic", &tp.topic),
                ("partition", &partition),
            ];
            lag.sample(&labels, records);
        }
    }
    of_plugins(out, &tasks);
    family(out, "sidestream_memory_budget_bytes", "gauge", "Memory that records may take.")
        .sample(&[], worker.budget.total_bytes());
    family(out, "sidestream_memory_used_bytes", "gauge", "Memory that records take now.")
        .sample(&[], worker.budget.used_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        family(&mut out, "m", "gauge", "h").sample(&[("a", "x\"y\\\n")], 1);
        assert_eq!(out, "# HELP m h\n# TYPE m gauge\nm{a=\"x\\\"y\\\\\\n\"} 1\n");
    }
}
