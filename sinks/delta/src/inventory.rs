//! What the log says of the records in the table, and whether the files are there.
//!
//! Each of our commits notes its ranges and counts. Compaction makes no such note and takes no row away, so it changes
//! nothing here; the files of the newest version are looked for in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use connector_core::{ConnectError, Extent, Metric, Offset, RangeCounts, Result, TopicPartition};
use deltalake::kernel::{Action, Version};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use serde::Deserialize;
use serde_json::Value;

use crate::reader::FileReader;
use crate::table::Table;
use crate::{error, files};

/// Entries of the log that are fetched at once.
const ENTRIES_AT_ONCE: usize = 16;

/// How far an inventory is, in versions.
#[derive(Debug, Default)]
pub struct Progress {
    versions: AtomicU64,
    read: AtomicU64,
}

impl Progress {
    /// Nothing before the first inventory.
    pub fn metrics(&self) -> Vec<Metric> {
        let (versions, read) = (self.versions.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed));
        if versions == 0 {
            return Vec::new();
        }
        let gauge = |name, help, value: u64| Metric::gauge(name, help, value as f64);
        vec![
            gauge("sidestream_inventory_objects", "Versions that an inventory is to read.", versions),
            gauge("sidestream_inventory_read", "Versions that an inventory has read.", read),
        ]
    }
}

/// A range as a commit notes it.
#[derive(Clone, Debug, Deserialize)]
struct Noted {
    topic: Arc<str>,
    partition: i32,
    #[serde(rename = "topicId", default)]
    topic_id: Arc<str>,
    start: Offset,
    end: Offset,
    #[serde(flatten)]
    counts: RangeCounts,
}

/// One of the connector's commits.
struct Commit {
    version: Version,
    ranges: Vec<Noted>,
    /// Rows of its files, by path; `None` where a commit does more than add rows, or does not say how many.
    files: Option<HashMap<String, u64>>,
}

impl Commit {
    /// `None` for commits of others and those without ranges.
    fn of(version: Version, actions: &[Action], connector: &str) -> Option<Self> {
        let info = actions.iter().find_map(|action| match action {
            Action::CommitInfo(info) => Some(info),
            _ => None,
        })?;
        let ours = info.info.get("sidestream")?;
        if ours.get("connector").and_then(Value::as_str) != Some(connector) {
            return None;
        }
        let ranges = Vec::<Noted>::deserialize(ours.get("ranges")?).ok()?;
        let adds = actions.iter().filter_map(|action| match action {
            Action::Add(add) => Some(add),
            _ => None,
        });
        let rows = adds.map(|add| Some((add.path.clone(), rows(add.stats.as_deref()?)?)));
        let files = (info.is_blind_append == Some(true)).then(|| rows.collect()).flatten();
        Some(Self { version, ranges, files })
    }

    fn rows(&self) -> Option<u64> {
        self.files.as_ref().map(|files| files.values().fold(0u64, |sum, rows| sum.saturating_add(*rows)))
    }

    fn said(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.counts.delivered))
    }
}

/// `numRecords` of a file's statistics.
fn rows(stats: &str) -> Option<u64> {
    serde_json::from_str::<Value>(stats).ok()?.get("numRecords")?.as_u64()
}

