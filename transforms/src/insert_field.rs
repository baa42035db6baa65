//! InsertField: where the record comes from, or a fixed text, as fields of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use connector_core::ConfigProblem;
use connector_core::json::{NAME, TIMESTAMP};
use connector_core::schema::VERSION;
use connector_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, names, object, problem, yes};

const PURPOSE: &str = "field insertion";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Field for the topic. `!` behind a name makes the field required, `?` optional (the default).
    #[serde(rename = "topic.field", default)]
    topic: Option<String>,
    /// Field for the partition, an int32.
    #[serde(rename = "partition.field", default)]
    partition: Option<String>,
    /// Field for the offset, an int64; only of a sink.
    #[serde(rename = "offset.field", default)]
    offset: Option<String>,
    /// Field for the record's timestamp.
    #[serde(rename = "timestamp.field", default)]
    timestamp: Option<String>,
    /// Field for a fixed text.
    #[serde(rename = "static.field", default)]
    fixed: Option<String>,
    /// The fixed text.
    #[serde(rename = "static.value", default)]
    fixed_value: Option<String>,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

/// A field to insert.
struct Spec {
    name: String,
    required: bool,
}

impl Spec {
    fn parse(text: Option<String>) -> Option<Self> {
        // Connect trims texts.
        let text = text?.trim().to_owned();
        Some(match (text.strip_suffix('!'), text.strip_suffix('?')) {
            (Some(name), _) => Self { name: name.to_owned(), required: true },
            (_, Some(name)) => Self { name: name.to_owned(), required: false },
            _ => Self { name: text, required: false },
        })
    }

    fn field(&self, data_type: DataType) -> Field {
        Field::new(&self.name, data_type, !self.required)
    }
}

pub(crate) struct InsertField {
    topic: Option<Spec>,
    partition: Option<Spec>,
    offset: Option<Spec>,
    timestamp: Option<Spec>,
    fixed: Option<(Spec, String)>,
    replace: bool,
}

impl InsertField {
    fn check_offset(&self, origin: &Origin<'_>) -> Result<(), Refusal> {
        if self.offset.is_some() && !origin.has_offsets() {
            let found = "org.apache.kafka.connect.source.SourceRecord";
            return Err(format!("Only SinkRecord supported for [{PURPOSE}], found: {found}").into());
        }
        Ok(())
    }
}

impl FieldTransform for InsertField {
    type Config = Config;
    names!("InsertField");
    const SUMMARY: &'static str = "Inserts topic, partition, offset, timestamp or a fixed text as fields.";

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let fixed = match (Spec::parse(config.fixed), config.fixed_value) {
            (Some(spec), Some(value)) => Some((spec, value.trim().to_owned())),
            (Some(_), None) => {
                return Err(problem("static.value", "is missing", "`static.field` needs the text to insert"));
            }
            (None, _) => None,
        };
        let made = Self {
            topic: Spec::parse(config.topic),
            partition: Spec::parse(config.partition),
            offset: Spec::parse(config.offset),
            timestamp: Spec::parse(config.timestamp),
            fixed,
            replace: config.replace_null_with_default,
        };
        match &made {
            Self { topic: None, partition: None, offset: None, timestamp: None, fixed: None, .. } => Err(
                problem("", "No field insertion configured", "name a field, such as `topic.field: topic`"),
            ),
            _ => Ok(made),
        }
    }

    fn document<'t>(&self, value: Value<'t>, row: usize, origin: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        let mut object = object(value, PURPOSE)?;
        if let Some(spec) = &self.topic {
            object.insert(spec.name.clone(), Value::Text(origin.topic.to_owned().into()));
        }
        if let (Some(spec), Some(partition)) = (&self.partition, origin.partition) {
            object.insert(spec.name.clone(), Value::Int32(partition));
        }
        if let Some(spec) = &self.offset {
            self.check_offset(origin)?;
            object.insert(spec.name.clone(), origin.offset(row).map_or(Value::Null, Value::Int64));
        }
        if let (Some(spec), Some(timestamp)) = (&self.timestamp, origin.timestamp(row)) {
            object.insert(spec.name.clone(), Value::Int64(timestamp));
        }
        if let Some((spec, value)) = &self.fixed {
            object.insert(spec.name.clone(), Value::Text(value.clone().into()));
        }
        Ok(Value::Object(object))
    }

    fn typed(&self, values: Typed, origin: &Origin<'_>, _: &mut Refused) -> Result<Typed, Refusal> {
        self.check_offset(origin)?;
        let values = values.defaults(self.replace)?;
        let structs = values.structs(PURPOSE)?;
        let (mut fields, mut columns) = (structs.fields().to_vec(), structs.columns().to_vec());
        let rows = structs.len();
        let mut put = |field: Field, column: ArrayRef| {
            fields.push(Arc::new(field) as FieldRef);
            columns.push(column);
        };
        let texts = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)));
        if let Some(spec) = &self.topic {
            put(spec.field(DataType::Utf8), texts(origin.topic));
        }
        if let Some(spec) = &self.partition {
            put(spec.field(DataType::Int32), Arc::new(Int32Array::from(vec![origin.partition; rows])));
        }
        if let Some(spec) = &self.offset {
            let offsets = (0..rows).map(|row| origin.offset(row)).collect::<Int64Array>();
            put(spec.field(DataType::Int64), Arc::new(offsets));
        }
        if let Some(spec) = &self.timestamp {
            let times = (0..rows).map(|row| origin.timestamp(row)).collect::<TimestampMillisecondArray>();
            let times = times.with_timezone("UTC");
            let metadata = [(NAME, TIMESTAMP), (VERSION, "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            put(spec.field(times.data_type().clone()).with_metadata(metadata.into()), Arc::new(times));
        }
        if let Some((spec, value)) = &self.fixed {
            put(spec.field(DataType::Utf8), texts(value));
        }
        values.replaced(fields, columns, false)
    }
}
