//! Records that cannot be processed: each of them is in the dead letter queue, as it came, before its offset is committed;
//! none is delivered, none is lost, and no value of a record is said anywhere.

mod conservation;
mod handling;
#[path = "../plugins/libraries.rs"]
mod libraries;
mod queue;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use support::{Record, Sidestream, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// In each value and key of these tests: must never be seen outside Kafka and the sink.
const SECRET: &str = "hunter2";

/// The worker's keys, with the plugins that fail on purpose.
fn worker_keys() -> String {
    let library = libraries::file(&libraries::build("plugin-harness"), "plugin_harness");
    format!("worker:\n  plugin.path: {}\n  group.id: {}\n", library.display(), support::unique("worker"))
}

/// A connector's YAML: `keys` are its lines.
fn connector(name: &str, keys: &str) -> String {
    keys.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(format!("connectors:\n  {name}:\n"), |text, line| format!("{text}    {line}\n"))
}

fn start(connectors: &[(&str, &str)]) -> Sidestream {
    let worker = worker_keys();
    let mut files = vec![("worker.yaml", worker.as_str())];
    files.extend_from_slice(connectors);
    Sidestream::start(&files, &[])
}

/// Checks that everything the worker has said is free of values.
#[track_caller]
fn keeps_secrets(worker: &Sidestream) {
    for text in [worker.log(), worker.get("/health/tasks").1, worker.get("/metrics").1] {
        assert!(!text.contains(SECRET), "a value got out:\n{text}");
    }
}

#[track_caller]
fn failed(worker: &Sidestream, connector: &str, parts: &[&str]) {
    let task = worker.wait_state(connector, "FAILED", SOON).remove(0);
    for part in parts {
        assert!(task.reason.contains(part), "no `{part}` in: {}", task.reason);
    }
    keeps_secrets(worker);
}

/// Waits until the connector has dealt with so many records since the worker started.
#[track_caller]
fn wait_dealt(worker: &Sidestream, connector: &str, records: i64) {
    wait_until(SOON, &format!("{connector} has dealt with {records} records"), || {
        let [_, delivered, filtered, rejected] = worker.metrics().records(connector);
        (delivered + filtered + rejected == records).then_some(())
    });
}

fn lines(worker: &Sidestream, file: &str) -> Vec<String> {
    let text = fs::read_to_string(worker.dir.path().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The text of a record's header.
fn header(record: &Record, name: &str) -> Option<String> {
    let (_, value) = record.headers.iter().find(|(header, _)| header == name)?;
    Some(String::from_utf8_lossy(value.as_ref()?).into_owned())
}
