//! What the connectors of a process share: Kafka, the memory budget, the list of topics.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use connector_core::{ConnectError, Kind, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::budget::MemoryBudget;
use super::position_file::PositionFile;
use super::retry;
use super::status::{State, StatusBoard, TaskStatus};
use crate::config::Deployment;
use crate::kafka::admin::Admin;
use crate::kafka::dead_letters::FatalRecords;
use crate::kafka::offsets::OffsetStore;
use crate::kafka::producer::Producers;

/// How often topics are looked up for patterns and for sources, unless `consumer.metadata.max.age.ms` says.
const TOPIC_REFRESH: Duration = Duration::from_secs(30);
/// What is kept of the time of a stop for closing plugins and clients.
const CLOSE: Duration = Duration::from_secs(1);
/// The shortest time between two look-ups of all topics.
const TOPIC_PAUSE: Duration = Duration::from_secs(2);

/// What the connectors of one deployment share, and a stop of their own. A copy is the same worker.
#[derive(Clone)]
pub struct Worker {
    pub(super) deployment: Arc<Deployment>,
    pub board: StatusBoard,
    pub budget: MemoryBudget,
    pub(super) stop: CancellationToken,
    /// True once the cluster answered and the declared topics are there.
    ready: watch::Sender<bool>,
    pub started_at: DateTime<Utc>,
    /// `None`: there is no Kafka, and no connector needs it.
    admin: Option<Admin>,
    pub(super) producers: Producers,
    pub(super) fatal_records: FatalRecords,
    pub(super) offsets: Arc<OffsetStore>,
    /// Where source positions are without Kafka.
    pub(super) position_file: Option<Arc<PositionFile>>,
    /// Bounded source connectors that have not come to their end.
    sources_left: watch::Sender<usize>,
    pub(super) handle: Handle,
}

impl Worker {
    /// `budget`: of the process, whatever deployment it runs. `stop`: of the process, or of what replaces it.
    pub fn new(deployment: Arc<Deployment>, budget: MemoryBudget, stop: CancellationToken) -> Result<Self> {
        let (handle, worker) = (Handle::current(), &deployment.worker);
        // Without its secrets it would only be refused.
        let has_kafka = worker.bootstrap_servers.is_some() && !deployment.waits;
        let file = worker.offset_storage_file.as_ref().filter(|_| !has_kafka);
        let bounded_sources = deployment.connectors.iter().filter(|c| c.is_bounded_source()).count();
        Ok(Self {
            admin: if has_kafka { Some(Admin::new(worker, &handle)?) } else { None },
            position_file: file.map(PositionFile::new),
            sources_left: watch::Sender::new(bounded_sources),
            offsets: OffsetStore::new(worker.offset_storage_topic.clone()),
            board: StatusBoard::default(),
            budget,
            stop,
            ready: watch::Sender::new(false),
            started_at: Utc::now(),
            producers: Producers::default(),
            fatal_records: FatalRecords::default(),
            handle,
            deployment,
        })
    }

    /// The same worker with the connectors of another deployment, whose worker keys are the same.
    pub(super) fn with(&self, deployment: Arc<Deployment>) -> Self {
        Self { deployment, ..self.clone() }
    }

    /// The same worker for one connector, which can be stopped alone.
    pub(super) fn scope(&self) -> Self {
        Self { stop: self.stop.child_token(), ..self.clone() }
    }

