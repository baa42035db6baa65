//! Metrics for CloudWatch in its embedded metric format: lines of JSON on the standard output, with the names that
//! MSK Connect's own metrics have, so that alarms on them go on working.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chrono::Utc;
use connector_core::Kind;
use serde_json::{Map, Value, json};

use crate::http::metrics;
use crate::task::host::Host;
use crate::task::memory_limit::MemoryLimit;
use crate::task::status::{State, TaskStatus};
use crate::task::worker::Worker;

/// Prints a line for each connector, again and again. Does not end.
pub async fn print(host: Arc<Host>, namespace: String, every: Duration) {
    let mut cpu = Cpu::new();
    loop {
        tokio::time::sleep(every).await;
        let share = cpu.share();
        for line in lines(&host.worker(), &namespace, share) {
            // Nothing else is ever printed there; nobody may be listening.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

fn lines(worker: &Worker, namespace: &str, cpu: f64) -> Vec<Value> {
    let tasks = worker.board.tasks();
    let mut of: BTreeMap<&str, Vec<&TaskStatus>> = BTreeMap::new();
    tasks.iter().for_each(|task| of.entry(&task.connector).or_default().push(task));
    let startups = &worker.board.startups.tasks;
    let (succeeded, failed) = (startups.succeeded.load(Relaxed) as f64, startups.failed.load(Relaxed) as f64);
    let of_the_worker = [
        ("CpuUtilization", "Percent", cpu),
        ("MemoryUtilization", "Percent", memory_share()),
        ("TaskStartupAttemptsTotal", "Count", succeeded + failed),
        ("TaskStartupSuccessPercentage", "Percent", percent(succeeded, succeeded + failed)),
        ("WorkerCount", "Count", 1.0),
    ];
    let line = |(connector, tasks): (&str, Vec<&TaskStatus>)| {
        let values: Vec<_> = of_connector(&tasks).into_iter().chain(of_the_worker).collect();
        let named: Vec<_> =
            values.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        let mut line = Map::new();
        let directive = json!({"Namespace": namespace, "Dimensions": [["ConnectorName"]], "Metrics": named});
        let head = json!({"Timestamp": Utc::now().timestamp_millis(), "CloudWatchMetrics": [directive]});
        line.insert("_aws".to_owned(), head);
        line.insert("ConnectorName".to_owned(), connector.into());
        line.extend(values.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))));
        Value::Object(line)
    };
    of.into_iter().map(line).collect()
}

type Metric = (&'static str, &'static str, f64);

fn of_connector(tasks: &[&TaskStatus]) -> Vec<Metric> {
    let in_state =
        |states: &[State]| tasks.iter().filter(|t| states.contains(&t.condition().state)).count() as f64;
    let rate = |kind, of: fn(&TaskStatus) -> f64| {
        tasks.iter().filter(|t| t.kind == kind).map(|t| of(t)).sum::<f64>()
    };
    let read = |task: &TaskStatus| task.samples.read.sampled().rate;
    let delivered = |task: &TaskStatus| task.samples.delivered.sampled().rate;
    let rebalances: Vec<_> = tasks.iter().map(|task| task.samples.rebalance_ms.sampled()).collect();
    let last = tasks.iter().map(|task| task.rebalances.last_ms.load(Relaxed)).max().unwrap_or(0);
    let since = if last == 0 { 0 } else { Utc::now().timestamp_millis() - last };
    vec![
        ("ErroredTaskCount", "Count", in_state(&[State::Failed])),
        ("RunningTaskCount", "Count", in_state(&[State::Running, State::Stalled])),
        (
            "RebalanceCompletedTotal",
            "Count",
            tasks.iter().map(|t| t.rebalances.completed.load(Relaxed) as f64).sum(),
        ),
        ("RebalanceTimeAvg", "Milliseconds", rebalances.iter().map(|r| r.avg).fold(0.0, f64::max)),
        ("RebalanceTimeMax", "Milliseconds", rebalances.iter().map(|r| r.max).fold(0.0, f64::max)),
        ("RebalanceTimeSinceLast", "Milliseconds", since as f64),
        ("SinkRecordReadRate", "Count/Second", rate(Kind::Sink, read)),
        ("SinkRecordSendRate", "Count/Second", rate(Kind::Sink, delivered)),
        ("SourceRecordPollRate", "Count/Second", rate(Kind::Source, read)),
        ("SourceRecordWriteRate", "Count/Second", rate(Kind::Source, delivered)),
    ]
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { 100.0 * part / whole }
}

/// Resident memory, of the machine's or the cgroup's.
fn memory_share() -> f64 {
    let resident = metrics::resident_bytes().unwrap_or(0.0);
    percent(resident, MemoryLimit::of_this_process().bytes().unwrap_or(0) as f64)
}

/// Processor time of the process since the last look, in percent of all processors.
struct Cpu {
    at: Instant,
    seconds: f64,
}

impl Cpu {
    fn new() -> Self {
        Self { at: Instant::now(), seconds: metrics::cpu_seconds().unwrap_or(0.0) }
    }

    fn share(&mut self) -> f64 {
        let before = std::mem::replace(self, Self::new());
        let processors = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let elapsed = (self.at - before.at).as_secs_f64();
        percent(self.seconds - before.seconds, elapsed * processors)
    }
}
