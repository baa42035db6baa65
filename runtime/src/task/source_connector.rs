//! A connector that writes to Kafka: its tasks, and what they may promise.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_core::{ConnectError, Kind, Result, Source, SourceContext, TaskConfig};
use futures::future::{join_all, try_join_all};

use super::connector::{
    converters, expose_source, header_converter, info, started, transforms, wrong_config,
};
use super::pipeline::Pipeline;
use super::positions::Positions;
use super::retry;
use super::source::{SourceTask, Transacted, Way};
use super::status::{AT_LEAST_ONCE, EXACTLY_ONCE, State, TaskStatus};
use super::worker::Worker;
use crate::config::{Boundary, ConnectorConfig, PluginUse};
use crate::kafka::client::{self, Role};
use crate::kafka::offsets::{OffsetStore, TopicPositions};
use crate::kafka::producer::Producer;
use crate::kafka::transaction::{Broken, NO_TRANSACTIONS, Times, TransactionalProducer};

/// How long a delivery may take that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a task of a source connector does.
struct Assigned {
    task: TaskConfig,
    /// Of the connector, which may have a topic of its own.
    offsets: Arc<OffsetStore>,
    mode: Mode,
    /// That has taken over already; for the first start.
    producer: Mutex<Option<TransactionalProducer>>,
}

#[derive(Clone)]
enum Mode {
    Transactions,
    /// And why there are no transactions, if there should be.
    Pipelined(String),
}

impl Worker {
    pub(super) async fn run_source(
        self: &Arc<Self>,
        connector: &Arc<ConnectorConfig>,
        plugin: &PluginUse,
        first: &Arc<TaskStatus>,
    ) -> Result<()> {
        let Some(plan) = self.plan(connector, plugin, first).await? else { return Ok(()) };
        let offsets = match &connector.exactly_once.offsets_topic {
            Some(topic) => OffsetStore::new(topic.clone()),
            None => self.offsets.clone(),
        };
        let plugin_of = (Kind::Source, plugin.component.name.as_str());
        let statuses: Vec<_> =
            (0..plan.len()).map(|task| self.status_of(connector, task, first, plugin_of)).collect();
        let probe =
            plugin.component.create_source(&plugin.config, &info(connector, 0)).map_err(wrong_config)?;
        let (mode, producers) = match self.fence(connector, probe.as_ref(), &offsets, &statuses).await {
            Ok(fenced) => fenced,
            Err(_) if self.stop.is_cancelled() => return Ok(()),
            Err(error) => {
                // The caller says it of the first.
                statuses.iter().skip(1).for_each(|status| status.set(State::Failed, error.to_string()));
                return Err(error);
            }
        };
        let mut producers = producers.into_iter();
        let mut tasks = Vec::new();
        for (config, status) in plan.into_iter().zip(statuses) {
            let (worker, connector, plugin) = (self.clone(), connector.clone(), plugin.clone());
            let producer = Mutex::new(producers.next());
            let assigned = Assigned { task: config, offsets: offsets.clone(), mode: mode.clone(), producer };
            tasks.push(tokio::spawn(async move {
                let run = || worker.source_task(&connector, &plugin, status.clone(), &assigned);
                worker.run_task(&connector, &status, run).await;
            }));
        }
        self.join(connector, first, tasks).await;
        Ok(())
    }

