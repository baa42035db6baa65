//! Data files: rows become parquet of a target size, each with the `add` action that makes it part of the table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use connector_aws::parts::{PART_BYTES, Part, Store, Upload};
use connector_core::{ConnectError, Result};
use deltalake::kernel::Add;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::sync::{Mutex, Semaphore};
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
    store: Store,
    /// Of the table in the store.
    root: Path,
    uploads: Arc<Semaphore>,
    layout: Layout,
    partition: Partition,
    /// Without partition columns.
    schema: SchemaRef,
    indexed_columns: usize,
    properties: WriterProperties,
    open: Option<Open>,
    full: Vec<Arc<DataFile>>,
    /// Parts that are ready to be sent.
    ready: Vec<(Arc<Upload>, Arc<Part>)>,
}

/// The file that grows.
struct Open {
    /// In the table.
    path: String,
    writer: ArrowWriter<Vec<u8>>,
    upload: Option<Arc<Upload>>,
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
            store: table.parts().clone(),
            root: table.location().path.clone(),
            uploads: Arc::clone(table.uploads()),
            layout,
            partition,
            schema: partition::without(schema, head.partition_columns())?,
            // -1 asks for all of them.
            indexed_columns: indexed
                .map_or(stats::INDEXED_COLUMNS, |n| usize::try_from(n).unwrap_or(usize::MAX)),
            properties,
            open: None,
            full: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Appends rows that have the columns of the files. Encoded parts stay in memory until [`FileWriter::send`] or
    /// [`DataFile::stage`].
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.start()?,
        };
        open.writer.write(rows).map_err(|cause| error::parquet(&self.store.place, "writing", cause))?;
        while open.writer.inner_mut().len() > PART_BYTES {
            let upload = match &open.upload {
                Some(upload) => upload,
                None => {
                    let path = within(&self.root, &open.path)?;
                    open.upload.insert(Arc::new(Upload::new(path, Arc::default())))
                }
            };
            let encoded = open.writer.inner_mut();
            let rest = encoded.split_off(PART_BYTES);
            let part = upload.push(std::mem::replace(encoded, rest).into(), 0);
            self.ready.push((Arc::clone(upload), part));
        }
        let size = open.writer.bytes_written() + open.writer.in_progress_size();
        self.open = Some(open);
        if size as u64 >= self.layout.target_bytes {
            self.close()?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Open> {
        let writer =
            ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(self.properties.clone()))
                .map_err(|cause| error::parquet(&self.store.place, "writing", cause))?;
        let path =
            format!("{}part-{}-{}.parquet", self.partition.directory(), self.layout.writer, Uuid::new_v4());
        Ok(Open { path, writer, upload: None })
    }

    /// Sends full parts in the background; waits while too many are under way.
    pub async fn send(&mut self) -> Result<()> {
        for (upload, part) in self.ready.drain(..) {
            let permit = Arc::clone(&self.uploads).acquire_owned().await;
            let permit = permit.map_err(|e| ConnectError::internal("delta.semaphore", e.to_string()))?;
            upload.start(part, self.store.clone(), permit);
        }
        Ok(())
    }

    /// Bytes of memory that the open file takes.
    pub fn memory_bytes(&self) -> usize {
        self.open
            .as_ref()
            .map_or(0, |open| open.writer.memory_size() + PART_BYTES.min(open.writer.bytes_written()))
    }

    /// Ends the row group of the open file, whose memory can go to another.
    pub fn end_row_group(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.writer.flush().map_err(|cause| error::parquet(&self.store.place, "writing", cause))
    }

    /// Ends the open file.
    fn close(&mut self) -> Result<()> {
        let Some(Open { path, mut writer, upload }) = self.open.take() else { return Ok(()) };
        let metadata =
            writer.finish().map_err(|cause| error::parquet(&self.store.place, "writing", cause))?;
        let size = i64::try_from(writer.bytes_written())
            .map_err(|_| ConnectError::internal("delta.file_size", "a file has more than 2^63 bytes"))?;
        let rest = Bytes::from(std::mem::take(writer.inner_mut()));
        let body = match upload {
            None => Body::Whole(rest),
            Some(upload) => {
                upload.push(rest.into(), 0);
                Body::Parts(upload)
            }
        };
        let add = Add {
            path,
            partition_values: self.partition.values(),
            size,
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats::of(&metadata, self.indexed_columns)),
            ..Add::default()
        };
        self.full.push(Arc::new(DataFile { add, body: Mutex::new(body) }));
        Ok(())
    }

    /// All files; they are in the store once each is [staged](DataFile::stage).
    pub fn finish(mut self) -> Result<Vec<Arc<DataFile>>> {
        self.close()?;
        Ok(self.full)
    }

    /// Gives up what is not finished.
    pub async fn discard(self, table: &Table) {
        if let Some(upload) = self.open.and_then(|open| open.upload) {
            upload.abort(&self.store).await;
        }
        for file in self.full {
            file.discard(table).await;
        }
    }
}

/// A closed file.
#[derive(Debug)]
pub struct DataFile {
    pub add: Add,
    body: Mutex<Body>,
}

#[derive(Debug)]
enum Body {
    /// Up to one part: a single put.
    Whole(Bytes),
    Parts(Arc<Upload>),
    /// The store has it.
    Stored,
}

impl DataFile {
    /// Returns when the store has the file; can be repeated.
    pub async fn stage(&self, table: &Table) -> Result<()> {
        let mut body = self.body.lock().await;
        match &*body {
            Body::Whole(bytes) => {
                let path = path(&self.add.path)?;
                let put = table.store().put(&path, bytes.clone().into()).await;
                put.map_err(|cause| error::store(table.place(), "putting", Some(&path), &cause))?;
            }
            Body::Parts(upload) => upload.complete(table.parts()).await?,
            Body::Stored => {}
        }
        *body = Body::Stored;
        Ok(())
    }

    /// Deletes a file that is not to become part of the table.
    pub async fn discard(&self, table: &Table) {
        let mut body = self.body.lock().await;
        match std::mem::replace(&mut *body, Body::Stored) {
            Body::Whole(_) => {}
            Body::Parts(upload) => upload.abort(table.parts()).await,
            Body::Stored => {
                let Ok(path) = path(&self.add.path) else { return };
                if let Err(cause) = table.store().delete(&path).await {
                    let error = error::store(table.place(), "deleting", Some(&path), &cause);
                    tracing::warn!(%error, "a file that is not part of the table stays there; vacuum removes it");
                }
            }
        }
    }
}

/// A path of the log as one of the table's store.
pub fn path(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|cause| {
        ConnectError::user("delta.path", "a file of the table has a path that cannot be read")
            .caused_by(cause)
            .hint("absolute paths, as shallow clones have, are not supported")
    })
}

/// The same as a path of the whole store.
fn within(root: &Path, text: &str) -> Result<Path> {
    Ok(root.parts().chain(path(text)?.parts()).collect())
}
