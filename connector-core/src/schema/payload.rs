//! Payloads: JSON that a Connect schema describes, into Arrow.
//!
//! As Connect reads them, a payload that contradicts its schema is not always an error: `"5"` as an int32 is 0, 1.9 is
//! 1, 3000000000 wraps, an object as an array is empty.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Kind, Schema};
use crate::error::{ConnectError, Result as ConnectResult};
use crate::json::{DecimalFormat, Encoder};

/// One value that fits a schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    Null,
    Boolean(bool),
    /// All integers, and the numbers of Date, Time and Timestamp.
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Unscaled.
    Decimal(i128),
    List(Vec<Datum>),
    Map(Vec<(Datum, Datum)>),
    Struct(Vec<Datum>),
}

/// The keys and values of an object, in order.
pub struct Pairs<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Pairs<'a> {
    /// The value of a key; the last one, if there are more.
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A key, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Bytes in base64 as Jackson reads it: padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Jackson's name for the type of a JSON value.
fn node_type(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "OBJECT",
        Some(b'[') => "ARRAY",
        Some(b'"') => "STRING",
        Some(b't' | b'f') => "BOOLEAN",
        Some(b'n') => "NULL",
        _ => "NUMBER",
    }
}

fn string(json: &str) -> Result<Option<String>, String> {
    if !json.starts_with('"') {
        return Ok(None);
    }
    serde_json::from_str(json).map(Some).map_err(|_| "a string holds half a surrogate pair".to_owned())
}

fn bytes(json: &str) -> Result<Vec<u8>, String> {
    string(json)?.and_then(|text| BASE64.decode(text).ok()).ok_or_else(|| "Invalid bytes field".to_owned())
}

/// A number's text as a wide integer: what is behind the point is cut off.
fn integer(json: &str) -> i128 {
    match node_type(json) {
        "NUMBER" => json.parse().unwrap_or_else(|_| json.parse::<f64>().unwrap_or(0.0) as i128),
        _ => 0,
    }
}

fn float(json: &str) -> f64 {
    if node_type(json) == "NUMBER" { json.parse().unwrap_or(0.0) } else { 0.0 }
}

/// Reads a value by its schema; an error is in Connect's words, without the value.
pub fn datum(schema: &Schema, json: Option<&RawValue>, default_for_null: bool) -> Result<Datum, String> {
    let json = match json.map(RawValue::get) {
        Some(json) if json != "null" => json,
        _ => {
            return match &schema.default {
                Some(default) if default_for_null => Ok(default.clone()),
                _ if schema.optional => Ok(Datum::Null),
                _ => Err(format!("Invalid null value for required {} field", schema.type_name_in_messages())),
            };
        }
    };
    let mismatch = |what: &str| format!("{what} but was {}", node_type(json));
    let integral = json.parse::<i64>().ok();
    Ok(match &schema.kind {
        // The casts wrap, as Java's do.
        Kind::Int8 => Datum::Integer((integer(json) as i8).into()),
        Kind::Int16 => Datum::Integer((integer(json) as i16).into()),
        Kind::Int32 => Datum::Integer((integer(json) as i32).into()),
        Kind::Int64 => Datum::Integer(integer(json) as i64),
        Kind::Float | Kind::Double => Datum::Float(float(json)),
        Kind::Boolean => Datum::Boolean(json == "true"),
        Kind::String => string(json)?.map_or(Datum::Null, Datum::Text),
        Kind::Bytes => Datum::Bytes(bytes(json)?),
        Kind::Decimal(scale) => decimal(json, *scale)?,
        Kind::Date | Kind::Time => {
            let name = if schema.kind == Kind::Date { "Date" } else { "Time" };
            let number = integral.filter(|&n| i32::try_from(n).is_ok());
            Datum::Integer(number.ok_or_else(|| {
                mismatch(&format!("Invalid type for {name}, underlying representation should be integer"))
            })?)
        }
        Kind::Timestamp => Datum::Integer(integral.ok_or_else(|| {
            mismatch("Invalid type for Timestamp, underlying representation should be integral")
        })?),
        Kind::Array(items) => {
            let values: Vec<&RawValue> = match node_type(json) {
                "ARRAY" => serde_json::from_str(json).map_err(|e| e.to_string())?,
                // Jackson goes through the values of an object as well.
                "OBJECT" => pairs(json)?.0.into_iter().map(|(_, value)| value).collect(),
                _ => Vec::new(),
            };
            let values = values.into_iter().map(|value| datum(items, Some(value), default_for_null));
            Datum::List(values.collect::<Result<_, _>>()?)
        }
        Kind::Map(keys, values) => Datum::Map(map(keys, values, json, default_for_null)?),
        Kind::Struct(fields) => {
            if node_type(json) != "OBJECT" {
                return Err(format!(
                    "Structs should be encoded as JSON objects, but found {}",
                    node_type(json)
                ));
            }
            let pairs = pairs(json)?;
            let values = fields.iter().map(|(name, schema)| {
                match datum(schema, pairs.get(name), default_for_null)? {
                    // A required text that is no text: Connect hands on a null that the schema forbids.
                    Datum::Null if !schema.optional => {
                        Err(format!("Invalid value for required field `{name}`"))
                    }
                    value => Ok(value),
                }
            });
            Datum::Struct(values.collect::<Result<_, String>>()?)
        }
    })
}

