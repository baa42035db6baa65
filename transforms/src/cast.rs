//! Cast: fields, or whole values, as another type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connector_core::ConfigProblem;
use connector_core::java::{DAY, double_text, float_text, iso, parse_double};
use connector_core::json::{DATE, NAME, TIME, TIMESTAMP};
use connector_core::schema::{DEFAULT, Schema};
use connector_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, build, names, object, problem, yes};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// `field:type` pairs, or one type for the whole value. Types: `int8`, `int16`, `int32`, `int64`, `float32`,
    /// `float64`, `boolean`, `string`.
    spec: String,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
}

/// Numbers narrow as Java's casts do, texts are read strictly.
pub(crate) struct Cast {
    whole: Option<Target>,
    fields: Vec<(String, Target)>,
    replace: bool,
}

impl Target {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            _ => return None,
        })
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::String => DataType::Utf8,
        }
    }
}

const UNSUPPORTED: &str =
    "supported types are [INT8, INT16, INT32, INT64, FLOAT32, FLOAT64, BOOLEAN, STRING, BYTES]";

/// A number as Java has it.
enum Number {
    Integer(i128),
    Float(f64),
}

fn cast<'t>(value: Value<'t>, target: Target) -> Result<Value<'t>, Refusal> {
    let value = value.open();
    let number = match &value {
        Value::Null => return Ok(Value::Null),
        Value::Boolean(flag) if target == Target::String => return Ok(Value::Text(flag.to_string().into())),
        Value::Boolean(flag) => Number::Integer((*flag).into()),
        Value::Int8(n) => Number::Integer((*n).into()),
        Value::Int16(n) => Number::Integer((*n).into()),
        Value::Int32(n) => Number::Integer((*n).into()),
        Value::Int64(n) => Number::Integer((*n).into()),
        Value::Float32(n) if target == Target::String => return Ok(Value::Text(float_text(*n).into())),
        Value::Float64(n) if target == Target::String => return Ok(Value::Text(double_text(*n).into())),
        Value::Float32(n) => Number::Float((*n).into()),
        Value::Float64(n) => Number::Float(*n),
        Value::Text(text) => return from_text(text, target),
        Value::Bytes(bytes) if target == Target::String => {
            return Ok(Value::Text(STANDARD.encode(bytes).into()));
        }
        Value::Instant(millis) if target == Target::String => return Ok(Value::Text(iso(*millis).into())),
        Value::Decimal(..) if target == Target::String => {
            let mut text = Vec::new();
            value.write(&mut text);
            return Ok(Value::Text(String::from_utf8(text).unwrap_or_default().into()));
        }
        Value::Decimal(digits, scale) => decimal(*digits, *scale, target),
        Value::Instant(millis) => Number::Integer((*millis).into()),
        Value::Object(_) => return Err(unsupported("MAP")),
        Value::List(_) => return Err(unsupported("ARRAY")),
        Value::Bytes(_) => return Err("Unexpected type in Cast transformation: class [B".into()),
        Value::Json(_) => return Err("a number beyond 64 bits cannot be cast".into()),
    };
    Ok(narrowed(&number, target))
}

fn unsupported(from: &str) -> Refusal {
    Refusal(format!("Cast transformation does not support casting from {from}; {UNSUPPORTED}"))
}

/// `BigDecimal.doubleValue`, or its whole part.
fn decimal(digits: i128, scale: i8, target: Target) -> Number {
    if matches!(target, Target::Float32 | Target::Float64) {
        return Number::Float(format!("{digits}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN));
    }
    let power = 10i128.checked_pow(scale.unsigned_abs().into());
    Number::Integer(match (scale >= 0, power) {
        (true, Some(power)) => digits / power,
        (true, None) => 0,
        (false, power) => power.map_or(0, |power| digits.wrapping_mul(power)),
    })
}

/// Java's casts: floats stop at the ends of int and long and lose their fraction; whole numbers lose high bits.
#[allow(clippy::cast_possible_truncation)]
fn narrowed(number: &Number, target: Target) -> Value<'static> {
    let (small, wide) = match number {
        Number::Integer(n) => (*n as i32, *n as i64),
        Number::Float(n) => (*n as i32, *n as i64),
    };
    let float = match number {
        Number::Integer(n) => *n as f64,
        Number::Float(n) => *n,
    };
    match target {
        Target::Int8 => Value::Int8(small as i8),
        Target::Int16 => Value::Int16(small as i16),
        Target::Int32 => Value::Int32(small),
        Target::Int64 => Value::Int64(wide),
        Target::Float32 => Value::Float32(match number {
            Number::Integer(n) => *n as f32,
            Number::Float(n) => *n as f32,
        }),
        Target::Float64 => Value::Float64(float),
        Target::Boolean => Value::Boolean(wide != 0),
        Target::String => Value::Text(wide.to_string().into()),
    }
}

fn from_text<'t>(text: &str, target: Target) -> Result<Value<'t>, Refusal> {
    let value = match target {
        Target::Int8 => text.parse().ok().map(Value::Int8),
        Target::Int16 => text.parse().ok().map(Value::Int16),
        Target::Int32 => text.parse().ok().map(Value::Int32),
        Target::Int64 => text.parse().ok().map(Value::Int64),
        #[allow(clippy::cast_possible_truncation)]
        Target::Float32 => parse_double(text).map(|n| Value::Float32(n as f32)),
        Target::Float64 => parse_double(text).map(Value::Float64),
        Target::Boolean => Some(Value::Boolean(text.eq_ignore_ascii_case("true"))),
        Target::String => Some(Value::Text(text.to_owned().into())),
    };
    value.ok_or_else(|| "Value was out of range for requested data type".into())
}

/// A typed column as another type; rows that cannot be are refused.
fn column(
    field: &Field,
    array: &ArrayRef,
    target: Target,
    refused: &mut Refused,
) -> Result<ArrayRef, Refusal> {
    match field.data_type() {
        DataType::Struct(_) => return Err(unsupported("STRUCT")),
        DataType::Map(..) => return Err(unsupported("MAP")),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            return Err(unsupported("ARRAY"));
        }
        _ => {}
    }
    // A date is the number of its days when it is to be a number.
    let days = field.metadata().get(NAME).is_some_and(|n| n == DATE) && target != Target::String;
    let mut cell = |row: usize| {
        let value = Value::at(array, row).unwrap_or(Value::Null);
        let value = match value {
            Value::Instant(millis) if days => Value::Int64(millis.div_euclid(DAY)),
            value => value,
        };
        cast(value, target).unwrap_or_else(|refusal| {
            refused.push((row, refusal));
            Value::Null
        })
    };
    let cells: Vec<_> = (0..array.len()).map(&mut cell).collect();
    Ok(build(&target.data_type(), cells.into_iter()))
}

