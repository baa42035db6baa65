//! Keys or values with a schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use connector_core::Form;
use connector_core::java::DAY;
use connector_core::schema::{self, DEFAULT, OPTIONAL, Schema};
use connector_core::value::{Object, Value};

use super::Refusal;

/// A column with a schema; what Connect's schema says beyond Arrow's type is in the field's metadata.
#[derive(Clone)]
pub(crate) struct Typed {
    pub field: Field,
    pub array: ArrayRef,
}

impl Typed {
    /// The column as structs; `purpose` is Connect's word for what is done to them.
    pub fn structs(&self, purpose: &str) -> Result<&StructArray, Refusal> {
        self.array.as_struct_opt().ok_or_else(|| {
            let class = class_of(self.array.data_type());
            Refusal(format!("Only Struct objects supported for [{purpose}], found: {class}"))
        })
    }

    /// The same column with defaults for nulls, if `replace` says so.
    pub fn defaults(self, replace: bool) -> Result<Self, Refusal> {
        if !replace {
            return Ok(self);
        }
        let array = schema::with_defaults(&self.array).map_err(|e| e.message)?;
        Ok(Self { array, ..self })
    }

    /// Structs with these fields: name, version, documentation and parameters of the schema stay, as Connect's
    /// `SchemaUtil.copySchemaBasics` has it; that it is optional and its default only if `keep` says so.
    pub fn replaced(
        &self,
        fields: Vec<FieldRef>,
        columns: Vec<ArrayRef>,
        keep: bool,
    ) -> Result<Self, Refusal> {
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = fields.iter().find(|field| !seen.insert(field.name().as_str())) {
            let name = twice.name();
            return Err(Refusal(format!("Cannot create field because of field name duplication {name}")));
        }
        let (nulls, rows) = (self.array.logical_nulls(), self.array.len());
        let there = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let lacks = |column: &ArrayRef| {
            column.null_count() > 0 && (0..rows).any(|row| there(row) && column.is_null(row))
        };
        // What has no value anywhere (a record without a timestamp) makes a required field optional.
        let fields: Vec<_> = fields
            .into_iter()
            .zip(&columns)
            .map(|(field, column)| match !field.is_nullable() && lacks(column) {
                true => Arc::new(field.as_ref().clone().with_nullable(true)),
                false => field,
            })
            .collect();
        let array = StructArray::try_new_with_length(fields.into(), columns, nulls, rows)
            .map_err(|e| Refusal(format!("a struct cannot be made: {e}")))?;
        let mut metadata = self.field.metadata().clone();
        if !keep {
            metadata.remove(DEFAULT);
            metadata.remove(OPTIONAL);
        }
        Ok(self.with(array.data_type().clone(), metadata, Arc::new(array)))
    }

    /// Another column in the place of this one.
    pub fn with(&self, data_type: DataType, mut metadata: HashMap<String, String>, array: ArrayRef) -> Self {
        metadata.extend(Form::Columns.field("", DataType::Null).metadata().clone());
        Self { field: Field::new(self.field.name(), data_type, true).with_metadata(metadata), array }
    }

    /// A field of the structs as a column of its own: a null struct has no value there either.
    pub fn member(&self, structs: &StructArray, at: usize) -> Result<Self, Refusal> {
        let (field, array) = (&structs.fields()[at], below(structs, structs.column(at))?);
        let mut metadata = field.metadata().clone();
        metadata.insert(OPTIONAL.to_owned(), field.is_nullable().to_string());
        Ok(self.with(field.data_type().clone(), metadata, array))
    }
}

/// A column of structs, null also where they are.
pub(crate) fn below(structs: &StructArray, column: &ArrayRef) -> Result<ArrayRef, Refusal> {
    let Some(nulls) = structs.nulls() else { return Ok(column.clone()) };
    let absent = BooleanArray::new(!nulls.inner(), None);
    arrow::compute::nullif(column, &absent).map_err(|e| e.to_string().into())
}

/// A value without a schema that has to be an object; `purpose` is Connect's word for what is done to it.
pub(crate) fn object<'t>(value: Value<'t>, purpose: &str) -> Result<Object<'t>, Refusal> {
    match value.open() {
        Value::Object(object) => Ok(object),
        other => {
            let class = other.class();
            Err(Refusal(format!(
                "Only Map objects supported in absence of schema for [{purpose}], found: {class}"
            )))
        }
    }
}

/// Java's class of the values of a type.
pub(crate) fn class_of(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "java.lang.Boolean",
        DataType::Int8 => "java.lang.Byte",
        DataType::Int16 | DataType::UInt8 => "java.lang.Short",
        DataType::Int32 | DataType::UInt16 => "java.lang.Integer",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "java.lang.Long",
        DataType::Float32 => "java.lang.Float",
        DataType::Float64 => "java.lang.Double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "java.lang.String",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "java.math.BigDecimal",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "java.util.ArrayList",
        DataType::Map(..) => "java.util.HashMap",
        DataType::Struct(_) => "org.apache.kafka.connect.data.Struct",
        t if t.is_temporal() => "java.util.Date",
        _ => "[B",
    }
}

/// Connect's `Schema.toString` of a field: its name, or its type.
pub(crate) fn schema_name(field: &Field) -> String {
    match Schema::of_column(field) {
        Ok(schema @ Schema { name: Some(_), .. }) => {
            let name = schema.name.as_deref().unwrap_or_default();
            format!("Schema{{{name}:{}}}", schema.type_name_in_messages())
        }
        Ok(schema) => format!("Schema{{{}}}", schema.type_name_in_messages()),
        Err(_) => format!("Schema{{{}}}", field.data_type()),
    }
}

/// The scalars as a column of one of Connect's types; what is of another type becomes null.
pub(crate) fn build<'t>(data_type: &DataType, values: impl Iterator<Item = Value<'t>>) -> ArrayRef {
    macro_rules! column {
        ($array:ty, $pattern:pat => $value:expr) => {
            Arc::new(values.map(|v| if let $pattern = v { Some($value) } else { None }).collect::<$array>())
        };
    }
    match data_type {
        DataType::Boolean => column!(BooleanArray, Value::Boolean(b) => b),
        DataType::Int8 => column!(Int8Array, Value::Int8(n) => n),
        DataType::Int16 => column!(Int16Array, Value::Int16(n) => n),
        DataType::Int32 => column!(Int32Array, Value::Int32(n) => n),
        DataType::Int64 => column!(Int64Array, Value::Int64(n) => n),
        DataType::Float32 => column!(Float32Array, Value::Float32(n) => n),
        DataType::Float64 => column!(Float64Array, Value::Float64(n) => n),
        DataType::Date32 => {
            column!(Date32Array, Value::Instant(ms) => ms.div_euclid(DAY) as i32)
        }
        DataType::Time32(_) => {
            column!(Time32MillisecondArray, Value::Instant(ms) => ms.rem_euclid(DAY) as i32)
        }
        DataType::Timestamp(..) => {
            let times: TimestampMillisecondArray =
                values.map(|v| if let Value::Instant(ms) = v { Some(ms) } else { None }).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        _ => column!(StringArray, Value::Text(text) => text),
    }
}