fn pairs(json: &str) -> Result<Pairs<'_>, String> {
    // The only thing that can still be wrong with checked JSON is a key with half a surrogate pair.
    serde_json::from_str(json).map_err(|_| "a key holds half a surrogate pair".to_owned())
}

fn map(
    keys: &Schema,
    values: &Schema,
    json: &str,
    default_for_null: bool,
) -> Result<Vec<(Datum, Datum)>, String> {
    if keys.kind == Kind::String {
        if node_type(json) != "OBJECT" {
            let found = node_type(json);
            return Err(format!(
                "Maps with string fields should be encoded as JSON objects, but found {found}"
            ));
        }
        let entries = pairs(json)?.0.into_iter().map(|(key, value)| {
            Ok((Datum::Text(key.into_owned()), datum(values, Some(value), default_for_null)?))
        });
        return entries.collect();
    }
    if node_type(json) != "ARRAY" {
        let found = node_type(json);
        return Err(format!(
            "Maps with non-string fields should be encoded as JSON array of tuples, but found {found}"
        ));
    }
    let entries: Vec<&RawValue> = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let entry = |entry: &RawValue| {
        if node_type(entry.get()) != "ARRAY" {
            return Err(format!(
                "Found invalid map entry instead of array tuple: {}",
                node_type(entry.get())
            ));
        }
        let parts: Vec<&RawValue> = serde_json::from_str(entry.get()).map_err(|e| e.to_string())?;
        let [key, value] = parts.as_slice() else {
            return Err(format!("Found invalid map entry, expected length 2 but found :{}", parts.len()));
        };
        match datum(keys, Some(key), default_for_null)? {
            Datum::Null => Err("Found a null key in a map".to_owned()),
            key => Ok((key, datum(values, Some(value), default_for_null)?)),
        }
    };
    entries.into_iter().map(entry).collect()
}

/// From base64 of the unscaled bytes, or from a number with at most `scale` decimals.
fn decimal(json: &str, scale: Option<i8>) -> Result<Datum, String> {
    let too_long = || "a decimal has more digits than its schema or 38 digits hold".to_owned();
    let scale = scale.ok_or("Invalid bytes for Decimal field")?;
    let unscaled = match node_type(json) {
        "STRING" => {
            let bytes = bytes(json).map_err(|_| "Invalid bytes for Decimal field")?;
            let fill = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [fill; 16];
            let start = wide.len().checked_sub(bytes.len()).ok_or_else(too_long)?;
            wide.get_mut(start..).unwrap_or_default().copy_from_slice(&bytes);
            i128::from_be_bytes(wide)
        }
        "NUMBER" => {
            let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let exponent: i64 = exponent.parse().map_err(|_| too_long())?;
            let mut digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| too_long())?;
            let mut shift = i64::from(scale) + exponent - fraction.len() as i64;
            while shift != 0 && digits != 0 {
                digits = if shift > 0 {
                    digits.checked_mul(10).ok_or_else(too_long)?
                } else if digits % 10 == 0 {
                    digits / 10
                } else {
                    return Err(too_long());
                };
                shift -= shift.signum();
            }
            digits
        }
        other => {
            let what = "Invalid type for Decimal, underlying representation should be numeric or bytes";
            return Err(format!("{what} but was {other}"));
        }
    };
    if unscaled.unsigned_abs() >= 10u128.pow(38) { Err(too_long()) } else { Ok(Datum::Decimal(unscaled)) }
}

/// The JSON text of a value, as JsonConverter writes it.
pub fn text_of(schema: &Schema, value: &Datum) -> Option<String> {
    let array = array(schema, &[Some(value)]).ok()?;
    let field = Arc::new(Schema { default: None, ..schema.clone() }.field(""));
    let mut text = Vec::new();
    Encoder::new(&field, &array, DecimalFormat::Base64).ok()?.encode(0, &mut text);
    String::from_utf8(text).ok()
}

