//! Documents (schemaless JSON) to the columns of a table, or to columns that a table could have.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, RecordBatchOptions,
    StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{DataType as ArrowType, Decimal128Type, Field, FieldRef, SchemaRef, TimeUnit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::NaiveDate;
use connector_core::json::parse_timestamp;
use connector_core::{ConnectError, Result};
use deltalake::kernel::{ArrayType, DataType, PrimitiveType, StructField, StructType};
use serde_json::{Map, Value};

use crate::adapt::{missing, type_conflict, unknown};
use crate::schema::{common, table, union};

/// One record's fields.
pub type Object = Map<String, Value>;

/// Reads one text.
pub fn parse(text: &str) -> Result<Object> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => {
            Err(ConnectError::user("delta.no_object", "the value is not a JSON object, so it has no columns")
                .hint("send one object a record, and records of other kinds to another topic"))
        }
        // Its message may repeat the text.
        Err(_) => Err(ConnectError::user("json.syntax", "the value is not JSON, or nested too deep")
            .hint("send valid JSON")),
    }
}

/// The columns that these records ask for: integers are `long`, other numbers `double`, the rest as JSON has it.
pub fn columns<'o>(objects: impl IntoIterator<Item = &'o Object>) -> StructType {
    let mut all = table([]);
    for object in objects {
        // Most records bring nothing new.
        if object.iter().any(|(name, value)| is_news(&all, name, value)) {
            all = union(&all, &columns_of(object));
        }
    }
    all
}

fn is_news(known: &StructType, name: &str, value: &Value) -> bool {
    match (known.field(name).map(StructField::data_type), value) {
        (_, Value::Null) => false,
        (None, _) => true,
        (Some(DataType::Primitive(_)), Value::Number(number)) => number.is_f64(),
        (Some(DataType::Primitive(_)), _) => false,
        _ => true,
    }
}

fn columns_of(object: &Object) -> StructType {
    table(object.iter().filter_map(|(name, value)| Some(StructField::nullable(name, column_type(value)?))))
}

/// `None` for null and what has only nulls in it: nothing is known then.
fn column_type(value: &Value) -> Option<DataType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => PrimitiveType::Boolean.into(),
        Value::Number(number) if number.is_i64() => PrimitiveType::Long.into(),
        Value::Number(_) => PrimitiveType::Double.into(),
        Value::String(_) => PrimitiveType::String.into(),
        Value::Array(elements) => {
            let mut types = elements.iter().filter_map(column_type);
            let first = types.next()?;
            // Elements that have nothing in common reject their record later.
            let element = types.fold(first, |all, next| common(&all, &next).unwrap_or(all));
            ArrayType::new(element, true).into()
        }
        Value::Object(object) => {
            let columns = columns_of(object);
            if columns.fields().len() == 0 {
                return None;
            }
            columns.into()
        }
    })
}

/// Why the record cannot become a row, if so. Null where a column may be null is fine, a field without a column is not,
/// unless there is nothing in it.
pub fn check(object: &Object, schema: &SchemaRef) -> Result<()> {
    fields(object, schema.fields(), "")
}

fn fields(object: &Object, columns: &arrow::datatypes::Fields, parent: &str) -> Result<()> {
    let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    for (name, value) in object {
        match columns.find(name) {
            Some((_, column)) => fits(value, column, &path, name)?,
            // An empty list or object asks for a column as little as null does.
            None if column_type(value).is_none() => {}
            None => return Err(unknown(&path(name), kind(value))),
        }
    }
    for column in columns.iter().filter(|column| !column.is_nullable()) {
        if object.get(column.name()).is_none_or(Value::is_null) {
            return Err(missing(&path(column.name())));
        }
    }
    Ok(())
}

