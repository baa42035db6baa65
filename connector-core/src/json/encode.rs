//! Arrow values to JSON text, a row at a time, in the forms that Connect's JsonConverter writes.
//!
//! Built on arrow's own encoders; what Connect does differently is here: binary is base64, fields that carry the name
//! of one of Connect's logical types are numbers (or base64 of a decimal's unscaled bytes), other dates and times are
//! ISO text, NaN and infinities quoted, maps without string keys lists of pairs. Null fields are written. Floats have
//! their shortest text (`10000000.0`; Java would write `1.0E7`).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait};
use arrow::datatypes::*;
use arrow::error::ArrowError;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::json::{Encoder as RowEncoder, EncoderFactory, EncoderOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::connect::{DATE, DECIMAL, NAME, TIME, TIMESTAMP};
use super::cursor::plain_prefix;
use super::instant::{per_second, write_date, write_time, write_timestamp};
use crate::envelope::Form;
use crate::error::Result;

/// How a field with the name of Connect's Decimal is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DecimalFormat {
    /// A string: base64 of the unscaled value's big-endian two's-complement bytes.
    #[default]
    #[serde(rename = "BASE64", alias = "base64")]
    Base64,
    /// A JSON number with all its digits.
    #[serde(rename = "NUMERIC", alias = "numeric")]
    Numeric,
}

/// Writes the rows of one array as JSON.
pub struct Encoder<'a>(NullableEncoder<'a>);

impl<'a> Encoder<'a> {
    /// Fails for types that JSON has no form for (unions, intervals).
    pub fn new(field: &'a FieldRef, array: &'a dyn Array, decimals: DecimalFormat) -> Result<Self> {
        static BASE64: LazyLock<EncoderOptions> = LazyLock::new(|| options(DecimalFormat::Base64));
        static NUMERIC: LazyLock<EncoderOptions> = LazyLock::new(|| options(DecimalFormat::Numeric));
        let options: &'static EncoderOptions = match decimals {
            DecimalFormat::Base64 => &BASE64,
            DecimalFormat::Numeric => &NUMERIC,
        };
        Ok(Self(make_encoder(field, array, options)?))
    }

    /// Appends the JSON text of a row; `null` for a null. Panics, as arrow does, for a row that does not exist.
    #[inline]
    pub fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.0.is_null(row) {
            out.extend_from_slice(b"null");
        } else {
            self.0.encode(row, out);
        }
    }
}

fn options(decimals: DecimalFormat) -> EncoderOptions {
    EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(ConnectForms(decimals)))
}

/// Appends a JSON string literal. Escapes what JSON demands and nothing more.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                let digit = if byte & 15 < 10 { b'0' + (byte & 15) } else { b'A' + (byte & 15) - 10 };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly what base64 needs, so this cannot fail.
    let _ = STANDARD.encode_slice(bytes, out.get_mut(start..).unwrap_or_default());
    out.push(b'"');
}

pub(crate) fn write_integer(value: i64, out: &mut Vec<u8>) {
    // Writing a number to a Vec cannot fail.
    let _ = serde_json::to_writer(out, &value);
}

pub(crate) fn write_float<F: Into<f64> + Serialize + Copy>(value: F, out: &mut Vec<u8>) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        let _ = serde_json::to_writer(out, &value);
    } else {
        let word: &[u8] = match wide {
            f64::INFINITY => b"\"Infinity\"",
            f64::NEG_INFINITY => b"\"-Infinity\"",
            _ => b"\"NaN\"",
        };
        out.extend_from_slice(word);
    }
}

/// The shortest big-endian two's-complement form of a number given as its big-endian bytes.
fn unscaled(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [first, second, ..] = bytes
        && ((*first == 0 && second & 0x80 == 0) || (*first == 0xff && second & 0x80 != 0))
    {
        bytes = bytes.get(1..).unwrap_or_default();
    }
    bytes
}

/// A decimal as Java's BigDecimal prints it, from the digits of its unscaled value.
pub(crate) fn write_decimal(unscaled: &str, scale: i8, out: &mut Vec<u8>) {
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |digits| ("-", digits));
    out.extend_from_slice(sign.as_bytes());
    let point = digits.len() as i64 - i64::from(scale);
    // The exponent of the first digit; from -6 on Java leaves it out, except for negative scales.
    let exponent = point - 1;
    let text = match usize::try_from(scale) {
        Ok(0) => digits.to_owned(),
        Ok(scale) if exponent >= -6 => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            format!("{whole}.{fraction}")
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}E{exponent:+}")
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// An encoder made of a closure.
struct Each<F>(F);

