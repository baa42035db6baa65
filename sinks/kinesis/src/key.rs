//! The partition key of each record: its Kafka key, a field of its value, or a header.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::{DataType, FieldRef, Fields};
use connector_core::envelope::{KEY, VALUE};
use connector_core::{Batch, ConnectError, Envelope, Form, Result};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::column::Column;
use crate::config::Config;

/// The service's limit. It counts as Java does, in units of UTF-16.
const LONGEST: usize = 256;

/// Where a batch has its partition keys.
pub enum PartitionKeys<'a> {
    /// No record has one.
    None,
    Column {
        column: Column<'a>,
        json: bool,
        array: &'a ArrayRef,
    },
    /// A field of JSON texts.
    Document {
        texts: Column<'a>,
        name: &'a str,
    },
    Header {
        headers: &'a ListArray,
        name: &'a str,
    },
    /// A field is asked for, and the values have none.
    Unstructured {
        name: &'a str,
    },
}

impl<'a> PartitionKeys<'a> {
    pub fn of(batch: &'a Batch, config: &'a Config) -> Result<Self> {
        let envelope = Envelope::of(&batch.records)?;
        let fields = batch.records.schema_ref().fields();
        if let Some(name) = &config.key_header {
            return Ok(envelope.headers().map_or(Self::None, |headers| Self::Header { headers, name }));
        }
        if let Some(name) = &config.key_field {
            let Some((_, field)) = fields.find(VALUE) else { return Ok(Self::None) };
            return Self::field(field, envelope.value(), name);
        }
        match (fields.find(KEY), envelope.key()) {
            (Some((_, field)), Some(array)) => Self::column(field, array),
            _ => Ok(Self::None),
        }
    }

    fn field(field: &'a FieldRef, value: &'a ArrayRef, name: &'a str) -> Result<Self> {
        if Form::of(field) == Form::Document {
            return Ok(Self::Document { texts: Column::of(field, value)?, name });
        }
        let DataType::Struct(fields) = value.data_type() else { return Ok(Self::Unstructured { name }) };
        let found: Option<(usize, &FieldRef)> = Fields::find(fields, name);
        match found.and_then(|(at, field)| Some((field, value.as_struct().columns().get(at)?))) {
            Some((field, array)) => Self::column(field, array),
            None => Ok(Self::None),
        }
    }

    fn column(field: &'a FieldRef, array: &'a ArrayRef) -> Result<Self> {
        if array.data_type() == &DataType::Null {
            return Ok(Self::None);
        }
        let column = Column::of(field, array)?;
        Ok(Self::Column { json: column.is_json(field), column, array })
    }

    /// The partition key of `row`, whose value is not null; `None` when it has none or an empty one. An error is about
    /// this record alone.
    pub fn get(&mut self, row: usize) -> Result<Option<String>> {
        let key = match self {
            Self::None => None,
            Self::Column { array, .. } if array.is_null(row) => None,
            Self::Column { column, json: true, .. } => plain(column.get(row))?,
            Self::Column { column, .. } => Some(text(column.get(row))?),
            Self::Document { texts, name } => match field_of(texts.get(row), name) {
                Some(raw) => plain(raw.as_bytes())?,
                None => None,
            },
            Self::Header { headers, name } => header(headers, row, name).map(text).transpose()?,
            Self::Unstructured { name } => {
                let message = format!("the value has no fields, so no `{name}` for the partition key");
                let hint =
                    "use a JSON converter, or take the key from elsewhere than `kinesis.partition.key.field`";
                return Err(ConnectError::user("kinesis.partition_key", message).hint(hint));
            }
        };
        match key.filter(|key| !key.is_empty()) {
            Some(key) if key.encode_utf16().nth(LONGEST).is_some() => {
                let message = "the partition key is longer than 256 characters, which Kinesis does not take";
                let hint =
                    "take another one with `kinesis.partition.key.field` or `kinesis.partition.key.header`";
                Err(ConnectError::user("kinesis.partition_key", message).hint(hint))
            }
            key => Ok(key),
        }
    }
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        // Without the cause, which holds the bytes.
        ConnectError::user("kinesis.partition_key", "the partition key is not UTF-8 text").hint(
            "use a `key.converter` that gives text, or take it with `kinesis.partition.key.field` or \
             `kinesis.partition.key.header`",
        )
    })
}

/// A JSON text, and a JSON string without its quotes and escapes; `None` for `null`.
fn plain(json: &[u8]) -> Result<Option<String>> {
    match json.first() {
        Some(b'"') => match serde_json::from_slice(json) {
            Ok(string) => Ok(Some(string)),
            Err(_) => text(json).map(Some),
        },
        _ if json == b"null" => Ok(None),
        _ => text(json).map(Some),
    }
}

/// The last header of this name, as Kafka's own clients pick.
fn header<'a>(headers: &'a ListArray, row: usize, name: &str) -> Option<&'a [u8]> {
    if headers.is_null(row) {
        return None;
    }
    let entries = headers.values().as_struct_opt()?;
    let names = entries.columns().first()?.as_string_opt::<i32>()?;
    let values = entries.columns().get(1)?.as_binary_opt::<i32>()?;
    let offsets = headers.value_offsets();
    let (start, end) = (*offsets.get(row)? as usize, *offsets.get(row + 1)? as usize);
    (start..end)
        .rev()
        .find(|at| names.value(*at) == name)
        .filter(|at| values.is_valid(*at))
        .map(|at| values.value(at))
}

/// The JSON text of a field of an object; of several with this name the last.
fn field_of<'a>(document: &'a [u8], name: &str) -> Option<&'a str> {
    let mut parser = serde_json::Deserializer::from_slice(document);
    FieldNamed(name).deserialize(&mut parser).ok().flatten().map(RawValue::get)
}

struct FieldNamed<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for FieldNamed<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldNamed<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(document: &str) -> Option<String> {
        field_of(document.as_bytes(), "id").and_then(|raw| plain(raw.as_bytes()).unwrap())
    }

    #[test]
    fn a_field_of_a_document_is_its_text() {
        assert_eq!(key(r#"{"a":{"id":1},"id":"x\"\u00e9"}"#).unwrap(), "x\"é");
        assert_eq!(key(r#"{"id":12345678901234567890123}"#).unwrap(), "12345678901234567890123");
        assert_eq!(key(r#"{"id":1,"i\u0064":true}"#).unwrap(), "true");
        assert_eq!(key(r#"{"id":null}"#), None);
        assert_eq!(key(r#"{"other":1}"#), None);
        assert_eq!(key("[1]"), None);
    }
}
