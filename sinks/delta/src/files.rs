//! Data files: rows become parquet of a target size, each with the `add` action that makes it part of the table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use connector_core::{ConnectError, Result};
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::config::Codec;
use crate::partition::{self, Partition};
use crate::table::{Head, Table};
use crate::{error, stats};

/// Memory of a row group that is being written, at most about this.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Longer texts are cut in the statistics.
const STATISTICS_BYTES: usize = 64;

/// How files are written.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Part of the files' names; tells whose they are.
    pub writer: Arc<str>,
    pub codec: Codec,
    /// Bytes at which a file is full.
    pub target_bytes: u64,
}

/// Writes the rows of one partition of a table, in as many files as the target size asks for.
pub struct FileWriter {
    store: Arc<dyn ObjectStore>,
    place: Arc<str>,
    layout: Layout,
    partition: Partition,
    /// Without partition columns.
    schema: SchemaRef,
    indexed_columns: usize,
    properties: WriterProperties,
    open: Option<ArrowWriter<Vec<u8>>>,
    full: Vec<Arc<DataFile>>,
}

impl FileWriter {
    /// `schema` is that of the rows to come: the table's, or one with new columns behind them. Partition columns in it
    /// are left out.
    pub fn new(
        table: &Table,
        head: &Head,
        schema: &SchemaRef,
        partition: Partition,
        layout: Layout,
    ) -> Result<Self> {
        let indexed = head.property("delta.dataSkippingNumIndexedCols").and_then(|n| n.parse::<i64>().ok());
        let compression = match layout.codec {
            Codec::Zstd => Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()),
            Codec::Snappy => Compression::SNAPPY,
            Codec::None => Compression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_statistics_truncate_length(Some(STATISTICS_BYTES))
            .build();
        Ok(Self {
            store: Arc::clone(table.store()),
            place: table.place().into(),
            layout,
            partition,
            schema: partition::without(schema, head.partition_columns())?,
            // -1 asks for all of them.
            indexed_columns: indexed
                .map_or(stats::INDEXED_COLUMNS, |n| usize::try_from(n).unwrap_or(usize::MAX)),
            properties,
            open: None,
            full: Vec::new(),
        })
    }

    /// Appends rows that have the columns of the files.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let failed = |cause| error::parquet(&self.place, "writing", cause);
        let writer = match &mut self.open {
            Some(writer) => writer,
            None => {
                let schema = Arc::clone(&self.schema);
                let made = ArrowWriter::try_new(Vec::new(), schema, Some(self.properties.clone()));
                self.open.insert(made.map_err(failed)?)
            }
        };
        writer.write(rows).map_err(failed)?;
        let size = writer.bytes_written() + writer.in_progress_size();
        if size as u64 >= self.layout.target_bytes {
            self.close()?;
        }
        Ok(())
    }

    /// Ends the open file.
    fn close(&mut self) -> Result<()> {
        let Some(mut writer) = self.open.take() else { return Ok(()) };
        let failed = |cause| error::parquet(&self.place, "writing", cause);
        let metadata = writer.finish().map_err(failed)?;
        let body = Bytes::from(std::mem::take(writer.inner_mut()));
        let size = i64::try_from(body.len())
            .map_err(|_| ConnectError::internal("delta.file_size", "a file has more than 2^63 bytes"))?;
        let name = format!("part-{}-{}.parquet", self.layout.writer, Uuid::new_v4());
        let add = Add {
            path: self.partition.directory() + &name,
            partition_values: self.partition.values(),
            size,
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats::of(&metadata, self.indexed_columns)),
            ..Add::default()
        };
        self.full.push(Arc::new(DataFile { add, body: Mutex::new(Some(body)) }));
        Ok(())
    }

    /// All files; they are in the store once each is [staged](DataFile::stage).
    pub fn finish(mut self) -> Result<Vec<Arc<DataFile>>> {
        self.close()?;
        Ok(self.full)
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }
}

/// A closed file.
#[derive(Debug)]
pub struct DataFile {
    pub add: Add,
    /// `None` once the store has it.
    body: Mutex<Option<Bytes>>,
}

impl DataFile {
    /// Returns when the store has the file; can be repeated.
    pub async fn stage(&self, table: &Table) -> Result<()> {
        let mut body = self.body.lock().await;
        let Some(bytes) = &*body else { return Ok(()) };
        let path = path(&self.add.path)?;
        let put = table.store().put(&path, bytes.clone().into()).await;
        put.map_err(|cause| error::store(table.place(), "putting", Some(&path), &cause))?;
        *body = None;
        Ok(())
    }

    /// Deletes a file that is not to become part of the table.
    pub async fn discard(&self, table: &Table) {
        let mut body = self.body.lock().await;
        if body.take().is_some() {
            return;
        }
        let Ok(path) = path(&self.add.path) else { return };
        if let Err(cause) = table.store().delete(&path).await {
            let error = error::store(table.place(), "deleting", Some(&path), &cause);
            tracing::warn!(%error, "a file that is not part of the table stays there; vacuum removes it");
        }
    }
}

/// A path of the log as one of the store.
pub fn path(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|cause| {
        ConnectError::user("delta.path", "a file of the table has a path that cannot be read")
            .caused_by(cause)
            .hint("absolute paths, as shallow clones have, are not supported")
    })
}
