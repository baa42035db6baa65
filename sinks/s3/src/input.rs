//! A batch as a writer takes it: each column in the form in which it is written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use connector_core::envelope::{KEY, VALUE};
use connector_core::json::NAME;
use connector_core::{Batch, ConnectError, Envelope, Form, Result};

use crate::config::{Format, SchemaCompatibility};
use crate::file::Shape;
use crate::format::Rows;
use crate::headers::Headers;
use crate::partition::Directories;
use crate::schema::{self, Change};
use crate::writer::Settings;

/// Columns that are made of those of the batch.
pub struct Columns {
    key: Option<(FieldRef, ArrayRef)>,
    headers: Option<Headers>,
    /// The values with the schemas of open files to which they may be projected.
    projected: Vec<(FieldRef, Result<ArrayRef>)>,
}

impl Columns {
    /// `open` are the schemas of the open files.
    pub fn of<'a>(
        batch: &Batch,
        settings: &Settings,
        open: impl Iterator<Item = &'a FieldRef>,
    ) -> Result<Self> {
        let envelope = Envelope::of(&batch.records)?;
        let shapes = &settings.shapes;
        let headers = || Headers::of(envelope.headers(), batch.len(), settings.header_converter);
        let mut projected = Vec::<(FieldRef, Result<ArrayRef>)>::new();
        let mode = settings.compatibility;
        if mode != SchemaCompatibility::None {
            let schema = value_field(batch)?;
            for target in open {
                if !projected.iter().any(|(known, _)| known == target)
                    && matches!(schema::change(mode, schema, target), Ok(Change::Project))
                {
                    projected.push((Arc::clone(target), schema::project(envelope.value(), target)));
                }
            }
        }
        Ok(Self {
            key: shapes.key.as_ref().and_then(|shape| written_key(batch, shape.format)),
            headers: shapes.headers.as_ref().map(|_| headers()).transpose()?,
            projected,
        })
    }
}

/// What there is to write of a batch, a row a record.
pub struct Input<'a> {
    pub batch: &'a Batch,
    pub directories: Directories<'a>,
    pub schema: &'a FieldRef,
    pub values: Rows<'a>,
    pub nulls: Option<NullBuffer>,
    pub keys: Option<(Rows<'a>, Option<NullBuffer>)>,
    pub list: Option<&'a ListArray>,
    pub headers: Option<Rows<'a>>,
    /// The values with the schemas of open files that they are written to.
    pub projected: Vec<(FieldRef, Result<Rows<'a>>)>,
}

impl<'a> Input<'a> {
    pub fn of(batch: &'a Batch, settings: &'a Settings, columns: &'a Columns) -> Result<Self> {
        let envelope = Envelope::of(&batch.records)?;
        let schema = value_field(batch)?;
        let schema_name = schema.metadata().get(NAME).map(String::as_str);
        let shapes = &settings.shapes;
        let rows = |field, array, shape: &Shape| Rows::of(field, array, shape.format, settings.decimals);
        Ok(Self {
            batch,
            directories: settings.partitioning.directories(batch, schema_name)?,
            schema,
            values: rows(schema, envelope.value(), &shapes.value)?,
            nulls: envelope.value().logical_nulls(),
            keys: match (&shapes.key, &columns.key) {
                (Some(shape), Some((field, array))) => {
                    Some((rows(field, array, shape)?, array.logical_nulls()))
                }
                _ => None,
            },
            list: envelope.headers(),
            headers: match (&shapes.headers, &columns.headers) {
                (Some(shape), Some(headers)) => Some(rows(&headers.field, &headers.rows, shape)?),
                _ => None,
            },
            projected: columns
                .projected
                .iter()
                .map(|(field, array)| {
                    let array = array.as_ref().map_err(schema::again);
                    (Arc::clone(field), array.and_then(|array| rows(field, array, &shapes.value)))
                })
                .collect(),
        })
    }
}

fn value_field(batch: &Batch) -> Result<&FieldRef> {
    field(batch, VALUE).ok_or_else(|| ConnectError::internal("envelope", "a batch has no column `value`"))
}

fn field<'a>(batch: &'a Batch, name: &str) -> Option<&'a FieldRef> {
    batch.records.schema_ref().fields().find(name).map(|(_, field)| field)
}

/// The keys as they are written: what has columns gets a struct around keys that are none, with the column `key`.
fn written_key(batch: &Batch, format: Format) -> Option<(FieldRef, ArrayRef)> {
    let (field, array) = (field(batch, KEY)?, batch.records.column_by_name(KEY)?);
    if format != Format::Parquet
        || Form::of(field) == Form::Document
        || matches!(array.data_type(), DataType::Struct(_))
    {
        return Some((Arc::clone(field), Arc::clone(array)));
    }
    let inner = Arc::new(Field::new(KEY, array.data_type().clone(), true));
    let rows = StructArray::new(vec![inner].into(), vec![Arc::clone(array)], array.logical_nulls());
    Some((Arc::new(Form::Columns.field(KEY, rows.data_type().clone())), Arc::new(rows)))
}
