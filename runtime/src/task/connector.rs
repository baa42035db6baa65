//! From a connector's configuration to its running tasks.

use std::sync::Arc;
use std::time::Duration;

use connector_core::{
    ConfigProblem, ConnectError, Delivery, Kind, Result, Sink, Source, TaskConfig, TaskInfo, TopicDirectory,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::goal::Goal;
use super::pipeline::{Pipeline, SinkConverters, TransformStep};
use super::recipe::Packed;
use super::retry;
use super::sink::{Engine, Restore, SinkTask};
use super::status::{FINISHED, State, TaskStatus};
use super::worker::Worker;
use crate::config::{ConnectorConfig, ConverterUse, PluginUse, TopicSelection, TransformUse};
use crate::convert::{self, Converter, HeaderConverter};
use crate::kafka::client::{self, Role};
use crate::kafka::consumer::{self, ConsumerOptions};

/// How long a revoke waits for a publish that is under way.
const REVOKE_DRAIN: Duration = Duration::from_secs(30);

impl Worker {
    pub(super) async fn run_connector(self: Arc<Self>, connector: ConnectorConfig, first: Arc<TaskStatus>) {
        let connector = Arc::new(connector);
        first.errors.configure(&connector.errors);
        let outcome = match (&connector.source, &connector.sink) {
            (Some(source), None) => self.run_source(&connector, source, &first).await,
            (None, Some(sink)) => self.run_sink(&connector, sink, &first).await,
            (Some(source), Some(sink)) => self.run_direct(&connector, (source, sink), &first).await,
            (None, None) => {
                Err(ConnectError::user("connector.ends", "a connector has a source, a sink or both"))
            }
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
        let goal = self.goal_of(connector, first).await?;
        let (sender, topics) = watch::channel(self.topics_of(connector)?);
        if topics.borrow().is_empty() {
            first.remark("waiting: no topic that it is to read exists yet");
        }
        let mut tasks = Vec::new();
        for task in 0..connector.tasks_max {
            let status = self.status_of(connector, task, first, (Kind::Sink, &sink.component.name));
            let (worker, connector, sink) = (self.clone(), connector.clone(), sink.clone());
            let (topics, goal) = (topics.clone(), goal.clone());
            tasks.push(tokio::spawn(async move {
                let run =
                    || worker.sink_task(&connector, &sink, status.clone(), topics.clone(), goal.clone());
                worker.run_task(&connector, &status, run).await;
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
        let Ok(admin) = self.admin() else { return };
        if let TopicSelection::List(names) = &connector.topics {
            for name in names.iter().filter(|name| admin.partitions(name).is_none()) {
                tracing::warn!(
                    connector = connector.name,
                    "topic `{name}` does not exist: it is read as soon as it does; declare it under `topics:` to have \
                     it created"
                );
            }
        }
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Ok(now) = self.topics_of(&connector) else { return };
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
    fn topics_of(&self, connector: &ConnectorConfig) -> Result<Vec<String>> {
        let names = self.admin()?.names();
        // Kafka's own topics are never meant by a pattern.
        let is_list = matches!(connector.topics, TopicSelection::List(_));
        let candidates = names.iter().map(String::as_str).filter(|name| is_list || !name.starts_with("__"));
        Ok(connector.topics.select(candidates).into_iter().map(str::to_owned).collect())
    }

    /// For a bounded run: the present ends of all partitions, once the bounded sources of this run have ended.
    async fn goal_of(&self, connector: &ConnectorConfig, status: &TaskStatus) -> Result<Option<Arc<Goal>>> {
        if !connector.bounded_run {
            return Ok(None);
        }
        self.until_sources_ended(status).await;
        let admin = self.admin()?;
        retry::with_backoff(status, &self.stop, || admin.refresh()).await?;
        let topics = self.topics_of(connector)?;
        if let TopicSelection::List(names) = &connector.topics
            && let Some(missing) = names.iter().find(|name| !topics.contains(name))
        {
            return Err(ConnectError::user("kafka.no_topic", format!("topic `{missing}` does not exist"))
                .hint("a bounded run does not wait for topics: create it, or correct `topics`"));
        }
        let ends = retry::with_backoff(status, &self.stop, || admin.ends(&topics)).await?;
        Ok(Some(Arc::new(Goal::new(ends.into_iter().map(|(tp, end)| (tp, Some(end)))))))
    }

    async fn sink_task(
        &self,
        connector: &ConnectorConfig,
        plugin: &PluginUse,
        status: Arc<TaskStatus>,
        mut topics: watch::Receiver<Vec<String>>,
        goal: Option<Arc<Goal>>,
    ) -> Result<()> {
        if goal.as_ref().is_some_and(|goal| goal.is_reached_by_all()) {
            return Ok(());
        }
        let Engine { sink, pipeline } = engine(connector, plugin, &status, &self.stop)?;
        expose_sink(&status, &sink);
        let dead_letters = match self.dead_letters(connector, &status).await {
            Err(_) if self.stop.is_cancelled() => return Ok(()),
            dead_letters => dead_letters?,
        };
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
        let stable = sink.delivery() == Delivery::StableRange && pipeline.unstable().is_none();
        let recipe = Packed::of(connector).filter(|_| stable);
        let (registry, of, stop) = (self.deployment.registry.clone(), status.clone(), self.stop.clone());
        let today = connector.clone();
        let restore: Restore = Arc::new(move |how| {
            let former = Packed::restore(how, &today, &registry)?;
            let sink = former.sink.clone().ok_or_else(|| ConnectError::internal("recipe", "no sink"))?;
            engine(&former, &sink, &of, &stop)
        });
        let feed = consumer::start(ConsumerOptions {
            settings,
            group: format!("connect-{}", connector.name),
            instance: format!("{}-{}-{}", worker.worker_id, connector.name, status.task),
            topics: names,
            budget: self.budget.clone(),
            drain_timeout: REVOKE_DRAIN,
            tell_ends: goal.is_some(),
            stable,
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
            goal,
            direct: false,
            dead_letters,
            recipe,
            restore: Some(restore),
        };
        task.run(feed).await
    }

    /// The first task has a status before it is known how many there are.
    pub(super) fn status_of(
        &self,
        connector: &ConnectorConfig,
        task: usize,
        first: &Arc<TaskStatus>,
        plugin: (Kind, &str),
    ) -> Arc<TaskStatus> {
        match task {
            0 => first.clone(),
            _ => {
                let status = self.board.register(&connector.name, task, plugin, &connector.secrets);
                status.errors.configure(&connector.errors);
                status
            }
        }
    }

    /// What each task is to do; `None` when the worker stops first.
    pub(super) async fn plan(
        &self,
        connector: &ConnectorConfig,
        plugin: &PluginUse,
        status: &TaskStatus,
    ) -> Result<Option<Vec<TaskConfig>>> {
        let planner =
            plugin.component.create_source(&plugin.config, &info(connector, 0)).map_err(wrong_config)?;
        match retry::with_backoff(status, &self.stop, || planner.plan(connector.tasks_max)).await {
            Err(_) if self.stop.is_cancelled() => Ok(None),
            plan => plan.map(Some),
        }
    }

    pub(super) fn ended(&self, connector: &ConnectorConfig, status: &TaskStatus, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                let how = if self.stop.is_cancelled() { "stopped" } else { FINISHED };
                status.set(State::Unassigned, how);
                tracing::info!(connector = connector.name, task = status.task, "task {how}");
            }
            Err(error) => self.failed(connector, status, &error),
        }
    }

    /// Waits for the tasks of a connector; one that panicked is FAILED like any other.
    pub(super) async fn join(
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

/// The sink, and what comes before it.
fn engine(
    connector: &ConnectorConfig,
    sink: &PluginUse,
    status: &Arc<TaskStatus>,
    stop: &CancellationToken,
) -> Result<Engine> {
    let info = info(connector, status.task);
    let sink = sink.component.create_sink(&sink.config, &info).map_err(wrong_config)?;
    let pipeline =
        Pipeline::to_sink(sink_converters(connector)?, transforms(connector, &info)?, &sink.needs());
    Ok(Engine { sink, pipeline: pipeline.retrying(status.clone(), stop.clone()) })
}

pub(super) fn started(connector: &ConnectorConfig, status: &TaskStatus) {
    tracing::info!(connector = connector.name, task = status.task, plugin = status.plugin, "task started");
}

pub(super) fn wrong_config(problems: Vec<ConfigProblem>) -> ConnectError {
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    ConnectError::user("config", text)
}

pub(super) fn converters(connector: &ConnectorConfig) -> Result<(Arc<dyn Converter>, Arc<dyn Converter>)> {
    let key = &connector.key_converter;
    let value = &connector.value_converter;
    Ok((
        convert::converter(&key.class, &key.config, true).map_err(wrong_config)?,
        convert::converter(&value.class, &value.config, false).map_err(wrong_config)?,
    ))
}

pub(super) fn header_converter(connector: &ConnectorConfig) -> Result<HeaderConverter> {
    let ConverterUse { class, config } = &connector.header_converter;
    convert::header_converter(class, config).map_err(wrong_config)
}

/// Of a sink that reads from Kafka. Keys whose converter leaves them alone are not looked at.
pub(super) fn sink_converters(connector: &ConnectorConfig) -> Result<SinkConverters> {
    let (key, value) = converters(connector)?;
    let header = header_converter(connector)?;
    let key = Some(key).filter(|key| !key.class().ends_with("ByteArrayConverter"));
    Ok(SinkConverters { key, value, header })
}

pub(super) fn transforms(connector: &ConnectorConfig, info: &TaskInfo) -> Result<Vec<TransformStep>> {
    let make = |used: &TransformUse| {
        let transform = used.component.create_transform(&used.config, info).map_err(wrong_config)?;
        // The JVM class that it replaces, if it replaces one.
        let class = used.component.aliases.iter().find(|alias| alias.contains('.'));
        let class = class.unwrap_or(&used.component.name).as_str().into();
        let predicate = used.predicate.as_ref().map(|used| {
            let predicate = used.component.create_predicate(&used.config, info).map_err(wrong_config)?;
            Ok::<_, ConnectError>((predicate, used.negate))
        });
        Ok(TransformStep { name: used.name.clone(), class, transform, predicate: predicate.transpose()? })
    };
    connector.transforms.iter().map(make).collect()
}

pub(super) fn info(connector: &ConnectorConfig, task: usize) -> TaskInfo {
    TaskInfo { connector: connector.name.clone(), task, direct: connector.is_direct() }
}

pub(super) fn expose_sink(status: &TaskStatus, sink: &Arc<dyn Sink>) {
    let sink = Arc::downgrade(sink);
    status.expose(move || sink.upgrade().map(|sink| sink.metrics()).unwrap_or_default());
}

pub(super) fn expose_source(status: &TaskStatus, source: &Arc<dyn Source>) {
    let source = Arc::downgrade(source);
    status.expose(move || source.upgrade().map(|source| source.metrics()).unwrap_or_default());
}
