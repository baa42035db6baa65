//! Rows by key: an upsert leaves the last row of each key, de-duplication the first one; both also against the rows that
//! the table has.
//!
//! Copy-on-write on Arrow kernels (docs/delta.md says why not a query engine): files that statistics or the remembered
//! keys exclude are not touched, of the others the key columns are read, and an upsert writes those again that hold one
//! of its keys.

mod distinct;
mod index;
mod key;
mod live;
mod order;
mod prune;
#[cfg(test)]
pub(crate) mod tests;
mod tombstone;
mod upsert;
pub(crate) mod write;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use connector_core::{ConnectError, Rejection, Result, Stage};
use deltalake::kernel::{Add, Remove, Version};
use deltalake::protocol::{DeltaOperation, MergePredicate};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::commit::{Change, Reads, Refused};
use crate::config::{Config, Mode};
use crate::files::Layout;
use crate::read;
use crate::table::{Head, Table};

use self::distinct::Distinct;
use self::index::KeyIndex;
use self::key::{Key, KeyColumns, KeySet};
use self::live::LiveFiles;
use self::prune::Bounds;
pub use self::tombstone::deletes;
use self::upsert::Upsert;
pub(crate) use self::upsert::removal;

/// Memory for the keys of a table's files, which are kept between commits: 4 million keys.
const INDEX_BYTES: usize = 64 << 20;

/// Files whose key columns are read at once.
const FILES_AT_ONCE: usize = 4;

/// Rows of a range, in order.
#[derive(Clone, Debug)]
pub enum Rows {
    /// With the table's columns, or some of them.
    Put(RecordBatch),
    /// Key columns of rows that are to go; upserts only.
    Delete(RecordBatch),
}

/// What the keys of one table are for.
#[derive(Debug)]
pub struct Keyed {
    mode: Mode,
    keys: KeyColumns,
    index: KeyIndex,
    live: Mutex<LiveFiles>,
    layout: Layout,
}

/// A range that is staged: what it adds is in the store; which files it replaces is looked at again when others commit.
#[derive(Debug)]
pub struct Pending(Mutex<Effect>);

#[derive(Debug)]
enum Effect {
    Upsert(Upsert),
    Distinct(Distinct),
}

/// The part of a commit that depends on the table's version.
#[derive(Debug, Default)]
struct Actions {
    adds: Vec<Add>,
    removes: Vec<Remove>,
}

impl Keyed {
    /// `None` if rows are simply appended. The key columns must be columns of `table`.
    pub fn new(config: &Config, layout: Layout, table: &Schema) -> Result<Option<Self>> {
        let (option, names) = match (config.mode, config.dedup_keys.is_empty()) {
            (Mode::Upsert, _) => ("delta.key.columns", &config.key_columns),
            (Mode::Append, false) => ("delta.dedup.keys", &config.dedup_keys),
            (Mode::Append, true) => return Ok(None),
        };
        let keys = KeyColumns::new(option, names, table)?;
        let (index, live) = (KeyIndex::new(INDEX_BYTES), Mutex::default());
        Ok(Some(Self { mode: config.mode, keys, index, live, layout }))
    }

    /// Rows of an upsert whose key is null.
    pub fn rejected(&self, rows: &RecordBatch) -> Result<Vec<Rejection>> {
        if self.mode == Mode::Append {
            return Ok(Vec::new());
        }
        let names = self.keys.names().join("`, `");
        let rejection = |row| {
            let error =
                ConnectError::user("delta.null_key", format!("a record has null in its key (`{names}`)"))
                    .hint("give it a value, or choose other columns as `delta.key.columns`");
            Rejection::new(row, Stage::TaskPut, error)
        };
        Ok(self.keys.rows_without_key(rows)?.into_iter().map(rejection).collect())
    }

    pub fn key_columns(&self) -> &KeyColumns {
        &self.keys
    }

    /// Bytes of memory that the remembered keys take.
    pub fn index_bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Writes what `rows` leave. `schema` is the table's, maybe with new columns behind.
    pub async fn stage(&self, table: &Table, schema: &SchemaRef, rows: Vec<Rows>) -> Result<Pending> {
        let head = table.head();
        let mut effect = match self.mode {
            Mode::Upsert => Effect::Upsert(Upsert::new(self, table, &head, schema, rows).await?),
            Mode::Append => Effect::Distinct(Distinct::new(self, schema, rows)?),
        };
        // Now, so that the commit itself finds it done, unless others come in between.
        match self.plan(table, &head, &mut effect).await {
            Err(_) if table.refresh().await?.version > head.version => {
                self.plan(table, &table.head(), &mut effect).await?;
            }
            planned => drop(planned?),
        }
        Ok(Pending(Mutex::new(effect)))
    }

