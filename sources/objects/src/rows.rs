//! The rows of one batch, over as many objects as there are in it.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, ListArray, StringBuilder, StructArray, TimestampMillisecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use connector_core::envelope::{EnvelopeBuilder, headers_type};
use connector_core::{ConnectError, Form, Result, Run};

use crate::lines::Lines;
use crate::pass::Object;

/// Rows in the order in which they were read: a run for each stretch of one topic.
pub struct Rows {
    headers: bool,
    runs: Vec<Run>,
    topic: Option<Arc<str>>,
    values: StringBuilder,
    timestamps: TimestampMillisecondBuilder,
    names: StringBuilder,
    places: BinaryBuilder,
    pub count: usize,
    /// Bytes of the values.
    pub bytes: usize,
    /// Where the rows come from.
    lines: Lines,
    /// What is no row.
    pub rejected: Vec<ConnectError>,
}

/// Where a text is in its object.
#[derive(Clone, Copy)]
pub struct InObject {
    /// Its number, from 0.
    pub row: u64,
    /// In which it begins, from 1.
    pub line: u64,
}

impl Rows {
    pub fn new(headers: bool) -> Self {
        Self {
            headers,
            runs: Vec::new(),
            topic: None,
            values: StringBuilder::new(),
            timestamps: TimestampMillisecondBuilder::new(),
            names: StringBuilder::new(),
            places: BinaryBuilder::new(),
            count: 0,
            bytes: 0,
            lines: Lines::default(),
            rejected: Vec::new(),
        }
    }

    /// `value`: a compact JSON text, or null.
    pub fn push(
        &mut self,
        topic: &Arc<str>,
        object: &Object,
        at: InObject,
        value: Option<&str>,
    ) -> Result<()> {
        if self.topic.as_ref().is_some_and(|now| now != topic) {
            self.end_run()?;
        }
        if self.topic.is_none() {
            self.topic = Some(Arc::clone(topic));
        }
        self.values.append_option(value);
        self.timestamps.append_value(object.modified);
        if self.headers {
            self.names.append_value("objects.key");
            self.places.append_value(object.address.as_bytes());
            self.names.append_value("objects.row");
            self.places.append_value(at.row.to_string());
        }
        self.lines.push(&object.address, at.line);
        self.count += 1;
        self.bytes += value.map_or(0, str::len);
        Ok(())
    }

    fn end_run(&mut self) -> Result<()> {
        let Some(topic) = self.topic.take() else { return Ok(()) };
        let values = self.values.finish();
        let rows = values.len();
        let mut envelope = EnvelopeBuilder::new()
            .timestamps(self.timestamps.finish())
            .value(Form::Document, Arc::new(values));
        if let (true, DataType::List(item)) = (self.headers, headers_type())
            && let DataType::Struct(fields) = item.data_type()
        {
            let columns: Vec<ArrayRef> = vec![Arc::new(self.names.finish()), Arc::new(self.places.finish())];
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(2, rows));
            envelope =
                envelope.headers(Arc::new(ListArray::try_new(item, offsets, Arc::new(entries), None)?));
        }
        self.runs.push(Run::to_topic(topic, envelope.build()?));
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.rejected.is_empty()
    }

    /// Everything, leaving nothing: the rows, where they come from, and what is none.
    pub fn take(&mut self) -> Result<(Vec<Run>, Lines, Vec<ConnectError>)> {
        self.end_run()?;
        (self.count, self.bytes) = (0, 0);
        Ok((mem::take(&mut self.runs), mem::take(&mut self.lines), mem::take(&mut self.rejected)))
    }
}
