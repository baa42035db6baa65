//! A value without a schema, as Connect's transforms see it: JSON that is read no deeper than somebody looks, and the
//! types that Connect has and JSON has not.

use std::borrow::Cow;

use arrow::array::{Array, AsArray};
use arrow::datatypes::*;

use crate::java::DAY;
use crate::json::cursor::{Cursor, Quoted};
use crate::json::{scan, write_base64, write_decimal, write_float, write_integer, write_string};

/// A value without a schema; `'t` is the record's text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'t> {
    Null,
    Boolean(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Text(Cow<'t, str>),
    Bytes(Vec<u8>),
    /// An exact number: its digits and how many of them are behind the point.
    Decimal(i128, i8),
    /// Java's `Date`: milliseconds since 1970-01-01 UTC.
    Instant(i64),
    Object(Object<'t>),
    List(Vec<Value<'t>>),
    /// Compact JSON text that nobody has looked into; after [`Value::open`] a number that fits no other variant.
    Json(&'t str),
}

/// The members of an object, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'t> {
    pub members: Vec<(Cow<'t, str>, Value<'t>)>,
}

impl<'t> Object<'t> {
    /// The member of that name; of several the last one, as Connect reads them.
    pub fn get(&self, name: &str) -> Option<&Value<'t>> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value<'t>> {
        self.members.iter_mut().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Puts a value in the place of the member of that name, or behind the others.
    pub fn insert(&mut self, name: impl Into<Cow<'t, str>>, value: Value<'t>) {
        let name = name.into();
        match self.get_mut(&name) {
            Some(place) => *place = value,
            None => self.members.push((name, value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Value<'t>> {
        let mut found = None;
        while let Some(at) = self.members.iter().rposition(|(key, _)| key == name) {
            let (_, value) = self.members.remove(at);
            found.get_or_insert(value);
        }
        found
    }
}

impl<'t> Value<'t> {
    /// The value, with one level of its text read.
    #[must_use]
    pub fn open(self) -> Self {
        match self {
            Self::Json(text) => read(text).unwrap_or(Self::Json(text)),
            value => value,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Json("null"))
    }

    /// Java's class of such a value, as Connect's messages name it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "java.lang.Boolean",
            Self::Int8(_) => "java.lang.Byte",
            Self::Int16(_) => "java.lang.Short",
            Self::Int32(_) => "java.lang.Integer",
            Self::Int64(_) => "java.lang.Long",
            Self::Float32(_) => "java.lang.Float",
            Self::Float64(_) => "java.lang.Double",
            Self::Text(_) => "java.lang.String",
            Self::Bytes(_) => "[B",
            Self::Decimal(..) => "java.math.BigDecimal",
            Self::Instant(_) => "java.util.Date",
            Self::Object(_) => "java.util.HashMap",
            Self::List(_) => "java.util.ArrayList",
            Self::Json(_) => "java.math.BigInteger",
        }
    }

    /// Appends the value's compact JSON text. An instant is its number, bytes are base64.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Int8(number) => write_integer((*number).into(), out),
            Self::Int16(number) => write_integer((*number).into(), out),
            Self::Int32(number) => write_integer((*number).into(), out),
            Self::Int64(number) | Self::Instant(number) => write_integer(*number, out),
            Self::Float32(number) => write_float(*number, out),
            Self::Float64(number) => write_float(*number, out),
            Self::Text(text) => write_string(text, out),
            Self::Bytes(bytes) => write_base64(bytes, out),
            Self::Decimal(digits, scale) => write_decimal(&digits.to_string(), *scale, out),
            Self::Object(object) => {
                out.push(b'{');
                for (at, (name, value)) in object.members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_string(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
            Self::List(values) => {
                out.push(b'[');
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.write(out);
                }
                out.push(b']');
            }
            Self::Json(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// The scalar in a row of a typed column; dates and times are instants. `None`: the column holds no scalars.
    pub fn at(array: &'t dyn Array, row: usize) -> Option<Self> {
        macro_rules! number {
            ($type:ty) => {
                array.as_primitive::<$type>().value(row)
            };
        }
        if array.is_null(row) {
            return Some(Self::Null);
        }
        Some(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().value(row)),
            DataType::Int8 => Self::Int8(number!(Int8Type)),
            DataType::Int16 => Self::Int16(number!(Int16Type)),
            DataType::Int32 => Self::Int32(number!(Int32Type)),
            DataType::Int64 => Self::Int64(number!(Int64Type)),
            DataType::UInt8 => Self::Int16(number!(UInt8Type).into()),
            DataType::UInt16 => Self::Int32(number!(UInt16Type).into()),
            DataType::UInt32 => Self::Int64(number!(UInt32Type).into()),
            DataType::UInt64 => {
                let number = number!(UInt64Type);
                i64::try_from(number).map_or(Self::Decimal(number.into(), 0), Self::Int64)
            }
            DataType::Float32 => Self::Float32(number!(Float32Type)),
            DataType::Float64 => Self::Float64(number!(Float64Type)),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().value(row).into()),
            DataType::LargeUtf8 => Self::Text(array.as_string::<i64>().value(row).into()),
            DataType::Utf8View => Self::Text(array.as_string_view().value(row).into()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>().value(row).to_vec()),
            DataType::LargeBinary => Self::Bytes(array.as_binary::<i64>().value(row).to_vec()),
            DataType::BinaryView => Self::Bytes(array.as_binary_view().value(row).to_vec()),
            DataType::FixedSizeBinary(_) => Self::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
            DataType::Decimal128(_, scale) => Self::Decimal(number!(Decimal128Type), *scale),
            DataType::Date32 => Self::Instant(i64::from(number!(Date32Type)) * DAY),
            DataType::Date64 => Self::Instant(number!(Date64Type)),
            DataType::Time32(TimeUnit::Second) => Self::Instant(i64::from(number!(Time32SecondType)) * 1000),
            DataType::Time32(_) => Self::Instant(number!(Time32MillisecondType).into()),
            DataType::Time64(TimeUnit::Nanosecond) => {
                Self::Instant(number!(Time64NanosecondType) / 1_000_000)
            }
            DataType::Time64(_) => Self::Instant(number!(Time64MicrosecondType) / 1000),
            DataType::Timestamp(TimeUnit::Second, _) => {
                Self::Instant(number!(TimestampSecondType).saturating_mul(1000))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => Self::Instant(number!(TimestampMillisecondType)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Instant(number!(TimestampMicrosecondType).div_euclid(1000))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Self::Instant(number!(TimestampNanosecondType).div_euclid(1_000_000))
            }
            _ => return None,
        })
    }
}

/// One level of a text that is known to be compact JSON; `None` for what is not, and for numbers without a variant.
fn read(text: &str) -> Option<Value<'_>> {
    let mut cursor = Cursor::new(text);
    cursor.skip_blanks();
    Some(match cursor.peek()? {
        b'"' => Value::Text(plain(&cursor.string().ok()?)),
        b'{' => Value::Object(object(&mut cursor)?),
        b'[' => Value::List(list(&mut cursor)?),
        b't' | b'f' | b'n' => match cursor.word().ok()? {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => Value::Null,
        },
        _ => {
            let number = cursor.number().ok()?;
            if number.integral { Value::Int64(number.integer()?) } else { Value::Float64(number.float()?) }
        }
    })
}

fn plain<'t>(quoted: &Quoted<'t>) -> Cow<'t, str> {
    if !quoted.escaped {
        return Cow::Borrowed(quoted.raw);
    }
    let mut text = String::with_capacity(quoted.raw.len());
    quoted.unescape(&mut text);
    Cow::Owned(text)
}

fn object<'t>(cursor: &mut Cursor<'t>) -> Option<Object<'t>> {
    cursor.at += 1;
    let mut members = Vec::with_capacity(16);
    loop {
        cursor.skip_blanks();
        match cursor.peek()? {
            b'}' => break,
            b',' => cursor.at += 1,
            _ => {
                let name = plain(&cursor.key().ok()?);
                cursor.colon().ok()?;
                members.push((name, Value::Json(unread(cursor)?)));
            }
        }
    }
    cursor.at += 1;
    Some(Object { members })
}

