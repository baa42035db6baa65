//! Headers that a transform makes: with a schema, until the header converter makes bytes of them.
//!
//! The entries of [`crate::envelope::headers_type`] then have a third field, `schema`: null for the bytes that came from
//! Kafka, an empty text for a value without a schema (the bytes are JSON), otherwise Connect's schema as JSON (the bytes
//! are its payload as JSON).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, ListArray, MutableArrayData, RecordBatch, StringArray,
    StructArray, make_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use crate::envelope::{self, Envelope, HEADERS};
use crate::error::Result;

/// The third field of an entry.
pub const SCHEMA: &str = "schema";

/// The fields of an entry.
fn fields() -> Fields {
    vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
        Field::new(SCHEMA, DataType::Utf8, true),
    ]
    .into()
}

/// Headers to add.
#[derive(Debug, Default)]
pub struct Entries {
    keys: Vec<String>,
    values: Vec<Option<Vec<u8>>>,
    schemas: Vec<Option<String>>,
}

impl Entries {
    /// `value` is JSON; `None`: null. `schema` is Connect's as JSON, or empty.
    pub fn push(&mut self, key: &str, value: Option<Vec<u8>>, schema: &str) {
        self.keys.push(key.to_owned());
        self.values.push(value);
        self.schemas.push(Some(schema.to_owned()));
    }

    /// A header as Kafka has it.
    pub fn push_bytes(&mut self, key: &str, value: Vec<u8>) {
        self.keys.push(key.to_owned());
        self.values.push(Some(value));
        self.schemas.push(None);
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn array(&self) -> Result<StructArray> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&self.keys)),
            Arc::new(self.values.iter().map(Option::as_ref).collect::<BinaryArray>()),
            Arc::new(self.schemas.iter().map(Option::as_ref).collect::<StringArray>()),
        ];
        Ok(StructArray::try_new(fields(), columns, None)?)
    }
}

/// Adds to each record, behind the headers that it has, those of `entries` that `of` names for its row.
pub fn append(
    records: &RecordBatch,
    entries: &Entries,
    of: impl Fn(usize) -> Range<usize>,
) -> Result<RecordBatch> {
    let added = entries.array()?.into_data();
    let before = Envelope::of(records)?.headers();
    let known = match before {
        Some(headers) => with_schemas(headers.values().as_struct())?.into_data(),
        None => added.slice(0, 0),
    };
    let mut all = MutableArrayData::new(vec![&known, &added], false, known.len() + records.num_rows());
    let mut lengths = Vec::with_capacity(records.num_rows());
    for row in 0..records.num_rows() {
        let (start, end) = before.filter(|headers| headers.is_valid(row)).map_or((0, 0), |headers| {
            (headers.value_offsets()[row] as usize, headers.value_offsets()[row + 1] as usize)
        });
        let new = of(row);
        all.try_extend(0, start, end)?;
        all.try_extend(1, new.start, new.end)?;
        lengths.push(end - start + new.len());
    }
    let item = Arc::new(Field::new("item", DataType::Struct(fields()), false));
    let list = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), make_array(all.freeze()), None)?;
    envelope::with_column(records, Field::new(HEADERS, list.data_type().clone(), true), Arc::new(list))
}

/// The entries with a `schema` each.
fn with_schemas(entries: &StructArray) -> Result<StructArray> {
    if entries.num_columns() == 3 {
        return Ok(entries.clone());
    }
    let mut columns = entries.columns().to_vec();
    columns.push(new_null_array(&DataType::Utf8, entries.len()));
    Ok(StructArray::try_new(fields(), columns, entries.nulls().cloned())?)
}

/// The schemas of all entries, where a transform has made some.
pub fn schemas(headers: &ListArray) -> Option<&StringArray> {
    headers.values().as_struct_opt()?.column_by_name(SCHEMA)?.as_string_opt()
}
