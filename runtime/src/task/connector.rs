//! From a connector's configuration to its running tasks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connector_core::{
    ConfigProblem, ConnectError, Kind, Position, Result, Source, SourceContext, TaskConfig, TaskInfo,
    TopicDirectory, Transform,
};
use tokio::sync::watch;

use super::pipeline::Pipeline;
use super::retry;
use super::sink::SinkTask;
use super::source::{PositionStore, SourceTask};
use super::status::{State, TaskStatus};
use super::worker::Worker;
use crate::config::{ConnectorConfig, PluginUse, TopicSelection};
use crate::convert::{self, Converter};
use crate::kafka::client::{self, Role};
use crate::kafka::consumer::{ConsumerHandle, ConsumerOptions};
use crate::kafka::producer::Producer;

/// How long a revoke waits for a publish that is under way.
const REVOKE_DRAIN: Duration = Duration::from_secs(30);

impl Worker {
    pub(super) async fn run_connector(self: Arc<Self>, connector: ConnectorConfig, first: Arc<TaskStatus>) {
        let connector = Arc::new(connector);
        let outcome = match (&connector.source, &connector.sink) {
            (Some(source), None) => self.run_source(&connector, source, &first).await,
            (None, Some(sink)) => self.run_sink(&connector, sink, &first).await,
            _ => Err(ConnectError::user("connector.ends", "a connector has either a source or a sink here")),
        };
        if let Err(error) = outcome {
            self.failed(&connector, &first, &error);
        }
    }

    fn failed(&self, connector: &ConnectorConfig, status: &TaskStatus, error: &ConnectError) {
        let reason = status.redact(&error.to_string());
        tracing::error!(
            connector = connector.name,
            task = status.task,
            code = error.code,
            "task failed: {reason}"
        );
        status.set(State::Failed, reason);
    }

    async fn run_sink(
        self: &Arc<Self>,
        connector: &Arc<ConnectorConfig>,
        sink: &PluginUse,
        first: &Arc<TaskStatus>,
    ) -> Result<()> {
        let (sender, topics) = watch::channel(self.topics_of(connector));
        if topics.borrow().is_empty() {
            first.remark("waiting: no topic that it is to read exists yet");
        }
        let mut tasks = Vec::new();
        for task in 0..connector.tasks_max {
            let status = match task {
                0 => first.clone(),
                _ => self.board.register(
                    &connector.name,
                    task,
                    (Kind::Sink, &sink.component.name),
                    &connector.secrets,
                ),
            };
            let (worker, connector, sink, topics) =
                (self.clone(), connector.clone(), sink.clone(), topics.clone());
            tasks.push(tokio::spawn(async move {
                let outcome = worker.sink_task(&connector, &sink, status.clone(), topics).await;
                worker.ended(&connector, &status, outcome);
            }));
        }
        let follow = tokio::spawn(self.clone().follow_topics(connector.clone(), sender));
        self.join(connector, first, tasks).await;
        follow.abort();
        Ok(())
    }

