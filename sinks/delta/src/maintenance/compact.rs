//! Compaction: the rows of small files into files of the target size, in a commit that changes no data.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use connector_core::Result;
use deltalake::kernel::Add;
use deltalake::protocol::DeltaOperation;

use super::bins::bins;
use crate::commit::{Change, Reads, Refused};
use crate::files::{DataFile, Layout};
use crate::keyed::{self, write};
use crate::table::{Head, Table};

/// Files of the target size that one commit makes at most: so much is lost if somebody replaces their sources.
const BINS_A_COMMIT: usize = 8;

/// Some files, and what takes their place.
pub(super) struct Rewritten {
    pub(super) sources: Vec<Add>,
    pub(super) files: Vec<Arc<DataFile>>,
}

/// Number of small files that became part of larger ones.
pub async fn compact(table: &Table, layout: &Layout) -> Result<u64> {
    let head = table.refresh().await?;
    let mut files = table.files(&head).await?;
    // Rows that are marked as deleted beside their file would come back.
    files.retain(|file| file.deletion_vector.is_none());
    // Oldest first, as they were written.
    files.reverse();
    let sizes: Vec<_> =
        files.iter().map(|file| (partition(file), u64::try_from(file.size).unwrap_or(0))).collect();
    let mut compacted = 0;
    for bins in bins(&sizes, layout.target_bytes).chunks(BINS_A_COMMIT) {
        let mut rewritten = Vec::new();
        for bin in bins {
            let sources: Vec<Add> = bin.iter().filter_map(|&at| files.get(at).cloned()).collect();
            let files = write::copy(table, &head, &sources, layout, Ok).await?;
            rewritten.push(Rewritten { sources, files });
        }
        compacted += commit(table, &head, rewritten, layout).await?;
    }
    Ok(compacted)
}

fn partition(file: &Add) -> BTreeMap<&str, Option<&str>> {
    file.partition_values.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
}

/// Number of files that were replaced: those of which somebody else has replaced one meanwhile stay.
pub(super) async fn commit(
    table: &Table,
    head: &Arc<Head>,
    mut rewritten: Vec<Rewritten>,
    layout: &Layout,
) -> Result<u64> {
    let target_size = i64::try_from(layout.target_bytes).unwrap_or(i64::MAX);
    let operation = DeltaOperation::Optimize { predicate: None, target_size };
    let mut base = Arc::clone(head);
    while !rewritten.is_empty() {
        let mut change = Change::new(base, operation.clone(), Reads::Removed);
        for Rewritten { sources, files } in &rewritten {
            change.removes.extend(sources.iter().map(|file| keyed::removal(file, false)));
            change.adds.extend(files.iter().map(|file| Add { data_change: false, ..file.add.clone() }));
        }
        let metrics = serde_json::json!({
            "numRemovedFiles": change.removes.len().to_string(),
            "numAddedFiles": change.adds.len().to_string(),
        });
        change.info.insert("operationMetrics".to_owned(), metrics);
        match table.commit(&change).await {
            Ok(_) => return Ok(change.removes.len() as u64),
            Err(Refused::Failed(error)) => return Err(error),
            Err(Refused::Conflict(what)) => {
                tracing::debug!(table = table.place(), what, "compaction makes room for another writer");
                base = table.refresh().await?;
                rewritten = still_there(table, &base, rewritten).await?;
            }
        }
    }
    Ok(0)
}

/// Without those of which a source is gone.
async fn still_there(table: &Table, head: &Head, rewritten: Vec<Rewritten>) -> Result<Vec<Rewritten>> {
    let mut live = table.files(head).await?;
    // Somebody may have marked rows of a source as deleted: what was made of it has them still.
    live.retain(|file| file.deletion_vector.is_none());
    let live: HashSet<String> = live.into_iter().map(|file| file.path).collect();
    let (there, gone): (Vec<_>, Vec<_>) =
        rewritten.into_iter().partition(|one| one.sources.iter().all(|file| live.contains(&file.path)));
    for file in gone.iter().flat_map(|one| &one.files) {
        file.discard(table).await;
    }
    Ok(there)
}
