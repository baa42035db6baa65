//! The files of one topic-partition.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::Array;
use arrow::datatypes::FieldRef;
use bytes::BytesMut;
use connector_aws::parts::{Part, Upload};
use connector_core::envelope::VALUE;
use connector_core::json::DecimalFormat;
use connector_core::{
    Batch, ConnectError, Envelope, Offset, Rejection, Result, Stage, TopicPartition, Written,
};

use crate::body::{Body, Encoding, Record, Rest};
use crate::config::{Config, Format, NullValues};
use crate::format::Rows;
use crate::layout::Layout;
use crate::object::{Object, Staged};

/// What a writer has to know of the configuration.
#[derive(Debug)]
pub struct Settings {
    pub layout: Layout,
    flush_size: u64,
    format: Format,
    decimals: DecimalFormat,
    separator: Vec<u8>,
    encoding: Encoding,
    part_size: usize,
    null_values: NullValues,
    /// Bytes of records that have left memory in parts, over all writers.
    pub spilled: Arc<AtomicU64>,
}

impl Settings {
    pub fn new(config: &Config) -> Self {
        Self {
            layout: Layout::new(config),
            flush_size: config.flush_size.max(1),
            format: config.format,
            decimals: config.decimal_format,
            separator: config.separator().as_bytes().to_vec(),
            encoding: config.encoding(config.format),
            part_size: config.part_size.max(1),
            null_values: config.null_values,
            spilled: Arc::default(),
        }
    }
}

/// A part that is ready to be sent.
pub type Ready = (Arc<Upload>, Arc<Part>);

/// The open file of one topic-partition and the closed ones that are not visible yet.
#[derive(Debug, Default)]
pub struct Writer {
    open: Option<OpenFile>,
    closed: Vec<Arc<Object>>,
    /// Unused room of the last closed file's buffer.
    room: BytesMut,
}

#[derive(Debug)]
struct OpenFile {
    /// Of the values.
    schema: FieldRef,
    start: Offset,
    /// Offset after the last record.
    end: Offset,
    records: u64,
    body: Body,
    upload: Option<Arc<Upload>>,
}

impl Writer {
    /// Appends the records of `batch`; closes the file each time it has `flush.size` records, and before a record
    /// with another schema (`schema.compatibility` NONE).
    pub fn write(&mut self, batch: &Batch, settings: &Settings, ready: &mut Vec<Ready>) -> Result<Written> {
        let envelope = Envelope::of(&batch.records)?;
        let offsets = envelope
            .offsets()
            .ok_or_else(|| ConnectError::internal("envelope", "a batch for a sink has no offsets"))?;
        let nulls = envelope.value().logical_nulls();
        let schema = value_field(batch)?;
        let mut checked = false;
        let mut rows = Rows::of(batch, settings.format, settings.decimals)?;
        let mut written = Written::default();
        for (row, &offset) in offsets.values().iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                match settings.null_values {
                    NullValues::Ignore => written.filtered += 1,
                    _ => written.rejected.push(rejection(batch, row, offset, null_value())),
                }
                continue;
            }
            let value = match rows.get(row) {
                Ok(value) => value,
                Err(error) => {
                    written.rejected.push(rejection(batch, row, offset, error));
                    continue;
                }
            };
            // A batch has one schema, so its first written record decides.
            if !checked && self.open.as_ref().is_some_and(|file| file.schema != *schema) {
                self.close_file(&batch.partition, settings, ready)?;
                written.cut = Some(offset);
            }
            checked = true;
            let room = &mut self.room;
            let file = self.open.get_or_insert_with(|| {
                OpenFile::new(offset, Arc::clone(schema), &settings.encoding, std::mem::take(room))
            });
            file.append(offset, value, &settings.separator)?;
            if file.records >= settings.flush_size {
                self.close_file(&batch.partition, settings, ready)?;
                written.cut = Some(offset + 1);
            }
        }
        if let Some(file) = &mut self.open {
            file.spill(&batch.partition, settings, ready)?;
        }
        Ok(written)
    }

    /// Closes the open file at a cut that the clock, memory or a stop forces; the objects up to `end`.
    pub fn cut(
        &mut self,
        partition: &TopicPartition,
        end: Offset,
        settings: &Settings,
        ready: &mut Vec<Ready>,
    ) -> Result<Vec<Arc<Object>>> {
        if let Some(file) = self.open.as_ref().filter(|file| file.start < end) {
            if file.end > end {
                let message = format!(
                    "{partition}: a range ends at {end}, inside of the file that starts at {}",
                    file.start
                );
                return Err(ConnectError::internal("s3.not_a_cut", message));
            }
            self.close_file(partition, settings, ready)?;
        }
        Ok(self.closed.iter().filter(|object| object.end <= end).cloned().collect())
    }

    fn close_file(
        &mut self,
        partition: &TopicPartition,
        settings: &Settings,
        ready: &mut Vec<Ready>,
    ) -> Result<()> {
        if let Some(mut file) = self.open.take() {
            file.spill(partition, settings, ready)?;
            let (object, room) = file.close(partition, settings, ready)?;
            self.closed.push(Arc::new(object));
            self.room = room;
        }
        Ok(())
    }

    /// Forgets the objects that are visible.
    pub fn forget_visible(&mut self) {
        self.closed.retain(|object| !object.is_visible());
    }

    /// Everything that is not visible: an upload of the open file, and the closed objects.
    pub fn into_unfinished(self) -> (Option<Arc<Upload>>, Vec<Arc<Object>>) {
        (self.open.and_then(|file| file.upload), self.closed)
    }
}

