//! JSON objects to typed columns, without a tree in between.
//!
//! Integer fields take numbers without fraction and exponent, float fields any number that a double holds, text fields
//! strings, timestamp fields strings as [`super::parse_timestamp`] reads them; nothing is converted. Keys that are not
//! declared are skipped; of a key that comes twice the last one counts. A field that is not nullable must be present
//! and not null, one marked [`super::REQUIRED`] present; any other is null when it is absent. The text is read as leniently as
//! [`super::compact`] reads it, but only in UTF-8; a null value is a null row.

mod column;
#[cfg(test)]
mod tests;

use arrow::array::{Array, AsArray, BooleanBufferBuilder, StructArray};
use arrow::datatypes::{DataType, Fields};

use self::column::{Column, Kind, Slot};
use super::cursor::{Cursor, Quoted};
use super::error::{JsonError, JsonErrorKind};
use super::instant::parse_timestamp;
use super::scan::{self, Scanned};
use crate::error::{ConnectError, Result};

/// The answer of [`decode`].
#[derive(Debug)]
pub struct Decoded {
    /// The rows that are not rejected, in order.
    pub values: StructArray,
    /// Rows of the input, ascending, and what is wrong with each.
    pub rejected: Vec<(usize, ConnectError)>,
}

/// Reads a Binary or Utf8 array of JSON objects into columns of these fields: Int32, Int64, Float32, Float64, Boolean,
/// Utf8 and Timestamp.
pub fn decode(texts: &dyn Array, fields: &Fields) -> Result<Decoded> {
    let mut decoder = Decoder::new(fields, texts.len())?;
    let mut rejected = Vec::new();
    for row in 0..texts.len() {
        let text = match texts.data_type() {
            _ if texts.is_null(row) => None,
            DataType::Binary => Some(texts.as_binary::<i32>().value(row)),
            DataType::Utf8 => Some(texts.as_string::<i32>().value(row).as_bytes()),
            other => {
                let message = format!("JSON cannot be read from a column of type {other}");
                return Err(ConnectError::internal("json.column", message));
            }
        };
        if let Err(unfit) = decoder.row(text) {
            rejected.push((row, unfit.into_error(fields)));
        }
    }
    Ok(Decoded { values: decoder.finish()?, rejected })
}

/// Why a row is rejected; a number is the index of the field that is to blame.
enum Unfit {
    Syntax(JsonError),
    NoObject,
    Missing(usize),
    Type(usize, Kind),
}

impl From<JsonError> for Unfit {
    fn from(error: JsonError) -> Self {
        Self::Syntax(error)
    }
}

impl Unfit {
    #[cold]
    fn into_error(self, fields: &Fields) -> ConnectError {
        let name = |at: usize| fields.get(at).map_or("", |f| f.name());
        match self {
            Self::Syntax(error) => {
                ConnectError::user("json.syntax", format!("the text is not JSON: {error}"))
                    .hint("send valid JSON")
            }
            Self::NoObject => ConnectError::user("json.no_object", "the JSON value is not an object")
                .hint("send one object with the declared fields a record"),
            Self::Missing(at) => {
                ConnectError::user("json.field_missing", format!("field `{}` is missing", name(at)))
                    .hint("send the field in each record, and records of other kinds to another topic")
            }
            Self::Type(at, kind) => {
                ConnectError::user("json.field_type", format!("field `{}` is not {kind}", name(at)))
                    .hint("send the field with that JSON type")
            }
        }
    }
}

struct Decoder<'t> {
    fields: &'t Fields,
    columns: Vec<Column>,
    slots: Vec<Slot<'t>>,
    valid: BooleanBufferBuilder,
    /// Strings of the current row that had escape sequences.
    unescaped: String,
}

impl<'t> Decoder<'t> {
    fn new(fields: &'t Fields, rows: usize) -> Result<Self> {
        Ok(Self {
            fields,
            columns: fields.iter().map(|field| Column::new(field, rows)).collect::<Result<_>>()?,
            slots: vec![Slot::Absent; fields.len()],
            valid: BooleanBufferBuilder::new(rows),
            unescaped: String::new(),
        })
    }