fn fits(value: &Value, column: &Field, path: &dyn Fn(&str) -> String, name: &str) -> Result<()> {
    let to = column.data_type();
    let fits = match (to, value) {
        (_, Value::Null) => true,
        (ArrowType::Struct(columns), Value::Object(object)) => {
            return fields(object, columns, &path(name));
        }
        (ArrowType::List(item), Value::Array(elements)) => {
            let element = |inner: &str| format!("{}.{inner}", path(name));
            return elements.iter().try_for_each(|value| {
                if value.is_null() && !item.is_nullable() {
                    return Err(missing(&element("element")));
                }
                fits(value, item, &element, "element")
            });
        }
        (ArrowType::Map(entries, _), Value::Object(object)) => {
            let Some((key, item)) = entry(entries) else {
                return Err(type_conflict(&path(name), kind(value), to));
            };
            if key.data_type() != &ArrowType::Utf8 {
                return Err(type_conflict(&path(name), "a JSON object, whose keys are strings,", to));
            }
            let inside = |inner: &str| format!("{}.{inner}", path(name));
            return object.values().try_for_each(|value| fits(value, item, &inside, "value"));
        }
        (ArrowType::Boolean, value) => value.is_boolean(),
        (ArrowType::Utf8, value) => value.is_string(),
        (ArrowType::Float32, value) => float(value).is_some_and(|v| f64::from(v as f32) == v),
        (ArrowType::Float64, value) => float(value).is_some(),
        (ArrowType::Binary, value) => bytes(value).is_some(),
        (ArrowType::Decimal128(precision, scale), value) => decimal(value, *precision, *scale).is_some(),
        (other, value) => integer(value, other).is_some(),
    };
    if fits { Ok(()) } else { Err(type_conflict(&path(name), kind(value), to)) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction or exponent",
        Value::Number(_) => "an integer",
        Value::String(_) => "string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn entry(entries: &FieldRef) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        ArrowType::Struct(fields) => fields.first().zip(fields.get(1)),
        _ => None,
    }
}

/// Whole numbers, and instants: a timestamp is an ISO text or, as Connect writes it, milliseconds since 1970, a date
/// `yyyy-mm-dd` or days.
fn integer(value: &Value, to: &ArrowType) -> Option<i64> {
    match (to, value) {
        (ArrowType::Timestamp(TimeUnit::Microsecond, _), Value::String(text)) => {
            parse_timestamp(text, TimeUnit::Microsecond)
        }
        (ArrowType::Timestamp(TimeUnit::Microsecond, _), Value::Number(millis)) => {
            millis.as_i64()?.checked_mul(1000)
        }
        (ArrowType::Date32, Value::String(text)) => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(i64::from(date.to_epoch_days()))
        }
        (ArrowType::Date32 | ArrowType::Int32, Value::Number(number)) => {
            i32::try_from(number.as_i64()?).ok().map(i64::from)
        }
        (ArrowType::Int8, Value::Number(number)) => i8::try_from(number.as_i64()?).ok().map(i64::from),
        (ArrowType::Int16, Value::Number(number)) => i16::try_from(number.as_i64()?).ok().map(i64::from),
        (ArrowType::Int64, Value::Number(number)) => number.as_i64(),
        _ => None,
    }
}

/// A number that is exactly a double.
fn float(value: &Value) -> Option<f64> {
    let Value::Number(number) = value else { return None };
    match number.as_i64() {
        Some(whole) => {
            let float = whole as f64;
            (float as i128 == i128::from(whole)).then_some(float)
        }
        None => number.as_f64(),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.as_str()?).ok()
}

fn decimal(value: &Value, precision: u8, scale: i8) -> Option<i128> {
    let Value::Number(number) = value else { return None };
    let text = number.to_string();
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
    if text.contains(['e', 'E']) || digits > usize::try_from(scale).ok()? {
        return None;
    }
    parse_decimal::<Decimal128Type>(&text, precision, scale).ok()
}

