//! JSON objects to typed columns, without a tree in between.
//!
//! Integer fields take numbers without fraction and exponent, float fields any number that a double holds, text fields
//! strings, timestamp fields strings as [`parse_timestamp`] reads them; nothing is converted. Keys that are not
//! declared are skipped; of a key that comes twice the last one counts. A field that is not nullable must be present
//! and not null, one marked [`REQUIRED`] present; any other is null when it is absent. The text is read as leniently as
//! [`super::compact`] reads it; a null value is a null row.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, StructArray};
use arrow::array::{
    BooleanBuilder, Float32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::connect::REQUIRED;
use super::cursor::{Cursor, Quoted};
use super::error::JsonError;
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

#[derive(Clone, Copy)]
enum Kind {
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
enum Slot<'t> {
    Absent,
    Null,
    Wrong,
    Text(&'t str),
    /// A place in [`Decoder::unescaped`].
    Unescaped(usize, usize),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

enum Builder {
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
}

struct Column {
    kind: Kind,
    /// Whether null, or absence, is an error.
    not_null: bool,
    required: bool,
    builder: Builder,
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
        let column = |field: &Field| {
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
            Ok(Column { kind, not_null, required: not_null || marked, builder })
        };
        Ok(Self {
            fields,
            columns: fields.iter().map(|field| column(field)).collect::<Result<_>>()?,
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
            column.builder.append(*slot, &self.unescaped);
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
                None => scan::value(&mut cursor, &mut |_| {})?,
            }
            cursor.skip_blanks();
            match cursor.peek() {
                Some(b',') => cursor.at += 1,
                Some(b'}') => return Ok(true),
                _ => return Err(cursor.error(super::JsonErrorKind::ExpectedCommaOrBrace).into()),
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
            unescape(key.raw, &mut unescaped);
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
                        unescape(string.raw, &mut self.unescaped);
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
                scan::value(cursor, &mut |_| {})?;
                None
            }
        };
        Ok(slot.unwrap_or(Slot::Wrong))
    }

    fn finish(mut self) -> Result<StructArray> {
        let arrays = self.columns.iter_mut().zip(self.fields).map(|(column, field)| {
            let array = column.builder.finish();
            // Timestamps are built as their numbers.
            Ok(if array.data_type() == field.data_type() {
                array
            } else {
                arrow::compute::cast(&array, field.data_type())?
            })
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let (rows, valid) = (self.valid.len(), self.valid.finish());
        let nulls = (valid.count_set_bits() < rows).then(|| valid.into());
        Ok(StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, rows)?)
    }
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

/// Appends the text that a checked string with escape sequences stands for; half a surrogate pair becomes U+FFFD.
fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let code = |text: &str| text.get(1..5).and_then(|hex| u16::from_str_radix(hex, 16).ok());
        let (character, length) = match escape.as_bytes().first() {
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(b'u') => {
                let first = code(escape).unwrap_or(0xfffd);
                let second = escape
                    .get(5..)
                    .and_then(|t| t.strip_prefix('\\'))
                    .filter(|t| t.starts_with('u'))
                    .and_then(code);
                match (char::from_u32(first.into()), second) {
                    (Some(character), _) => (character, 5),
                    (None, Some(second)) => match char::decode_utf16([first, second]).next() {
                        Some(Ok(character)) => (character, 11),
                        _ => (char::REPLACEMENT_CHARACTER, 5),
                    },
                    (None, None) => (char::REPLACEMENT_CHARACTER, 5),
                }
            }
            // A quote, a backslash or a slash stands for itself.
            Some(&byte) => (char::from(byte), 1),
            None => break,
        };
        out.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::super::{DecimalFormat, Encoder};
    use super::*;
    use arrow::array::{BinaryArray, RecordBatch};
    use proptest::prelude::*;

    fn fields() -> Fields {
        let required = |f: Field| f.with_metadata([(REQUIRED.to_owned(), "true".to_owned())].into());
        Fields::from(vec![
            Field::new("id", DataType::Int64, false),
            required(Field::new("name", DataType::Utf8, true)),
            Field::new("small", DataType::Int32, true),
            Field::new("ratio", DataType::Float64, true),
            Field::new("single", DataType::Float32, true),
            Field::new("flag", DataType::Boolean, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ])
    }

    fn read(texts: &[&str]) -> (Vec<String>, Vec<(usize, String)>) {
        let texts = BinaryArray::from_iter_values(texts);
        let decoded = decode(&texts, &fields()).unwrap();
        let columns = decoded.values.fields().iter().zip(decoded.values.columns());
        let mut cells: Vec<_> = columns
            .map(|(field, array)| Encoder::new(field, array, DecimalFormat::default()).unwrap())
            .collect();
        let rows = (0..decoded.values.len()).map(|row| {
            let mut text = Vec::new();
            if decoded.values.is_null(row) {
                return "no row".to_owned();
            }
            for cell in &mut cells {
                cell.encode(row, &mut text);
                text.push(b'|');
            }
            String::from_utf8(text).unwrap()
        });
        (rows.collect(), decoded.rejected.into_iter().map(|(row, e)| (row, e.message)).collect())
    }

    #[test]
    fn each_type_is_read_in_any_order_of_keys() {
        let (rows, rejected) = read(&[
            r#"{"id":1,"name":"é😀","small":-2,"ratio":0.5,"single":1.25,"flag":true,"at":"2020-08-28 03:52:47.5"}"#,
            r#" { "flag" : false , "unknown" : [{"id":9}] , "name" : "x" , "id" : 9223372036854775807 , "ratio" : 7 } "#,
        ]);
        assert_eq!(rejected, []);
        assert_eq!(
            rows,
            [
                r#"1|"é😀"|-2|0.5|1.25|true|"2020-08-28T03:52:47.500Z"|"#,
                r#"9223372036854775807|"x"|null|7.0|null|false|null|"#,
            ]
        );
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let (rows, rejected) = read(&[r#"{"id":"wrong","name":"a","id":2,"name":"b"}"#]);
        assert_eq!((rows, rejected), (vec![r#"2|"b"|null|null|null|null|null|"#.to_owned()], vec![]));
    }

    #[test]
    fn escapes_are_resolved_in_keys_and_values() {
        let (rows, _) =
            read(&[r#"{"\u0069d":3,"name":"\"\\\/\b\n\u00e9\ud83d\ude00\ud83d-\ude00\ud83d\u0041"}"#]);
        assert_eq!(rows, ["3|\"\\\"\\\\/\\b\\né😀\u{fffd}-\u{fffd}\u{fffd}A\"|null|null|null|null|null|"]);
    }

    #[test]
    fn a_missing_field_is_named() {
        let (rows, rejected) = read(&[
            r#"{"name":"x"}"#,
            r#"{"id":null,"name":"x"}"#,
            r#"{"id":1}"#,
            r#"{"id":1,"name":null}"#,
            "{}",
        ]);
        assert_eq!(rows, ["1|null|null|null|null|null|null|"]);
        let expected = [
            (0, "field `id` is missing"),
            (1, "field `id` is missing"),
            (2, "field `name` is missing"),
            (4, "field `id` is missing"),
        ];
        assert_eq!(rejected, expected.map(|(row, text)| (row, text.to_owned())));
    }

    #[test]
    fn a_wrong_type_names_field_and_type_but_not_the_value() {
        for (json, expected) in [
            (r#"{"id":"1","name":"x"}"#, "field `id` is not a whole number of 64 bits"),
            (r#"{"id":1.0,"name":"x"}"#, "field `id` is not a whole number of 64 bits"),
            (r#"{"id":9223372036854775808,"name":"x"}"#, "field `id` is not a whole number of 64 bits"),
            (r#"{"id":1,"name":5}"#, "field `name` is not a string"),
            (r#"{"id":1,"name":{"a":[1]}}"#, "field `name` is not a string"),
            (r#"{"id":1,"name":"x","small":3000000000}"#, "field `small` is not a whole number of 32 bits"),
            (r#"{"id":1,"name":"x","ratio":"1"}"#, "field `ratio` is not a number"),
            (r#"{"id":1,"name":"x","ratio":1e400}"#, "field `ratio` is not a number"),
            (r#"{"id":1,"name":"x","single":1e39}"#, "field `single` is not a number"),
            (r#"{"id":1,"name":"x","flag":1}"#, "field `flag` is not true or false"),
            (
                r#"{"id":1,"name":"x","at":"yesterday"}"#,
                "field `at` is not a string such as \"2020-08-28T03:52:47\" or \"2020-08-28 03:52:47\"",
            ),
        ] {
            assert_eq!(read(&[json]), (vec![], vec![(0, expected.to_owned())]), "{json}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_rejected_and_null_is_a_null_row() {
        let (rows, rejected) =
            read(&["null", "", "[1]", "5", r#"{"id":1,"name":"x",}"#, r#"{"id":01,"name":"x"} y"#]);
        assert_eq!(rows, ["no row", "no row", r#"1|"x"|null|null|null|null|null|"#]);
        let expected = [
            (2, "the JSON value is not an object"),
            (3, "the JSON value is not an object"),
            (4, "the text is not JSON: something else where a double-quoted key should be at byte 19"),
        ];
        assert_eq!(rejected, expected.map(|(row, text)| (row, text.to_owned())));
    }

    #[test]
    fn a_declared_type_that_json_does_not_have_is_an_error() {
        let fields = Fields::from(vec![Field::new("d", DataType::Date32, true)]);
        let error = decode(&BinaryArray::from_iter_values([b"{}"]), &fields).unwrap_err();
        assert!(error.message.contains("`d`"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_rejected_and_no_row_is_lost(
            texts in prop::collection::vec(".{0,30}|[{}\":,\\\\u0-9adeilnmtrs \\[\\]]{0,40}", 0..6),
        ) {
            let array = BinaryArray::from_iter_values(&texts);
            let decoded = decode(&array, &fields()).unwrap();
            prop_assert_eq!(decoded.values.len() + decoded.rejected.len(), texts.len());
        }

        #[test]
        fn strings_and_numbers_come_back(id in any::<i64>(), name in any::<String>(), ratio in any::<f64>()) {
            let json = serde_json::json!({"id": id, "name": name, "ratio": ratio}).to_string();
            let decoded = decode(&BinaryArray::from_iter_values([json]), &fields()).unwrap();
            let batch = RecordBatch::from(decoded.values);
            prop_assert_eq!(batch["id"].as_primitive::<arrow::datatypes::Int64Type>().value(0), id);
            prop_assert_eq!(batch["name"].as_string::<i32>().value(0), name);
            let read = batch["ratio"].as_primitive::<arrow::datatypes::Float64Type>();
            prop_assert_eq!(read.is_valid(0).then(|| read.value(0)), ratio.is_finite().then_some(ratio));
        }
    }
}
