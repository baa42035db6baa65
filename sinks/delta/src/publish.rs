//! A flush and its commit: the segments of one table, staged, then made a version together with their offsets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use connector_core::{Assignment, ConnectError, FlushRange, Result};
use deltalake::kernel::{Add, Metadata, MetadataExt as _, StructType, Transaction, Version};
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::commit::{Change, Reads, Refused};
use crate::figures::Figures;
use crate::keyed::{Pending, Rows};
use crate::schema;
use crate::segment::Segment;
use crate::table::Head;
use crate::target::Open;

/// Files that are put at once.
const PUTS_AT_ONCE: usize = 4;

/// Times that others may change the schema in a row.
const ATTEMPTS: usize = 20;

/// The records of one topic-partition that go into a version.
#[derive(Clone, Debug)]
pub struct Share {
    pub assignment: Assignment,
    pub app_id: String,
    /// Nobody else has moved its offset up to this version.
    pub seen: Version,
    pub range: FlushRange,
    pub segments: Vec<Arc<Segment>>,
}

/// The token of a flush for one table.
pub struct Staged {
    pub open: Arc<Open>,
    id: Uuid,
    pub shares: Vec<Share>,
    /// For tables with keys.
    pending: Option<Pending>,
    done: Mutex<Option<Version>>,
}

impl Staged {
    /// Brings everything into the store.
    pub async fn new(open: Arc<Open>, shares: Vec<Share>) -> Result<Self> {
        let segments = || shares.iter().flat_map(|share| &share.segments);
        let pending = match &open.keyed {
            Some(keyed) => {
                let rows: Vec<Rows> = segments().flat_map(|segment| segment.rows.iter().cloned()).collect();
                let schema = open.columns().1;
                Some(keyed.stage(&open.table, &schema, rows).await?)
            }
            None => {
                let files: Vec<_> = segments().flat_map(|segment| segment.files.iter().cloned()).collect();
                let table = &open.table;
                stream::iter(files)
                    .map(|file| async move { file.stage(table).await })
                    .buffer_unordered(PUTS_AT_ONCE)
                    .try_collect::<()>()
                    .await?;
                None
            }
        };
        Ok(Self { open, id: Uuid::new_v4(), shares, pending, done: Mutex::default() })
    }

    /// Makes it a version, once; the version.
    pub async fn commit(&self, connector: &str, figures: &Figures) -> Result<Version> {
        let mut done = self.done.lock().await;
        if let Some(version) = *done {
            return Ok(version);
        }
        for segment in self.shares.iter().flat_map(|share| &share.segments) {
            segment.tried.store(true, Ordering::Release);
        }
        let (table, started) = (&self.open.table, Instant::now());
        for _ in 0..ATTEMPTS {
            let head = table.head();
            let mut change = self.change(connector, head)?;
            let committed = match (&self.open.keyed, &self.pending) {
                (Some(keyed), Some(pending)) => keyed.commit(table, pending, &mut change).await,
                _ => table.commit(&change).await,
            };
            match committed {
                Ok(version) => {
                    figures.committed(version, started.elapsed(), &change.adds);
                    *done = Some(version);
                    return Ok(version);
                }
                // The newest schema decides whether the files are right under it.
                Err(Refused::Conflict(what)) => {
                    figures.conflict();
                    tracing::info!(table = table.place(), "{what}; the commit is made again for it");
                    table.refresh().await?;
                }
                Err(Refused::Failed(error)) => return Err(error),
            }
        }
        let message = format!(
            "{}: others changed the table {ATTEMPTS} times in a row before this commit",
            table.place()
        );
        Err(ConnectError::external("delta.busy", message))
    }

    fn adds(&self) -> Vec<Add> {
        let files = self.shares.iter().flat_map(|share| &share.segments).flat_map(|segment| &segment.files);
        files.map(|file| file.add.clone()).collect()
    }

