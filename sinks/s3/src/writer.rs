//! The files of one topic-partition: which record goes where, and when they are closed.
//!
//! Open files are closed all at once, and what follows is written as if nothing had been before: the files are a function
//! of the records since the last cut, however these come in batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use bytes::BytesMut;
use connector_aws::parts::Upload;
use connector_core::json::DecimalFormat;
use connector_core::{
    Batch, ConfigProblem, ConnectError, Envelope, Offset, Rejection, Result, Stage, TopicPartition, Written,
};

use crate::config::{Config, HeaderConverter, NullValues, SchemaCompatibility};
pub use crate::file::Ready;
use crate::file::{OpenFile, Parts, Shapes};
use crate::headers;
use crate::input::{Columns, Input};
use crate::object::Object;
use crate::partition::{Directories, Partitioning, Shortcut};
use crate::schema::{self, Change};

/// What a writer has to know of the configuration.
#[derive(Debug)]
pub struct Settings {
    pub partitioning: Partitioning,
    pub shapes: Shapes,
    flush_size: u64,
    /// By the records' time; `None`: never.
    rotate_interval_ms: Option<i64>,
    rotate_on_change: bool,
    max_open_files: usize,
    pub decimals: DecimalFormat,
    null_values: NullValues,
    tombstone_directory: String,
    pub header_converter: HeaderConverter,
    pub compatibility: SchemaCompatibility,
}

impl Settings {
    pub fn new(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        let partitioning = Partitioning::new(config)?;
        let by_time = config.rotate_interval_ms > 0 && partitioning.is_by_time();
        Ok(Self {
            shapes: Shapes::new(config),
            flush_size: config.flush_size.max(1),
            rotate_interval_ms: by_time.then_some(config.rotate_interval_ms),
            rotate_on_change: config.rotate_on_change,
            max_open_files: usize::try_from(config.max_open_files)
                .ok()
                .filter(|&n| n > 0)
                .unwrap_or(usize::MAX),
            decimals: config.decimal_format,
            null_values: config.null_values,
            tombstone_directory: config.tombstone_directory.clone(),
            header_converter: config.header_converter,
            compatibility: config.schema_compatibility,
            partitioning,
        })
    }

    /// Whether objects of the configured names can be written.
    pub fn key_problem(&self) -> Option<ConfigProblem> {
        let Shapes { layout, value, key, headers, .. } = &self.shapes;
        let ends = [Some(value), key.as_ref(), headers.as_ref()].into_iter().flatten();
        let tombstones =
            Some(self.tombstone_directory.as_str()).filter(|_| self.null_values == NullValues::Write);
        ["partition=0"]
            .into_iter()
            .chain(tombstones)
            .find_map(|directory| ends.clone().find_map(|shape| layout.problem(directory, &shape.end)))
    }
}

/// The open files of one topic-partition and the closed ones that are not visible yet.
#[derive(Debug, Default)]
pub struct Writer {
    /// In the order of their first records.
    open: Vec<OpenFile>,
    /// Where in `open` the file of a directory is.
    by_directory: HashMap<Arc<str>, usize>,
    /// Where that of the tombstones is.
    tombstones: Option<usize>,
    /// Records in all open files.
    records: u64,
    /// Time of the first of them, in epoch milliseconds.
    base_time: Option<i64>,
    /// Offset after the last of them.
    end: Offset,
    /// The file of the last of them.
    current: usize,
    /// The file that need not be looked for, and when.
    shortcut: Option<(Shortcut, usize)>,
    closed: Vec<Arc<Object>>,
    /// Unused room of the last closed file's buffer.
    room: BytesMut,
    /// The directory of a record.
    text: String,
}

/// Where a record is.
#[derive(Clone, Copy)]
struct Row {
    /// In the batch.
    number: usize,
    offset: Offset,
    /// It has no value.
    tombstone: bool,
}

/// Why a record is not written.
enum Failure {
    /// It cannot be; the others can.
    Record(Box<ConnectError>),
    /// Something is wrong that is not the record's fault.
    Task(Box<ConnectError>),
}

fn record(error: ConnectError) -> Failure {
    Failure::Record(Box::new(error))
}

fn task(error: ConnectError) -> Failure {
    Failure::Task(Box::new(error))
}

