//! How a worker starts, waits, goes over to other files and ends.

#[path = "../support/mod.rs"]
mod support;

mod down;
#[path = "../plugins/libraries.rs"]
mod libraries;
mod missing;
mod reload;
mod stop;

use std::time::Duration;

use serde_json::Value;
use support::Sidestream;

const SOON: Duration = Duration::from_secs(60);

/// `GET /health/ready`: the status of the answer, and what it says.
fn readiness(worker: &Sidestream) -> (u16, Value) {
    let (status, body) = worker.get("/health/ready");
    (status, serde_json::from_str(&body).unwrap())
}

/// When the only task of a connector came into its state.
fn since(worker: &Sidestream, connector: &str) -> String {
    let mut tasks = worker.tasks();
    tasks.retain(|task| task.connector == connector);
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    tasks.remove(0).since
}
