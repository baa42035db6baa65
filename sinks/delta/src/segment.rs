//! Rows of one topic-partition on their way into a table: those that may still be split, the files that grow, and the
//! closed ones that wait for their commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use connector_core::{ConnectError, Offset, Result, TopicPartition};
use deltalake::kernel::{StructType, Version};

use crate::commit::fenced;
use crate::files::{DataFile, FileWriter, Layout};
use crate::keyed::Rows;
use crate::partition::{self, Partition};
use crate::size;
use crate::table::Table;
use crate::target::Open;

/// The newest rows are not in a file yet: a range may end among them.
const HELD_BYTES: u64 = 4 << 20;

/// Versions that a commit looks through one by one.
const REVIEWED: Version = 32;

/// Memory of the open files of a task.
const OPEN_FILES_BYTES: usize = 64 << 20;

/// Rows that came together.
#[derive(Debug)]
struct Piece {
    /// Offset after the last row.
    end: Offset,
    rows: Rows,
    bytes: u64,
}

/// Rows up to a cut, in files or as they are.
#[derive(Debug)]
pub struct Segment {
    /// Offset after the last row.
    pub end: Offset,
    pub files: Vec<Arc<DataFile>>,
    /// For tables with keys: which files they belong into shows at the flush.
    pub rows: Vec<Rows>,
    /// The table's columns when it was written, with new ones.
    pub columns: StructType,
    /// A commit of it was tried and may be in the log, whatever the answer was.
    pub tried: AtomicBool,
}

/// What one topic-partition has that is not committed.
pub struct Writer {
    partition: TopicPartition,
    /// Of its `txn` in the log.
    pub app_id: String,
    /// The offset in that, as far as it is known here.
    noted: Option<Offset>,
    /// The version up to which it is known that nobody else moved it.
    pub seen: Version,
    held: VecDeque<Piece>,
    held_bytes: u64,
    files: OpenFiles,
    /// Offset after the last row that is in a file; `None` without an open segment in files.
    filed_end: Option<Offset>,
    /// Since the last cut.
    records: u64,
    bytes: u64,
    pub closed: Vec<Arc<Segment>>,
}

/// Where a range may end.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub records: u64,
    pub bytes: Option<u64>,
}

impl Writer {
    /// `noted` is the offset in the table at the version `seen`.
    pub fn new(partition: TopicPartition, app_id: String, noted: Option<Offset>, seen: Version) -> Self {
        Self {
            partition,
            app_id,
            noted,
            seen,
            held: VecDeque::new(),
            held_bytes: 0,
            files: OpenFiles::default(),
            filed_end: None,
            records: 0,
            bytes: 0,
            closed: Vec::new(),
        }
    }

    /// Takes rows; `offsets` has one for each. The last cut, if there was one.
    pub async fn push(
        &mut self,
        rows: Rows,
        offsets: &[Offset],
        open: &Open,
        limits: Limits,
    ) -> Result<Option<Offset>> {
        let (batch, wrap): (_, fn(_) -> Rows) = match rows {
            Rows::Put(batch) => (batch, Rows::Put),
            Rows::Delete(batch) => (batch, Rows::Delete),
        };
        let sizes = size::each(&batch);
        let (mut from, mut cut) = (0, None);
        while from < offsets.len() {
            let mut to = from;
            while to < offsets.len() && !self.is_full(limits) {
                self.records += 1;
                self.bytes += sizes.get(to).copied().unwrap_or(0);
                to += 1;
            }
            if let Some(end) = to.checked_sub(1).and_then(|last| offsets.get(last)).filter(|_| to > from) {
                let bytes = sizes.get(from..to).map_or(0, |sizes| sizes.iter().sum());
                self.held.push_back(Piece { end: end + 1, rows: wrap(batch.slice(from, to - from)), bytes });
                self.held_bytes += bytes;
            }
            from = to;
            if self.is_full(limits) {
                cut = self.held.back().map(|piece| piece.end).or(cut);
                self.close(Offset::MAX, open).await?;
            }
        }
        if open.keyed.is_none() {
            while self.held_bytes > HELD_BYTES {
                self.file_oldest(open).await?;
            }
        }
        Ok(cut)
    }

    fn is_full(&self, limits: Limits) -> bool {
        self.records >= limits.records || limits.bytes.is_some_and(|bytes| self.bytes >= bytes)
    }

    async fn file_oldest(&mut self, open: &Open) -> Result<()> {
        let Some(piece) = self.held.front() else { return Ok(()) };
        // Not taken out before it is in a file: a failed call is repeated.
        if let Rows::Put(rows) = &piece.rows {
            self.files.write(rows, open).await?;
        }
        self.held_bytes -= piece.bytes;
        self.filed_end = Some(piece.end);
        self.held.pop_front();
        Ok(())
    }