    /// Commits `pending` with what `change` says about offsets and schema; its files are put into it, for the version that
    /// it is based on. The same change again finds that it is done.
    pub async fn commit(
        &self,
        table: &Table,
        pending: &Pending,
        change: &mut Change,
    ) -> Result<Version, Refused> {
        let planned = self.plan(table, &change.base, &mut *pending.0.lock().await).await;
        let actions = match planned {
            // A file that others have replaced may be gone from the store too.
            Err(error) if table.refresh().await?.version > change.base.version => {
                return Err(Refused::Conflict(error.to_string()));
            }
            planned => planned?,
        };
        change.reads = Reads::Table;
        if self.mode == Mode::Upsert {
            change.operation = merge(&self.keys.names());
        }
        change.info.insert("operationMetrics".to_owned(), actions.metrics());
        (change.adds, change.removes) = (actions.adds, actions.removes);
        table.commit(change).await
    }

    async fn plan(&self, table: &Table, head: &Arc<Head>, effect: &mut Effect) -> Result<Actions> {
        let mut live = self.live.lock().await;
        let files = live.at(table, head).await?;
        self.index.retain(&files.keys().map(String::as_str).collect());
        match effect {
            Effect::Upsert(upsert) => upsert.plan(self, table, head, files).await,
            Effect::Distinct(distinct) => distinct.plan(self, table, head, files).await,
        }
    }

    /// The files that hold one of the `wanted` keys, with these keys.
    async fn holders<'f>(
        &self,
        table: &Table,
        head: &Head,
        files: &[&'f Add],
        wanted: &KeySet,
        bounds: &Bounds,
    ) -> Result<Vec<(&'f Add, Vec<Key>)>> {
        let mut looked_at = Vec::new();
        for &file in files {
            if bounds.may_match(file.stats.as_deref(), &file.partition_values) {
                looked_at.push(async move {
                    let keys = self.keys_of(table, head, file).await?;
                    Ok::<_, ConnectError>((file, index::shared(&keys, wanted)))
                });
            }
        }
        let mut holders: Vec<_> = stream::iter(looked_at).buffered(FILES_AT_ONCE).try_collect().await?;
        holders.retain(|(_, keys)| !keys.is_empty());
        Ok(holders)
    }

    /// Refuses a file with deleted rows beside it, whatever is remembered of it: they may be newer, and would come back.
    async fn keys_of(&self, table: &Table, head: &Head, file: &Add) -> Result<Arc<[Key]>> {
        if file.deletion_vector.is_some() {
            let message = format!("{}: `{}` has deleted rows marked beside it", table.place(), file.path);
            return Err(ConnectError::user("delta.deletion_vector", message).hint(
                "rewrite such files once with `REORG TABLE … APPLY (PURGE)` and set the table's \
                 `delta.enableDeletionVectors` to false",
            ));
        }
        if let Some(keys) = self.index.get(&file.path) {
            return Ok(keys);
        }
        let names = self.keys.names();
        let mut rows = read::rows(table, head, file, Some(&names)).await?;
        let mut keys = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            keys.extend(self.keys.keys(&batch)?);
        }
        Ok(self.index.put(&file.path, keys))
    }
}

impl Actions {
    /// Spark's names; texts, as Spark writes and reads them.
    fn metrics(&self) -> Value {
        let bytes: i64 = self.adds.iter().map(|add| add.size).sum();
        serde_json::json!({
            "numTargetFilesAdded": self.adds.len().to_string(),
            "numTargetFilesRemoved": self.removes.len().to_string(),
            "numTargetBytesAdded": bytes.to_string(),
        })
    }
}

fn merge(names: &[String]) -> DeltaOperation {
    let equal: Vec<_> = names.iter().map(|name| format!("target.`{name}` = source.`{name}`")).collect();
    let action = |name: &str| MergePredicate { action_type: name.to_owned(), predicate: None };
    DeltaOperation::Merge {
        predicate: None,
        merge_predicate: Some(equal.join(" AND ")),
        matched_predicates: vec![action("update"), action("delete")],
        not_matched_predicates: vec![action("insert")],
        not_matched_by_source_predicates: Vec::new(),
    }
}