fn list<'t>(cursor: &mut Cursor<'t>) -> Option<Vec<Value<'t>>> {
    cursor.at += 1;
    let mut values = Vec::new();
    loop {
        cursor.skip_blanks();
        match cursor.peek()? {
            b']' => break,
            b',' => cursor.at += 1,
            _ => values.push(Value::Json(unread(cursor)?)),
        }
    }
    cursor.at += 1;
    Some(values)
}

/// The text of the value that begins here.
fn unread<'t>(cursor: &mut Cursor<'t>) -> Option<&'t str> {
    cursor.skip_blanks();
    let start = cursor.at;
    match cursor.peek()? {
        b'"' => {
            cursor.string().ok()?;
        }
        b'{' | b'[' => scan::value(cursor, &mut |_, _| {}).ok()?,
        b't' | b'f' | b'n' => {
            cursor.word().ok()?;
        }
        _ => {
            cursor.number().ok()?;
        }
    }
    Some(cursor.since(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: &Value<'_>) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_nobody_touches_keeps_its_text() {
        let text = r#"{"a":1.10,"b":{"c":[1e3,"\u00e9"]},"big":9223372036854775808,"n":null}"#;
        let value = Value::Json(text).open();
        assert_eq!(written(&value), text);
        let Value::Object(object) = value else { panic!() };
        assert_eq!(object.get("a").unwrap().clone().open(), Value::Float64(1.1));
        assert_eq!(object.get("big").unwrap().clone().open().class(), "java.math.BigInteger");
        assert!(object.get("n").unwrap().is_null());
    }

    #[test]
    fn members_are_put_in_place_appended_and_taken_out_and_the_last_of_equal_names_counts_c_01() {
        let Value::Object(mut object) = Value::Json(r#"{"a":1,"b":2,"a":3,"\u0061b":4}"#).open() else {
            panic!()
        };
        assert_eq!(object.get("a"), Some(&Value::Json("3")));
        assert_eq!(object.get("ab"), Some(&Value::Json("4")));
        object.insert("b", Value::Text("x\"".into()));
        object.insert("c", Value::Int8(-1));
        assert_eq!(object.remove("a"), Some(Value::Json("3")));
        assert_eq!(written(&Value::Object(object)), r#"{"b":"x\"","ab":4,"c":-1}"#);
    }

    proptest! {
        #[test]
        fn any_json_is_read_and_written_as_it_was(texts in prop::collection::vec(any::<String>(), 0..5), n: f64) {
            let json = serde_json::json!({"t": texts, "n": n, "o": {"t": texts.first()}});
            let text = json.to_string();
            prop_assert_eq!(written(&Value::Json(&text).open()), text);
        }
    }
}
