//! What is wrong is told: what, where, and what to do. No record is lost by it, and no value or secret gets out.

mod configuration;
mod database;
mod kafka;
mod offsets;
mod posts;
mod s3;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use serde_json::Value;
use support::{Sidestream, Task, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// In record values, passwords and keys of these tests: must never be seen.
const SECRET: &str = "hunter2";

/// Checks that everything the worker has said is free of values and secrets.
#[track_caller]
fn keeps_secrets(worker: &Sidestream) {
    let said =
        [worker.log(), worker.get("/health/tasks").1, worker.get("/metrics").1, worker.get("/health").1];
    for text in said {
        assert!(!text.contains(SECRET), "a value or a secret got out:\n{text}");
    }
}

/// The log line at `level` that has all of `parts`.
#[track_caller]
fn logged(worker: &Sidestream, level: &str, parts: &[&str]) {
    let fits = |line: &str| line.contains(level) && parts.iter().all(|part| line.contains(part));
    wait_until(SOON, &format!("the log says {parts:?}"), || worker.log().lines().any(fits).then_some(()));
}

/// The reason of the connector's failed task, which has all of `parts` and is in the log too.
#[track_caller]
fn failed(worker: &Sidestream, connector: &str, parts: &[&str]) -> Task {
    let task = worker.wait_state(connector, "FAILED", SOON).remove(0);
    for part in parts {
        assert!(task.reason.contains(part), "no `{part}` in: {}", task.reason);
    }
    logged(worker, "ERROR", &[connector]);
    keeps_secrets(worker);
    assert_eq!(worker.get("/health").0, 200, "the worker itself is well");
    task
}

fn lines(worker: &Sidestream, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(worker.dir.path().join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
