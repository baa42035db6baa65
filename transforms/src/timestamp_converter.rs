//! TimestampConverter: points in time as numbers, texts, or Connect's Date, Time and Timestamp.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use connector_core::ConfigProblem;
use connector_core::java::{DAY, DateFormat};
use connector_core::json::{DATE, NAME, TIME, TIMESTAMP};
use connector_core::schema::VERSION;
use connector_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, build, names, object, problem, yes};

const PURPOSE: &str = "converting timestamp formats";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// The field to convert, of the outermost level; empty: the whole value.
    #[serde(default)]
    field: String,
    /// What it becomes.
    #[serde(rename = "target.type")]
    target: Target,
    /// Java's `SimpleDateFormat` pattern of texts, in UTC and English.
    #[serde(default)]
    format: String,
    /// The unit of numbers.
    #[serde(rename = "unix.precision", default)]
    precision: Precision,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
enum Target {
    #[serde(rename = "string")]
    String,
    #[serde(rename = "unix")]
    Unix,
    Date,
    Time,
    Timestamp,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Precision {
    Nanoseconds,
    Microseconds,
    #[default]
    Milliseconds,
    Seconds,
}

pub(crate) struct TimestampConverter {
    field: String,
    target: Target,
    format: Option<DateFormat>,
    precision: Precision,
    replace: bool,
}

impl TimestampConverter {
    /// Milliseconds since 1970-01-01 UTC. Below a millisecond is cut off, beyond 64 bits the end is taken.
    fn millis(&self, number: i64) -> i64 {
        match self.precision {
            Precision::Nanoseconds => number / 1_000_000,
            Precision::Microseconds => number / 1_000,
            Precision::Milliseconds => number,
            Precision::Seconds => number.saturating_mul(1_000),
        }
    }

    fn unix(&self, millis: i64) -> i64 {
        match self.precision {
            Precision::Nanoseconds => millis.saturating_mul(1_000_000),
            Precision::Microseconds => millis.saturating_mul(1_000),
            Precision::Milliseconds => millis,
            Precision::Seconds => millis / 1_000,
        }
    }

    fn convert<'t>(&self, value: Value<'t>) -> Result<Value<'t>, Refusal> {
        let millis = match value.open() {
            Value::Null => return Ok(Value::Null),
            Value::Int64(number) => self.millis(number),
            Value::Instant(millis) => millis,
            Value::Text(text) => {
                let Some(format) = &self.format else {
                    return Err("a text cannot be converted without `format`".into());
                };
                format.parse(&text).ok_or("Could not parse timestamp: the text does not match `format`")?
            }
            other => {
                let class = other.class();
                return Err(format!(
                    "TimestampConverter does not support class {class} objects as timestamps"
                )
                .into());
            }
        };
        Ok(match (self.target, &self.format) {
            (Target::String, Some(format)) => Value::Text(format.format(millis).into()),
            (Target::Unix | Target::String, _) => Value::Int64(self.unix(millis)),
            (Target::Date, _) => Value::Instant(millis.div_euclid(DAY).saturating_mul(DAY)),
            (Target::Time, _) => Value::Instant(millis.rem_euclid(DAY)),
            (Target::Timestamp, _) => Value::Instant(millis),
        })
    }

    /// The type of what a typed column becomes.
    fn field(&self, name: &str, nullable: bool) -> Field {
        let (data_type, logical) = match self.target {
            Target::String => (DataType::Utf8, None),
            Target::Unix => (DataType::Int64, None),
            Target::Date => (DataType::Date32, Some(DATE)),
            Target::Time => (DataType::Time32(TimeUnit::Millisecond), Some(TIME)),
            Target::Timestamp => {
                (DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), Some(TIMESTAMP))
            }
        };
        let version = logical.map(|_| (VERSION, "1"));
        let metadata = logical.map(|logical| (NAME, logical)).into_iter().chain(version);
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Field::new(name, data_type, nullable).with_metadata(metadata)
    }

    fn column(&self, field: &Field, array: &ArrayRef, refused: &mut Refused) -> Result<ArrayRef, Refusal> {
        let known = match field.data_type() {
            DataType::Int64 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                true
            }
            t => t.is_temporal(),
        };
        if !known {
            let name = crate::kit::schema_name(field);
            return Err(format!("Schema {name} does not correspond to a known timestamp type format").into());
        }
        let cells: Vec<_> = (0..array.len())
            .map(|row| {
                self.convert(Value::at(array, row).unwrap_or(Value::Null)).unwrap_or_else(|refusal| {
                    refused.push((row, refusal));
                    Value::Null
                })
            })
            .collect();
        Ok(build(self.field("", true).data_type(), cells.into_iter()))
    }
}

impl FieldTransform for TimestampConverter {
    type Config = Config;
    names!("TimestampConverter");
    const SCHEMA_OF_NULLS_STAYS: bool = false;
    const SUMMARY: &'static str =
        "Converts points in time between numbers, texts and Connect's types for them.";

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let pattern = config.format.trim();
        if config.target == Target::String && pattern.is_empty() {
            return Err(problem(
                "format",
                "is missing",
                "texts need a pattern, such as `yyyy-MM-dd'T'HH:mm:ssXXX`",
            ));
        }
        let format = match pattern {
            "" => None,
            pattern => Some(DateFormat::new(pattern).map_err(|message| {
                problem("format", message, "write a pattern of Java's SimpleDateFormat")
            })?),
        };
        Ok(Self {
            field: config.field.trim().to_owned(),
            target: config.target,
            format,
            precision: config.precision,
            replace: config.replace_null_with_default,
        })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        if self.field.is_empty() {
            return self.convert(value);
        }
        let mut object = object(value, PURPOSE)?;
        match object.get_mut(&self.field) {
            Some(place) => *place = self.convert(std::mem::replace(place, Value::Null))?,
            None => object.insert(self.field.clone(), Value::Null),
        }
        Ok(Value::Object(object))
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, refused: &mut Refused) -> Result<Typed, Refusal> {
        if self.field.is_empty() {
            let array = self.column(&values.field, &values.array, refused)?;
            let made = self.field("", true);
            let mut metadata = made.metadata().clone();
            let optional = values.field.metadata().get(connector_core::schema::OPTIONAL).cloned();
            metadata.extend(optional.map(|optional| (connector_core::schema::OPTIONAL.to_owned(), optional)));
            return Ok(values.with(made.data_type().clone(), metadata, array));
        }
        let values = values.defaults(self.replace)?;
        let Some(structs) = values.array.as_struct_opt() else {
            values.structs(PURPOSE)?;
            return Ok(values);
        };
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, column) in structs.fields().iter().zip(structs.columns()) {
            if *field.name() == self.field {
                let column = self.column(field, column, refused)?;
                fields.push(Arc::new(self.field(field.name(), field.is_nullable())));
                columns.push(column);
            } else {
                fields.push(field.clone());
                columns.push(column.clone());
            }
        }
        values.replaced(fields, columns, true)
    }
}
