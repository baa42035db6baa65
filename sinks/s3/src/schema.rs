//! `schema.compatibility`: what a record with another schema than the open file's does.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, StructArray,
    UInt32Array, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use connector_core::json::{Member, NAME, member};
use connector_core::{ConnectError, Form, Result};

use crate::config::SchemaCompatibility;

const VERSION: &str = "connect.version";
const PARAMETERS: &str = "connect.parameters";
const DEFAULT: &str = "connect.default";

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its schema is the file's.
    None,
    /// It begins a file.
    Roll,
    /// It is written with the file's schema.
    Project,
}

/// Compares the schema of a record with the file's.
pub fn change(mode: SchemaCompatibility, record: &FieldRef, file: &FieldRef) -> Result<Change> {
    use SchemaCompatibility::*;
    if Arc::ptr_eq(record, file) || record == file {
        return Ok(Change::None);
    }
    let said = |field: &FieldRef, key: &str| field.metadata().get(key).cloned();
    let differs = |key| said(record, key) != said(file, key);
    let typed = |field: &FieldRef| Form::of(field) == Form::Columns;
    if mode == None
        || !typed(record)
        || !typed(file)
        || kind(record) != kind(file)
        || differs(NAME)
        || differs(PARAMETERS)
    {
        return Ok(Change::Roll);
    }
    let version = |field| said(field, VERSION).and_then(|text| text.parse::<i64>().ok());
    let (Some(record), Some(file)) = (version(record), version(file)) else {
        return Err(ConnectError::user(
            "s3.schema_version",
            "the record's schema, or that of the open file, has no version",
        )
        .hint("only `schema.compatibility: NONE` works with schemas without versions"));
    };
    let roll = if matches!(mode, Forward | ForwardTransitive) { record < file } else { record > file };
    Ok(if roll { Change::Roll } else { Change::Project })
}

/// The same error for another record.
pub fn again(error: &ConnectError) -> ConnectError {
    ConnectError::user(error.code.as_str(), error.message.as_str()).hint(error.hint.as_str())
}

/// The kind of a type, without what is inside.
fn kind(field: &FieldRef) -> std::mem::Discriminant<DataType> {
    std::mem::discriminant(field.data_type())
}

/// The values with the file's schema: what it does not have is left out, what only it has is null or has its default.
pub fn project(values: &ArrayRef, target: &Field) -> Result<ArrayRef> {
    let cannot = |why: String| {
        let message = format!(
            "the record's schema cannot be projected to that of the open file: field `{}` {why}",
            target.name()
        );
        ConnectError::user("s3.schema_projection", message)
            .hint("make new fields optional, or use `schema.compatibility: NONE`")
    };
    match (values.data_type(), target.data_type()) {
        (same, wanted) if same == wanted => Ok(values.clone()),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let rows = values.as_struct();
            let columns = fields.iter().map(|field| match rows.column_by_name(field.name()) {
                Some(column) => project(column, field),
                Option::None if field.metadata().contains_key(DEFAULT) => {
                    let default = default(field).ok_or_else(|| {
                        cannot(format!("misses `{}`, whose default is of no simple type", field.name()))
                    })?;
                    Ok(take(&default, &UInt32Array::from(vec![0; rows.len()]), Option::None)?)
                }
                Option::None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows.len())),
                Option::None => Err(cannot(format!("misses `{}`, which is not optional", field.name()))),
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, rows.nulls().cloned())?))
        }
        (from, to) if widens(from, to) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            Ok(cast_with_options(values, to, &options)?)
        }
        (from, to) => Err(cannot(format!("is {from} there and {to} here"))),
    }
}

/// An array of one: the field's default.
fn default(field: &Field) -> Option<ArrayRef> {
    let document = format!("{{\"default\":{}}}", field.metadata().get(DEFAULT)?);
    let value: ArrayRef = match member(&document, &["default"]) {
        Member::Null => return Some(new_null_array(field.data_type(), 1)),
        Member::Boolean(value) => Arc::new(BooleanArray::from(vec![value])),
        Member::Text(text) => Arc::new(StringArray::from(vec![text.as_ref()])),
        Member::Number(text) => match text.parse::<i64>() {
            // Arrow makes days and times of day of 32 bits only.
            Ok(number) => match i32::try_from(number) {
                Ok(number) => Arc::new(Int32Array::from(vec![number])),
                Err(_) => Arc::new(Int64Array::from(vec![number])),
            },
            Err(_) => Arc::new(Float64Array::from(vec![text.parse::<f64>().ok()?])),
        },
        Member::Nested | Member::Missing => return Option::None,
    };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    match field.data_type() {
        DataType::Utf8 | DataType::Boolean if value.data_type() != field.data_type() => Option::None,
        // Of bytes and decimals it is base64.
        wanted if wanted.is_binary() || wanted.is_decimal() => Option::None,
        DataType::Timestamp(..) => cast_with_options(
            &cast_with_options(&value, &DataType::Int64, &options).ok()?,
            field.data_type(),
            &options,
        )
        .ok(),
        wanted => cast_with_options(&value, wanted, &options).ok(),
    }
}