impl Writer {
    /// Appends the records of `batch`, and closes files as the settings say.
    pub fn write(&mut self, batch: &Batch, settings: &Settings, ready: &mut Vec<Ready>) -> Result<Written> {
        let envelope = Envelope::of(&batch.records)?;
        let offsets = envelope
            .offsets()
            .ok_or_else(|| ConnectError::internal("envelope", "a batch for a sink has no offsets"))?;
        let columns = Columns::of(batch, settings, self.open.iter().filter_map(|file| file.schema.as_ref()))?;
        let mut input = Input::of(batch, settings, &columns)?;
        // The schema may be another one than that of the last batch, and directories may be named by it.
        self.shortcut = None;
        let mut written = Written::default();
        let mut touched = Vec::new();
        for (row, &offset) in offsets.values().iter().enumerate() {
            let tombstone = input.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            if tombstone && settings.null_values == NullValues::Ignore {
                written.filtered += 1;
                continue;
            }
            let row = Row { number: row, offset, tombstone };
            match self.put(&mut input, row, settings, &mut written.cut, ready) {
                Ok(()) if touched.last() == Some(&self.current) => {}
                Ok(()) => touched.push(self.current),
                Err(Failure::Record(error)) => {
                    let error = error.at(format_args!("{} offset {offset}", batch.partition));
                    written.rejected.push(Rejection::new(row.number, Stage::TaskPut, error));
                }
                Err(Failure::Task(error)) => return Err(*error),
            }
        }
        for file in touched {
            if let Some(file) = self.open.get_mut(file) {
                file.spill(&settings.shapes, ready)?;
            }
        }
        Ok(written)
    }

    /// Writes one record, and closes files before it or after it. A record that is refused leaves no trace.
    #[inline]
    fn put(
        &mut self,
        input: &mut Input<'_>,
        Row { number: row, offset, tombstone }: Row,
        settings: &Settings,
        cut: &mut Option<Offset>,
        ready: &mut Vec<Ready>,
    ) -> Result<(), Failure> {
        let Input { batch, directories, schema, values, keys, list, headers, projected, .. } = input;
        if tombstone && settings.null_values != NullValues::Write {
            return Err(record(null_value()));
        }
        let time = directories.time(row, tombstone).map_err(record)?;
        let shortcut = directories.shortcut(time).map_err(record)?.filter(|_| !tombstone);
        let found = self.find(directories, row, shortcut, tombstone, settings).map_err(record)?;

        let key = match (&settings.shapes.key, keys) {
            (None, _) => None,
            (_, Some((keys, nulls))) if !nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => {
                Some(keys.get(row).map_err(|error| record(error.hint(KEY_FORM)))?)
            }
            _ => return Err(record(null_key())),
        };
        let headers = match headers {
            None => None,
            Some(rows) => {
                headers::check(*list, row).map_err(record)?;
                Some(rows.get(row).map_err(|error| record(error.hint(HEADERS_FORM)))?)
            }
        };
        let change = self.compare(found, schema, settings.compatibility).map_err(record)?;
        let value = match change {
            _ if tombstone => None,
            Change::Project => {
                let of_file = found.and_then(|file| self.open.get(file)?.schema.as_ref());
                let found = projected.iter_mut().find(|(field, _)| Some(field) == of_file);
                let Some((_, rows)) = found else {
                    return Err(task(ConnectError::internal("s3.projection", "a schema was not prepared")));
                };
                Some(rows.as_mut().map_err(|error| record(schema::again(error)))?.get(row).map_err(record)?)
            }
            _ => Some(values.get(row).map_err(record)?),
        };

        let closes = self.records > 0 && (change == Change::Roll || self.is_due(settings, found, time));
        let file = match found.filter(|_| !closes) {
            Some(file) => file,
            None => {
                let directory = match found.and_then(|file| self.open.get(file)) {
                    Some(file) => &file.directory,
                    None => self.text.as_str(),
                };
                let schema = (!tombstone).then(|| Arc::clone(schema));
                let (partition, shapes) = (&batch.partition, &settings.shapes);
                let new = OpenFile::new(partition, directory, offset, schema, shapes, &mut self.room);
                let new = new.map_err(record)?;
                if closes {
                    *cut = Some(self.end);
                    self.close_all(settings, ready).map_err(task)?;
                }
                self.add(new, shortcut)
            }
        };
        let Some(open) = self.open.get_mut(file) else {
            return Err(task(ConnectError::internal("s3.file", "an open file is missing")));
        };
        open.append(offset, &Parts { value, key, headers }, &settings.shapes).map_err(task)?;
        self.base_time = self.base_time.or(time);
        self.records += 1;
        self.current = file;
        self.end = offset + 1;
        if self.records >= settings.flush_size {
            *cut = Some(self.end);
            self.close_all(settings, ready).map_err(task)?;
        }
        Ok(())
    }

