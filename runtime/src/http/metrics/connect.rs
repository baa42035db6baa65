//! Connect's own metrics: its JMX groups and attributes in jmx_exporter's spelling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use chrono::Utc;
use connector_core::Kind;

use super::{count, family, per_task};
use crate::task::status::{Startups, State, TaskStatus};
use crate::task::worker::Worker;

/// A number of a task. Names end a metric's; totals are counters, everything else is what it is now.
type Attribute = (&'static str, &'static str, fn(&TaskStatus) -> f64);

const TASK: &str = "kafka_connect_connector_task_metrics_";
const OF_A_TASK: [Attribute; 8] = [
    ("running_ratio", "Share of the last minute in which the task was running.", running_ratio),
    ("pause_ratio", "Share of the last minute in which the task was paused: tasks here never are.", |_| 0.0),
    ("offset_commit_max_time_ms", "Longest time of an offset commit.", |t| t.samples.commit_ms.sampled().max),
    ("offset_commit_avg_time_ms", "Average time of an offset commit.", |t| t.samples.commit_ms.sampled().avg),
    ("offset_commit_success_percentage", "Share of offset commits that succeeded, 0 to 1.", |t| {
        t.samples.commits.sampled().avg
    }),
    ("offset_commit_failure_percentage", "Share of offset commits that failed, 0 to 1.", |t| {
        let commits = t.samples.commits.sampled();
        if commits.max == 0.0 && commits.rate == 0.0 { 0.0 } else { 1.0 - commits.avg }
    }),
    ("batch_size_max", "Most records in a batch.", |t| t.samples.batch.sampled().max),
    ("batch_size_avg", "Average number of records in a batch.", |t| t.samples.batch.sampled().avg),
];

const SINK: &str = "kafka_connect_sink_task_metrics_";
const OF_A_SINK: [Attribute; 16] = [
    ("sink_record_read_rate", "Records read from Kafka, per second.", |t| t.samples.read.sampled().rate),
    ("sink_record_read_total", "Records read from Kafka.", |t| total(&t.counters.read)),
    ("sink_record_send_rate", "Records delivered by the sink, per second.", |t| {
        t.samples.delivered.sampled().rate
    }),
    ("sink_record_send_total", "Records delivered by the sink.", |t| total(&t.counters.delivered)),
    ("sink_record_lag_max", "Records behind the end, of the worst partition.", |t| {
        t.lag().values().copied().max().unwrap_or(0) as f64
    }),
    ("partition_count", "Partitions read by the task.", |t| t.lag().len() as f64),
    ("offset_commit_seq_no", "Number of the last offset commit.", |t| total(&t.counters.commits)),
    ("offset_commit_completion_rate", "Offset commits that completed, per second.", |t| {
        t.samples.commits.sampled().rate
    }),
    ("offset_commit_completion_total", "Offset commits that completed.", |t| total(&t.counters.commits)),
    (
        "offset_commit_skip_rate",
        "Offset commits that came too late and were left out, per second: none are.",
        |_| 0.0,
    ),
    ("offset_commit_skip_total", "Offset commits that came too late and were left out: none are.", |_| 0.0),
    ("put_batch_max_time_ms", "Longest time that the sink took for a batch.", |t| {
        t.samples.put_ms.sampled().max
    }),
    ("put_batch_avg_time_ms", "Average time that the sink took for a batch.", |t| {
        t.samples.put_ms.sampled().avg
    }),
    ("sink_record_active_count", "Records read and not yet delivered.", |t| t.active() as f64),
    ("sink_record_active_count_max", "Most records read and not yet delivered.", |t| {
        t.samples.active.sampled().max
    }),
    ("sink_record_active_count_avg", "Average of records read and not yet delivered.", |t| {
        t.samples.active.sampled().avg
    }),
];

const SOURCE: &str = "kafka_connect_source_task_metrics_";
const OF_A_SOURCE: [Attribute; 12] = [
    ("source_record_poll_rate", "Records polled from the source, per second.", |t| {
        t.samples.read.sampled().rate
    }),
    ("source_record_poll_total", "Records polled from the source.", |t| total(&t.counters.read)),
    ("source_record_write_rate", "Records acknowledged by Kafka, per second.", |t| {
        t.samples.delivered.sampled().rate
    }),
    ("source_record_write_total", "Records acknowledged by Kafka.", |t| total(&t.counters.delivered)),
    ("poll_batch_max_time_ms", "Longest time that the source took for a batch.", |t| {
        t.samples.poll_ms.sampled().max
    }),
    ("poll_batch_avg_time_ms", "Average time that the source took for a batch.", |t| {
        t.samples.poll_ms.sampled().avg
    }),
    ("source_record_active_count", "Records polled and not yet acknowledged.", |t| t.active() as f64),
    ("source_record_active_count_max", "Most records polled and not yet acknowledged.", |t| {
        t.samples.active.sampled().max
    }),
    ("source_record_active_count_avg", "Average of records polled and not yet acknowledged.", |t| {
        t.samples.active.sampled().avg
    }),
    ("transaction_size_min", "Fewest records in a transaction.", |t| t.samples.transaction.sampled().min),
    ("transaction_size_max", "Most records in a transaction.", |t| t.samples.transaction.sampled().max),
    ("transaction_size_avg", "Average number of records in a transaction.", |t| {
        t.samples.transaction.sampled().avg
    }),
];

