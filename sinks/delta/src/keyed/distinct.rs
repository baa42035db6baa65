//! De-duplication: of each key the first row stays, and rows that the table has came first.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use connector_core::Result;
use deltalake::kernel::Add;

use super::key::{Key, KeySet};
use super::live::Files;
use super::prune::Bounds;
use super::{Actions, Keyed, Rows, order, write};
use crate::files::DataFile;
use crate::table::{Head, Table};

#[derive(Debug)]
pub struct Distinct {
    schema: SchemaRef,
    /// Kept until the commit: somebody else may add some of their keys.
    batches: Vec<RecordBatch>,
    /// Of the batches.
    keys: Vec<Vec<Key>>,
    wanted: KeySet,
    bounds: Bounds,
    /// The wanted keys that the table has.
    present: KeySet,
    /// Files of the table that were looked at.
    seen: HashSet<String>,
    /// What is left, written.
    written: Option<Vec<Arc<DataFile>>>,
}

impl Distinct {
    pub fn new(keyed: &Keyed, schema: &SchemaRef, rows: Vec<Rows>) -> Result<Self> {
        let put = |rows| match rows {
            Rows::Put(batch) => Some(batch),
            Rows::Delete(_) => None,
        };
        let batches: Vec<_> = rows.into_iter().filter_map(put).collect();
        let keys = batches.iter().map(|batch| keyed.keys.keys(batch)).collect::<Result<Vec<_>>>()?;
        let bounds = Bounds::of(&keyed.keys, batches.iter())?;
        let wanted = keys.iter().flatten().copied().collect();
        let (schema, present, seen) = (Arc::clone(schema), KeySet::default(), HashSet::new());
        Ok(Self { schema, batches, keys, wanted, bounds, present, seen, written: None })
    }

    /// For a version with these files; looks only at those that it has not seen.
    pub async fn plan(
        &mut self,
        keyed: &Keyed,
        table: &Table,
        head: &Head,
        files: &Files,
    ) -> Result<Actions> {
        let unseen = |file: &&Add| file.deletion_vector.is_some() || !self.seen.contains(&file.path);
        let new: Vec<&Add> = files.values().filter(unseen).collect();
        let holders = keyed.holders(table, head, &new, &self.wanted, &self.bounds).await?;
        let known = self.present.len();
        self.present.extend(holders.into_iter().flat_map(|(_, keys)| keys));
        self.seen.extend(new.into_iter().map(|file| file.path.clone()));
        let files = match self.written.take() {
            Some(written) if self.present.len() == known => written,
            stale => {
                for file in stale.into_iter().flatten() {
                    file.discard(table).await;
                }
                let stays = order::first_of_each(&self.keys, &self.present);
                let rows = self
                    .batches
                    .iter()
                    .zip(&stays)
                    .map(|(batch, stays)| Ok(filter_record_batch(batch, stays)?));
                let rows = rows.collect::<Result<Vec<_>>>()?;
                write::write(table, head, &self.schema, &rows, &keyed.layout).await?
            }
        };
        let adds = files.iter().map(|file| file.add.clone()).collect();
        self.written = Some(files);
        Ok(Actions { adds, removes: Vec::new() })
    }
}