/// The records, all of which [`check`] let pass, as rows.
pub fn rows(objects: &[&Object], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let values: Vec<Option<&Value>> = objects.iter().map(|object| object.get(field.name())).collect();
        column(&values, field)
    });
    let columns = columns.collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(objects.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn column(values: &[Option<&Value>], field: &Field) -> Result<ArrayRef> {
    let to = field.data_type();
    let integers = || values.iter().map(|v| v.and_then(|v| integer(v, to)));
    let floats = || values.iter().map(|v| v.and_then(float));
    Ok(match to {
        ArrowType::Boolean => {
            Arc::new(values.iter().map(|v| v.and_then(Value::as_bool)).collect::<BooleanArray>())
        }
        ArrowType::Utf8 => {
            Arc::new(values.iter().map(|v| v.and_then(Value::as_str)).collect::<StringArray>())
        }
        ArrowType::Int8 => Arc::new(integers().map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
        ArrowType::Int16 => Arc::new(integers().map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        ArrowType::Int32 => Arc::new(integers().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        ArrowType::Int64 => Arc::new(integers().collect::<Int64Array>()),
        ArrowType::Date32 => Arc::new(integers().map(|v| v.map(|v| v as i32)).collect::<Date32Array>()),
        ArrowType::Float32 => Arc::new(floats().map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        ArrowType::Float64 => Arc::new(floats().collect::<Float64Array>()),
        ArrowType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(integers().collect::<TimestampMicrosecondArray>().with_timezone_opt(zone.clone()))
        }
        ArrowType::Decimal128(p, s) => {
            let decimals = values.iter().map(|v| v.and_then(|v| decimal(v, *p, *s)));
            Arc::new(decimals.collect::<Decimal128Array>().with_precision_and_scale(*p, *s)?)
        }
        ArrowType::Binary => {
            let mut builder = BinaryBuilder::new();
            for value in values {
                builder.append_option(value.and_then(bytes));
            }
            Arc::new(builder.finish())
        }
        ArrowType::List(item) => {
            let lists: Vec<Option<&Vec<Value>>> =
                values.iter().map(|v| v.and_then(Value::as_array)).collect();
            let elements: Vec<Option<&Value>> =
                lists.iter().flatten().flat_map(|l| l.iter().map(Some)).collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|l| l.map_or(0, Vec::len)));
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, column(&elements, item)?, Some(nulls))?)
        }
        ArrowType::Struct(fields) => {
            let objects: Vec<Option<&Object>> = values.iter().map(|v| v.and_then(Value::as_object)).collect();
            let children = fields.iter().map(|field| {
                let values: Vec<_> = objects.iter().map(|o| o.and_then(|o| o.get(field.name()))).collect();
                column(&values, field)
            });
            let children = children.collect::<Result<_>>()?;
            let nulls: NullBuffer = objects.iter().map(Option::is_some).collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), children, Some(nulls), values.len())?)
        }
        ArrowType::Map(entries, _) => {
            let maps: Vec<Option<&Object>> = values.iter().map(|v| v.and_then(Value::as_object)).collect();
            let Some((_, item)) = entry(entries) else { return Ok(new_null_array(to, values.len())) };
            let keys: StringArray = maps.iter().flatten().flat_map(|m| m.keys().map(Some)).collect();
            let items: Vec<Option<&Value>> =
                maps.iter().flatten().flat_map(|m| m.values().map(Some)).collect();
            let ArrowType::Struct(fields) = entries.data_type() else {
                return Ok(new_null_array(to, values.len()));
            };
            let both =
                StructArray::try_new(fields.clone(), vec![Arc::new(keys), column(&items, item)?], None)?;
            let offsets = OffsetBuffer::from_lengths(maps.iter().map(|m| m.map_or(0, Map::len)));
            let nulls: NullBuffer = maps.iter().map(Option::is_some).collect();
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, both, Some(nulls), false)?)
        }
        other => new_null_array(other, values.len()),
    })
}
