//! Fields of records by name, `a.b` for one inside of another: in typed values and in JSON without a schema.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType, UInt64Type};
use connector_core::json::{Member, member};
use connector_core::{Form, Result};

/// Where a field is: the names from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    /// As it is configured.
    pub name: String,
    names: Vec<String>,
}

impl FieldPath {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), names: name.split('.').map(str::to_owned).collect() }
    }
}

/// What a record has in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum<'a> {
    /// The record has no such field.
    Missing,
    Null,
    Text(Cow<'a, str>),
    Boolean(bool),
    Integer(i64),
    /// Of JSON without a schema only: there 1.0 may be meant as 1.
    Number(&'a str),
    /// A date or a time, in epoch milliseconds.
    Instant(i64),
    /// Something else: what, in a word.
    Other(Cow<'a, str>),
}

/// One field of all records of a batch.
pub enum Field<'a> {
    Document {
        texts: Texts<'a>,
        path: &'a FieldPath,
    },
    /// Rows of a column, null where the field or something around it is.
    Column {
        column: Column,
        nulls: Option<NullBuffer>,
    },
    /// What every record has, because the schema says so.
    Always(Datum<'static>),
}

/// A column of texts, whatever its layout.
pub enum Texts<'a> {
    Utf8(&'a arrow::array::StringArray),
    Large(&'a arrow::array::LargeStringArray),
    View(&'a arrow::array::StringViewArray),
}

/// A column whose values can be looked at.
pub enum Column {
    Text(ArrayRef),
    Boolean(arrow::array::BooleanArray),
    Integer(arrow::array::Int64Array),
    Instant(arrow::array::TimestampMillisecondArray),
    Other(String),
}

impl<'a> Texts<'a> {
    fn of(array: &'a ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8 => Some(Self::Utf8(array.as_string())),
            DataType::LargeUtf8 => Some(Self::Large(array.as_string())),
            DataType::Utf8View => Some(Self::View(array.as_string_view())),
            _ => None,
        }
    }

    fn value(&self, row: usize) -> &'a str {
        match self {
            Self::Utf8(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }
}

impl<'a> Field<'a> {
    /// The field at `path` of the values of a batch.
    pub fn of(values: &'a ArrayRef, form: Form, path: &'a FieldPath) -> Result<Self> {
        match (form, Texts::of(values)) {
            (Form::Document, Some(texts)) => Ok(Self::Document { texts, path }),
            (Form::Columns, _) => column(values, path),
            _ => Ok(Self::Always(Datum::Missing)),
        }
    }

    /// The field of the record in `row`, whose value is not null.
    pub fn get(&self, row: usize) -> Datum<'_> {
        match self {
            Self::Document { texts, path } => match member(texts.value(row), &path.names) {
                Member::Missing => Datum::Missing,
                Member::Null => Datum::Null,
                Member::Boolean(value) => Datum::Boolean(value),
                Member::Number(text) => text.parse().map_or(Datum::Number(text), Datum::Integer),
                Member::Text(text) => Datum::Text(text),
                Member::Nested => Datum::Other("an object or an array".into()),
            },
            Self::Always(datum) => datum.clone(),
            Self::Column { nulls, .. } if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => {
                Datum::Null
            }
            Self::Column { column, .. } => match column {
                Column::Text(array) => match Texts::of(array) {
                    Some(texts) => Datum::Text(Cow::Borrowed(texts.value(row))),
                    None => Datum::Missing,
                },
                Column::Boolean(array) => Datum::Boolean(array.value(row)),
                Column::Integer(array) => Datum::Integer(array.value(row)),
                // A date beyond the range of milliseconds.
                Column::Instant(array) if array.is_null(row) => {
                    Datum::Other("a date that is too far away".into())
                }
                Column::Instant(array) => Datum::Instant(array.value(row)),
                Column::Other(name) => Datum::Other(Cow::Borrowed(name)),
            },
        }
    }
}

fn column<'a>(values: &ArrayRef, path: &FieldPath) -> Result<Field<'a>> {
    let mut array = values.clone();
    let mut nulls = array.logical_nulls();
    for name in &path.names {
        let inner = match array.data_type() {
            DataType::Struct(_) => array.as_struct().column_by_name(name).cloned(),
            DataType::Map(..) => Some(entry(&array, name)?),
            _ => None,
        };
        let Some(inner) = inner else { return Ok(Field::Always(Datum::Missing)) };
        nulls = NullBuffer::union(nulls.as_ref(), inner.logical_nulls().as_ref());
        array = inner;
    }
    Ok(Field::Column { column: Column::of(array)?, nulls })
}

/// The value of the key `name` in each row's map; null where a map has no such key.
fn entry(array: &ArrayRef, name: &str) -> Result<ArrayRef> {
    let maps = array.as_map();
    let keys = Texts::of(maps.keys());
    let rows = maps.value_offsets().windows(2).map(|ends| {
        let keys = keys.as_ref()?;
        let (start, end) = (*ends.first()?, *ends.last()?);
        (start..end).rev().find_map(|at| {
            let at = u32::try_from(at).ok()?;
            (keys.value(at as usize) == name).then_some(at)
        })
    });
    Ok(take(maps.values(), &rows.collect::<UInt32Array>(), None)?)
}

impl Column {
    fn of(array: ArrayRef) -> Result<Self> {
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        Ok(match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(array),
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::UInt64 => {
                // What does not fit is no integer of Connect's.
                let numbers = array.as_primitive::<UInt64Type>();
                if numbers.iter().flatten().any(|number| i64::try_from(number).is_err()) {
                    return Ok(Self::Other("a number of more than 63 bits".to_owned()));
                }
                Self::Integer(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            kind if kind.is_integer() => {
                Self::Integer(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                // The zone of a timestamp does not change the instant.
                let instants = match array.data_type() {
                    DataType::Timestamp(unit, Some(_)) => {
                        cast(&cast(&array, &DataType::Int64)?, &DataType::Timestamp(*unit, None))?
                    }
                    _ => array,
                };
                Self::Instant(
                    cast(&instants, &milliseconds)?.as_primitive::<TimestampMillisecondType>().clone(),
                )
            }
            kind if kind.is_floating() => Self::Other("a floating-point number".to_owned()),
            DataType::Struct(_) => Self::Other("a struct".to_owned()),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                Self::Other("an array".to_owned())
            }
            DataType::Map(..) => Self::Other("a map".to_owned()),
            kind if kind.is_binary() => Self::Other("bytes".to_owned()),
            DataType::Null => Self::Other("null".to_owned()),
            other => Self::Other(format!("of type {other}")),
        })
    }
}
