//! Each record's value (or key, or headers) in the form that `format.class` writes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::{DataType, FieldRef};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::{ConnectError, Form, Result};

use crate::body::Record;
use crate::config::Format;
use crate::parquet::Table;

/// One column of a batch, a [`Record`] a row.
pub enum Rows<'a> {
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    /// Typed values, encoded one by one into the buffer.
    Json(Encoder<'a>, Vec<u8>),
    /// Typed values for a format that has types itself.
    Table(Arc<Table>),
    /// The format cannot write values of this type.
    Refused(Refusal),
}

/// Why no value of a batch can be written.
pub struct Refusal {
    code: &'static str,
    message: String,
    hint: &'static str,
}

impl<'a> Rows<'a> {
    /// The rows of one column, in the form that `field` says it has.
    pub fn of(
        field: &'a FieldRef,
        array: &'a ArrayRef,
        format: Format,
        decimals: DecimalFormat,
    ) -> Result<Self> {
        match (format, Form::of(field)) {
            (Format::ByteArray, _) => Ok(Self::bytes(array).unwrap_or_else(|| {
                let message = format!(
                    "Invalid schema type for ByteArrayConverter: {}",
                    connect_type(array.data_type())
                );
                Self::Refused(Refusal { code: "s3.not_bytes", message, hint: NOT_BYTES })
            })),
            (Format::Parquet, form) => Ok(Self::table(array, form)),
            (_, Form::Document) => Self::text(array).ok_or_else(|| {
                ConnectError::internal("s3.document", format!("a document column is {}", array.data_type()))
            }),
            _ => Ok(Self::Json(Encoder::new(field, array, decimals)?, Vec::new())),
        }
    }

    fn table(value: &ArrayRef, form: Form) -> Self {
        let table = match form {
            Form::Columns => Table::of(value),
            Form::Document => Err("the value is JSON without a schema".to_owned()),
            Form::Bytes => Err("the value is bytes".to_owned()),
        };
        match table {
            Ok(table) => Self::Table(Arc::new(table)),
            Err(why) => {
                let message = format!("Parquet has no form for this record: {why}");
                Self::Refused(Refusal { code: "s3.not_parquet", message, hint: NOT_PARQUET })
            }
        }
    }

    fn text(value: &'a ArrayRef) -> Option<Self> {
        match value.data_type() {
            DataType::Utf8 => Some(Self::Utf8(value.as_string())),
            DataType::LargeUtf8 => Some(Self::LargeUtf8(value.as_string())),
            DataType::Utf8View => Some(Self::Utf8View(value.as_string_view())),
            _ => None,
        }
    }

    fn bytes(value: &'a ArrayRef) -> Option<Self> {
        match value.data_type() {
            DataType::Binary => Some(Self::Binary(value.as_binary())),
            DataType::LargeBinary => Some(Self::LargeBinary(value.as_binary())),
            DataType::BinaryView => Some(Self::BinaryView(value.as_binary_view())),
            _ => None,
        }
    }

    /// What is in `row`, which is not null.
    #[inline]
    pub fn get(&mut self, row: usize) -> Result<Record<'_>> {
        Ok(Record::Bytes(match self {
            Self::Utf8(array) => array.value(row).as_bytes(),
            Self::LargeUtf8(array) => array.value(row).as_bytes(),
            Self::Utf8View(array) => array.value(row).as_bytes(),
            Self::Binary(array) => array.value(row),
            Self::LargeBinary(array) => array.value(row),
            Self::BinaryView(array) => array.value(row),
            Self::Json(encoder, buffer) => {
                buffer.clear();
                encoder.encode(row, buffer);
                buffer
            }
            Self::Table(table) => return Ok(Record::Row(table, row)),
            Self::Refused(Refusal { code, message, hint }) => {
                return Err(ConnectError::user(*code, message.as_str()).hint(*hint));
            }
        }))
    }
}

const NOT_BYTES: &str =
    "use `value.converter: org.apache.kafka.connect.converters.ByteArrayConverter`, or `format.class: json`";

const NOT_PARQUET: &str = "use a converter that gives values a schema, such as JsonConverter with `value.converter.schemas.enable: true`, or \
     `format.class: json`";

/// Connect's name of a type.
fn connect_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::List(_) | DataType::LargeList(_) => "ARRAY".to_owned(),
        DataType::Map(..) => "MAP".to_owned(),
        other => other.to_string().to_uppercase(),
    }
}
