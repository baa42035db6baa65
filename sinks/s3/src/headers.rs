//! Objects of headers: `{"headers":[{"key":"trace","value":"12"}]}` a record, as Connect writes them.

mod simple;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connector_core::{ConnectError, Form, Result};

use crate::config::HeaderConverter;

/// The headers of a batch in the form in which they are written.
pub struct Headers {
    pub field: FieldRef,
    pub rows: ArrayRef,
}

impl Headers {
    /// `list` is the column of the batch, if it has one; the answer has as many rows.
    pub fn of(list: Option<&ListArray>, rows: usize, converter: HeaderConverter) -> Result<Self> {
        let entry = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Utf8, false),
        ]);
        let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
        let mut lengths = Vec::with_capacity(rows);
        for row in 0..rows {
            let headers = list.filter(|list| list.is_valid(row)).map(|list| list.value(row));
            let headers = headers.as_ref().map(|headers| headers.as_struct());
            lengths.push(headers.map_or(0, Array::len));
            for at in 0..headers.map_or(0, Array::len) {
                let bytes = |name| headers.and_then(|headers| bytes(headers.column_by_name(name)?, at));
                keys.append_value(text(bytes("key")));
                let value = bytes("value").unwrap_or_default();
                match converter {
                    HeaderConverter::Simple => values.append_value(simple::again(&text(Some(value)))),
                    HeaderConverter::String => values.append_value(text(Some(value))),
                    HeaderConverter::ByteArray => values.append_value(STANDARD.encode(value)),
                }
            }
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(values.finish())];
        let entries = Arc::new(StructArray::try_new(entry, columns, None)?);
        let item = Arc::new(Field::new("item", entries.data_type().clone(), false));
        let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), entries, None)?;
        let headers = Field::new("headers", lists.data_type().clone(), false);
        let rows: ArrayRef =
            Arc::new(StructArray::try_new(vec![headers].into(), vec![Arc::new(lists)], None)?);
        Ok(Self { field: Arc::new(Form::Columns.field("headers", rows.data_type().clone())), rows })
    }
}

/// Refuses a record that has no headers, or a header without a value: no row could be written for it.
pub fn check(list: Option<&ListArray>, row: usize) -> Result<()> {
    let headers =
        list.filter(|list| list.is_valid(row)).map(|list| list.value(row)).filter(|list| !list.is_empty());
    let Some(headers) = headers else {
        return Err(ConnectError::user("s3.no_headers", "Headers cannot be null: the record has none")
            .hint("with `store.kafka.headers` each record needs at least one header"));
    };
    let valueless = headers.as_struct().column_by_name("value").is_some_and(|values| values.null_count() > 0);
    if valueless {
        return Err(ConnectError::user(
            "s3.null_header",
            "Invalid value: null used for the value of a header",
        )
        .hint("with `store.kafka.headers` each header needs a value"));
    }
    Ok(())
}

fn bytes(array: &ArrayRef, row: usize) -> Option<&[u8]> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Some(array.as_binary_view().value(row)),
        DataType::Utf8 => Some(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => Some(array.as_string_view().value(row).as_bytes()),
        _ => None,
    }
}

fn text(bytes: Option<&[u8]>) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes.unwrap_or_default())
}
