//! A sink over its table.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::super::{SinkVtable, Str, data, wire};
use super::instance::{Instance, Reply};
use super::{Origin, needs};
use crate::batch::{Assignment, Batch, Offset, TopicPartition};
use crate::component::TaskInfo;
use crate::config::ConfigProblem;
use crate::envelope::Needs;
use crate::error::{ConnectError, Result};
use crate::metric::Metric;
use crate::sink::{
    Committable, CutSchedule, Delivery, Extent, FlushRange, OpenLimits, Resume, Sink, Written, no_inventory,
};

struct Imported {
    instance: Arc<Instance>,
    table: SinkVtable,
    needs: Needs,
    delivery: Delivery,
    schedule: Option<CutSchedule>,
    open_limits: OpenLimits,
}

/// What the plugin staged; tells it when no one needs that any more.
struct Staged {
    number: u64,
    table: SinkVtable,
    instance: Arc<Instance>,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(forget) = self.table.forget
            && self.instance.is_usable()
        {
            unsafe { forget(self.instance.address(), self.number) };
        }
    }
}

pub(super) fn create(
    origin: &Origin,
    table: SinkVtable,
    config: &Value,
    task: &TaskInfo,
) -> Result<Arc<dyn Sink>, Vec<ConfigProblem>> {
    let (instance, declared, reply) = origin.create(table.create, table.drop, config, task)?;
    let needs = needs(&instance, &declared, reply)?;
    let delivery = declared.delivery.unwrap_or(Delivery::AtLeastOnce);
    Ok(Arc::new(Imported {
        instance: Arc::new(instance),
        table,
        needs,
        delivery,
        schedule: declared.schedule,
        open_limits: declared.open_limits,
    }))
}

#[async_trait]
impl Sink for Imported {
    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn schedule(&self) -> Option<CutSchedule> {
        self.schedule
    }

    fn open_limits(&self) -> OpenLimits {
        self.open_limits
    }

    fn metrics(&self) -> Vec<Metric> {
        self.instance.metrics(self.table.metrics)
    }

    async fn open(&self, partitions: &[Assignment]) -> Result<Resume> {
        let argument = wire::text(&partitions);
        let reply = self.instance.text_call("open", self.table.open, &argument).await?;
        let resume: Vec<(TopicPartition, Offset)> = self.instance.value("open", &reply)?;
        Ok(resume.into_iter().collect())
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        // The permit stays here until the plugin has answered.
        let Batch { partition, records, permit: _permit } = batch;
        let reply = {
            let mut batch = data::export(&records)?;
            let partition = wire::text(&partition);
            let call = self.table.write;
            self.instance.call("write", move |address, done| {
                if let Some(write) = call {
                    unsafe { write(address, Str::new(&partition), &raw mut batch, done) };
                }
            })
        }
        .await?;
        let rows = records.num_rows();
        let written = Written::from(self.instance.value::<wire::WriteAnswer>("write", &reply)?);
        let refused = written.rejected.len().saturating_add(written.filtered);
        if refused > rows || written.rejected.iter().any(|rejection| rejection.row >= rows) {
            let what = format!("rejected or filtered rows that are not among the {rows} of {partition}");
            return Err(self.instance.misdeed("write", what));
        }
        Ok(written)
    }

    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        let argument = wire::text(&ranges);
        let reply = self.instance.text_call("flush", self.table.flush, &argument).await?;
        let number = self.instance.value("flush", &reply)?;
        Ok(Committable::new(Staged { number, table: self.table, instance: self.instance.clone() }))
    }

    async fn commit(&self, staged: &Committable) -> Result<()> {
        let staged = staged.get::<Staged>().filter(|staged| Arc::ptr_eq(&staged.instance, &self.instance));
        let number = staged.map(|staged| staged.number).ok_or_else(|| {
            ConnectError::internal("plugin.token", "a sink was asked to commit what another one staged")
        })?;
        let Some(commit) = self.table.commit else { return Ok(()) };
        let call =
            self.instance.call("commit", move |address, done| unsafe { commit(address, number, done) });
        call.await.map(|_: Reply| ())
    }

    async fn close(&self, revoked: &[TopicPartition]) -> Result<()> {
        if self.table.close.is_none() {
            return Ok(());
        }
        let argument = wire::text(&revoked);
        self.instance.text_call("close", self.table.close, &argument).await.map(|_| ())
    }

    async fn inventory(&self, topics: &[Arc<str>]) -> Result<Vec<Extent>> {
        if self.table.inventory.is_none() {
            return Err(no_inventory());
        }
        let reply = self.instance.text_call("inventory", self.table.inventory, &wire::text(&topics)).await?;
        self.instance.value("inventory", &reply)
    }
}
