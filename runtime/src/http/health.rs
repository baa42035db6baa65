//! `GET /health` as Connect answers it, the probes `/health/live` and `/health/ready`, and `GET /health/tasks`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::task::host::Host;
use crate::task::status::{self, TaskStatus};

/// How long an answer may wait for the end of start-up, as in Connect.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    message: String,
}

pub async fn health(State(host): State<Arc<Host>>) -> (StatusCode, Json<Health>) {
    let worker = host.worker();
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

/// The process serves. It says nothing of Kafka or of connectors: to be started again would not help them.
pub async fn live() -> Json<Health> {
    Json(Health { status: "alive", message: "The process answers.".to_owned() })
}

#[derive(Serialize)]
pub struct Readiness {
    /// `ready`, `starting` (Kafka is not reached yet), `waiting` (tasks do not run) or `stopping`.
    status: &'static str,
    /// Tasks that do not run, and why.
    waiting: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    connector: String,
    task: usize,
    state: status::State,
    reason: String,
}

/// 200 when every task runs or has come to its end; 503 with the tasks that do not.
pub async fn ready(State(host): State<Arc<Host>>) -> (StatusCode, Json<Readiness>) {
    let worker = host.worker();
    let waits = |task: Arc<TaskStatus>| {
        let condition = task.condition();
        let (connector, task) = (task.connector.clone(), task.task);
        let waits = condition.state != status::State::Running && condition.reason != status::FINISHED;
        waits.then_some(Waiting { connector, task, state: condition.state, reason: condition.reason })
    };
    let waiting: Vec<_> = worker.board.tasks().into_iter().filter_map(waits).collect();
    let status = match (host.is_stopping(), worker.is_ready(), waiting.is_empty()) {
        (true, ..) => "stopping",
        (false, false, _) => "starting",
        (false, true, false) => "waiting",
        (false, true, true) => "ready",
    };
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { status, waiting }))
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

pub async fn tasks(State(host): State<Arc<Host>>) -> Json<Vec<Task>> {
    let tasks = host.worker().board.tasks().into_iter().map(|task| {
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
