//! Typed values for a stage that declared its fields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::{self, CastOptions};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use connector_core::json::{self, REQUIRED};
use connector_core::{ConnectError, Form, Rejection, Result, Run, Transformed};

use super::{no_fields, part, replaced, stage};

/// Gives a `Struct` column exactly these fields: found by name, others dropped, numbers and timestamps widened or
/// narrowed where the value fits. Rows that lack a field are rejected, as they are when the fields are read from JSON.
pub fn conform(records: RecordBatch, column: &'static str, fields: &Fields) -> Result<Transformed> {
    let (_, array) = part(&records, column)?;
    let Some(values) = array.as_struct_opt() else { return Err(no_fields("the value's schema")) };
    if values.fields() == fields {
        return Ok(Transformed { runs: vec![Run::new(records)], rejected: Vec::new() });
    }
    let mut rejected: Vec<Rejection> = Vec::new();
    let mut refuse = |row: usize, error: ConnectError| {
        if values.is_valid(row) && !rejected.iter().any(|r| r.row == row) {
            rejected.push(Rejection::new(row, stage(column), error));
        }
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.name();
        let missing = || {
            ConnectError::user("columns.field_missing", format!("field `{name}` is missing"))
                .hint("send the field in each record, and records of other kinds to another topic")
        };
        let needed = !field.is_nullable() || field.metadata().get(REQUIRED).is_some_and(|v| v == "true");
        let array = match values.column_by_name(name) {
            Some(found) => {
                let taken = taken(found, field)?;
                for row in (0..values.len()).filter(|&row| taken.is_null(row)) {
                    if found.is_valid(row) {
                        let message = format!("field `{name}` does not fit the type {}", field.data_type());
                        let error = ConnectError::user("columns.field_type", message);
                        refuse(row, error.hint("send the field with that type"));
                    } else if !field.is_nullable() {
                        refuse(row, missing());
                    }
                }
                taken
            }
            None => {
                (0..values.len()).filter(|_| needed).for_each(|row| refuse(row, missing()));
                new_null_array(field.data_type(), values.len())
            }
        };
        columns.push(array);
    }
    rejected.sort_by_key(|r| r.row);
    let mut keep = vec![true; values.len()];
    rejected.iter().for_each(|r| keep[r.row] = false);
    let keep = keep.into();
    let columns = columns.iter().map(|c| compute::filter(c, &keep)).collect::<Result<Vec<_>, _>>()?;
    let nulls = match values.nulls() {
        Some(_) => {
            compute::filter(&compute::is_not_null(values)?, &keep)?.as_boolean().values().clone().into()
        }
        None => arrow::buffer::NullBuffer::new_valid(values.len() - rejected.len()),
    };
    let rows = nulls.len();
    let nulls = Some(nulls).filter(|n| n.null_count() > 0);
    let values = StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?;
    replaced(records, Form::Columns.field(column, values.data_type().clone()), Arc::new(values), rejected)
}

/// Reads these fields from a column of JSON texts (Binary or Utf8).
pub fn read(records: RecordBatch, column: &'static str, fields: &Fields) -> Result<Transformed> {
    let (_, texts) = part(&records, column)?;
    let decoded = json::decode(texts, fields)?;
    let rejected =
        decoded.rejected.into_iter().map(|(row, e)| Rejection::new(row, stage(column), e)).collect();
    let field = Form::Columns.field(column, decoded.values.data_type().clone());
    replaced(records, field, Arc::new(decoded.values), rejected)
}

/// The column in the field's type; null where a value does not fit.
fn taken(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    use DataType::{Float32, Float64, LargeUtf8, Timestamp, Utf8, Utf8View};
    let number = |t: &DataType| t.is_integer() || matches!(t, Float32 | Float64);
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    Ok(match (array.data_type(), field.data_type()) {
        (from, to) if from == to => array.clone(),
        (from, to) if from.is_integer() && number(to) || text(from) && text(to) => {
            compute::cast_with_options(array, to, &safe)?
        }
        (Float32 | Float64, to @ (Float32 | Float64)) => compute::cast_with_options(array, to, &safe)?,
        (Timestamp(from, _), to @ Timestamp(unit, _)) => {
            // Through the number: both are UTC, and a zone's name would have to be looked up.
            let plain = compute::cast_with_options(array, &Timestamp(*from, None), &safe)?;
            let scaled = compute::cast_with_options(&plain, &Timestamp(*unit, None), &safe)?;
            compute::cast(&compute::cast(&scaled, &DataType::Int64)?, to)?
        }
        (from, to @ Timestamp(unit, _)) if text(from) => {
            let texts = compute::cast(array, &Utf8)?;
            let parsed = texts.as_string::<i32>().iter().map(|text| json::parse_timestamp(text?, *unit));
            compute::cast(&parsed.collect::<arrow::array::PrimitiveArray<Int64Type>>(), to)?
        }
        (_, to) => new_null_array(to, array.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::TimeUnit;
    use connector_core::envelope::{EnvelopeBuilder, OFFSET, VALUE};

    fn conformed(columns: Vec<(&str, ArrayRef)>, fields: Vec<Field>) -> Transformed {
        let values = StructArray::try_from(columns).unwrap();
        let offsets = Int64Array::from_iter_values(0..values.len() as i64);
        let records =
            EnvelopeBuilder::new().offsets(offsets).value(Form::Columns, Arc::new(values)).build().unwrap();
        conform(records, VALUE, &fields.into()).unwrap()
    }

    #[test]
    fn fields_are_found_by_name_and_widened() {
        let instant = TimestampMillisecondArray::from(vec![1_598_586_767_250]).with_timezone("UTC");
        let out = conformed(
            vec![
                ("extra", Arc::new(Int32Array::from(vec![0]))),
                ("at", Arc::new(instant)),
                ("text", Arc::new(StringArray::from(vec!["2020-08-28 03:52:47"]))),
                ("id", Arc::new(Int32Array::from(vec![7]))),
            ],
            vec![
                Field::new("id", DataType::Int64, false),
                Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
                Field::new("text", DataType::Timestamp(TimeUnit::Second, None), true),
                Field::new("absent", DataType::Utf8, true),
            ],
        );
        assert_eq!(out.rejected.len(), 0);
        let values = out.runs[0].records[VALUE].as_struct();
        let field = Arc::new(Field::new("v", values.data_type().clone(), true));
        let mut text = Vec::new();
        json::Encoder::new(&field, values, json::DecimalFormat::Base64).unwrap().encode(0, &mut text);
        let expected =
            r#"{"id":7,"at":"2020-08-28T03:52:47.250Z","text":"2020-08-28T03:52:47","absent":null}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn rows_that_do_not_fit_are_rejected() {
        let out = conformed(
            vec![("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(1 << 40)])))],
            vec![Field::new("id", DataType::Int32, false)],
        );
        let rejected: Vec<_> = out.rejected.iter().map(|r| (r.row, r.error.message.as_str())).collect();
        assert_eq!(rejected, [(1, "field `id` is missing"), (2, "field `id` does not fit the type Int32")]);
        assert_eq!(out.runs[0].records[OFFSET].as_primitive::<Int64Type>().values(), &[0]);
    }

    #[test]
    fn a_field_that_no_row_has_rejects_every_row() {
        let out = conformed(
            vec![("id", Arc::new(Int64Array::from(vec![1, 2])))],
            vec![Field::new("title", DataType::Utf8, false)],
        );
        assert_eq!((out.rejected.len(), out.runs[0].records.num_rows()), (2, 0));
    }
}
