//! The worker: starts what the configuration declares, and stops it in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use connector_core::{ConnectError, Kind, Result};
use futures::future::join_all;
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
/// What tasks get beyond their own drain, for closing plugins and clients.
const CLOSE: Duration = Duration::from_secs(2);
/// The shortest time between two look-ups of all topics.
const TOPIC_PAUSE: Duration = Duration::from_secs(2);

/// Runs the connectors of one deployment.
pub struct Worker {
    pub(super) deployment: Deployment,
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
    pub fn new(deployment: Deployment) -> Result<Arc<Self>> {
        let (handle, worker) = (Handle::current(), &deployment.worker);
        let budget = worker.memory_budget_bytes.map_or_else(MemoryBudget::of_this_process, |bytes| {
            MemoryBudget::new(usize::try_from(bytes).unwrap_or(usize::MAX))
        });
        let has_kafka = worker.bootstrap_servers.is_some();
        let file = worker.offset_storage_file.as_ref().filter(|_| !has_kafka);
        let bounded_sources = deployment.connectors.iter().filter(|c| c.is_bounded_source()).count();
        Ok(Arc::new(Self {
            admin: if has_kafka { Some(Admin::new(worker, &handle)?) } else { None },
            position_file: file.map(PositionFile::new),
            sources_left: watch::Sender::new(bounded_sources),
            offsets: OffsetStore::new(worker.offset_storage_topic.clone()),
            board: StatusBoard::default(),
            budget,
            stop: CancellationToken::new(),
            ready: watch::Sender::new(false),
            started_at: Utc::now(),
            producers: Producers::default(),
            fatal_records: FatalRecords::default(),
            handle,
            deployment,
        }))
    }

    /// Asks all tasks to drain and end.
    pub fn stop(&self) {
        self.stop.cancel();
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

    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Runs until [`Self::stop`] and the end of all tasks.
    pub async fn run(self: Arc<Self>) {
        let connectors: Vec<_> = self
            .deployment
            .connectors
            .iter()
            .map(|connector| {
                let plugin = connector.sink.as_ref().or(connector.source.as_ref());
                let kind = if connector.sink.is_some() { Kind::Sink } else { Kind::Source };
                let status = self.board.register(
                    &connector.name,
                    0,
                    (kind, plugin.map_or("", |p| &p.component.name)),
                    &connector.secrets,
                );
                (connector.clone(), status)
            })
            .collect();
        let tasks: Vec<_> = connectors.iter().map(|(_, status)| status.clone()).collect();
        if let Err(error) = self.prepare(&tasks).await {
            // A stop while the cluster is waited for is no failure.
            if !self.stop.is_cancelled() {
                tracing::error!("{error}");
                tasks.iter().for_each(|task| task.set(State::Failed, error.to_string()));
            }
        } else {
            tasks.iter().for_each(|task| task.remark("starting"));
            self.ready.send_replace(true);
            let refresh = tokio::spawn(self.clone().refresh_topics());
            let watch = tokio::spawn(self.clone().watch_tasks());
            let all = join_all(connectors.into_iter().map(|(connector, status)| {
                let worker = self.clone();
                async move {
                    let source = connector.is_bounded_source();
                    worker.clone().run_connector(connector, status).await;
                    if source {
                        worker.sources_left.send_modify(|left| *left -= 1);
                    }
                }
            }));
            tokio::select! {
                _ = all => self.all_ended(),
                () = self.past_the_drain() => tracing::warn!(
                    "tasks that did not stop within {} ms are left behind; their records will be read again \
                     (task.shutdown.graceful.timeout.ms)",
                    self.drain_timeout().as_millis()
                ),
            }
            refresh.abort();
            watch.abort();
        }
        self.stop.cancelled().await;
        self.producers.flush(self.drain_timeout()).await;
    }

    /// Where every connector was to come to an end, the work is done. Others stay as they are: FAILED or at the end of
    /// their source, for whoever asks.
    fn all_ended(&self) {
        if !self.deployment.connectors.is_empty() && self.deployment.connectors.iter().all(|c| c.bounded_run)
        {
            self.stop();
        }
    }

    /// Reaches the cluster and makes the declared topics; tries until it works or the worker stops.
    async fn prepare(&self, tasks: &[Arc<TaskStatus>]) -> Result<()> {
        let Some(admin) = &self.admin else { return Ok(()) };
        let status =
            StatusBoard::default().register("worker", 0, (Kind::Sink, ""), &self.deployment.worker.secrets);
        // All tasks wait for it, so all of them say why.
        let told = |outcome: Result<()>| {
            outcome.inspect_err(|e| tasks.iter().for_each(|task| task.remark(format!("trying again: {e}"))))
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

    /// Says of tasks that do not move that they are stalled.
    async fn watch_tasks(self: Arc<Self>) {
        let limits: HashMap<&str, Duration> =
            self.deployment.connectors.iter().map(|c| (c.name.as_str(), c.stall_timeout)).collect();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for task in self.board.tasks() {
                if let Some(limit) = limits.get(task.connector.as_str()) {
                    task.look(*limit);
                }
            }
        }
    }

    async fn refresh_topics(self: Arc<Self>) {
        let Some(admin) = &self.admin else { return };
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

    /// Waits for the stop and for as long as tasks may take then: a plugin that hangs must not keep the process.
    async fn past_the_drain(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.drain_timeout() + CLOSE).await;
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.deployment.worker.task_shutdown_graceful_timeout_ms)
    }
}