const ERRORS: &str = "kafka_connect_task_error_metrics_";
const OF_ERRORS: [Attribute; 8] = [
    ("total_record_failures", "Operations on records that failed, repetitions included.", |t| {
        total(&t.errors.counters.failures)
    }),
    ("total_record_errors", "Records whose processing ended in an error.", |t| {
        total(&t.errors.counters.errors)
    }),
    ("total_records_skipped", "Records skipped because of errors.", |t| total(&t.counters.rejected)),
    ("total_retries", "Operations tried again.", |t| total(&t.counters.retries)),
    ("total_errors_logged", "Errors of records in the log.", |t| total(&t.errors.counters.logged)),
    ("deadletterqueue_produce_requests", "Records given to the dead letter queue.", |t| {
        total(&t.errors.counters.dead_letters)
    }),
    (
        "deadletterqueue_produce_failures",
        "Records that could not be written to the dead letter queue.",
        |t| total(&t.errors.counters.dead_letters_failed),
    ),
    (
        "last_error_timestamp",
        "When the processing of a record last ended in an error, in ms since 1970; 0: never.",
        |t| t.errors.counters.last_error_ms.load(Relaxed) as f64,
    ),
];

fn total(counter: &std::sync::atomic::AtomicU64) -> f64 {
    count(counter) as f64
}

/// Of the last minute, as far as the present state tells: a task that came into it before was in it all the time.
fn running_ratio(task: &TaskStatus) -> f64 {
    let condition = task.condition();
    let seconds = (Utc::now() - condition.since).num_milliseconds() as f64 / 1000.0;
    let share = (seconds / 60.0).clamp(0.0, 1.0);
    match condition.state {
        State::Running | State::Stalled => share,
        _ => 0.0,
    }
}

/// `_total` and the names that count without saying so are counters.
fn kind(name: &str) -> &'static str {
    let counts =
        name.ends_with("_total") || name.starts_with("total_") || name.starts_with("deadletterqueue_");
    match (counts, name.ends_with("_count")) {
        (true, _) => "counter",
        (false, true) => "untyped",
        (false, false) => "gauge",
    }
}

pub(super) fn write(out: &mut String, worker: &Worker, tasks: &[Arc<TaskStatus>]) {
    of_the_worker(out, worker, tasks);
    let of_kind = |kind| tasks.iter().filter(move |task| task.kind == kind);
    let mut table = |group: &str, attributes: &[Attribute], tasks: Vec<&Arc<TaskStatus>>| {
        for (name, help, value) in attributes {
            per_task(out, (&format!("{group}{name}"), kind(name), help), tasks.iter().copied(), value);
        }
    };
    table(TASK, &OF_A_TASK, tasks.iter().collect());
    table(SINK, &OF_A_SINK, of_kind(Kind::Sink).collect());
    table(SOURCE, &OF_A_SOURCE, of_kind(Kind::Source).collect());
    table(ERRORS, &OF_ERRORS, tasks.iter().collect());
    let mut states = family(
        out,
        "kafka_connect_connector_task_metrics_status",
        "untyped",
        "1 for the state that a task is in.",
    );
    for task in tasks {
        let (number, state) = (task.task.to_string(), task.condition().state.name());
        states.sample(&[("connector", &task.connector), ("task", &number), ("status", state)], 1);
    }
}

/// The worst state of a connector's tasks, as Connect's `status`.
fn status(tasks: &[&TaskStatus]) -> &'static str {
    let is = |wanted: State| tasks.iter().any(|task| task.condition().state == wanted);
    let order = [State::Failed, State::Restarting, State::Unassigned, State::Stalled];
    order.into_iter().find(|state| is(*state)).map_or("running", State::name)
}