/// The extents of `topics`, which all go to this table, as far as `connector` wrote them.
pub async fn inventory(
    table: &Table,
    connector: &str,
    topics: &[Arc<str>],
    progress: &Progress,
) -> Result<Vec<Extent>> {
    let newest = table.head().version;
    progress.versions.fetch_add(newest + 1, Ordering::Relaxed);
    let mut entries = stream::iter((0..=newest).rev())
        .map(|version| async move { Ok::<_, ConnectError>((version, table.entry(version).await?)) })
        .buffered(ENTRIES_AT_ONCE);
    let (mut commits, mut oldest) = (Vec::new(), newest + 1);
    // Older entries were cleaned up: the log is read until one is not there.
    while let Some((version, Some(actions))) = entries.try_next().await? {
        commits.extend(Commit::of(version, &actions, connector));
        oldest = version;
        progress.read.fetch_add(1, Ordering::Relaxed);
    }
    progress.read.fetch_add(oldest, Ordering::Relaxed);
    drop(entries);
    let positions = if oldest > 0 { checkpointed(table, connector).await? } else { Vec::new() };
    without_gone_files(table, &mut commits).await?;
    let ids = newest_ids(&commits, &positions);
    // Which range of a batch had the records that the sink left out is not known to the host, so numbers of single
    // versions may be off while their sum is right.
    let sum =
        |number: fn(&Commit) -> Option<u64>| commits.iter().filter_map(number).fold(0, u64::saturating_add);
    let differ = sum(Commit::rows) != sum(|commit| commit.rows().map(|_| commit.said()));
    let mut extents = Vec::new();
    for commit in &commits {
        extents.extend(commit_extents(table, commit, differ));
    }
    if oldest > 0 {
        extents.extend(before(table, oldest, &commits, &positions));
    }
    let wanted = |of: &(Arc<str>, Extent)| {
        let topic = &of.1.partition.topic;
        // Offsets of a topic that was deleted and made again mean nothing.
        topics.contains(topic) && ids.get(topic).is_none_or(|id| *id == of.0)
    };
    Ok(extents.into_iter().filter(wanted).map(|(_, extent)| extent).collect())
}

/// The id under which each topic was last written.
fn newest_ids(commits: &[Commit], positions: &[Position]) -> HashMap<Arc<str>, Arc<str>> {
    let mut ids = HashMap::new();
    // Newest first.
    for range in commits.iter().flat_map(|commit| &commit.ranges) {
        ids.entry(Arc::clone(&range.topic)).or_insert_with(|| Arc::clone(&range.topic_id));
    }
    let mut positions: Vec<&Position> = positions.iter().collect();
    positions.sort_by_key(|position| std::cmp::Reverse(position.updated_ms));
    for position in positions {
        ids.entry(Arc::clone(&position.topic)).or_insert_with(|| Arc::clone(&position.topic_id));
    }
    ids
}

/// Takes the files that the newest version needs and that are not in the store out of their commits.
async fn without_gone_files(table: &Table, commits: &mut [Commit]) -> Result<()> {
    let failed = |cause: object_store::Error| error::store(table.place(), "listing", None, &cause);
    let there: BTreeSet<Path> =
        table.store().list(None).map_ok(|object| object.location).try_collect().await.map_err(failed)?;
    for file in table.files(&table.head()).await? {
        if there.contains(&files::path(&file.path)?) {
            continue;
        }
        let mut known = commits.iter_mut().filter_map(|commit| commit.files.as_mut());
        if !known.any(|files| files.remove(&file.path).is_some()) {
            let message =
                format!("{}: the data file `{}` is gone, and rows with it", table.place(), file.path);
            return Err(ConnectError::user("delta.file_gone", message).hint(
                "restore it; which offsets it held is not known: it was compacted, or rewritten by key",
            ));
        }
    }
    Ok(())
}

/// With the topic's id. `count_rows`: what is in the files counts, not what was noted.
fn commit_extents(table: &Table, commit: &Commit, count_rows: bool) -> Vec<(Arc<str>, Extent)> {
    let place = format!("version {} of {}", commit.version, table.place());
    let mut rows = commit.rows().filter(|_| count_rows);
    let last = commit.ranges.len().saturating_sub(1);
    let extent = |(at, range): (usize, &Noted)| {
        let Noted { topic, partition, topic_id, start, end, counts } = range.clone();
        // Files hold rows of several partitions, so what is missing is told where it was noted last.
        let records = match &mut rows {
            None => counts.delivered,
            Some(left) => {
                let taken = if at == last { *left } else { counts.delivered.min(*left) };
                *left -= taken;
                taken
            }
        };
        let partition = TopicPartition { topic, partition };
        let (end, counts, series) = (Some(end), Some(counts), String::new());
        (topic_id, Extent { partition, start, end, records, counts, place: place.clone(), series })
    };
    commit.ranges.iter().enumerate().map(extent).collect()
}

/// Where the connector was in a partition.
struct Position {
    topic: Arc<str>,
    partition: i32,
    topic_id: Arc<str>,
    end: Offset,
    /// Milliseconds since 1970.
    updated_ms: i64,
}

