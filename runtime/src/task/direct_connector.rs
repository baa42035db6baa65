//! A connector with both ends: its tasks, and what they find of earlier runs.

use std::sync::Arc;

use connector_core::{
    Assignment, Delivery, Kind, NoTopics, Offset, Result, Resume, Source, SourceContext, TopicDirectory,
    TopicPartition,
};
use tokio::sync::watch;

use super::connector::{
    converters, expose_sink, expose_source, header_converter, info, started, transforms, wrong_config,
};
use super::direct::{self, DirectOptions};
use super::goal::Goal;
use super::pipeline::Pipeline;
use super::positions::Positions;
use super::progress::{Stored, Table};
use super::retry;
use super::sink::SinkTask;
use super::status::TaskStatus;
use super::worker::Worker;
use crate::config::{ConnectorConfig, PluginUse};
use crate::kafka::client::{self, Role};

impl Worker {
    pub(super) async fn run_direct(
        self: &Arc<Self>,
        connector: &Arc<ConnectorConfig>,
        (source, sink): (&PluginUse, &PluginUse),
        first: &Arc<TaskStatus>,
    ) -> Result<()> {
        let Some(plan) = self.plan(connector, source, first).await? else { return Ok(()) };
        let store = match &self.position_file {
            Some(file) => file.of(&connector.name),
            None => {
                let (worker, role) = (&self.deployment.worker, Role::Producer);
                let settings = client::settings(worker, role, &connector.producer_overrides, &self.handle)?;
                self.positions_of(&connector.name, self.producers.get(settings)?)?
            }
        };
        let settled = match self.settle(connector, sink, plan.len(), store.as_ref(), first).await {
            Err(_) if self.stop.is_cancelled() => return Ok(()),
            settled => settled?,
        };
        let mut tasks = Vec::new();
        for (task, config) in plan.into_iter().enumerate() {
            let status = self.status_of(connector, task, first, (Kind::Sink, &sink.component.name));
            let counter = settled.tasks.get(&task).map_or(0, |progress| progress.acknowledged);
            let topics: Arc<dyn TopicDirectory> = match self.admin() {
                Ok(admin) => Arc::new(admin.clone()),
                Err(_) => Arc::new(NoTopics),
            };
            let context = SourceContext { task: config, positions: settled.positions.clone(), topics };
            let (worker, connector, store) = (self.clone(), connector.clone(), store.clone());
            let ends = (source.clone(), sink.clone());
            tasks.push(tokio::spawn(async move {
                let outcome =
                    worker.direct_task(&connector, ends, status.clone(), context, counter, store).await;
                worker.ended(&connector, &status, outcome);
            }));
        }
        self.join(connector, first, tasks).await;
        Ok(())
    }

    /// Puts stored positions and the sink's own offsets together, before any task reads.
    async fn settle(
        &self,
        connector: &ConnectorConfig,
        sink: &PluginUse,
        tasks: usize,
        store: &dyn Positions,
        status: &TaskStatus,
    ) -> Result<Stored> {
        let stop = &self.stop;
        let mut stored = Stored::read(retry::with_backoff(status, stop, || store.load()).await?)?;
        let probe = sink.component.create_sink(&sink.config, &info(connector, 0)).map_err(wrong_config)?;
        // Tasks of an earlier run count too, though there may be fewer now.
        let count = stored.tasks.keys().last().map_or(tasks, |last| tasks.max(last + 1));
        let partitions: Vec<TopicPartition> = (0..count).map(|task| partition(connector, task)).collect();
        let keeps = probe.delivery() == Delivery::SinkOffsets;
        let mut resume = Resume::new();
        if keeps {
            let assigned: Vec<Assignment> = partitions.iter().cloned().map(Assignment::from).collect();
            resume = retry::with_backoff(status, stop, || probe.open(&assigned)).await?;
            probe.close(&partitions).await?;
        }
        for (task, tp) in partitions.iter().enumerate() {
            let table = if keeps { Table::Has(resume.get(tp).copied()) } else { Table::KeepsNone };
            stored.settle(tp, task, table)?;
        }
        let heads: Vec<_> = stored.tasks.iter().map(|(task, progress)| progress.records(*task).1).collect();
        retry::with_backoff(status, stop, || store.store(&stored.positions)).await?;
        retry::with_backoff(status, stop, || store.store(&heads)).await?;
        Ok(stored)
    }

    async fn direct_task(
        &self,
        connector: &ConnectorConfig,
        (source, sink): (PluginUse, PluginUse),
        status: Arc<TaskStatus>,
        context: SourceContext,
        counter: Offset,
        positions: Arc<dyn Positions>,
    ) -> Result<()> {
        let info = info(connector, status.task);
        let source: Arc<dyn Source> =
            source.component.create_source(&source.config, &info).map_err(wrong_config)?;
        let sink = sink.component.create_sink(&sink.config, &info).map_err(wrong_config)?;
        expose_source(&status, &source);
        expose_sink(&status, &sink);
        let (key, value) = converters(connector)?;
        let pipeline = Pipeline::direct(key, value, transforms(connector, &info)?, &sink.needs())
            .with_headers(header_converter(connector)?)
            .retrying(status.clone(), self.stop.clone());
        let dead_letters = match self.dead_letters(connector, &status).await {
            Err(_) if self.stop.is_cancelled() => return Ok(()),
            dead_letters => dead_letters?,
        };
        started(connector, &status);
        let partition = partition(connector, status.task);
        let goal = connector.bounded_run.then(|| Arc::new(Goal::new([(partition.clone(), None)])));
        let feed = direct::start(DirectOptions {
            source,
            context,
            partition,
            counter,
            positions,
            tolerance: connector.errors_tolerance,
            budget: self.budget.clone(),
            status: status.clone(),
            stop: self.stop.clone(),
        });
        // A source has no topics to follow.
        let (_topics, topics) = watch::channel(Vec::new());
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
            direct: true,
            dead_letters,
            recipe: None,
            restore: None,
        };
        task.run(feed).await
    }
}

/// How the records of a task are named: the connector, and the task's number.
fn partition(connector: &ConnectorConfig, task: usize) -> TopicPartition {
    TopicPartition::new(connector.name.as_str(), i32::try_from(task).unwrap_or(i32::MAX))
}