/// The values as one array; `None` is null.
pub fn array(schema: &Schema, values: &[Option<&Datum>]) -> ConnectResult<ArrayRef> {
    let valid = || values.iter().map(|v| v.is_some_and(|v| *v != Datum::Null));
    let nulls = || Some(NullBuffer::from_iter(valid())).filter(|n| n.null_count() > 0);
    let integers = || values.iter().map(|v| if let Some(Datum::Integer(n)) = v { Some(*n) } else { None });
    let floats = || values.iter().map(|v| if let Some(Datum::Float(n)) = v { Some(*n) } else { None });
    // The casts below cut nothing off: `datum` has fitted the numbers.
    Ok(match &schema.kind {
        Kind::Int8 => Arc::new(integers().map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
        Kind::Int16 => Arc::new(integers().map(|n| n.map(|n| n as i16)).collect::<Int16Array>()),
        Kind::Int32 => Arc::new(integers().map(|n| n.map(|n| n as i32)).collect::<Int32Array>()),
        Kind::Date => Arc::new(integers().map(|n| n.map(|n| n as i32)).collect::<Date32Array>()),
        Kind::Time => Arc::new(integers().map(|n| n.map(|n| n as i32)).collect::<Time32MillisecondArray>()),
        Kind::Int64 => Arc::new(integers().collect::<Int64Array>()),
        Kind::Timestamp => Arc::new(integers().collect::<TimestampMillisecondArray>().with_timezone("UTC")),
        Kind::Float => Arc::new(floats().map(|n| n.map(|n| n as f32)).collect::<Float32Array>()),
        Kind::Double => Arc::new(floats().collect::<Float64Array>()),
        Kind::Boolean => Arc::new(
            values
                .iter()
                .map(|v| if let Some(Datum::Boolean(b)) = v { Some(*b) } else { None })
                .collect::<BooleanArray>(),
        ),
        Kind::String => Arc::new(
            values
                .iter()
                .map(|v| if let Some(Datum::Text(t)) = v { Some(t) } else { None })
                .collect::<StringArray>(),
        ),
        Kind::Bytes => Arc::new(
            values
                .iter()
                .map(|v| if let Some(Datum::Bytes(b)) = v { Some(b) } else { None })
                .collect::<BinaryArray>(),
        ),
        Kind::Decimal(_) => {
            let numbers =
                values.iter().map(|v| if let Some(Datum::Decimal(n)) = v { Some(*n) } else { None });
            Arc::new(numbers.collect::<Decimal128Array>().with_data_type(schema.data_type()))
        }
        Kind::Array(items) => {
            let lists =
                || values.iter().map(|v| if let Some(Datum::List(l)) = v { l.as_slice() } else { &[] });
            let flat: Vec<_> = lists().flatten().map(Some).collect();
            let offsets = OffsetBuffer::from_lengths(lists().map(<[_]>::len));
            let item = Arc::new(items.field("item"));
            Arc::new(ListArray::try_new(item, offsets, array(items, &flat)?, nulls())?)
        }
        Kind::Map(keys, entries) => {
            let maps = || values.iter().map(|v| if let Some(Datum::Map(m)) = v { m.as_slice() } else { &[] });
            let flat = |part: fn(&(Datum, Datum)) -> &Datum| maps().flatten().map(move |e| Some(part(e)));
            let keys = array(keys, &flat(|e| &e.0).collect::<Vec<_>>())?;
            let entries = array(entries, &flat(|e| &e.1).collect::<Vec<_>>())?;
            let DataType::Map(entry, _) = schema.data_type() else {
                return Err(ConnectError::internal("schema.map", "a map schema has no map type"));
            };
            let DataType::Struct(parts) = entry.data_type() else {
                return Err(ConnectError::internal("schema.map", "a map schema has no entries"));
            };
            let entries = StructArray::try_new(parts.clone(), vec![keys, entries], None)?;
            let offsets = OffsetBuffer::from_lengths(maps().map(<[_]>::len));
            Arc::new(MapArray::try_new(entry, offsets, entries, nulls(), false)?)
        }
        Kind::Struct(fields) => {
            let columns = fields.iter().enumerate().map(|(at, (_, schema))| {
                let cells = values.iter().map(|v| match v {
                    Some(Datum::Struct(cells)) => cells.get(at),
                    _ => None,
                });
                array(schema, &cells.collect::<Vec<_>>())
            });
            let columns = columns.collect::<ConnectResult<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(schema.fields(), columns, nulls(), values.len())?)
        }
    })
}