    /// Makes sure that no task of an earlier run writes any more, before one of this run reads what it is to go on from.
    /// Gives the producers of the tasks, if there are to be transactions.
    async fn fence(
        &self,
        connector: &ConnectorConfig,
        source: &dyn Source,
        offsets: &Arc<OffsetStore>,
        statuses: &[Arc<TaskStatus>],
    ) -> Result<(Mode, Vec<TransactionalProducer>)> {
        let wish = &connector.exactly_once;
        let Some(status) = statuses.first().filter(|_| wish.enabled) else {
            // As configured, which is nothing to tell.
            return Ok((Mode::Pipelined(String::new()), Vec::new()));
        };
        let stop = &self.stop;
        let first = self.transactional(connector, 0, source, status)?;
        let positions = self.positions_in(offsets, &connector.name, first.producer().clone())?;
        let former = retry::with_backoff(status, stop, || positions.former_tasks()).await?;
        let taking_over = async {
            let mut producers = vec![first.clone()];
            for task in 1..statuses.len().max(former) {
                producers.push(self.transactional(
                    connector,
                    task,
                    source,
                    statuses.get(task).unwrap_or(status),
                )?);
            }
            try_join_all(producers.iter().map(TransactionalProducer::init)).await?;
            // This transaction also shows whether the brokers have any.
            first.begin().await?;
            positions.store_tasks(statuses.len()).await?;
            first.commit().await.map_err(Broken::error)?;
            let no_longer = producers.split_off(statuses.len());
            join_all(no_longer.into_iter().map(TransactionalProducer::close)).await;
            Ok(producers)
        };
        let taken = tokio::select! {
            taken = taking_over => taken,
            () = stop.cancelled() => Err(ConnectError::external("stop", "stopped while taking over")),
        };
        match taken {
            Ok(producers) => Ok((Mode::Transactions, producers)),
            Err(error) if error.code == NO_TRANSACTIONS && !wish.required => {
                let why = ConnectError { hint: String::new(), ..error }.to_string();
                Ok((Mode::Pipelined(why), Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// The producer of a task that writes in transactions; it has not taken over yet.
    fn transactional(
        &self,
        connector: &ConnectorConfig,
        task: usize,
        source: &dyn Source,
        status: &Arc<TaskStatus>,
    ) -> Result<TransactionalProducer> {
        let worker = &self.deployment.worker;
        let settings = client::settings(worker, Role::Producer, &connector.producer_overrides, &self.handle)?;
        let id = format!("{}-{}-{task}", worker.group_id, connector.name);
        let planned = match connector.exactly_once.boundary {
            Boundary::Poll => Duration::ZERO,
            Boundary::Interval(interval) => interval,
        };
        TransactionalProducer::new(
            settings,
            &id,
            Times { planned, patience: patience(source) },
            status.clone(),
        )
    }

    async fn source_task(
        self: &Arc<Self>,
        connector: &ConnectorConfig,
        plugin: &PluginUse,
        status: Arc<TaskStatus>,
        assigned: &Assigned,
    ) -> Result<()> {
        let info = info(connector, status.task);
        let source: Arc<dyn Source> =
            plugin.component.create_source(&plugin.config, &info).map_err(wrong_config)?;
        expose_source(&status, &source);
        let (key, value) = converters(connector)?;
        let pipeline = Pipeline::to_kafka(key, value, transforms(connector, &info)?)
            .with_headers(header_converter(connector)?)
            .retrying(status.clone(), self.stop.clone());
        let stop = &self.stop;
        let stopped = |result: Result<()>| if stop.is_cancelled() { Ok(()) } else { result };
        let opening = async {
            let (way, positions) = self.way(connector, source.as_ref(), &status, assigned).await?;
            let context = SourceContext {
                task: assigned.task.clone(),
                positions,
                topics: Arc::new(self.admin()?.clone()),
            };
            retry::with_backoff(&status, stop, || source.open(context.clone())).await?;
            Ok::<_, ConnectError>(way)
        };
        let way = match opening.await {
            Ok(way) => way,
            Err(error) => return stopped(Err(error)),
        };
        match (&assigned.mode, source.exactly_once()) {
            (Mode::Transactions, true) => status.set_delivery(EXACTLY_ONCE, ""),
            (Mode::Transactions, false) => {
                let plugin = &plugin.component.name;
                let why = format!("{plugin} as it is configured cannot say exactly what it has read");
                status.set_delivery(AT_LEAST_ONCE, why);
            }
            (Mode::Pipelined(why), _) => status.set_delivery(AT_LEAST_ONCE, why),
        }
        started(connector, &status);
        let task = SourceTask {
            source,
            pipeline,
            tolerance: connector.errors_tolerance,
            admin: self.admin()?.clone(),
            status,
            stop: stop.clone(),
            drain_timeout: self.drain_timeout(),
            bounded: connector.bounded_run,
        };
        task.run(way).await
    }

    /// How the task writes, and from where it goes on.
    async fn way(
        &self,
        connector: &ConnectorConfig,
        source: &dyn Source,
        status: &Arc<TaskStatus>,
        assigned: &Assigned,
    ) -> Result<(Way, Vec<connector_core::Position>)> {
        let worker = &self.deployment.worker;
        if let Mode::Pipelined(_) = assigned.mode {
            let mut settings =
                client::settings(worker, Role::Producer, &connector.producer_overrides, &self.handle)?;
            let config = &mut settings.config;
            if config.get("delivery.timeout.ms").is_none() && config.get("message.timeout.ms").is_none() {
                let ms = patience(source).map_or(i32::MAX as u128, |patience| patience.as_millis());
                config.set("message.timeout.ms", ms.to_string());
            }
            let producer = self.producers.get(settings)?;
            let store = Arc::new(self.positions_in(&assigned.offsets, &connector.name, producer.clone())?);
            let positions = retry::with_backoff(status, &self.stop, || store.load()).await?;
            return Ok((Way::Pipelined { producer, positions: store }, positions));
        }
        let ready = assigned.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let producer = match ready {
            Some(producer) => producer,
            None => {
                let producer = self.transactional(connector, status.task, source, status)?;
                tokio::select! {
                    taken = producer.init() => taken?,
                    () = self.stop.cancelled() => {
                        return Err(ConnectError::external("stop", "stopped while taking over"));
                    }
                }
                producer
            }
        };
        // Only now: before, the former task may have committed more.
        let positions = self.positions_in(&assigned.offsets, &connector.name, producer.producer().clone())?;
        let stored = retry::with_backoff(status, &self.stop, || positions.load_now()).await?;
        let boundary = connector.exactly_once.boundary;
        Ok((Way::Transactions(Box::new(Transacted { producer, positions, boundary })), stored))
    }

    /// Positions in Kafka, in the worker's topic.
    pub(super) fn positions_of(&self, connector: &str, producer: Producer) -> Result<Arc<dyn Positions>> {
        Ok(Arc::new(self.positions_in(&self.offsets, connector, producer)?))
    }

    fn positions_in(
        &self,
        store: &Arc<OffsetStore>,
        connector: &str,
        producer: Producer,
    ) -> Result<TopicPositions> {
        let is_own = !Arc::ptr_eq(store, &self.offsets);
        Ok(TopicPositions {
            store: store.clone(),
            former: is_own.then(|| self.offsets.clone()),
            connector: connector.to_owned(),
            worker: self.deployment.worker.clone(),
            admin: self.admin()?.clone(),
            handle: self.handle.clone(),
            producer,
        })
    }
}

/// Somebody waits for each record of a source that answers: no delivery may hang for long. For the others a broker that is
/// away is waited for, as Connect does (D-07).
fn patience(source: &dyn Source) -> Option<Duration> {
    source.wants_acks().then_some(PATIENCE)
}