    /// The open file that a record belongs to; without one its directory is in `self.text`.
    #[inline]
    fn find(
        &mut self,
        directories: &Directories<'_>,
        row: usize,
        shortcut: Option<Shortcut>,
        tombstone: bool,
        settings: &Settings,
    ) -> Result<Option<usize>> {
        if let (Some(wanted), Some((shortcut, file))) = (shortcut, self.shortcut)
            && wanted == shortcut
        {
            return Ok(Some(file));
        }
        self.text.clear();
        if tombstone {
            self.text.push_str(&settings.tombstone_directory);
            return Ok(self.tombstones);
        }
        directories.write(row, shortcut, &mut self.text)?;
        let is_this = |&file: &usize| {
            self.open.get(file).is_some_and(|f| f.schema.is_some() && *f.directory == *self.text)
        };
        let found =
            Some(self.current).filter(is_this).or_else(|| self.by_directory.get(self.text.as_str()).copied());
        self.shortcut = shortcut.zip(found).or(self.shortcut);
        Ok(found)
    }

    /// What the schema of a record means for the file that it belongs to.
    #[inline]
    fn compare(
        &mut self,
        file: Option<usize>,
        schema: &FieldRef,
        mode: SchemaCompatibility,
    ) -> Result<Change> {
        let known = file.and_then(|file| self.open.get_mut(file)?.schema.as_mut());
        let Some(known) = known.filter(|known| !Arc::ptr_eq(known, schema)) else { return Ok(Change::None) };
        let change = schema::change(mode, schema, known)?;
        if change == Change::None {
            // So that the rest of the batch need not be compared.
            *known = Arc::clone(schema);
        }
        Ok(change)
    }

    /// Whether the files are closed before a record of this file and time.
    #[inline]
    fn is_due(&self, settings: &Settings, file: Option<usize>, time: Option<i64>) -> bool {
        if file.is_none() && self.open.len() >= settings.max_open_files {
            return true;
        }
        let Some(interval) = settings.rotate_interval_ms else { return false };
        let old = time.zip(self.base_time).is_some_and(|(time, base)| time.saturating_sub(base) >= interval);
        old || (settings.rotate_on_change && file != Some(self.current))
    }

    fn add(&mut self, file: OpenFile, shortcut: Option<Shortcut>) -> usize {
        let number = self.open.len();
        if file.schema.is_some() {
            self.by_directory.insert(Arc::clone(&file.directory), number);
            self.shortcut = shortcut.map(|shortcut| (shortcut, number)).or(self.shortcut);
        } else {
            self.tombstones = Some(number);
        }
        self.open.push(file);
        number
    }

    /// Closes all open files at a cut that the clock, memory or a stop forces; the objects up to `end`.
    pub fn cut(
        &mut self,
        partition: &TopicPartition,
        end: Offset,
        settings: &Settings,
        ready: &mut Vec<Ready>,
    ) -> Result<Vec<Arc<Object>>> {
        if let Some(start) = self.open.first().map(|file| file.start).filter(|&start| start < end) {
            if self.end > end {
                let message =
                    format!("{partition}: a range ends at {end}, inside of the files that start at {start}");
                return Err(ConnectError::internal("s3.not_a_cut", message));
            }
            self.close_all(settings, ready)?;
        }
        Ok(self.closed.iter().filter(|object| object.end <= end).cloned().collect())
    }

    fn close_all(&mut self, settings: &Settings, ready: &mut Vec<Ready>) -> Result<()> {
        for file in std::mem::take(&mut self.open) {
            self.closed.extend(file.close(&settings.shapes, ready, &mut self.room)?);
        }
        self.by_directory.clear();
        (self.tombstones, self.shortcut, self.base_time) = (None, None, None);
        (self.records, self.current) = (0, 0);
        Ok(())
    }

    /// Forgets the objects that are visible.
    pub fn forget_visible(&mut self) {
        self.closed.retain(|object| !object.is_visible());
    }

    /// Everything that is not visible: uploads of the open files, and the closed objects.
    pub fn into_unfinished(self) -> (Vec<Arc<Upload>>, Vec<Arc<Object>>) {
        (self.open.into_iter().flat_map(OpenFile::into_uploads).collect(), self.closed)
    }
}

const KEY_FORM: &str = "choose a `keys.format.class` that fits `key.converter`: `bytearray` takes ByteArrayConverter's keys, \
                        `json` those of any converter";

const HEADERS_FORM: &str = "use `headers.format.class: json`";

fn null_key() -> ConnectError {
    ConnectError::user("s3.null_key", "Key cannot be null with `store.kafka.keys`")
        .hint("send each record with a key, or set `store.kafka.keys: false`")
}

fn null_value() -> ConnectError {
    let message = "Null valued records are not writeable with the current `behavior.on.null.values`";
    ConnectError::user("s3.null_value", message)
        .hint("set `behavior.on.null.values: ignore` to skip such records")
}