/// Whether a number of the one type is also one of the other.
fn widens(from: &DataType, to: &DataType) -> bool {
    let rank = |kind: &DataType| {
        [
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
        ]
        .iter()
        .position(|known| known == kind)
    };
    matches!((rank(from), rank(to)), (Some(from), Some(to)) if from < to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(fields: Vec<Field>, version: Option<&str>) -> FieldRef {
        let version = version.map(|version| (VERSION.to_owned(), version.to_owned()));
        let metadata = Form::Columns
            .field("value", DataType::Null)
            .metadata()
            .clone()
            .into_iter()
            .chain(version)
            .collect();
        Arc::new(Field::new("value", DataType::Struct(fields.into()), true).with_metadata(metadata))
    }

    fn a(kind: DataType) -> Field {
        Field::new("a", kind, true)
    }

    #[test]
    fn versions_decide_s3g_062_063() {
        use SchemaCompatibility::*;
        let (old, new) = (field(vec![a(DataType::Int32)], Some("1")), field(vec![], Some("2")));
        for (mode, record, file, expected) in [
            (NONE, &old, &new, Change::Roll),
            (Backward, &new, &old, Change::Roll),
            (Backward, &old, &new, Change::Project),
            (FullTransitive, &new, &old, Change::Roll),
            (Forward, &new, &old, Change::Project),
            (Forward, &old, &new, Change::Roll),
            (Backward, &old, &old, Change::None),
        ] {
            assert_eq!(change(mode, record, file).unwrap(), expected, "{mode:?}");
        }
        let error = change(Full, &old, &field(vec![], Option::None)).unwrap_err();
        assert!(error.to_string().contains("NONE"), "{error}");
        let document = Arc::new(Form::Document.field("value", DataType::Utf8));
        assert_eq!(change(Backward, &document, &old).unwrap(), Change::Roll);
    }

    const NONE: SchemaCompatibility = SchemaCompatibility::None;

    #[test]
    fn a_projection_keeps_what_both_have_and_fills_the_rest() {
        let with_default = |name: &str, kind, default: &str| {
            Field::new(name, kind, false).with_metadata([(DEFAULT.to_owned(), default.to_owned())].into())
        };
        let target = field(
            vec![
                a(DataType::Int64),
                Field::new("n", DataType::Utf8, true),
                with_default("d", DataType::Int16, "7"),
                with_default("t", DataType::Utf8, "\"x\""),
                with_default("f", DataType::Float64, "1.5"),
                with_default("day", DataType::Date32, "19723"),
            ],
            Some("2"),
        );
        let rows: ArrayRef = Arc::new(StructArray::from(vec![
            (Arc::new(a(DataType::Int32)), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
            (
                Arc::new(Field::new("gone", DataType::Boolean, true)),
                Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef,
            ),
        ]));
        let projected = project(&rows, &target).unwrap();
        assert_eq!(projected.data_type(), target.data_type());
        let formatted = arrow::util::display::array_value_to_string(&projected, 1).unwrap();
        assert_eq!(formatted, "{a: 2, n: , d: 7, t: x, f: 1.5, day: 2024-01-01}");
    }

    #[test]
    fn what_cannot_be_projected_is_refused() {
        let rows: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(a(DataType::Utf8)),
            Arc::new(StringArray::from(vec!["hunter2"])) as ArrayRef,
        )]));
        for target in [
            field(vec![a(DataType::Int32)], Option::None),
            field(vec![Field::new("b", DataType::Utf8, false)], Option::None),
        ] {
            let error = project(&rows, &target).unwrap_err().to_string();
            assert!(error.contains("cannot be projected") && !error.contains("hunter2"), "{error}");
        }
    }
}
