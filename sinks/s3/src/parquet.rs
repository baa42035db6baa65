//! Rows as parquet.
//!
//! The bytes of a file depend on its rows alone, however they were batched: rows are encoded [`UNIT`] at a time, and a
//! row group ends where its encoded size says so after one of these units.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit};
use connector_core::{ConnectError, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Buffer;

/// Rows that are encoded at once; until there are so many, a file is nothing but slices of the batches that came.
const UNIT: usize = 1024;

/// `parquet.codec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    #[serde(alias = "uncompressed")]
    None,
    #[default]
    Snappy,
    Gzip,
    Zstd,
    /// In Hadoop's frames, as Connect writes it; DuckDB, for one, cannot read that.
    Lz4,
    /// What newer readers mean by LZ4.
    #[serde(rename = "lz4_raw")]
    Lz4Raw,
    Brotli,
}

impl Codec {
    /// End of the file names: that of Java's parquet, as in Connect.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => ".parquet",
            Self::Snappy => ".snappy.parquet",
            Self::Gzip => ".gz.parquet",
            Self::Zstd => ".zstd.parquet",
            Self::Lz4 => ".lz4.parquet",
            Self::Lz4Raw => ".lz4raw.parquet",
            Self::Brotli => ".br.parquet",
        }
    }

    fn compression(self) -> Compression {
        match self {
            Self::None => Compression::UNCOMPRESSED,
            Self::Snappy => Compression::SNAPPY,
            Self::Gzip => Compression::GZIP(GzipLevel::default()),
            Self::Zstd => Compression::ZSTD(ZstdLevel::default()),
            Self::Lz4 => Compression::LZ4,
            Self::Lz4Raw => Compression::LZ4_RAW,
            Self::Brotli => Compression::BROTLI(BrotliLevel::default()),
        }
    }
}

/// How files are written.
#[derive(Debug)]
pub struct Parquet {
    properties: WriterProperties,
    /// Encoded bytes of a row group, about.
    row_group_size: usize,
}

impl Parquet {
    pub fn new(codec: Codec, row_group_size: usize) -> Self {
        let properties = WriterProperties::builder()
            .set_compression(codec.compression())
            // Names inside of lists and maps as the format demands them.
            .set_coerce_types(true)
            .build();
        Self { properties, row_group_size }
    }

    fn writer(&self, schema: &SchemaRef, buffer: Buffer) -> Result<ArrowWriter<Buffer>> {
        // Arrow's own schema in the file would only repeat what parquet's types say.
        let options =
            ArrowWriterOptions::new().with_properties(self.properties.clone()).with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(buffer, Arc::clone(schema), options).map_err(failed)
    }
}

/// The values of a batch as parquet's columns.
#[derive(Debug)]
pub struct Table {
    rows: RecordBatch,
    /// Bytes of a row in memory, about.
    row_size: u64,
}

impl Table {
    /// The message says why the values cannot be columns.
    pub fn of(values: &ArrayRef) -> Result<Self, String> {
        let DataType::Struct(fields) = values.data_type() else {
            return Err(format!("the value is of type {}, not a struct", values.data_type()));
        };
        if let Some(problem) = problem("", values.data_type()) {
            return Err(problem);
        }
        let columns = values.as_struct().columns();
        Self::new(fields.iter().cloned().zip(columns.iter().cloned()), values.len())
    }

    fn new(columns: impl Iterator<Item = (FieldRef, ArrayRef)>, rows: usize) -> Result<Self, String> {
        let fits = CastOptions { safe: false, ..CastOptions::default() };
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        for (field, array) in columns {
            let written = written_type(field.data_type());
            let array = if written == *field.data_type() {
                array
            } else {
                cast_with_options(&array, &written, &fits)
                    .map_err(|e| format!("field `{}`: {e}", field.name()))?
            };
            // Without metadata: it says what the types say, and is not written.
            fields.push(Field::new(field.name(), written, field.is_nullable()));
            arrays.push(array);
        }
        let size: usize = arrays.iter().map(|a| a.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|e| e.to_string())?;
        Ok(Self { rows: batch, row_size: (size / rows.max(1)) as u64 })
    }
}

/// What parquet has no type for, if anything, with its place.
fn problem(path: &str, data_type: &DataType) -> Option<String> {
    let below = |field: &Field| {
        let path = if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
        problem(&path, field.data_type())
    };
    match data_type {
        DataType::Struct(fields) if fields.is_empty() => {
            let place = if path.is_empty() { "the value".to_owned() } else { format!("field `{path}`") };
            Some(format!("{place} is a struct without fields"))
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| below(field)),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            problem(path, item.data_type())
        }
        DataType::Map(entries, _) => problem(path, entries.data_type()),
        DataType::Dictionary(_, values) => problem(path, values),
        DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Duration(_)
        | DataType::Interval(IntervalUnit::MonthDayNano) => {
            Some(format!("field `{path}` is of type {data_type}, which parquet has not"))
        }
        _ => None,
    }
}