    /// Asks all tasks to drain and end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until start-up is over.
    pub async fn until_ready(&self) {
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    pub(super) fn admin(&self) -> Result<&Admin> {
        self.admin.as_ref().ok_or_else(|| {
            ConnectError::user("worker.no_kafka", "this worker has no Kafka")
                .hint("write `bootstrap.servers: host:9092` in the worker's keys")
        })
    }

    /// Waits until the bounded sources of this run have written all that they have.
    pub(super) async fn until_sources_ended(&self, status: &TaskStatus) {
        let mut left = self.sources_left.subscribe();
        if *left.borrow() > 0 {
            status.remark("waiting for the sources of this run to come to their end");
        }
        let _ = left.wait_for(|left| *left == 0).await;
    }

    pub(super) fn source_ended(&self) {
        self.sources_left.send_modify(|left| *left = left.saturating_sub(1));
    }

    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Gets ready, and keeps the list of topics, until the stop.
    pub(super) async fn serve(self) {
        if self.deployment.waits {
            return self.stop.cancelled().await;
        }
        if let Err(error) = self.prepare().await {
            // A stop while the cluster is waited for is no failure.
            if !self.stop.is_cancelled() {
                tracing::error!("{error}");
                self.board.tasks().iter().for_each(|task| task.set(State::Failed, error.to_string()));
            }
            return;
        }
        self.ready.send_replace(true);
        tokio::select! {
            () = self.refresh_topics() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Reaches the cluster and makes the declared topics; tries until it works or the worker stops.
    async fn prepare(&self) -> Result<()> {
        let Some(admin) = &self.admin else { return Ok(()) };
        let status =
            StatusBoard::default().register("worker", 0, (Kind::Sink, ""), &self.deployment.worker.secrets);
        let servers = self.deployment.worker.bootstrap_servers.as_deref().unwrap_or_default();
        // All tasks wait for it, so all of them say why.
        let told = |outcome: Result<()>| {
            outcome.inspect_err(|e| {
                let waiting = |task: &Arc<TaskStatus>| {
                    task.remark(format!("waiting for Kafka at {servers}, trying again: {e}"))
                };
                self.board.tasks().iter().for_each(waiting);
            })
        };
        retry::with_backoff(&status, &self.stop, || async { told(admin.refresh().await) }).await?;
        for topic in &self.deployment.topics {
            let made = retry::with_backoff(&status, &self.stop, || async { told(admin.ensure(topic).await) });
            if let Err(error) = made.await {
                if self.stop.is_cancelled() {
                    return Err(error);
                }
                // Connectors that do not use this topic are not concerned; those that do wait for it and say so.
                tracing::error!(topic = topic.name, code = error.code, "{error}");
            }
        }
        Ok(())
    }

    /// Makes topics that a reload has declared.
    pub(super) async fn ensure_topics(self, names: Vec<String>) {
        let Some(admin) = &self.admin else { return };
        self.until_ready().await;
        let status =
            StatusBoard::default().register("worker", 0, (Kind::Sink, ""), &self.deployment.worker.secrets);
        for topic in self.deployment.topics.iter().filter(|topic| names.contains(&topic.name)) {
            if let Err(error) = retry::with_backoff(&status, &self.stop, || admin.ensure(topic)).await
                && !self.stop.is_cancelled()
            {
                tracing::error!(topic = topic.name, code = error.code, "{error}");
            }
        }
    }

    async fn refresh_topics(&self) {
        let Some(admin) = &self.admin else { return std::future::pending().await };
        let age = self.deployment.worker.consumer.get("metadata.max.age.ms").and_then(|ms| ms.parse().ok());
        let every = age.map_or(TOPIC_REFRESH, Duration::from_millis);
        loop {
            // A topic that somebody writes to or waits for may be new, so the list is renewed sooner, though not at once.
            tokio::time::sleep(TOPIC_PAUSE).await;
            let _ = tokio::time::timeout(every.saturating_sub(TOPIC_PAUSE), admin.missed()).await;
            if let Err(error) = admin.refresh().await {
                tracing::warn!("{error}");
            }
        }
    }

    /// How long tasks may take to publish what is due; closing plugins and clients comes after it.
    pub(super) fn drain_timeout(&self) -> Duration {
        let graceful = self.graceful_timeout();
        graceful - CLOSE.min(graceful / 4)
    }

    /// How long a stop may take as a whole.
    pub(super) fn graceful_timeout(&self) -> Duration {
        Duration::from_millis(self.deployment.worker.task_shutdown_graceful_timeout_ms)
    }
}