    /// Tells tasks about topics that come and go, and users about those that are missing.
    async fn follow_topics(
        self: Arc<Self>,
        connector: Arc<ConnectorConfig>,
        sender: watch::Sender<Vec<String>>,
    ) {
        if let TopicSelection::List(names) = &connector.topics {
            for name in names.iter().filter(|name| self.admin.partitions(name).is_none()) {
                tracing::warn!(
                    connector = connector.name,
                    "topic `{name}` does not exist: it is read as soon as it does; declare it under `topics:` to have \
                     it created"
                );
            }
        }
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.topics_of(&connector);
            sender.send_if_modified(|known| {
                let changed = *known != now;
                if changed {
                    tracing::info!(connector = connector.name, topics = now.join(","), "topics changed");
                    *known = now;
                }
                changed
            });
        }
    }

    /// The topics that a sink is to read and that exist: of others librdkafka would ask only now and then.
    fn topics_of(&self, connector: &ConnectorConfig) -> Vec<String> {
        let names = self.admin.names();
        // Kafka's own topics are never meant by a pattern.
        let is_list = matches!(connector.topics, TopicSelection::List(_));
        let candidates = names.iter().map(String::as_str).filter(|name| is_list || !name.starts_with("__"));
        connector.topics.select(candidates).into_iter().map(str::to_owned).collect()
    }

    async fn sink_task(
        &self,
        connector: &ConnectorConfig,
        plugin: &PluginUse,
        status: Arc<TaskStatus>,
        mut topics: watch::Receiver<Vec<String>>,
    ) -> Result<()> {
        let info = TaskInfo { connector: connector.name.clone(), task: status.task, direct: false };
        let sink = plugin.component.create_sink(&plugin.config, &info).map_err(wrong_config)?;
        let (_, value) = converters(connector)?;
        let pipeline = Pipeline::to_sink(value, transforms(connector, &info)?, &sink.needs());
        // Subscribing to nothing is no membership: wait for the first topic.
        let names = tokio::select! {
            names = topics.wait_for(|names| !names.is_empty()) => match names {
                Ok(names) => names.clone(),
                Err(_) => return Ok(()),
            },
            () = self.stop.cancelled() => return Ok(()),
        };
        topics.mark_unchanged();
        let worker = &self.deployment.worker;
        let mut settings =
            client::settings(worker, Role::Consumer, &connector.consumer_overrides, &self.handle)?;
        for (key, value) in [
            ("session.timeout.ms", worker.session_timeout_ms),
            ("heartbeat.interval.ms", worker.heartbeat_interval_ms),
        ] {
            if settings.config.get(key).is_none() {
                settings.config.set(key, value.to_string());
            }
        }
        let consumer = ConsumerHandle::start(ConsumerOptions {
            settings,
            group: format!("connect-{}", connector.name),
            instance: format!("{}-{}-{}", worker.worker_id, connector.name, status.task),
            topics: names,
            budget: self.budget.clone(),
            drain_timeout: REVOKE_DRAIN,
        })?;
        started(connector, &status);
        let task = SinkTask {
            sink,
            pipeline,
            tolerance: connector.errors_tolerance,
            flush_on_stop: connector.flush_on_stop,
            status,
            budget: self.budget.clone(),
            stop: self.stop.clone(),
            drain_timeout: self.drain_timeout(),
            topics,
        };
        task.run(consumer).await
    }

    async fn run_source(
        self: &Arc<Self>,
        connector: &Arc<ConnectorConfig>,
        plugin: &PluginUse,
        first: &Arc<TaskStatus>,
    ) -> Result<()> {
        let planner = plugin
            .component
            .create_source(
                &plugin.config,
                &TaskInfo { connector: connector.name.clone(), task: 0, direct: false },
            )
            .map_err(wrong_config)?;
        let plan = retry::with_backoff(first, &self.stop, || planner.plan(connector.tasks_max)).await;
        let plan = match plan {
            Err(_) if self.stop.is_cancelled() => return Ok(()),
            plan => plan?,
        };
        drop(planner);
        let settings = client::settings(
            &self.deployment.worker,
            Role::Producer,
            &connector.producer_overrides,
            &self.handle,
        )?;
        let mut tasks = Vec::new();
        for (task, config) in plan.into_iter().enumerate() {
            let status = match task {
                0 => first.clone(),
                _ => self.board.register(
                    &connector.name,
                    task,
                    (Kind::Source, &plugin.component.name),
                    &connector.secrets,
                ),
            };
            let (worker, connector, plugin) = (self.clone(), connector.clone(), plugin.clone());
            let settings = settings.clone();
            tasks.push(tokio::spawn(async move {
                let outcome = worker.source_task(&connector, &plugin, status.clone(), config, settings).await;
                worker.ended(&connector, &status, outcome);
            }));
        }
        self.join(connector, first, tasks).await;
        Ok(())
    }

    async fn source_task(
        self: &Arc<Self>,
        connector: &ConnectorConfig,
        plugin: &PluginUse,
        status: Arc<TaskStatus>,
        task: TaskConfig,
        mut settings: client::ClientSettings,
    ) -> Result<()> {
        let info = TaskInfo { connector: connector.name.clone(), task: status.task, direct: false };
        let source: Arc<dyn Source> =
            plugin.component.create_source(&plugin.config, &info).map_err(wrong_config)?;
        let (key, value) = converters(connector)?;
        let pipeline = Pipeline::to_kafka(key, value, transforms(connector, &info)?);
        // Somebody waits for each record of a source that answers: no delivery may hang for long. For the others a
        // broker that is away is waited for, as Connect does (D-07).
        let limit = if source.wants_acks() { "30000" } else { "2147483647" };
        if settings.config.get("delivery.timeout.ms").is_none()
            && settings.config.get("message.timeout.ms").is_none()
        {
            settings.config.set("message.timeout.ms", limit);
        }
        let producer = self.producers.get(settings)?;
        let (worker, stop) = (&self.deployment.worker, &self.stop);
        let stopped = |result: Result<()>| if stop.is_cancelled() { Ok(()) } else { result };
        let positions = match retry::with_backoff(&status, stop, || {
            self.offsets.positions(&connector.name, worker, &self.admin, &self.handle)
        })
        .await
        {
            Ok(positions) => positions,
            Err(error) => return stopped(Err(error)),
        };
        let context = SourceContext { task, positions, topics: Arc::new(self.admin.clone()) };
        let opened = retry::with_backoff(&status, stop, || source.open(context.clone())).await;
        if let Err(error) = opened {
            return stopped(Err(error));
        }
        started(connector, &status);
        let positions =
            Positions { connector: connector.name.clone(), worker: self.clone(), producer: producer.clone() };
        let task = SourceTask {
            source,
            pipeline,
            tolerance: connector.errors_tolerance,
            producer,
            positions: Arc::new(positions),
            status,
            stop: stop.clone(),
            drain_timeout: self.drain_timeout(),
        };
        task.run().await
    }

    fn ended(&self, connector: &ConnectorConfig, status: &TaskStatus, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                status.set(State::Unassigned, "stopped");
                tracing::info!(connector = connector.name, task = status.task, "task stopped");
            }
            Err(error) => self.failed(connector, status, &error),
        }
    }

    /// Waits for the tasks of a connector; one that panicked is FAILED like any other.
    async fn join(
        &self,
        connector: &ConnectorConfig,
        first: &TaskStatus,
        tasks: Vec<tokio::task::JoinHandle<()>>,
    ) {
        for (task, handle) in tasks.into_iter().enumerate() {
            if handle.await.is_err() {
                let error = ConnectError::internal("task.panic", format!("task {task} panicked"))
                    .hint("this is a defect: please report it with the log line of the panic");
                let status =
                    self.board.tasks().into_iter().find(|s| s.connector == connector.name && s.task == task);
                self.failed(connector, status.as_deref().unwrap_or(first), &error);
            }
        }
    }
}