fn of_the_worker(out: &mut String, worker: &Worker, tasks: &[Arc<TaskStatus>]) {
    let mut of: BTreeMap<&str, Vec<&TaskStatus>> = BTreeMap::new();
    tasks.iter().for_each(|task| of.entry(&task.connector).or_default().push(task));
    let mut connectors = family(
        out,
        "kafka_connect_connector_metrics",
        "untyped",
        "1 for each connector: its state, type, class and version.",
    );
    for connector in &worker.deployment().connectors {
        let Some(plugin) = connector.sink.as_ref().or(connector.source.as_ref()) else { continue };
        let kind = plugin.component.kind().to_string();
        let state = of.get(connector.name.as_str()).map_or("unassigned", |tasks| status(tasks));
        let labels = [
            ("connector", connector.name.as_str()),
            ("status", state),
            ("connector_type", &kind),
            ("connector_class", &plugin.component.name),
            ("connector_version", &plugin.component.version),
        ];
        connectors.sample(&labels, 1);
    }
    const WORKER: &str = "kafka_connect_connect_worker_metrics_";
    let mut one = |name: &str, help: &str, value: f64| {
        family(out, &format!("{WORKER}{name}"), kind(name), help).sample(&[], value);
    };
    one("connector_count", "Connectors of this worker.", of.len() as f64);
    one("task_count", "Tasks of this worker.", tasks.len() as f64);
    let startups = &worker.board.startups;
    for (what, Startups { succeeded, failed }) in
        [("connector", &startups.connectors), ("task", &startups.tasks)]
    {
        let (succeeded, failed) = (total(succeeded), total(failed));
        let attempts = succeeded + failed;
        let share = |n: f64| if attempts == 0.0 { 0.0 } else { n / attempts };
        one(&format!("{what}_startup_attempts_total"), "Starts that have succeeded or failed.", attempts);
        one(&format!("{what}_startup_success_total"), "Starts that succeeded.", succeeded);
        one(&format!("{what}_startup_failure_total"), "Starts that failed.", failed);
        one(
            &format!("{what}_startup_success_percentage"),
            "Share of starts that succeeded, 0 to 1.",
            share(succeeded),
        );
        one(
            &format!("{what}_startup_failure_percentage"),
            "Share of starts that failed, 0 to 1.",
            share(failed),
        );
    }
    let by_state: [(&str, &[State]); 7] = [
        ("total", &[State::Running, State::Stalled, State::Unassigned, State::Restarting, State::Failed]),
        ("running", &[State::Running, State::Stalled]),
        ("paused", &[]),
        ("failed", &[State::Failed]),
        ("unassigned", &[State::Unassigned]),
        ("destroyed", &[]),
        ("restarting", &[State::Restarting]),
    ];
    for (name, states) in by_state {
        let metric = format!("{WORKER}connector_{name}_task_count");
        let mut counts = family(out, &metric, "untyped", "Tasks of the connector in this state.");
        for (connector, tasks) in &of {
            let counted = tasks.iter().filter(|task| states.contains(&task.condition().state)).count();
            counts.sample(&[("connector", connector)], counted);
        }
    }
    rebalances(out, tasks);
}

/// There is one worker, whose connectors are never moved: what can be told is of the sinks' consumer groups.
fn rebalances(out: &mut String, tasks: &[Arc<TaskStatus>]) {
    let sinks: Vec<_> = tasks.iter().filter(|task| task.kind == Kind::Sink).collect();
    let completed: f64 = sinks.iter().map(|task| total(&task.rebalances.completed)).sum();
    let under_way = |task: &&&Arc<TaskStatus>| {
        task.rebalances.under_way.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    };
    let times = || sinks.iter().map(|task| task.samples.rebalance_ms.sampled());
    let known: Vec<f64> = times().map(|sampled| sampled.avg).filter(|avg| *avg > 0.0).collect();
    let average = if known.is_empty() { 0.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
    let last = sinks.iter().map(|task| task.rebalances.last_ms.load(Relaxed)).max().unwrap_or(0);
    let since = if last == 0 { 0.0 } else { (Utc::now().timestamp_millis() - last) as f64 };
    let values = [
        ("completed_rebalances_total", "Assignments that consumer groups gave to tasks.", completed),
        (
            "rebalancing",
            "1 while a task has given partitions back and got none yet.",
            f64::from(u8::from(sinks.iter().any(|t| under_way(&t)))),
        ),
        (
            "rebalance_max_time_ms",
            "Longest rebalance.",
            times().map(|sampled| sampled.max).fold(0.0, f64::max),
        ),
        ("rebalance_avg_time_ms", "Average rebalance.", average),
        ("time_since_last_rebalance_ms", "Time since the last assignment.", since),
    ];
    for (name, help, value) in values {
        let metric = format!("kafka_connect_connect_worker_rebalance_metrics_{name}");
        family(out, &metric, kind(name), help).sample(&[], value);
    }
}
