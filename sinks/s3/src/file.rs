//! One open file of a topic-partition: a body for the values and, where they are stored, for the keys and the headers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::datatypes::FieldRef;
use bytes::BytesMut;
use connector_aws::parts::{Part, Upload};
use connector_core::{Offset, Result, TopicPartition};
use object_store::path::Path;

use crate::body::{Body, Encoding, Record, Rest};
use crate::config::{Config, Format};
use crate::layout::Layout;
use crate::object::{Object, Staged};

/// A part that is ready to be sent.
pub type Ready = (Arc<Upload>, Arc<Part>);

/// How one kind of object is written.
#[derive(Debug)]
pub struct Shape {
    pub format: Format,
    encoding: Encoding,
    separator: Vec<u8>,
    /// End of the keys: `.keys.json`.
    pub end: String,
}

impl Shape {
    /// `kind` is in front of the extension: empty, `.keys` or `.headers`.
    pub fn new(config: &Config, format: Format, kind: &str) -> Self {
        Self {
            format,
            encoding: config.encoding(format),
            separator: config.separator(format).as_bytes().to_vec(),
            end: format!("{kind}{}", config.extension(format)),
        }
    }
}

/// How files are written.
#[derive(Debug)]
pub struct Shapes {
    pub layout: Layout,
    pub value: Shape,
    pub key: Option<Shape>,
    pub headers: Option<Shape>,
    part_size: usize,
    /// Whether objects are tagged, and with what beside their offsets.
    tags: Option<Vec<(String, String)>>,
    /// Bytes of records that have left memory in parts, over all writers.
    pub spilled: Arc<AtomicU64>,
}

impl Shapes {
    pub fn new(config: &Config) -> Self {
        let shape = |stored: bool, format: Option<Format>, kind| {
            stored.then(|| Shape::new(config, format.unwrap_or_default(), kind))
        };
        Self {
            layout: Layout::new(config),
            value: Shape::new(config, config.format, ""),
            key: shape(config.store_keys, config.keys_format, ".keys"),
            headers: shape(config.store_headers, config.headers_format, ".headers"),
            part_size: config.part_size.max(1),
            tags: config.tagging.then(|| config.tags()),
            spilled: Arc::default(),
        }
    }
}

/// What is written of one record.
pub struct Parts<'a> {
    /// `None`: a tombstone.
    pub value: Option<Record<'a>>,
    pub key: Option<Record<'a>>,
    pub headers: Option<Record<'a>>,
}

/// A file whose records have one directory, and whose values one schema.
#[derive(Debug)]
pub struct OpenFile {
    pub directory: Arc<str>,
    /// Of the values; tombstones have none.
    pub schema: Option<FieldRef>,
    pub start: Offset,
    /// Offset after the last record.
    pub end: Offset,
    records: u64,
    value: Option<Stream>,
    key: Option<Stream>,
    headers: Option<Stream>,
}

/// The growing object of a file's values, keys or headers.
#[derive(Debug)]
struct Stream {
    key: Path,
    body: Body,
    upload: Option<Arc<Upload>>,
}

impl OpenFile {
    /// Fails when the directory makes a key that no object can have.
    pub fn new(
        partition: &TopicPartition,
        directory: &str,
        start: Offset,
        schema: Option<FieldRef>,
        shapes: &Shapes,
        room: &mut BytesMut,
    ) -> Result<Self> {
        let mut stream = |shape: &Shape| -> Result<Stream> {
            let key = shapes.layout.key(partition, directory, start, &shape.end)?;
            Ok(Stream { key, body: Body::new(&shape.encoding, std::mem::take(room)), upload: None })
        };
        Ok(Self {
            value: schema.is_some().then(|| stream(&shapes.value)).transpose()?,
            key: shapes.key.as_ref().map(&mut stream).transpose()?,
            headers: shapes.headers.as_ref().map(&mut stream).transpose()?,
            directory: directory.into(),
            schema,
            start,
            end: start,
            records: 0,
        })
    }

    #[inline]
    pub fn append(&mut self, offset: Offset, parts: &Parts<'_>, shapes: &Shapes) -> Result<()> {
        let put = |stream: &mut Option<Stream>, record, shape: Option<&Shape>| match (stream, record, shape) {
            (Some(stream), Some(record), Some(shape)) => stream.body.append(record, &shape.separator),
            _ => Ok(()),
        };
        put(&mut self.value, parts.value, Some(&shapes.value))?;
        put(&mut self.key, parts.key, shapes.key.as_ref())?;
        put(&mut self.headers, parts.headers, shapes.headers.as_ref())?;
        self.end = offset + 1;
        self.records += 1;
        Ok(())
    }

    fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        [&mut self.value, &mut self.key, &mut self.headers].into_iter().flatten()
    }

    /// Makes parts of what is more than one part: what is left always makes the last part.
    pub fn spill(&mut self, shapes: &Shapes, ready: &mut Vec<Ready>) -> Result<()> {
        for stream in self.streams() {
            while let Some((payload, records)) = stream.body.part(shapes.part_size)? {
                let Stream { key, upload, .. } = stream;
                let upload = upload
                    .get_or_insert_with(|| Arc::new(Upload::new(key.clone(), Arc::clone(&shapes.spilled))));
                ready.push((Arc::clone(upload), upload.push(payload, records)));
            }
        }
        Ok(())
    }

    /// The objects of the file, and room for the next one.
    pub fn close(
        mut self,
        shapes: &Shapes,
        ready: &mut Vec<Ready>,
        room: &mut BytesMut,
    ) -> Result<Vec<Arc<Object>>> {
        self.spill(shapes, ready)?;
        let Self { start, end, records, value, key, headers, .. } = self;
        let mut tags = shapes.tags.as_ref().map(|more| {
            let own = [
                ("startOffset", start.to_string()),
                ("endOffset", (end - 1).to_string()),
                ("recordCount", records.to_string()),
            ];
            own.map(|(key, value)| (key.to_owned(), value)).into_iter().chain(more.iter().cloned()).collect()
        });
        let mut objects = Vec::with_capacity(1);
        for Stream { key, body, upload } in [value, key, headers].into_iter().flatten() {
            let Rest { payload, records, room: left } = body.finish()?;
            let staged = match upload {
                None => Staged::Whole(payload),
                Some(upload) => {
                    ready.push((Arc::clone(&upload), upload.push(payload, records)));
                    Staged::Parts(upload)
                }
            };
            // As in Connect, what goes with the values is not tagged.
            objects.push(Arc::new(Object::new(key, end, tags.take().unwrap_or_default(), staged)));
            *room = left;
        }
        Ok(objects)
    }

    /// Uploads that were begun.
    pub fn into_uploads(self) -> impl Iterator<Item = Arc<Upload>> {
        [self.value, self.key, self.headers].into_iter().flatten().filter_map(|stream| stream.upload)
    }
}
