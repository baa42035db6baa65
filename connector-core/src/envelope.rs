//! The columns of a batch: `offset`, `timestamp`, `key`, `value`, `headers`.
//!
//! `offset` Int64 not null · `timestamp` Timestamp(ms, UTC) · `key` and `value` any type that crosses the table (null
//! value = tombstone) · `headers` List<Struct<key: Utf8, value: Binary>>, absent when no record has headers.
//! `headers` and, in what a source yields, `offset` may be absent.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::error::{ConnectError, Result};

pub const OFFSET: &str = "offset";
pub const TIMESTAMP: &str = "timestamp";
pub const KEY: &str = "key";
pub const VALUE: &str = "value";
pub const HEADERS: &str = "headers";

/// Field metadata that tells undecoded bytes from Connect's BYTES.
pub const FORM: &str = "connect.form";
const EXTENSION: &str = "ARROW:extension:name";
const JSON_EXTENSION: &str = "arrow.json";

/// How a key or value column holds its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Binary as it came from Kafka, untouched.
    Bytes,
    /// Utf8 holding one compact JSON text a record (no insignificant white space); key order and number text kept.
    Document,
    /// Typed data.
    Columns,
}

/// What a stage has to be given; decided once, when a task starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Needs {
    /// Whatever form there is: it looks at topic, offset, timestamp, headers or the key only.
    Any,
    /// Writes bytes as they are.
    Bytes,
    /// The converter's own output: JSON without a schema stays text ([`Form::Document`]), typed data is typed.
    Document,
    /// A `Struct` with these fields. A field that is not nullable must be there in each record.
    Columns(Fields),
}

impl Form {
    /// The form of a `key` or `value` field.
    pub fn of(field: &Field) -> Self {
        match field.metadata().get(FORM).map(String::as_str) {
            Some("bytes") => Self::Bytes,
            Some("document") => Self::Document,
            Some(_) => Self::Columns,
            None if field.metadata().get(EXTENSION).is_some_and(|e| e == JSON_EXTENSION) => Self::Document,
            None => Self::Columns,
        }
    }

    /// A nullable field of this form.
    pub fn field(self, name: &str, data_type: DataType) -> Field {
        let mut metadata = HashMap::new();
        match self {
            Self::Bytes => {
                metadata.insert(FORM.to_owned(), "bytes".to_owned());
            }
            Self::Document => {
                metadata.insert(FORM.to_owned(), "document".to_owned());
                metadata.insert(EXTENSION.to_owned(), JSON_EXTENSION.to_owned());
            }
            Self::Columns => {
                metadata.insert(FORM.to_owned(), "columns".to_owned());
            }
        }
        Field::new(name, data_type, true).with_metadata(metadata)
    }
}

/// The type of the `headers` column.
pub fn headers_type() -> DataType {
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    DataType::List(Arc::new(Field::new("item", DataType::Struct(entry), false)))
}

pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Puts the columns of a batch together.
#[derive(Default)]
pub struct EnvelopeBuilder {
    fields: Vec<FieldRef>,
    columns: Vec<ArrayRef>,
}

impl EnvelopeBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    fn push(mut self, field: Field, column: ArrayRef) -> Self {
        self.fields.push(Arc::new(field));
        self.columns.push(column);
        self
    }

    #[must_use]
    pub fn offsets(self, offsets: Int64Array) -> Self {
        self.push(Field::new(OFFSET, DataType::Int64, false), Arc::new(offsets))
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn timestamps(self, timestamps: TimestampMillisecondArray) -> Self {
        self.push(Field::new(TIMESTAMP, timestamp_type(), true), Arc::new(timestamps.with_timezone("UTC")))
    }

    #[must_use]
    pub fn key(self, form: Form, key: ArrayRef) -> Self {
        self.push(form.field(KEY, key.data_type().clone()), key)
    }

    #[must_use]
    pub fn value(self, form: Form, value: ArrayRef) -> Self {
        self.push(form.field(VALUE, value.data_type().clone()), value)
    }

    /// `headers` has [`headers_type`].
    #[must_use]
    pub fn headers(self, headers: ArrayRef) -> Self {
        self.push(Field::new(HEADERS, headers_type(), true), headers)
    }

    pub fn build(self) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)?)
    }
}

/// Typed access to the columns of a batch.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    records: &'a RecordBatch,
}

impl<'a> Envelope<'a> {
    /// Checks names and types of the envelope columns.
    pub fn of(records: &'a RecordBatch) -> Result<Self> {
        let wrong = |what: &str| {
            ConnectError::internal("envelope", format!("a batch breaks the envelope contract: {what}"))
        };
        let schema = records.schema_ref();
        if schema.column_with_name(VALUE).is_none() {
            return Err(wrong("no column `value`"));
        }
        if let Some((_, field)) = schema.column_with_name(OFFSET)
            && field.data_type() != &DataType::Int64
        {
            return Err(wrong("`offset` is not Int64"));
        }
        if let Some((_, field)) = schema.column_with_name(TIMESTAMP)
            && !matches!(field.data_type(), DataType::Timestamp(TimeUnit::Millisecond, _))
        {
            return Err(wrong("`timestamp` is not Timestamp(ms, UTC)"));
        }
        if let Some((_, field)) = schema.column_with_name(HEADERS)
            && !matches!(field.data_type(), DataType::List(_))
        {
            return Err(wrong("`headers` is not a list"));
        }
        Ok(Self { records })
    }

    /// Offsets; `None` in what a source yields before the host has numbered it.
    pub fn offsets(&self) -> Option<&'a Int64Array> {
        self.records.column_by_name(OFFSET).and_then(|c| c.as_any().downcast_ref())
    }

    pub fn timestamps(&self) -> Option<&'a TimestampMillisecondArray> {
        self.records.column_by_name(TIMESTAMP).and_then(|c| c.as_any().downcast_ref())
    }

    pub fn key(&self) -> Option<&'a ArrayRef> {
        self.records.column_by_name(KEY)
    }

    pub fn value(&self) -> &'a ArrayRef {
        // `of` has checked that the column exists.
        self.records.column_by_name(VALUE).unwrap_or(self.records.column(0))
    }

    pub fn headers(&self) -> Option<&'a ListArray> {
        self.records.column_by_name(HEADERS).and_then(|c| c.as_list_opt())
    }

    pub fn value_form(&self) -> Form {
        self.records.schema_ref().field_with_name(VALUE).map_or(Form::Columns, Form::of)
    }

    pub fn key_form(&self) -> Form {
        self.records.schema_ref().field_with_name(KEY).map_or(Form::Columns, Form::of)
    }
}

/// The same records with another column in place of `name` (`key` or `value`), or with it added.
pub fn with_column(records: &RecordBatch, field: Field, column: ArrayRef) -> Result<RecordBatch> {
    let schema = records.schema_ref();
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut columns = records.columns().to_vec();
    match schema.index_of(field.name()) {
        Ok(at) => {
            fields[at] = Arc::new(field);
            columns[at] = column;
        }
        Err(_) => {
            fields.push(Arc::new(field));
            columns.push(column);
        }
    }
    let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The records whose row is not in `rows` (ascending or not).
pub fn without_rows(records: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    if rows.is_empty() {
        return Ok(records.clone());
    }
    let mut keep = vec![true; records.num_rows()];
    for &row in rows {
        if let Some(slot) = keep.get_mut(row) {
            *slot = false;
        }
    }
    Ok(arrow::compute::filter_record_batch(records, &keep.into())?)
}
