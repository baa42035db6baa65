//! A source over its table.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use super::super::{SourceVtable, Str, wire};
use super::Origin;
use super::host::Directory;
use super::instance::{Instance, Pending};
use crate::component::TaskInfo;
use crate::config::ConfigProblem;
use crate::error::Result;
use crate::metric::Metric;
use crate::source::{Acks, PollBudget, Source, SourceBatch, SourceContext, SourceOffset, TaskConfig};

struct Imported {
    instance: Instance,
    table: SourceVtable,
    wants_acks: bool,
    bounded: bool,
    exactly_once: bool,
    direct: bool,
    /// A poll whose future was dropped goes on in the plugin; the next poll takes its answer, so nothing is lost.
    polling: tokio::sync::Mutex<Option<Pending>>,
    directory: Mutex<Option<Directory>>,
}

impl Imported {
    fn set_directory(&self, directory: Option<Directory>) {
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = directory;
    }
}

pub(super) fn create(
    origin: &Origin,
    table: SourceVtable,
    config: &Value,
    task: &TaskInfo,
) -> Result<Arc<dyn Source>, Vec<ConfigProblem>> {
    let (instance, declared, _) = origin.create(table.create, table.drop, config, task)?;
    let wire::Declared { wants_acks, bounded, exactly_once, .. } = declared;
    Ok(Arc::new(Imported {
        instance,
        table,
        wants_acks,
        bounded,
        exactly_once,
        direct: task.direct,
        polling: Default::default(),
        directory: Mutex::default(),
    }))
}

#[async_trait]
impl Source for Imported {
    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>> {
        let Some(plan) = self.table.plan else { return Ok(vec![TaskConfig::new()]) };
        let call = move |address, done| unsafe { plan(address, max_tasks as u64, done) };
        let reply = self.instance.call("plan", call).await?;
        self.instance.value("plan", &reply)
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let SourceContext { task, positions, topics } = context;
        let directory = Directory::new(topics);
        let argument = wire::text(&wire::OpenSource { task, positions, directory: directory.0 });
        self.set_directory(Some(directory));
        self.instance.text_call("open", self.table.open, &argument).await.map(|_| ())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let mut polling = self.polling.lock().await;
        if polling.is_none() {
            let call = |address, done| {
                if let Some(poll) = self.table.poll {
                    unsafe { poll(address, budget.max_records as u64, budget.max_bytes as u64, done) };
                }
            };
            *polling = Some(self.instance.begin("poll", call)?);
        }
        let Some(pending) = polling.as_mut() else { return Ok(None) };
        let reply = self.instance.wait(pending).await;
        *polling = None;
        let reply = reply?;
        let Some(wire::PollAnswer { runs, rejected, offset }) = self.instance.value("poll", &reply)? else {
            return Ok(None);
        };
        let runs = self.instance.runs("poll", runs, reply.batches)?;
        if !self.direct && runs.iter().any(|run| run.topic.is_none()) {
            return Err(self.instance.misdeed("poll", "answered a run without a topic"));
        }
        let rejected = rejected.into_iter().map(Into::into).collect();
        Ok(Some(SourceBatch { runs, rejected, offset }))
    }

    async fn commit(&self, offset: &SourceOffset, acks: &Acks) -> Result<()> {
        let Some(commit) = self.table.commit else { return Ok(()) };
        let (offset, acks) = (wire::text(offset), wire::text(acks));
        let call = move |address, done| unsafe { commit(address, Str::new(&offset), Str::new(&acks), done) };
        self.instance.call("commit", call).await.map(|_| ())
    }

    async fn close(&self) -> Result<()> {
        // What a dropped poll still brings was not committed, so it is read again.
        if let Ok(mut polling) = self.polling.try_lock() {
            *polling = None;
        }
        if let Some(close) = self.table.close {
            self.instance.call("close", move |address, done| unsafe { close(address, done) }).await?;
        }
        self.set_directory(None);
        Ok(())
    }

    fn wants_acks(&self) -> bool {
        self.wants_acks
    }

    fn bounded(&self) -> bool {
        self.bounded
    }

    fn exactly_once(&self) -> bool {
        self.exactly_once
    }

    fn metrics(&self) -> Vec<Metric> {
        self.instance.metrics(self.table.metrics)
    }
}
