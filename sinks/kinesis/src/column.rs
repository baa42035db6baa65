//! The bytes of a column's rows.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, LargeBinaryArray, LargeStringArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::{DataType, FieldRef};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::{Form, Result};

/// One slice of bytes a row: bytes and text as they are, everything else as JSON.
pub enum Column<'a> {
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    Json(Encoder<'a>, Vec<u8>),
}

impl<'a> Column<'a> {
    pub fn of(field: &'a FieldRef, array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Utf8(array.as_string()),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string()),
            DataType::Utf8View => Self::Utf8View(array.as_string_view()),
            DataType::Binary => Self::Binary(array.as_binary()),
            DataType::LargeBinary => Self::LargeBinary(array.as_binary()),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view()),
            _ => Self::Json(Encoder::new(field, array, DecimalFormat::default())?, Vec::new()),
        })
    }

    /// Whether the bytes are JSON texts.
    pub fn is_json(&self, field: &FieldRef) -> bool {
        matches!(self, Self::Json(..)) || Form::of(field) == Form::Document
    }

    /// The bytes of `row`, which is not null.
    pub fn get(&mut self, row: usize) -> &[u8] {
        match self {
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
        }
    }
}