impl<F: FnMut(usize, &mut Vec<u8>)> RowEncoder for Each<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        (self.0)(row, out);
    }
}

fn each<'a>(array: &dyn Array, write: impl FnMut(usize, &mut Vec<u8>) + 'a) -> NullableEncoder<'a> {
    NullableEncoder::new(Box::new(Each(write)), array.nulls().cloned())
}

/// The encoders of what Connect writes differently from arrow.
#[derive(Debug)]
struct ConnectForms(DecimalFormat);

impl EncoderFactory for ConnectForms {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        macro_rules! text {
            ($array:expr) => {{
                let texts = $array;
                if Form::of(field) == Form::Document {
                    each(array, move |row, out| out.extend_from_slice(texts.value(row).as_bytes()))
                } else {
                    each(array, move |row, out| write_string(texts.value(row), out))
                }
            }};
        }
        macro_rules! binary {
            ($array:expr) => {{
                let bytes = $array;
                each(array, move |row, out| write_base64(bytes.value(row), out))
            }};
        }
        macro_rules! number {
            ($type:ty, $write:expr) => {{
                let (numbers, write) = (array.as_primitive::<$type>(), $write);
                each(array, move |row, out| write(numbers.value(row).into(), out))
            }};
        }
        macro_rules! decimal {
            ($type:ty, $scale:expr) => {{
                let (numbers, scale) = (array.as_primitive::<$type>(), $scale);
                if self.0 == DecimalFormat::Base64 && named(field, DECIMAL) {
                    each(array, move |row, out| {
                        write_base64(unscaled(&numbers.value(row).to_be_bytes()), out)
                    })
                } else {
                    each(array, move |row, out| write_decimal(&numbers.value(row).to_string(), scale, out))
                }
            }};
        }
        let epoch_milliseconds = |unit: TimeUnit| {
            move |value: i64, out: &mut Vec<u8>| {
                let millis = i128::from(value) * 1000 / i128::from(per_second(unit));
                write_integer(i64::try_from(millis).unwrap_or(i64::MAX), out);
            }
        };
        let time = |unit: TimeUnit| {
            let (number, write_number) = (named(field, TIME), epoch_milliseconds(unit));
            move |value: i64, out: &mut Vec<u8>| {
                if number {
                    write_number(value, out);
                } else {
                    quoted(out, |out| write_time(value, unit, out));
                }
            }
        };
        let timestamp = |unit: TimeUnit, utc: bool| {
            let (number, write_number) = (named(field, TIMESTAMP), epoch_milliseconds(unit));
            move |value: i64, out: &mut Vec<u8>| {
                if number {
                    return write_number(value, out);
                }
                quoted(out, |out| {
                    write_timestamp(value, unit, out);
                    if utc {
                        out.push(b'Z');
                    }
                });
            }
        };
        let date_number = named(field, DATE);
        let date = move |days: i64, out: &mut Vec<u8>| {
            if date_number { write_integer(days, out) } else { quoted(out, |out| write_date(days, out)) }
        };
        Ok(Some(match array.data_type() {
            DataType::Utf8 => text!(array.as_string::<i32>()),
            DataType::LargeUtf8 => text!(array.as_string::<i64>()),
            DataType::Utf8View => text!(array.as_string_view()),
            DataType::Binary => binary!(array.as_binary::<i32>()),
            DataType::LargeBinary => binary!(array.as_binary::<i64>()),
            DataType::BinaryView => binary!(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => binary!(array.as_fixed_size_binary()),
            DataType::Float32 => number!(Float32Type, write_float::<f32>),
            DataType::Float64 => number!(Float64Type, write_float::<f64>),
            DataType::Date32 => number!(Date32Type, date),
            DataType::Date64 => {
                number!(Date64Type, move |ms: i64, out: &mut _| date(ms.div_euclid(86_400_000), out))
            }
            DataType::Time32(TimeUnit::Second) => number!(Time32SecondType, time(TimeUnit::Second)),
            DataType::Time32(_) => number!(Time32MillisecondType, time(TimeUnit::Millisecond)),
            DataType::Time64(TimeUnit::Nanosecond) => {
                number!(Time64NanosecondType, time(TimeUnit::Nanosecond))
            }
            DataType::Time64(_) => number!(Time64MicrosecondType, time(TimeUnit::Microsecond)),
            DataType::Timestamp(unit @ TimeUnit::Second, tz) => {
                number!(TimestampSecondType, timestamp(*unit, tz.is_some()))
            }
            DataType::Timestamp(unit @ TimeUnit::Millisecond, tz) => {
                number!(TimestampMillisecondType, timestamp(*unit, tz.is_some()))
            }
            DataType::Timestamp(unit @ TimeUnit::Microsecond, tz) => {
                number!(TimestampMicrosecondType, timestamp(*unit, tz.is_some()))
            }
            DataType::Timestamp(unit @ TimeUnit::Nanosecond, tz) => {
                number!(TimestampNanosecondType, timestamp(*unit, tz.is_some()))
            }
            DataType::Decimal32(_, scale) => decimal!(Decimal32Type, *scale),
            DataType::Decimal64(_, scale) => decimal!(Decimal64Type, *scale),
            DataType::Decimal128(_, scale) => decimal!(Decimal128Type, *scale),
            DataType::Decimal256(_, scale) => decimal!(Decimal256Type, *scale),
            DataType::List(item) => list(item, array.as_list::<i32>(), options)?,
            DataType::LargeList(item) => list(item, array.as_list::<i64>(), options)?,
            DataType::Map(entry, _) => map(entry, array, options)?,
            _ => return Ok(None),
        }))
    }
}

