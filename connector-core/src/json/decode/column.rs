//! One column while its rows are read: what it takes, what a row has for it, what was read.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
};
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::super::connect::REQUIRED;
use crate::error::{ConnectError, Result};

/// The JSON that a column takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    Text,
    Timestamp(TimeUnit),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int32 => "a whole number of 32 bits",
            Self::Int64 => "a whole number of 64 bits",
            Self::Float32 | Self::Float64 => "a number",
            Self::Boolean => "true or false",
            Self::Text => "a string",
            Self::Timestamp(_) => "a string such as \"2020-08-28T03:52:47\" or \"2020-08-28 03:52:47\"",
        })
    }
}

impl Kind {
    fn of(field: &Field) -> Result<Self> {
        Ok(match field.data_type() {
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 => Self::Text,
            DataType::Timestamp(unit, _) => Self::Timestamp(*unit),
            other => {
                let message =
                    format!("field `{}` is declared as {other}, which JSON is not read into", field.name());
                return Err(ConnectError::internal("json.field_declared", message));
            }
        })
    }
}

/// What a row has for a field.
#[derive(Clone, Copy)]
pub(super) enum Slot<'t> {
    Absent,
    Null,
    Wrong,
    Text(&'t str),
    /// A place in the decoder's `unescaped`.
    Unescaped(usize, usize),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

pub(super) struct Column {
    pub kind: Kind,
    /// Whether null is an error.
    pub not_null: bool,
    /// Whether absence is an error.
    pub required: bool,
    builder: Builder,
}

impl Column {
    pub fn new(field: &Field, rows: usize) -> Result<Self> {
        let kind = Kind::of(field)?;
        let builder = match kind {
            Kind::Int32 => Builder::Int32(Int32Builder::with_capacity(rows)),
            Kind::Int64 | Kind::Timestamp(_) => Builder::Int64(Int64Builder::with_capacity(rows)),
            Kind::Float32 => Builder::Float32(Float32Builder::with_capacity(rows)),
            Kind::Float64 => Builder::Float64(Float64Builder::with_capacity(rows)),
            Kind::Boolean => Builder::Boolean(BooleanBuilder::with_capacity(rows)),
            Kind::Text => Builder::Text(StringBuilder::with_capacity(rows, 0)),
        };
        let not_null = !field.is_nullable();
        let marked = field.metadata().get(REQUIRED).is_some_and(|v| v == "true");
        Ok(Self { kind, not_null, required: not_null || marked, builder })
    }

    /// Appends what a row has; null for anything but a value of the column's kind.
    #[inline]
    pub fn append(&mut self, slot: Slot, unescaped: &str) {
        self.builder.append(slot, unescaped);
    }

    /// The array of the field's type.
    pub fn finish(&mut self, field: &Field) -> Result<ArrayRef> {
        let array = self.builder.finish();
        // Timestamps are built as their numbers.
        Ok(if array.data_type() == field.data_type() {
            array
        } else {
            arrow::compute::cast(&array, field.data_type())?
        })
    }
}

enum Builder {
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
}

impl Builder {
    #[inline]
    fn append(&mut self, slot: Slot, unescaped: &str) {
        match (self, slot) {
            (Self::Text(b), Slot::Text(text)) => b.append_value(text),
            (Self::Text(b), Slot::Unescaped(from, to)) => {
                b.append_value(unescaped.get(from..to).unwrap_or_default())
            }
            (Self::Int64(b), Slot::Integer(n)) => b.append_value(n),
            // The two conversions were found to fit when the slot was filled.
            (Self::Int32(b), Slot::Integer(n)) => b.append_value(n as i32),
            (Self::Float32(b), Slot::Float(n)) => b.append_value(n as f32),
            (Self::Float64(b), Slot::Float(n)) => b.append_value(n),
            (Self::Boolean(b), Slot::Boolean(v)) => b.append_value(v),
            (Self::Int32(b), _) => b.append_null(),
            (Self::Int64(b), _) => b.append_null(),
            (Self::Float32(b), _) => b.append_null(),
            (Self::Float64(b), _) => b.append_null(),
            (Self::Boolean(b), _) => b.append_null(),
            (Self::Text(b), _) => b.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int32(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::Float32(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
        }
    }
}