fn started(connector: &ConnectorConfig, status: &TaskStatus) {
    tracing::info!(connector = connector.name, task = status.task, plugin = status.plugin, "task started");
}

fn wrong_config(problems: Vec<ConfigProblem>) -> ConnectError {
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    ConnectError::user("config", text)
}

fn converters(connector: &ConnectorConfig) -> Result<(Arc<dyn Converter>, Arc<dyn Converter>)> {
    let key = &connector.key_converter;
    let value = &connector.value_converter;
    Ok((
        convert::converter(&key.class, &key.config, true).map_err(wrong_config)?,
        convert::converter(&value.class, &value.config, false).map_err(wrong_config)?,
    ))
}

fn transforms(connector: &ConnectorConfig, info: &TaskInfo) -> Result<Vec<(String, Arc<dyn Transform>)>> {
    let make = |used: &crate::config::TransformUse| {
        let transform = used.component.create_transform(&used.config, info).map_err(wrong_config)?;
        Ok((used.name.clone(), transform))
    };
    connector.transforms.iter().map(make).collect()
}

struct Positions {
    connector: String,
    worker: Arc<Worker>,
    producer: Producer,
}

#[async_trait]
impl PositionStore for Positions {
    async fn store(&self, positions: &[Position]) -> Result<()> {
        self.worker.offsets.store(&self.connector, positions, &self.producer).await
    }
}