impl OpenFile {
    fn new(start: Offset, schema: FieldRef, encoding: &Encoding, room: BytesMut) -> Self {
        let body = Body::new(encoding, room);
        Self { schema, start, end: start, records: 0, body, upload: None }
    }

    #[inline]
    fn append(&mut self, offset: Offset, value: Record<'_>, separator: &[u8]) -> Result<()> {
        self.body.append(value, separator)?;
        self.end = offset + 1;
        self.records += 1;
        Ok(())
    }

    /// Makes parts of what is more than one part: what is left always makes the last part.
    fn spill(
        &mut self,
        partition: &TopicPartition,
        settings: &Settings,
        ready: &mut Vec<Ready>,
    ) -> Result<()> {
        while let Some((payload, records)) = self.body.part(settings.part_size)? {
            let upload = match &self.upload {
                Some(upload) => upload,
                None => {
                    let key = settings.layout.key(partition, self.start)?;
                    self.upload.insert(Arc::new(Upload::new(key, Arc::clone(&settings.spilled))))
                }
            };
            ready.push((Arc::clone(upload), upload.push(payload, records)));
        }
        Ok(())
    }

    fn close(
        self,
        partition: &TopicPartition,
        settings: &Settings,
        ready: &mut Vec<Ready>,
    ) -> Result<(Object, BytesMut)> {
        let Self { start, end, body, upload, .. } = self;
        let Rest { payload, records, room } = body.finish()?;
        let key = settings.layout.key(partition, start)?;
        let staged = match upload {
            None => Staged::Whole(payload),
            Some(upload) => {
                let part = upload.push(payload, records);
                ready.push((Arc::clone(&upload), part));
                Staged::Parts(upload)
            }
        };
        Ok((Object::new(key, end, Vec::new(), staged), room))
    }
}

fn value_field(batch: &Batch) -> Result<&FieldRef> {
    let found = batch.records.schema_ref().fields().find(VALUE);
    found
        .map(|(_, field)| field)
        .ok_or_else(|| ConnectError::internal("envelope", "a batch has no column `value`"))
}

fn null_value() -> ConnectError {
    let message = "Null valued records are not writeable with the current `behavior.on.null.values`";
    ConnectError::user("s3.null_value", message)
        .hint("set `behavior.on.null.values: ignore` to skip such records")
}

fn rejection(batch: &Batch, row: usize, offset: Offset, error: ConnectError) -> Rejection {
    Rejection::new(row, Stage::TaskPut, error.at(format_args!("{} offset {offset}", batch.partition)))
}
