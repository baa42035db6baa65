//! Tombstones: the record's key names the row to delete.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{cast, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema};
use connector_core::envelope::{Envelope, Form};
use connector_core::{ConnectError, Rejection, Result, Stage};
use serde_json::Value;

use super::key::KeyColumns;

/// The key columns of the records in `rows` of a batch, read from their record keys, and the records whose key does not
/// give them. A record key is a struct or JSON object with a field for each key column, or, for a single key column, a
/// plain value.
pub fn deletes(
    keys: &KeyColumns,
    records: Envelope<'_>,
    rows: &[usize],
) -> Result<(RecordBatch, Vec<Rejection>)> {
    let at = UInt64Array::from_iter_values(rows.iter().map(|&row| row as u64));
    let key = records.key().map(|key| take(key, &at, None)).transpose()?;
    let columns = match &key {
        None => keys
            .fields()
            .iter()
            .map(|field| arrow::array::new_null_array(field.data_type(), rows.len()))
            .collect(),
        Some(key) => columns_of(keys.fields(), key, records.key_form())?,
    };
    let fields: Vec<Field> = keys.fields().iter().map(|field| field.clone().with_nullable(true)).collect();
    let found = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;

    let lacking = keys.rows_without_key(&found)?;
    let mut keep = vec![true; rows.len()];
    let mut rejected = Vec::new();
    for at in lacking {
        if let (Some(keep), Some(&row)) = (keep.get_mut(at), rows.get(at)) {
            *keep = false;
            rejected.push(Rejection::new(row, Stage::TaskPut, unnamed(keys)));
        }
    }
    Ok((filter_record_batch(&found, &keep.into())?, rejected))
}

fn unnamed(keys: &KeyColumns) -> ConnectError {
    let names = keys.names().join("`, `");
    ConnectError::user("delta.tombstone", format!("a tombstone whose record key does not give `{names}`")).hint(
        "to delete a row the record's key must hold the columns of `delta.key.columns`: as a JSON object or struct, or \
         as a plain value for a single column",
    )
}

/// One array a field; null where the key does not give it.
fn columns_of(fields: &[Field], key: &ArrayRef, form: Form) -> Result<Vec<ArrayRef>> {
    let missing = |field: &Field| arrow::array::new_null_array(field.data_type(), key.len());
    if let Some(key) = key.as_struct_opt() {
        // A null struct may hide values.
        let child = |field: &Field| match key.column_by_name(field.name()) {
            Some(column) => {
                Ok(cast(&arrow::compute::nullif(column, &arrow::compute::is_null(key)?)?, field.data_type())?)
            }
            None => Ok(missing(field)),
        };
        return fields.iter().map(child).collect();
    }
    if form == Form::Columns {
        return match fields {
            [field] if arrow::compute::can_cast_types(key.data_type(), field.data_type()) => {
                Ok(vec![cast(key, field.data_type())?])
            }
            _ => Ok(fields.iter().map(missing).collect()),
        };
    }
    let texts = texts(key)?;
    let single = fields.len() == 1;
    let values: Vec<Option<Value>> = texts.iter().map(|text| text.map(|text| parse(text, single))).collect();
    let column = |field: &Field| {
        let value = |value: &Option<Value>| match value {
            Some(Value::Object(object)) => object.get(field.name()).and_then(plain),
            Some(value) if single => plain(value),
            _ => None,
        };
        let texts: StringArray = values.iter().map(value).collect();
        Ok(cast(&texts, field.data_type())?)
    };
    fields.iter().map(column).collect()
}

fn texts(key: &ArrayRef) -> Result<StringArray> {
    match key.data_type() {
        DataType::Utf8 => Ok(key.as_string::<i32>().clone()),
        DataType::Binary => {
            let text = |bytes: Option<&[u8]>| {
                bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned)
            };
            Ok(key.as_binary::<i32>().iter().map(text).collect())
        }
        _ => Ok(cast(key, &DataType::Utf8)?.as_string::<i32>().clone()),
    }
}