fn named(field: &Field, name: &str) -> bool {
    field.metadata().get(NAME).is_some_and(|n| n == name)
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// As arrow's own, but with the item's field: its name may be that of one of Connect's types.
fn list<'a, O: OffsetSizeTrait>(
    item: &'a FieldRef,
    lists: &'a GenericListArray<O>,
    options: &'a EncoderOptions,
) -> Result<NullableEncoder<'a>, ArrowError> {
    let values: &'a ArrayRef = lists.values();
    let mut items = Encoder(make_encoder(item, values, options)?);
    Ok(each(lists, move |row, out| {
        out.push(b'[');
        let offsets = lists.value_offsets();
        let end = |at: usize| offsets.get(at).map_or(0, |offset| offset.as_usize());
        for at in end(row)..end(row + 1) {
            if at > end(row) {
                out.push(b',');
            }
            items.encode(at, out);
        }
        out.push(b']');
    }))
}

/// An object when the keys are strings, otherwise a list of `[key, value]`.
fn map<'a>(
    entry: &'a FieldRef,
    array: &'a dyn Array,
    options: &'a EncoderOptions,
) -> Result<NullableEncoder<'a>, ArrowError> {
    let maps = array.as_map();
    let DataType::Struct(parts) = entry.data_type() else {
        return Err(ArrowError::JsonError("a map without entries".to_owned()));
    };
    let [key_field, value_field] = parts.as_ref() else {
        return Err(ArrowError::JsonError("map entries are not pairs".to_owned()));
    };
    let (key_array, value_array): (&'a ArrayRef, &'a ArrayRef) = (maps.keys(), maps.values());
    // Keys of an object cannot be null; neither are Connect's when it writes one.
    let object = key_array.data_type().is_string() && key_array.null_count() == 0;
    let mut keys = Encoder(make_encoder(key_field, key_array, options)?);
    let mut values = Encoder(make_encoder(value_field, value_array, options)?);
    let [open, close] = if object { *b"{}" } else { *b"[]" };
    Ok(each(array, move |row, out| {
        out.push(open);
        let offsets = maps.value_offsets();
        let (start, end) =
            (offsets.get(row).copied().unwrap_or(0), offsets.get(row + 1).copied().unwrap_or(0));
        for at in start as usize..end as usize {
            if at > start as usize {
                out.push(b',');
            }
            if object {
                keys.encode(at, out);
                out.push(b':');
                values.encode(at, out);
            } else {
                out.push(b'[');
                keys.encode(at, out);
                out.push(b',');
                values.encode(at, out);
                out.push(b']');
            }
        }
        out.push(close);
    }))
}

#[cfg(test)]
mod tests;