/// The type that a column is written as: parquet has no seconds and no dates in milliseconds.
fn written_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| -> FieldRef {
        Arc::new(
            field.as_ref().clone().with_data_type(written_type(field.data_type())).with_metadata([].into()),
        )
    };
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// The growing body of one parquet file.
pub struct RowGroups {
    how: Arc<Parquet>,
    /// Rows of the batch that is being written, by their numbers.
    run: Option<(Arc<Table>, Vec<u32>)>,
    /// Rows that are not encoded yet, fewer than [`UNIT`] between two calls.
    waiting: VecDeque<Waiting>,
    waiting_rows: usize,
    /// Bytes of these rows in memory, about.
    held: u64,
    sink: Target,
}

struct Waiting {
    rows: RecordBatch,
    row_size: u64,
}

/// Where encoded rows go.
enum Target {
    /// Nothing is encoded yet.
    Empty(Buffer),
    Open(Box<ArrowWriter<Buffer>>),
    /// Encoding failed.
    Broken,
}

impl RowGroups {
    pub fn new(how: Arc<Parquet>, buffer: Buffer) -> Self {
        Self {
            how,
            run: None,
            waiting: VecDeque::new(),
            waiting_rows: 0,
            held: 0,
            sink: Target::Empty(buffer),
        }
    }

    /// Appends a row; its bytes in memory, about.
    #[inline]
    pub fn append(&mut self, table: &Arc<Table>, row: usize) -> Result<u64> {
        // A batch has fewer than 2^32 rows.
        let row = row as u32;
        match &mut self.run {
            Some((current, rows)) if Arc::ptr_eq(current, table) => rows.push(row),
            _ => {
                self.settle()?;
                self.run = Some((Arc::clone(table), vec![row]));
            }
        }
        Ok(table.row_size)
    }

    /// Lets go of the batch that rows came from, and encodes what is enough for a unit.
    pub fn settle(&mut self) -> Result<()> {
        let Some((table, rows)) = self.run.take() else { return Ok(()) };
        let (first, count) = (rows.first().map_or(0, |&row| row as usize), rows.len());
        let adjacent = rows.last().is_some_and(|&last| last as usize + 1 - first == count);
        let rows = if adjacent && count * 2 >= table.rows.num_rows() {
            table.rows.slice(first, count)
        } else {
            // A few rows must not keep all others of their batch in memory.
            take_record_batch(&table.rows, &UInt32Array::from(rows))?
        };
        self.waiting.push_back(Waiting { rows, row_size: table.row_size });
        self.waiting_rows += count;
        self.held += count as u64 * table.row_size;
        while self.waiting_rows >= UNIT {
            self.encode(UNIT)?;
        }
        Ok(())
    }

    /// Encodes the first `count` rows that wait.
    fn encode(&mut self, count: usize) -> Result<()> {
        let Some(schema) = self.waiting.front().map(|first| first.rows.schema()) else { return Ok(()) };
        let mut unit = Vec::new();
        let mut missing = count;
        while missing > 0 {
            let Some(Waiting { mut rows, row_size }) = self.waiting.pop_front() else { break };
            if rows.num_rows() > missing {
                let later = rows.slice(missing, rows.num_rows() - missing);
                self.waiting.push_front(Waiting { rows: later, row_size });
                rows = rows.slice(0, missing);
            }
            missing -= rows.num_rows();
            self.held -= rows.num_rows() as u64 * row_size;
            unit.push(rows);
        }
        self.waiting_rows -= count;
        let unit = concat_batches(&schema, &unit)?;
        let mut writer = match std::mem::replace(&mut self.sink, Target::Broken) {
            Target::Empty(buffer) => Box::new(self.how.writer(&schema, buffer)?),
            Target::Open(writer) => writer,
            Target::Broken => return Err(broken()),
        };
        writer.write(&unit).map_err(failed)?;
        if writer.in_progress_size() >= self.how.row_group_size {
            writer.flush().map_err(failed)?;
        }
        self.sink = Target::Open(writer);
        Ok(())
    }

    /// Bytes of rows that are in memory as they came, about.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The bytes of the row groups that are complete, but for a few that come later.
    pub fn buffer(&mut self) -> Result<&mut Buffer> {
        match &mut self.sink {
            Target::Empty(buffer) => Ok(buffer),
            Target::Open(writer) => Ok(writer.inner_mut()),
            Target::Broken => Err(broken()),
        }
    }

    /// All bytes that are still here; at least one row was appended.
    pub fn finish(mut self) -> Result<Buffer> {
        self.settle()?;
        if self.waiting_rows > 0 {
            self.encode(self.waiting_rows)?;
        }
        match self.sink {
            Target::Empty(buffer) => Ok(buffer),
            Target::Open(writer) => writer.into_inner().map_err(failed),
            Target::Broken => Err(broken()),
        }
    }
}

impl fmt::Debug for RowGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowGroups").field("waiting_rows", &self.waiting_rows).finish_non_exhaustive()
    }
}

fn failed(cause: ParquetError) -> ConnectError {
    ConnectError::internal("s3.parquet", "rows could not be encoded as parquet").caused_by(cause)
}

fn broken() -> ConnectError {
    ConnectError::internal("s3.parquet", "the file is used after it could not be encoded")
}

#[cfg(test)]
mod tests;