/// The default of a field, cast as well, as its metadata.
fn default(field: &Field, target: Target) -> Result<Option<String>, Refusal> {
    if !field.metadata().contains_key(DEFAULT) {
        return Ok(None);
    }
    let schema = Schema::of(field)?;
    let Some(default) = &schema.default else { return Ok(None) };
    let array = connector_core::schema::array(&schema, &[Some(default)]).map_err(|e| e.message)?;
    let mut refused = Vec::new();
    let cast = column(field, &array, target, &mut refused)?;
    let value = Value::at(&cast, 0).unwrap_or(Value::Null);
    let mut text = Vec::new();
    value.write(&mut text);
    Ok(String::from_utf8(text).ok().filter(|text| text != "null"))
}

impl FieldTransform for Cast {
    type Config = Config;
    names!("Cast");
    const SUMMARY: &'static str = "Casts fields, or the whole value, to another type.";

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let (mut whole, mut fields) = (None, Vec::new());
        let wrong = |message: &str| problem("spec", message, "write `field:type`, such as `age:int32`");
        for entry in config.spec.split(',').map(str::trim) {
            let parts: Vec<&str> = entry.trim_end_matches(':').split(':').map(str::trim).collect();
            let named = |name: &str| {
                Target::named(name)
                    .ok_or_else(|| wrong("names a type that there is not, or to which nothing is cast"))
            };
            match parts[..] {
                [""] if config.spec.trim().is_empty() => return Err(wrong("names no field to cast")),
                [name] => whole = Some(named(name)?),
                [field, name] => fields.push((field.to_owned(), named(name)?)),
                _ => return Err(wrong("has an entry that is not `field:type`")),
            }
        }
        if whole.is_some() && config.spec.contains(',') {
            return Err(wrong("casts the whole value, so it cannot have a second entry"));
        }
        Ok(Self { whole, fields, replace: config.replace_null_with_default })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        if let Some(target) = self.whole {
            return cast(value, target);
        }
        let mut object = object(value, "type casting")?;
        for (name, target) in &self.fields {
            let value = object.get(name).cloned().unwrap_or(Value::Null);
            object.insert(name.clone(), cast(value, *target)?);
        }
        Ok(Value::Object(object))
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, refused: &mut Refused) -> Result<Typed, Refusal> {
        if let Some(target) = self.whole {
            let array = column(&values.field, &values.array, target, refused)?;
            let mut metadata = values.field.metadata().clone();
            if let Some(default) = default(&values.field, target)? {
                metadata.insert(DEFAULT.to_owned(), default);
            }
            let (array, data_type) = renamed(array, &metadata, target);
            return Ok(values.with(data_type, metadata, array));
        }
        let values = values.defaults(self.replace)?;
        let Some(structs) = values.array.as_any().downcast_ref::<arrow::array::StructArray>() else {
            return Err("Cannot list fields on non-struct type".into());
        };
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, array) in structs.fields().iter().zip(structs.columns()) {
            match self.fields.iter().find(|(name, _)| name == field.name()) {
                None => {
                    fields.push(field.clone());
                    columns.push(array.clone());
                }
                Some((name, target)) => {
                    columns.push(column(field, array, *target, refused)?);
                    let metadata = default(field, *target)?.map(|text| (DEFAULT.to_owned(), text));
                    let field = Field::new(name, target.data_type(), field.is_nullable());
                    fields.push(Arc::new(field.with_metadata(metadata.into_iter().collect())));
                }
            }
        }
        values.replaced(fields, columns, false)
    }
}

/// A whole value keeps the name of its schema, so that a Timestamp that is cast to int64 is one still.
fn renamed(
    array: ArrayRef,
    metadata: &std::collections::HashMap<String, String>,
    target: Target,
) -> (ArrayRef, DataType) {
    let logical = match (metadata.get(NAME).map(String::as_str), target) {
        (Some(DATE), Target::Int32) => DataType::Date32,
        (Some(TIME), Target::Int32) => DataType::Time32(arrow::datatypes::TimeUnit::Millisecond),
        (Some(TIMESTAMP), Target::Int64) => {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("UTC".into()))
        }
        _ => target.data_type(),
    };
    match arrow::compute::cast(&array, &logical) {
        Ok(array) => (array, logical),
        Err(_) => (array, target.data_type()),
    }
}
