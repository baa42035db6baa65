//! Upserts: what a range leaves is written once; files that hold one of its keys are written again without them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use connector_core::Result;
use deltalake::kernel::{Add, Remove};

use super::key::KeySet;
use super::live::Files;
use super::prune::Bounds;
use super::{Actions, Keyed, Rows, order, write};
use crate::files::DataFile;
use crate::table::{Head, Table};

#[derive(Debug)]
pub struct Upsert {
    /// All keys of the range, those of tombstones too.
    keys: KeySet,
    bounds: Bounds,
    /// The rows that stand.
    written: Vec<Arc<DataFile>>,
    /// Files of the table that were looked at; those that hold one of the keys with what takes their place.
    seen: BTreeMap<String, Option<Vec<Arc<DataFile>>>>,
}

impl Upsert {
    pub async fn new(
        keyed: &Keyed,
        table: &Table,
        head: &Head,
        schema: &SchemaRef,
        rows: Vec<Rows>,
    ) -> Result<Self> {
        let batch = |rows: &Rows| match rows {
            Rows::Put(batch) | Rows::Delete(batch) => batch.clone(),
        };
        let batches: Vec<RecordBatch> = rows.iter().map(batch).collect();
        let keys = batches.iter().map(|batch| keyed.keys.keys(batch)).collect::<Result<Vec<_>>>()?;
        let bounds = Bounds::of(&keyed.keys, batches.iter())?;
        let stands = order::last_of_each(&keys);
        let puts = rows.iter().zip(&stands).filter_map(|(rows, stands)| match rows {
            Rows::Put(batch) => Some(filter_record_batch(batch, stands).map_err(Into::into)),
            Rows::Delete(_) => None,
        });
        let puts = puts.collect::<Result<Vec<_>>>()?;
        let written = write::write(table, head, schema, &puts, &keyed.layout).await?;
        Ok(Self { keys: keys.into_iter().flatten().collect(), bounds, written, seen: BTreeMap::new() })
    }

    /// For a version with these files; looks only at those that it has not seen.
    pub async fn plan(
        &mut self,
        keyed: &Keyed,
        table: &Table,
        head: &Head,
        files: &Files,
    ) -> Result<Actions> {
        let unseen = |file: &&Add| file.deletion_vector.is_some() || !self.seen.contains_key(&file.path);
        let new: Vec<&Add> = files.values().filter(unseen).collect();
        let holders = keyed.holders(table, head, &new, &self.keys, &self.bounds).await?;
        for (file, keys) in holders {
            let gone: KeySet = keys.into_iter().collect();
            let stays = |batch: RecordBatch| {
                let stays: Vec<bool> =
                    keyed.keys.keys(&batch)?.iter().map(|key| !gone.contains(key)).collect();
                Ok(filter_record_batch(&batch, &stays.into())?)
            };
            let rest = write::copy(table, head, std::slice::from_ref(file), &keyed.layout, stays).await?;
            self.seen.insert(file.path.clone(), Some(rest));
        }
        for file in new {
            self.seen.entry(file.path.clone()).or_insert(None);
        }
        // What others have replaced meanwhile is theirs to clean up, but what was to take its place is ours.
        let stale: Vec<String> =
            self.seen.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
        for path in stale {
            for file in self.seen.remove(&path).flatten().into_iter().flatten() {
                file.discard(table).await;
            }
        }

        let mut actions = Actions::default();
        for (path, rest) in &self.seen {
            if let (Some(rest), Some(file)) = (rest, files.get(path)) {
                actions.removes.push(removal(file, true));
                actions.adds.extend(rest.iter().map(|file| file.add.clone()));
            }
        }
        actions.adds.extend(self.written.iter().map(|file| file.add.clone()));
        Ok(actions)
    }
}

/// The action that takes `file` out of the table; `data_change` if rows go with it.
pub fn removal(file: &Add, data_change: bool) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(file.partition_values.clone()),
        size: Some(file.size),
        ..Remove::default()
    }
}
