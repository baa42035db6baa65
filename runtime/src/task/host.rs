//! Runs the connectors of a deployment, and goes over to another deployment while they run.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use connector_core::{Kind, Result};
use futures::future::join_all;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::budget::MemoryBudget;
use super::status::State;
use super::worker::Worker;
use crate::config::{ActionReload, Change, Changes, ConnectorConfig, Deployment, Missing, Unavailable};

/// What producers get at the very end for records that nobody waits for any more.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// The running process.
pub struct Host {
    /// Another one after a reload.
    worker: RwLock<Arc<Worker>>,
    running: Mutex<BTreeMap<String, Running>>,
    /// Of all connectors, for a run that ends with them.
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Why a deployment takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Files,
    /// The files are the same.
    Secrets,
}

/// A connector that was started.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Host {
    pub fn new(deployment: Deployment) -> Result<Arc<Self>> {
        let budget = match deployment.worker.memory_budget_bytes {
            Some(bytes) => MemoryBudget::new(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => MemoryBudget::of_this_process(),
        };
        let stop = CancellationToken::new();
        let worker = Worker::new(Arc::new(deployment), budget, stop.child_token())?;
        let (worker, tasks) = (RwLock::new(Arc::new(worker)), TaskTracker::new());
        Ok(Arc::new(Self { worker, running: Mutex::default(), tasks, stop }))
    }

    /// What runs now.
    pub fn worker(&self) -> Arc<Worker> {
        self.worker.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks all tasks to drain and end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Runs until [`Self::stop`] and the end of all tasks; a deployment of bounded connectors until they have ended.
    pub async fn run(&self) {
        let worker = self.worker();
        let bounded = worker.deployment().is_bounded();
        self.start_all(&worker, &mut *self.running.lock().await);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.watch() => {}
            () = self.all_ended(), if bounded => self.stop(),
        }
        let running = std::mem::take(&mut *self.running.lock().await);
        let worker = self.worker();
        end(running, worker.graceful_timeout()).await;
        worker.producers.flush(LAST_FLUSH).await;
    }

    async fn all_ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Says of tasks that do not move that they are stalled; does not end.
    async fn watch(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let worker = self.worker();
            let connectors = worker.deployment().connectors.iter();
            let limits: HashMap<&str, Duration> =
                connectors.map(|c| (c.name.as_str(), c.stall_timeout)).collect();
            for task in worker.board.tasks() {
                if let Some(limit) = limits.get(task.connector.as_str()) {
                    task.look(*limit);
                }
            }
        }
    }

    /// Goes over to another deployment: what is the same in both runs on. An error changes nothing.
    pub async fn apply(&self, deployment: Deployment, why: Why) -> Result<Changes> {
        let mut running = self.running.lock().await;
        let old = self.worker();
        let mut changes = Changes::between(old.deployment(), &deployment);
        if why == Why::Secrets && changes.worker.is_empty() {
            changes.leave(|name| {
                let connector = deployment.connectors.iter().find(|c| c.name == name);
                connector.is_some_and(|c| c.action_reload == ActionReload::None)
            });
        }
        if self.is_stopping()
            || (changes.is_empty() && old.deployment().unavailable == deployment.unavailable)
        {
            return Ok(changes);
        }
        for line in changes.lines() {
            tracing::info!("reload: {line}");
        }
        let deployment = Arc::new(deployment);
        if changes.worker.is_empty() {
            self.apply_to_some(&old.with(deployment), &changes, &mut running).await;
        } else {
            let new = Worker::new(deployment, old.budget.clone(), self.stop.child_token())?;
            end(std::mem::take(&mut *running), old.graceful_timeout()).await;
            old.stop();
            old.producers.flush(LAST_FLUSH).await;
            self.start_all(&new, &mut running);
        }
        Ok(changes)
    }

    async fn apply_to_some(
        &self,
        worker: &Worker,
        changes: &Changes,
        running: &mut BTreeMap<String, Running>,
    ) {
        let ending = |(name, change): (&String, &Change)| match change {
            Change::Start => None,
            Change::Stop | Change::Restart(_) => Some(name.clone()),
        };
        let names: Vec<String> = changes.connectors.iter().filter_map(ending).collect();
        let ends = names.iter().filter_map(|name| running.remove_entry(name)).collect();
        end(ends, worker.graceful_timeout()).await;
        let gone = self.worker().deployment().unavailable.iter().map(|u| u.name.clone()).collect::<Vec<_>>();
        names.iter().chain(&gone).for_each(|name| worker.board.forget(name));
        if !changes.topics.is_empty() {
            self.tasks.spawn(worker.clone().ensure_topics(changes.topics.clone()));
        }
        for connector in &worker.deployment().connectors {
            if matches!(changes.connectors.get(&connector.name), Some(Change::Start | Change::Restart(_))) {
                running.insert(connector.name.clone(), self.start(worker, connector));
            }
        }
        self.put(worker);
    }

    fn start_all(&self, worker: &Worker, running: &mut BTreeMap<String, Running>) {
        for connector in &worker.deployment().connectors {
            running.insert(connector.name.clone(), self.start(worker, connector));
        }
        self.put(worker);
        tokio::spawn(worker.clone().serve());
    }

    fn put(&self, worker: &Worker) {
        for unavailable in &worker.deployment().unavailable {
            let Unavailable { name, missing, reason } = unavailable;
            let secrets = &worker.deployment().worker.secrets;
            let status = worker.board.register(name, 0, (Kind::Sink, ""), secrets);
            match missing {
                Missing::Plugin => {
                    tracing::error!(connector = name, "connector failed: {reason}");
                    status.set(State::Failed, reason);
                }
                Missing::Secret => {
                    tracing::warn!(connector = name, "connector waits: {reason}");
                    status.remark(format!("waiting for a secret: {reason}"));
                }
            }
        }
        *self.worker.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(worker.clone());
    }

    fn start(&self, worker: &Worker, connector: &ConnectorConfig) -> Running {
        let plugin = connector.sink.as_ref().or(connector.source.as_ref());
        let kind = if connector.sink.is_some() { Kind::Sink } else { Kind::Source };
        let plugin = (kind, plugin.map_or("", |p| p.component.name.as_str()));
        let status = worker.board.register(&connector.name, 0, plugin, &connector.secrets);
        let (scope, connector) = (Arc::new(worker.scope()), connector.clone());
        let stop = scope.stop.clone();
        let task = self.tasks.spawn(async move {
            let stopped = tokio::select! {
                () = scope.until_ready() => false,
                () = scope.stop.cancelled() => true,
            };
            if stopped {
                status.set(State::Unassigned, "stopped");
                return;
            }
            status.remark("starting");
            let bounded_source = connector.is_bounded_source();
            scope.clone().run_connector(connector, status).await;
            if bounded_source {
                scope.source_ended();
            }
        });
        Running { stop, task }
    }
}

/// Asks connectors to drain and end, and waits for it.
async fn end(running: BTreeMap<String, Running>, patience: Duration) {
    running.values().for_each(|connector| connector.stop.cancel());
    let waits = running.into_iter().map(|(name, connector)| async move {
        if tokio::time::timeout(patience, connector.task).await.is_err() {
            tracing::warn!(
                connector = name,
                "it did not stop within {} ms and is left behind; its records will be read again \
                 (task.shutdown.graceful.timeout.ms)",
                patience.as_millis()
            );
        }
    });
    join_all(waits).await;
}
