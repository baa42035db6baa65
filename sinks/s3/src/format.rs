//! The bytes of each record's value, as `format.class` writes them.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::DataType;
use connector_core::envelope::VALUE;
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::{Batch, ConnectError, Envelope, Form, Result};

use crate::config::Format;

/// The values of a batch, one slice of bytes a row.
pub enum Rows<'a> {
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    /// Typed values, encoded one by one into the buffer.
    Json(Encoder<'a>, Vec<u8>),
    /// The format cannot write this type, whose Connect name is here.
    Refused(String),
}

impl<'a> Rows<'a> {
    pub fn of(batch: &'a Batch, format: Format, decimals: DecimalFormat) -> Result<Self> {
        let envelope = Envelope::of(&batch.records)?;
        let value = envelope.value();
        match (format, envelope.value_form()) {
            (Format::ByteArray, _) => {
                Ok(Self::bytes(value).unwrap_or_else(|| Self::Refused(connect_type(value.data_type()))))
            }
            (_, Form::Document) => Self::text(value).ok_or_else(|| {
                ConnectError::internal("s3.document", format!("a document column is {}", value.data_type()))
            }),
            _ => {
                let fields = batch.records.schema_ref().fields();
                let (_, field) = fields
                    .find(VALUE)
                    .ok_or_else(|| ConnectError::internal("envelope", "a batch has no column `value`"))?;
                Ok(Self::Json(Encoder::new(field, value, decimals)?, Vec::new()))
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

    /// The bytes of `row`, which is not null.
    #[inline]
    pub fn get(&mut self, row: usize) -> Result<&[u8]> {
        match self {
            Self::Utf8(array) => Ok(array.value(row).as_bytes()),
            Self::LargeUtf8(array) => Ok(array.value(row).as_bytes()),
            Self::Utf8View(array) => Ok(array.value(row).as_bytes()),
            Self::Binary(array) => Ok(array.value(row)),
            Self::LargeBinary(array) => Ok(array.value(row)),
            Self::BinaryView(array) => Ok(array.value(row)),
            Self::Json(encoder, buffer) => {
                buffer.clear();
                encoder.encode(row, buffer);
                Ok(buffer)
            }
            Self::Refused(name) => {
                let message = format!("Invalid schema type for ByteArrayConverter: {name}");
                Err(ConnectError::user("s3.not_bytes", message).hint(NOT_BYTES))
            }
        }
    }
}

const NOT_BYTES: &str =
    "use `value.converter: org.apache.kafka.connect.converters.ByteArrayConverter`, or `format.class: json`";

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
