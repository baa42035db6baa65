//! What a run has done, for people and for scripts.

use std::time::Duration;

use serde::Serialize;

use super::super::progress::{self, Done};
use crate::task::status::State;
use crate::task::worker::Worker;

/// What a bounded run has done.
#[derive(Serialize)]
pub(super) struct Summary {
    caught_up: bool,
    elapsed_ms: u64,
    connectors: Vec<ConnectorSummary>,
}

#[derive(Serialize)]
struct ConnectorSummary {
    name: String,
    read: u64,
    delivered: u64,
    filtered: u64,
    rejected: u64,
    /// Why tasks failed.
    errors: Vec<String>,
}

impl Summary {
    pub fn of(worker: &Worker, elapsed: Duration, caught_up: bool) -> Self {
        let of = |name: &String| {
            let Done { read, delivered, filtered, rejected } = progress::done(worker, name);
            let tasks = worker.board.tasks();
            let conditions = tasks.iter().filter(|task| task.connector == *name).map(|task| task.condition());
            let errors = conditions.filter(|c| c.state == State::Failed).map(|c| c.reason).collect();
            ConnectorSummary { name: name.clone(), read, delivered, filtered, rejected, errors }
        };
        let connectors = worker.deployment().connectors.iter().map(|c| of(&c.name)).collect();
        Self { caught_up, elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), connectors }
    }

    pub fn log(&self) {
        for c in &self.connectors {
            let ConnectorSummary { name, read, delivered, filtered, rejected, .. } = c;
            tracing::info!(connector = name, read, delivered, filtered, rejected, "done");
        }
        let how = if self.caught_up { "caught up" } else { "not caught up" };
        tracing::info!("{how} after {:.1} s", self.elapsed_ms as f64 / 1000.0);
    }
}

/// Says how it ended; whether a task has failed.
pub(super) fn report(worker: &Worker) -> bool {
    let failed: Vec<String> = worker
        .board
        .tasks()
        .iter()
        .filter(|task| task.condition().state == State::Failed)
        .map(|task| format!("{}-{}", task.connector, task.task))
        .collect();
    if failed.is_empty() {
        tracing::info!("worker stopped");
    } else {
        tracing::warn!(failed = failed.join(","), "worker stopped; these tasks had failed");
    }
    !failed.is_empty()
}