/// JSON, or else plain text.
fn parse(text: &str, single: bool) -> Value {
    match serde_json::from_str(text) {
        // Digits may be a text: 007.
        Ok(value @ (Value::Object(_) | Value::String(_))) => value,
        _ if single => Value::String(text.to_owned()),
        _ => Value::Null,
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array, StructArray};
    use connector_core::envelope::EnvelopeBuilder;
    use proptest::prelude::*;

    use super::*;

    fn key_columns(fields: Vec<Field>) -> KeyColumns {
        let names: Vec<_> = fields.iter().map(|field| field.name().clone()).collect();
        KeyColumns::new("delta.key.columns", &names, &Schema::new(fields)).unwrap()
    }

    fn id() -> KeyColumns {
        key_columns(vec![Field::new("id", DataType::Int64, true)])
    }

    fn read(keys: &KeyColumns, form: Form, key: ArrayRef) -> (RecordBatch, Vec<usize>) {
        let values = arrow::array::new_null_array(&DataType::Utf8, key.len());
        let rows: Vec<_> = (0..key.len()).collect();
        let records = EnvelopeBuilder::new().key(form, key).value(Form::Document, values).build().unwrap();
        let (found, rejected) = deletes(keys, Envelope::of(&records).unwrap(), &rows).unwrap();
        (found, rejected.into_iter().map(|rejection| rejection.row).collect())
    }

    fn ids(found: &RecordBatch) -> Vec<i64> {
        found.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
    }

    #[test]
    fn bytes_are_a_number_or_an_object_with_the_column() {
        let key: Vec<Option<&[u8]>> =
            vec![Some(b"7"), Some(br#"{"id": 8, "x": []}"#), Some(b"x"), None, Some(b"\xff")];
        let (found, rejected) = read(&id(), Form::Bytes, Arc::new(BinaryArray::from(key)));
        assert_eq!((ids(&found), rejected), (vec![7, 8], vec![2, 3, 4]));
    }

    #[test]
    fn a_text_keeps_its_leading_zeros_and_loses_the_quotes_of_json() {
        let keys = key_columns(vec![Field::new("id", DataType::Utf8, true)]);
        let key: Vec<Option<&[u8]>> = vec![Some(b"007"), Some(br#""a""#), Some(b"plain text")];
        let (found, rejected) = read(&keys, Form::Bytes, Arc::new(BinaryArray::from(key)));
        let texts: Vec<_> = found.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!((texts, rejected), (vec!["007", "a", "plain text"], vec![]));
    }

    #[test]
    fn typed_keys_are_a_struct_or_the_value_itself() {
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let field = Arc::new(Field::new("id", DataType::Int64, true));
        let key: ArrayRef = Arc::new(StructArray::from(vec![(field, Arc::clone(&ints))]));
        assert_eq!(ids(&read(&id(), Form::Columns, key).0), [1, 2]);
        assert_eq!(ids(&read(&id(), Form::Columns, ints).0), [1, 2]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["3", "x"]));
        let (found, rejected) = read(&id(), Form::Columns, texts);
        assert_eq!((ids(&found), rejected), (vec![3], vec![1]));
    }

    #[test]
    fn two_columns_need_an_object_with_both() {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true));
        let key: Vec<Option<&[u8]>> =
            vec![Some(br#"{"a": "x", "b": "y"}"#), Some(br#"{"a": "x"}"#), Some(b"x")];
        let (found, rejected) =
            read(&key_columns(fields.into()), Form::Bytes, Arc::new(BinaryArray::from(key)));
        assert_eq!((found.num_rows(), rejected), (1, vec![1, 2]));
    }

    #[test]
    fn a_record_without_a_key_is_rejected_and_told_what_it_needs() {
        let values = arrow::array::new_null_array(&DataType::Utf8, 1);
        let records = EnvelopeBuilder::new().value(Form::Document, values).build().unwrap();
        let (found, rejected) = deletes(&id(), Envelope::of(&records).unwrap(), &[0]).unwrap();
        assert_eq!(found.num_rows(), 0);
        let error = &rejected[0].error;
        assert!(error.message.contains("`id`") && error.hint.contains("delta.key.columns"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_a_rejection(key in prop::collection::vec(any::<u8>(), 0..40)) {
            let (found, rejected) = read(&id(), Form::Bytes, Arc::new(BinaryArray::from(vec![key.as_slice()])));
            prop_assert_eq!(found.num_rows() + rejected.len(), 1);
        }
    }
}
