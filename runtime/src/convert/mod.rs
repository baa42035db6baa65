//! Converters: between the bytes in Kafka and the forms that transforms and sinks work on.

mod avro;
mod bytes;
pub mod columns;
mod header;
mod json;
mod json_schema;
mod numbers;
mod schema_registry;
mod simple_header;
mod stretch;
mod string;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, NullArray, RecordBatch};
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use connector_core::config::{self, ConfigMap, ConfigProblem};
use connector_core::envelope::{self, KEY};
use connector_core::schema;
use connector_core::{ConnectError, Needs, Rejection, Result, Run, Stage, Transformed};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use header::{HeaderConverter, header_converter};
use numbers::Number;

/// Connect's converter: reads keys or values from bytes and writes them.
#[async_trait]
pub trait Converter: Send + Sync {
    /// Connect's class name.
    fn class(&self) -> &'static str;

    /// Replaces the bytes in `column` (`key` or `value`) by what `needs` asks for. Rows that cannot be read are rejected
    /// with the stage of the column. Runs: contiguous rows of one schema, in order.
    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed>;

    /// Replaces what is in `column` by bytes.
    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed>;

    /// The same, for records that go to `topic`: a registry names schemas after it. Other converters do not look at it.
    async fn encode_to(
        &self,
        _topic: &str,
        records: RecordBatch,
        column: &'static str,
    ) -> Result<Transformed> {
        self.encode(records, column).await
    }
}

const BYTE_ARRAY: &str = "ByteArrayConverter";
const STRING: &str = "StringConverter";
const JSON: &str = "JsonConverter";
const AVRO: &str = "AvroConverter";

/// The converters: name, and the other names that are understood.
pub const CLASSES: &[(&str, &[&str])] = &[
    (BYTE_ARRAY, &["org.apache.kafka.connect.converters.ByteArrayConverter", "ByteArray"]),
    (STRING, &["org.apache.kafka.connect.storage.StringConverter", "String"]),
    (JSON, &["org.apache.kafka.connect.json.JsonConverter", "Json"]),
    (AVRO, &["io.confluent.connect.avro.AvroConverter", "Avro"]),
    ("ShortConverter", &["org.apache.kafka.connect.converters.ShortConverter", "Short"]),
    ("IntegerConverter", &["org.apache.kafka.connect.converters.IntegerConverter", "Integer"]),
    ("LongConverter", &["org.apache.kafka.connect.converters.LongConverter", "Long"]),
    ("FloatConverter", &["org.apache.kafka.connect.converters.FloatConverter", "Float"]),
    ("DoubleConverter", &["org.apache.kafka.connect.converters.DoubleConverter", "Double"]),
    ("BooleanConverter", &["org.apache.kafka.connect.converters.BooleanConverter", "Boolean"]),
];

/// Makes a converter from its keys (`schemas.enable`, without `value.converter.` in front).
pub fn converter(
    class: &str,
    config: &ConfigMap,
    is_key: bool,
) -> Result<Arc<dyn Converter>, Vec<ConfigProblem>> {
    let found = CLASSES.iter().find(|(name, aliases)| *name == class || aliases.contains(&class));
    match found.map(|(name, _)| *name) {
        Some(BYTE_ARRAY) => Ok(Arc::new(bytes::ByteArrayConverter)),
        Some(STRING) => Ok(Arc::new(string::StringConverter::new(&typed(config)?, is_key)?)),
        Some(JSON) => json::converter(typed(config)?),
        Some(AVRO) => avro::converter(typed(config)?),
        name => {
            if let Some(number) = name.and_then(Number::named) {
                return Ok(Arc::new(number));
            }
            let hint = match config::nearest(class, CLASSES.iter().map(|(name, _)| *name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "there are `{JSON}`, `{AVRO}`, `{STRING}`, `{BYTE_ARRAY}` and those of numbers and booleans"
                ),
            };
            Err(vec![ConfigProblem::new("", format!("there is no converter named `{class}`"), hint)])
        }
    }
}

/// Whether a converter's key holds what is nobody's business.
pub fn is_secret_key(key: &str, value: &str) -> bool {
    key.ends_with("user.info") || key.ends_with("auth.token") || key.ends_with("password") || {
        // An address with a name and a password in it.
        key == "schema.registry.url" && value.contains('@')
    }
}

/// JsonConverter without schemas: it can write everything.
pub fn plain_json() -> Arc<dyn Converter> {
    json::plain()
}

fn typed<T: DeserializeOwned + JsonSchema>(config: &ConfigMap) -> Result<T, Vec<ConfigProblem>> {
    config::deserialize(&config::coerce(&schemars::schema_for!(T).to_value(), config)?)
}

/// The stage in which a column's conversion fails.
fn stage(column: &str) -> Stage {
    if column == KEY { Stage::KeyConverter } else { Stage::ValueConverter }
}

/// The field and the data of a column.
fn part<'a>(records: &'a RecordBatch, column: &str) -> Result<(&'a Field, &'a ArrayRef)> {
    let found = records.schema_ref().column_with_name(column);
    found.map(|(at, field)| (field, records.column(at))).ok_or_else(|| {
        ConnectError::internal(
            "converter.column",
            format!("a batch for a converter has no column `{column}`"),
        )
    })
}

/// The undecoded bytes of a column.
fn undecoded<'a>(records: &'a RecordBatch, column: &str) -> Result<&'a BinaryArray> {
    let (_, array) = part(records, column)?;
    array.as_binary_opt().ok_or_else(|| {
        let message =
            format!("a converter was given the column `{column}` decoded, as {}", array.data_type());
        ConnectError::internal("converter.column", message)
    })
}

/// One run: `records` without the rejected rows, with `array` (which does not have them) as its column.
fn replaced(
    records: RecordBatch,
    field: Field,
    array: ArrayRef,
    rejected: Vec<Rejection>,
) -> Result<Transformed> {
    let others = if rejected.is_empty() {
        records
    } else {
        // What is replaced need not be copied.
        let placeholder = Field::new(field.name(), DataType::Null, true);
        let records =
            envelope::with_column(&records, placeholder, Arc::new(NullArray::new(records.num_rows())))?;
        envelope::without_rows(&records, &rejected.iter().map(|r| r.row).collect::<Vec<_>>())?
    };
    Ok(Transformed { runs: vec![Run::new(envelope::with_column(&others, field, array)?)], rejected })
}

/// Marks a column whose schema in Connect is optional.
fn optional(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(schema::OPTIONAL.to_owned(), "true".to_owned());
    field.with_metadata(metadata)
}

/// A converter whose output has no fields was asked for some.
fn no_fields(converter: &str) -> ConnectError {
    let message = format!("{converter} yields no fields, but a transform or the sink works on fields");
    ConnectError::user("converter.no_fields", message).hint(format!("choose {JSON} as the converter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converters_are_found_by_connects_names() {
        let config = [("schema.registry.url".to_owned(), "http://localhost:8081".to_owned())].into();
        for (name, aliases) in CLASSES {
            for class in [name].into_iter().chain(*aliases) {
                assert!(converter(class, &config, false).is_ok(), "{class}");
            }
        }
        let problems = converter("JsonConvertor", &config, false).err().unwrap();
        assert_eq!(problems[0].hint, "did you mean `JsonConverter`?");
    }

    #[test]
    fn wrong_keys_of_a_converter_are_named() {
        let config: ConfigMap = [("schemas.enable", "maybe"), ("schemas.cache.size", "x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let problems = converter(JSON, &config, false).err().unwrap();
        assert_eq!(
            problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(),
            ["schemas.enable", "schemas.cache.size"]
        );
    }
}
