//! `GET /health` as Connect answers it, and `GET /health/tasks`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::task::status;
use crate::task::worker::Worker;

/// How long an answer may wait for the end of start-up, as in Connect.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    message: String,
}

pub async fn health(State(worker): State<Arc<Worker>>) -> (StatusCode, Json<Health>) {
    if tokio::time::timeout(PATIENCE, worker.until_ready()).await.is_ok() {
        let message = "Worker has completed startup and is ready to handle requests.".to_owned();
        return (StatusCode::OK, Json(Health { status: "healthy", message }));
    }
    let began = worker.started_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let message = format!(
        "Worker is still starting up. The worker is currently initializing and reading to the end of internal topics, \
         which began at {began}."
    );
    (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "starting", message }))
}

#[derive(Serialize)]
pub struct Task {
    connector: String,
    task: usize,
    kind: connector_core::Kind,
    plugin: String,
    state: status::State,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    since: DateTime<Utc>,
    #[serde(flatten)]
    promise: status::Promise,
}

pub async fn tasks(State(worker): State<Arc<Worker>>) -> Json<Vec<Task>> {
    let tasks = worker.board.tasks().into_iter().map(|task| {
        let condition = task.condition();
        Task {
            connector: task.connector.clone(),
            task: task.task,
            kind: task.kind,
            plugin: task.plugin.clone(),
            state: condition.state,
            reason: condition.reason,
            since: condition.since,
            promise: task.promise(),
        }
    });
    Json(tasks.collect())
}