    fn change(&self, connector: &str, head: Arc<Head>) -> Result<Change> {
        let partition_by = head.partition_columns().to_vec();
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: (!partition_by.is_empty()).then_some(partition_by),
            predicate: None,
        };
        let metadata = self.metadata(&head)?;
        let now = chrono::Utc::now().timestamp_millis();
        let txns = self
            .shares
            .iter()
            .map(|share| Transaction::new_with_last_update(&share.app_id, share.range.end, Some(now)));
        let mut change = Change::new(head, operation, Reads::Nothing);
        change.id = self.id;
        // Partitions that were in different commits before: one's newest commit is no news about the others.
        change.seen = self.shares.iter().map(|share| (share.app_id.clone(), share.seen)).collect();
        change.first = self.shares.iter().map(|share| share.seen).min().unwrap_or(change.first);
        change.metadata = metadata;
        change.txns = txns.collect();
        change.adds = self.adds();
        change.info = self.info(connector, &change.adds);
        Ok(change)
    }

    /// The table's metadata with new columns, if there are any. Refuses files that are wrong under the table as it is
    /// now.
    fn metadata(&self, head: &Head) -> Result<Option<Metadata>> {
        let place = self.open.table.place();
        let mut columns = head.delta_schema.clone();
        for segment in self.shares.iter().flat_map(|share| &share.segments) {
            columns = schema::grow(&columns, &segment.columns).unwrap_or(columns);
            if let Some(name) = changed(&columns, &segment.columns) {
                let message =
                    format!("{place}: another writer changed column `{name}` while rows for it were written");
                return Err(ConnectError::user("delta.schema_changed", message)
                    .hint("restart the task: the rows are read again and checked against the new column"));
            }
        }
        if columns == head.delta_schema {
            return Ok(None);
        }
        let metadata = head.metadata.clone().with_schema(&columns);
        metadata
            .map(Some)
            .map_err(|e| ConnectError::internal("delta.metadata", "a schema has no text form").caused_by(e))
    }

    fn info(&self, connector: &str, adds: &[Add]) -> HashMap<String, Value> {
        let ranges: Vec<Value> = self
            .shares
            .iter()
            .map(|Share { assignment, range, .. }| {
                json!({
                    "topic": &*assignment.partition.topic,
                    "partition": assignment.partition.partition,
                    "topicId": &*assignment.topic_id,
                    "start": range.start,
                    "end": range.end,
                    "delivered": range.counts.delivered,
                    "filtered": range.counts.filtered,
                    "rejected": range.counts.rejected,
                })
            })
            .collect();
        let bytes: i64 = adds.iter().map(|add| add.size).sum();
        // Texts, as Spark writes and reads them.
        let metrics = json!({"numFiles": adds.len().to_string(), "numOutputBytes": bytes.to_string()});
        HashMap::from([
            ("sidestream".to_owned(), json!({"connector": connector, "ranges": ranges})),
            ("operationMetrics".to_owned(), metrics),
            ("clientVersion".to_owned(), concat!("sidestream.", env!("CARGO_PKG_VERSION")).into()),
        ])
    }
}

/// A column that is no longer as it was when files were written.
fn changed<'s>(now: &StructType, then: &'s StructType) -> Option<&'s str> {
    let differs = |column: &&deltalake::kernel::StructField| {
        now.field(column.name()).is_none_or(|now| {
            let wider = StructType::new_unchecked([(*column).clone()]);
            let now = StructType::new_unchecked([now.clone()]);
            // Files with a narrower column are fine, those without a nested one too.
            now.fields().next().map(|f| f.data_type()) != wider.fields().next().map(|f| f.data_type())
                && schema::grow(&wider, &now).is_none_or(|grown| {
                    grown.fields().next().map(|f| f.data_type()) != now.fields().next().map(|f| f.data_type())
                })
        })
    };
    then.fields().find(differs).map(|column| column.name().as_str())
}