    /// Reads one text and appends a row, or appends nothing.
    fn row(&mut self, text: Option<&'t [u8]>) -> Result<(), Unfit> {
        self.slots.fill(Slot::Absent);
        self.unescaped.clear();
        let found = match text.map(scan::utf8) {
            None => false,
            Some(Ok(text)) => self.object(text)?,
            Some(Err(error)) => return Err(error.into()),
        };
        if found {
            for (at, (column, slot)) in self.columns.iter().zip(&self.slots).enumerate() {
                match slot {
                    Slot::Absent if column.required => return Err(Unfit::Missing(at)),
                    Slot::Null if column.not_null => return Err(Unfit::Missing(at)),
                    Slot::Wrong => return Err(Unfit::Type(at, column.kind)),
                    _ => {}
                }
            }
        }
        self.valid.append(found);
        for (column, slot) in self.columns.iter_mut().zip(&self.slots) {
            column.append(*slot, &self.unescaped);
        }
        Ok(())
    }

    /// Fills the slots from an object; false: the text is the null value.
    fn object(&mut self, text: &'t str) -> Result<bool, Unfit> {
        let mut cursor = Cursor::new(text);
        cursor.skip_blanks();
        if cursor.peek() != Some(b'{') {
            return match scan::scan_str(text)? {
                Scanned::Null => Ok(false),
                _ => Err(Unfit::NoObject),
            };
        }
        cursor.at += 1;
        cursor.skip_blanks();
        if cursor.peek() == Some(b'}') {
            return Ok(true);
        }
        // Most producers send the fields in one order: look first behind the last one that was found.
        let mut expected = 0;
        loop {
            cursor.skip_blanks();
            let key = cursor.key()?;
            cursor.colon()?;
            cursor.skip_blanks();
            match self.find(&key, expected) {
                Some(at) => {
                    let slot = self.value(&mut cursor, at)?;
                    if let Some(place) = self.slots.get_mut(at) {
                        *place = slot;
                    }
                    expected = at + 1;
                }
                None => scan::value(&mut cursor, &mut |_, _| {})?,
            }
            cursor.skip_blanks();
            match cursor.peek() {
                Some(b',') => cursor.at += 1,
                Some(b'}') => return Ok(true),
                _ => return Err(cursor.error(JsonErrorKind::ExpectedCommaOrBrace).into()),
            }
        }
    }

    #[inline]
    fn find(&self, key: &Quoted<'t>, expected: usize) -> Option<usize> {
        if !key.escaped && self.fields.get(expected).is_some_and(|f| f.name() == key.raw) {
            return Some(expected);
        }
        let mut unescaped = String::new();
        let key = if key.escaped {
            key.unescape(&mut unescaped);
            unescaped.as_str()
        } else {
            key.raw
        };
        self.fields.iter().position(|f| f.name() == key)
    }

    #[inline]
    fn value(&mut self, cursor: &mut Cursor<'t>, at: usize) -> Result<Slot<'t>, JsonError> {
        let kind = self.columns.get(at).map(|c| c.kind);
        let slot = match cursor.peek() {
            Some(b'"') => {
                let string = cursor.string()?;
                match kind {
                    Some(Kind::Text) if string.escaped => {
                        let start = self.unescaped.len();
                        string.unescape(&mut self.unescaped);
                        Some(Slot::Unescaped(start, self.unescaped.len()))
                    }
                    Some(Kind::Text) => Some(Slot::Text(string.raw)),
                    Some(Kind::Timestamp(unit)) => parse_timestamp(string.raw, unit).map(Slot::Integer),
                    _ => None,
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = cursor.number()?;
                match kind {
                    Some(Kind::Int64) => number.integer().map(Slot::Integer),
                    Some(Kind::Int32) => {
                        number.integer().filter(|&n| i32::try_from(n).is_ok()).map(Slot::Integer)
                    }
                    Some(Kind::Float64) => number.float().map(Slot::Float),
                    Some(Kind::Float32) => {
                        number.float().filter(|&n| (n as f32).is_finite()).map(Slot::Float)
                    }
                    _ => None,
                }
            }
            Some(b't' | b'f' | b'n') => match (cursor.word()?, kind) {
                ("null", _) => Some(Slot::Null),
                (word, Some(Kind::Boolean)) => Some(Slot::Boolean(word == "true")),
                _ => None,
            },
            _ => {
                scan::value(cursor, &mut |_, _| {})?;
                None
            }
        };
        Ok(slot.unwrap_or(Slot::Wrong))
    }

    fn finish(mut self) -> Result<StructArray> {
        let arrays = self.columns.iter_mut().zip(self.fields).map(|(column, field)| column.finish(field));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let (rows, valid) = (self.valid.len(), self.valid.finish());
        let nulls = (valid.count_set_bits() < rows).then(|| valid.into());
        Ok(StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, rows)?)
    }
}
