//! `GET /metrics` in Prometheus' text format: Connect's metrics in jmx_exporter's spelling, and our own per task.

mod connect;
mod process;

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

pub(crate) use process::{cpu_seconds, resident_bytes};

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

fn per_task<'t, V: Display>(
    out: &mut String,
    (name, kind, help): (&str, &str, &str),
    tasks: impl Iterator<Item = &'t Arc<TaskStatus>>,
    value: impl Fn(&TaskStatus) -> V,
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
        // A name of ours in a plugin must not spoil the page.
        if out.contains(&format!("# TYPE {name} ")) {
            continue;
        }
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
    let mut text = String::new();
    let out = &mut text;
    connect::write(out, worker, &tasks);
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
    process::write(out);
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