    /// Closes the rows before `end`, which stay together up to their commit.
    async fn close(&mut self, end: Offset, open: &Open) -> Result<()> {
        if let Some(filed_end) = self.filed_end.filter(|&filed| filed > end) {
            let message = format!(
                "{}: a range ends at {end}, inside of a file that ends at {filed_end}",
                self.partition
            );
            return Err(ConnectError::internal("delta.not_a_cut", message));
        }
        let mut segment_end = self.filed_end;
        let mut rows = Vec::new();
        while self.held.front().is_some_and(|piece| piece.end <= end) {
            segment_end = self.held.front().map(|piece| piece.end);
            if open.keyed.is_none() {
                self.file_oldest(open).await?;
            } else if let Some(piece) = self.held.pop_front() {
                self.held_bytes -= piece.bytes;
                rows.push(piece.rows);
            }
        }
        self.filed_end = None;
        (self.records, self.bytes) = (0, 0);
        for piece in &self.held {
            let count = match &piece.rows {
                Rows::Put(batch) | Rows::Delete(batch) => batch.num_rows(),
            };
            self.records += count as u64;
            self.bytes += piece.bytes;
        }
        let Some(end) = segment_end else { return Ok(()) };
        let files = self.files.finish()?;
        let (columns, tried) = (open.columns().0, AtomicBool::new(false));
        self.closed.push(Arc::new(Segment { end, files, rows, columns, tried }));
        Ok(())
    }

    /// For a partition that was idle while the table moved on: one look instead of one at each version since, which may
    /// be gone from the log.
    pub async fn catch_up(&mut self, table: &Table) -> Result<()> {
        let head = table.head();
        if head.version <= self.seen + REVIEWED {
            return Ok(());
        }
        let found = table.txn_versions(&head, vec![self.app_id.clone()]).await?.into_iter().flatten().next();
        if found != self.noted {
            return Err(fenced(table.place(), head.version, &self.app_id, found));
        }
        self.seen = head.version;
        Ok(())
    }

    /// The segments before `end`, which is a cut or the end of what was written.
    pub async fn cut(&mut self, end: Offset, open: &Open) -> Result<Vec<Arc<Segment>>> {
        // What was closed at a cut needs no look at the rows that came after it, some of which may be in files already.
        if self.closed.last().is_none_or(|segment| segment.end < end) {
            self.close(end, open).await?;
        }
        Ok(self.closed.iter().filter(|segment| segment.end <= end).cloned().collect())
    }

    /// `version` has the segments before `end`.
    pub fn committed(&mut self, end: Offset, version: Version) {
        self.closed.retain(|segment| segment.end > end);
        self.noted = Some(end);
        self.seen = self.seen.max(version);
    }

    /// Bytes of memory that open files have freed since the last call.
    pub fn take_spilled(&mut self) -> u64 {
        let spilled = u64::try_from(self.files.freed).unwrap_or(0);
        self.files.freed = self.files.freed.min(0);
        spilled
    }

    /// Drops everything; files that no commit can have are removed.
    pub async fn discard(self, table: &Table) {
        for writer in self.files.writers.into_values() {
            writer.discard(table).await;
        }
        let closed = self.closed.iter().filter(|segment| !segment.tried.load(Ordering::Acquire));
        for file in closed.flat_map(|segment| &segment.files).chain(&self.files.full) {
            file.discard(table).await;
        }
    }
}

/// The files that grow, by the table's partitions.
#[derive(Default)]
struct OpenFiles {
    schema: Option<SchemaRef>,
    writers: HashMap<Partition, FileWriter>,
    full: Vec<Arc<DataFile>>,
    /// Bytes of rows that are in files, less the memory that open files take.
    freed: i64,
}

impl OpenFiles {
    async fn write(&mut self, rows: &arrow::array::RecordBatch, open: &Open) -> Result<()> {
        if self.schema.as_ref().is_some_and(|schema| *schema != rows.schema()) {
            let files = self.finish()?;
            self.full.extend(files);
        }
        let schema = self.schema.insert(rows.schema());
        let (table, head) = (&open.table, open.table.head());
        let before = self.writers.values().map(FileWriter::memory_bytes).sum::<usize>();
        for (partition, rows) in partition::split(rows, head.partition_columns())? {
            let writer = match self.writers.get_mut(&partition) {
                Some(writer) => writer,
                None => {
                    let writer =
                        FileWriter::new(table, &head, schema, partition.clone(), open.layout.clone())?;
                    self.writers.entry(partition).or_insert(writer)
                }
            };
            writer.write(&rows)?;
        }
        // Sent last: a call that fails or ends here has written all or nothing.
        for writer in self.writers.values_mut() {
            writer.send().await?;
        }
        let mut after = self.writers.values().map(FileWriter::memory_bytes).sum::<usize>();
        if after > OPEN_FILES_BYTES / open.writers().max(1) {
            // Many partitions: the largest make room, so that small ones do not become tiny row groups.
            if let Some(largest) = self.writers.values_mut().max_by_key(|writer| writer.memory_bytes()) {
                largest.end_row_group()?;
            }
            after = self.writers.values().map(FileWriter::memory_bytes).sum();
        }
        let bytes = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.freed += i64::try_from(size::total(rows)).unwrap_or(0) - (bytes(after) - bytes(before));
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Arc<DataFile>>> {
        self.schema = None;
        let mut files = std::mem::take(&mut self.full);
        for (_, writer) in self.writers.drain() {
            files.extend(writer.finish()?);
        }
        Ok(files)
    }
}

/// How a connector's files are named and written.
pub fn layout(config: &crate::config::Config, task: &connector_core::TaskInfo) -> Layout {
    let name = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
    let connector: String = task.connector.chars().map(name).collect();
    Layout {
        writer: format!("{connector}-{}", task.task).into(),
        codec: config.codec,
        target_bytes: config.target_file_bytes,
    }
}