impl Position {
    /// `None` for application ids of others.
    fn of(app_id: &str, connector: &str) -> Option<Self> {
        let rest = app_id.strip_prefix(connector)?.strip_prefix('/')?;
        let (topic, rest) = rest.split_once('/')?;
        let (partition, topic_id) = rest.split_once('/')?;
        let partition = partition.parse().ok()?;
        Some(Self { topic: topic.into(), partition, topic_id: topic_id.into(), end: 0, updated_ms: 0 })
    }
}

/// What was committed before the oldest entry that is left: positions without counts.
fn before(
    table: &Table,
    oldest: Version,
    commits: &[Commit],
    positions: &[Position],
) -> Vec<(Arc<str>, Extent)> {
    let mut ends: BTreeMap<(Arc<str>, i32, Arc<str>), Offset> = BTreeMap::new();
    for Position { topic, partition, topic_id, end, .. } in positions {
        ends.insert((Arc::clone(topic), *partition, Arc::clone(topic_id)), *end);
    }
    for range in commits.iter().flat_map(|commit| &commit.ranges) {
        let of = (Arc::clone(&range.topic), range.partition, Arc::clone(&range.topic_id));
        // The first range that is left began where the last one that is gone ended.
        ends.entry(of).and_modify(|end| *end = range.start.min(*end)).or_insert(range.start);
    }
    let place = format!("position before version {oldest} of {}", table.place());
    let extent = |((topic, partition, topic_id), end): ((Arc<str>, i32, Arc<str>), Offset)| {
        let (partition, place) = (TopicPartition { topic, partition }, place.clone());
        let (end, series) = (Some(end), String::new());
        (topic_id, Extent { partition, start: 0, end, records: 0, counts: None, place, series })
    };
    ends.into_iter().filter(|(_, end)| *end > 0).map(extent).collect()
}

/// The connector's positions in the newest checkpoint.
async fn checkpointed(table: &Table, connector: &str) -> Result<Vec<Position>> {
    let failed = |cause: object_store::Error| error::store(table.place(), "listing", None, &cause);
    let mut checkpoints = Vec::new();
    let mut listed = table.store().list(Some(&Path::from("_delta_log")));
    while let Some(object) = listed.try_next().await.map_err(failed)? {
        // One file, or several parts.
        let name = object.location.filename().unwrap_or_default();
        let version = name.split_once(".checkpoint.").filter(|_| name.ends_with(".parquet"));
        if let Some(version) = version.and_then(|(version, _)| version.parse::<Version>().ok()) {
            checkpoints.push((version, object));
        }
    }
    let newest = checkpoints.iter().map(|(version, _)| *version).max();
    let mut positions = Vec::new();
    for (_, object) in checkpoints.into_iter().filter(|(version, _)| Some(*version) == newest) {
        let failed = |cause| error::parquet(table.place(), "reading", cause);
        let store = Arc::clone(table.store());
        let reader = FileReader { store, path: object.location, size: object.size };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let columns = ["txn.appId", "txn.version", "txn.lastUpdated"];
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let mut batches = builder.with_projection(mask).build().map_err(failed)?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            positions.extend(positions_in(&batch, connector));
        }
    }
    Ok(positions)
}

fn positions_in(batch: &RecordBatch, connector: &str) -> Vec<Position> {
    let Some(txns) = batch.column_by_name("txn").and_then(|txn| txn.as_struct_opt()) else {
        return Vec::new();
    };
    let number = |name: &str| txns.column_by_name(name).and_then(|n| n.as_primitive_opt::<Int64Type>());
    let ids = txns.column_by_name("appId").and_then(|ids| ids.as_string_opt::<i32>());
    let (Some(ids), Some(versions)) = (ids, number("version")) else { return Vec::new() };
    let position = |row: usize| {
        let updated_ms = number("lastUpdated").filter(|u| u.is_valid(row)).map_or(0, |u| u.value(row));
        Some(Position { end: versions.value(row), updated_ms, ..Position::of(ids.value(row), connector)? })
    };
    (0..txns.len()).filter(|&row| txns.is_valid(row) && ids.is_valid(row)).filter_map(position).collect()
}
