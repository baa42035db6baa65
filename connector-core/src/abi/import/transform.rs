//! A transform over its table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::Value;

use super::super::{Str, TransformVtable, data, wire};
use super::instance::Instance;
use super::{Origin, needs};
use crate::component::TaskInfo;
use crate::config::ConfigProblem;
use crate::envelope::{Needs, OFFSET};
use crate::error::{Rejection, Result};
use crate::transform::{Meta, Transform, Transformed};

struct Imported {
    instance: Instance,
    table: TransformVtable,
    needs: Needs,
    deterministic: bool,
    filters: bool,
}

pub(super) fn create(
    origin: &Origin,
    table: TransformVtable,
    config: &Value,
    task: &TaskInfo,
) -> Result<Arc<dyn Transform>, Vec<ConfigProblem>> {
    let (instance, declared, reply) = origin.create(table.create, table.drop, config, task)?;
    let needs = needs(&instance, &declared, reply)?;
    let (deterministic, filters) = (declared.deterministic.unwrap_or(true), declared.filters.unwrap_or(true));
    Ok(Arc::new(Imported { instance, table, needs, deterministic, filters }))
}

impl Transform for Imported {
    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn deterministic(&self) -> bool {
        self.deterministic
    }

    fn filters(&self) -> bool {
        self.filters
    }

    fn apply(&self, records: RecordBatch, meta: &Meta) -> Result<Transformed> {
        const ENTRY: &str = "apply";
        let instance = &self.instance;
        let mut batch = data::export(&records)?;
        let partition = wire::text(&meta.partition);
        let reply = instance.call_now(ENTRY, |address, done| {
            if let Some(apply) = self.table.apply {
                unsafe { apply(address, Str::new(&partition), &raw mut batch, done) };
            }
        })?;
        let reply = instance.accept(ENTRY, reply)?;
        let answer: wire::ApplyAnswer = instance.value(ENTRY, &reply)?;
        let runs = instance.runs(ENTRY, answer.runs, reply.batches)?;
        let rejected: Vec<Rejection> = answer.rejected.into_iter().map(Rejection::from).collect();

        let (rows, out) = (records.num_rows(), runs.iter().map(|run| run.records.num_rows()).sum::<usize>());
        if out + rejected.len() > rows || rejected.iter().any(|rejection| rejection.row >= rows) {
            let what = format!("made {out} records and {} rejections of {rows} records", rejected.len());
            return Err(instance.misdeed(ENTRY, what));
        }
        let numbered = |records: &RecordBatch| records.column_by_name(OFFSET).is_some();
        if numbered(&records) && !runs.iter().all(|run| numbered(&run.records)) {
            return Err(instance.misdeed(ENTRY, "lost the `offset` column"));
        }
        Ok(Transformed { runs, rejected })
    }
}
