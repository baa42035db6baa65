//! JsonConverter; here without schemas (`schemas.enable=false`): the value is the JSON text itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use connector_core::json::{self, DecimalFormat, Encoder, JsonError};
use connector_core::schema::with_defaults;
use connector_core::{ConfigProblem, ConnectError, Form, Needs, Rejection, Result, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

use super::json_schema::JsonSchemaConverter;
use super::{Converter, columns, part, replaced, stage, undecoded};

#[derive(Deserialize, JsonSchema)]
pub(super) struct Config {
    /// Whether each value is an object with its schema and its payload.
    #[serde(rename = "schemas.enable", default = "yes")]
    pub schemas_enable: bool,
    /// How many different schemas are kept.
    #[serde(rename = "schemas.cache.size", default = "cache_size")]
    pub schemas_cache_size: i32,
    /// A schema for values that are bare payloads; used when `schemas.enable` is true.
    #[serde(rename = "schema.content", default)]
    pub schema_content: Option<String>,
    /// How decimals are written.
    #[serde(rename = "decimal.format", default)]
    pub decimal_format: DecimalFormat,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    pub replace_null_with_default: bool,
}

const fn yes() -> bool {
    true
}

const fn cache_size() -> i32 {
    1000
}

pub(super) fn converter(config: Config) -> Result<Arc<dyn Converter>, Vec<ConfigProblem>> {
    Ok(if config.schemas_enable {
        Arc::new(JsonSchemaConverter::new(&config)?)
    } else {
        Arc::new(JsonConverter {
            decimals: config.decimal_format,
            default_for_null: config.replace_null_with_default,
        })
    })
}

/// The converter without schemas, and with Connect's defaults otherwise.
pub(super) fn plain() -> Arc<dyn Converter> {
    Arc::new(JsonConverter { decimals: DecimalFormat::default(), default_for_null: true })
}

struct JsonConverter {
    decimals: DecimalFormat,
    default_for_null: bool,
}

#[async_trait]
impl Converter for JsonConverter {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.json.JsonConverter"
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        match needs {
            Needs::Any | Needs::Bytes => Ok(Transformed::one(records)),
            Needs::Document => {
                let found = json::documents(undecoded(&records, column)?)?;
                let refused = |(row, error)| Rejection::new(row, stage(column), syntax(error));
                let rejected = found.rejected.into_iter().map(refused).collect();
                replaced(
                    records,
                    Form::Document.field(column, DataType::Utf8),
                    Arc::new(found.texts),
                    rejected,
                )
            }
            Needs::Columns(fields) => columns::read(records, column, fields),
        }
    }

    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let (field, array) = part(&records, column)?;
        let bytes: ArrayRef = if Form::of(field) == Form::Document && array.data_type() == &DataType::Utf8 {
            Arc::new(BinaryArray::from(array.as_string::<i32>().clone()))
        } else {
            let array = if self.default_for_null { &with_defaults(array)? } else { array };
            Arc::new(texts(field, array, self.decimals)?)
        };
        replaced(records, Form::Bytes.field(column, DataType::Binary), bytes, Vec::new())
    }
}

/// The error of a text that is no JSON.
pub(super) fn syntax(error: JsonError) -> ConnectError {
    // The first sentence is Connect's.
    let message =
        format!("Converting byte[] to Kafka Connect data failed due to serialization error: {error}");
    ConnectError::user("json.syntax", message)
        .hint("send valid JSON in UTF-8, or set errors.tolerance=all to go past such records")
}

/// The JSON text of each row; null for a null.
pub(super) fn texts(field: &Field, array: &ArrayRef, decimals: DecimalFormat) -> Result<BinaryArray> {
    let field = Arc::new(field.clone());
    let mut encoder = Encoder::new(&field, array, decimals)?;
    surrounded("", array, "", &mut |row, out| encoder.encode(row, out))
}

/// What `write` writes for each row that is not null, between two texts.
pub(super) fn surrounded(
    before: &str,
    array: &ArrayRef,
    after: &str,
    write: &mut dyn FnMut(usize, &mut Vec<u8>),
) -> Result<BinaryArray> {
    let (mut bytes, mut lengths) = (Vec::new(), Vec::with_capacity(array.len()));
    for row in 0..array.len() {
        let start = bytes.len();
        if array.is_valid(row) {
            bytes.extend_from_slice(before.as_bytes());
            write(row, &mut bytes);
            bytes.extend_from_slice(after.as_bytes());
        }
        lengths.push(bytes.len() - start);
    }
    if i32::try_from(bytes.len()).is_err() {
        return Err(ConnectError::user("json.batch_size", "a batch of more than 2 GiB of JSON")
            .hint("lower the number of records a batch"));
    }
    Ok(BinaryArray::try_new(OffsetBuffer::from_lengths(lengths), bytes.into(), array.logical_nulls())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, StructArray};
    use arrow::datatypes::Fields;
    use connector_core::Stage;
    use connector_core::envelope::{EnvelopeBuilder, OFFSET, VALUE};

    fn records(values: &[Option<&[u8]>]) -> RecordBatch {
        let offsets = Int64Array::from_iter_values(0..values.len() as i64);
        let values = Arc::new(BinaryArray::from_iter(values));
        EnvelopeBuilder::new().offsets(offsets).value(Form::Bytes, values).build().unwrap()
    }

    async fn decode(values: &[Option<&[u8]>], needs: Needs) -> Transformed {
        let converter = JsonConverter { decimals: DecimalFormat::Base64, default_for_null: true };
        converter.decode(records(values), VALUE, &needs).await.unwrap()
    }

    fn documents_of(out: &Transformed) -> Vec<Option<&str>> {
        assert_eq!(out.runs.len(), 1);
        let records = &out.runs[0].records;
        assert_eq!(Form::of(records.schema_ref().field_with_name(VALUE).unwrap()), Form::Document);
        records[VALUE].as_string::<i32>().iter().collect()
    }

    fn offsets_of(out: &Transformed) -> Vec<i64> {
        out.runs[0].records[OFFSET].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
    }

    #[tokio::test]
    async fn loose_documents_are_compacted_and_bad_ones_rejected_with_their_row() {
        let out = decode(
            &[Some(b" {\"a\" : 1}"), Some(b"{'a':6}"), Some(b"\xff"), None, Some(b"[1,\xe9]"), Some(b"7")],
            Needs::Document,
        )
        .await;
        assert_eq!(documents_of(&out), [Some("{\"a\":1}"), None, Some("7")]);
        assert_eq!(offsets_of(&out), [0, 3, 5]);
        let rejected: Vec<_> =
            out.rejected.iter().map(|r| (r.row, r.stage, r.error.message.as_str())).collect();
        let text = "Converting byte[] to Kafka Connect data failed due to serialization error: ";
        assert_eq!(
            rejected,
            [
                (
                    1,
                    Stage::ValueConverter,
                    format!("{text}something else where a double-quoted key should be at byte 1").as_str()
                ),
                (2, Stage::ValueConverter, format!("{text}malformed UTF-8 at byte 0").as_str()),
                (4, Stage::ValueConverter, format!("{text}malformed UTF-8 at byte 3").as_str()),
            ]
        );
    }

    #[tokio::test]
    async fn columns_are_read_and_rows_without_them_rejected() {
        let fields = Fields::from(vec![Field::new("a", DataType::Int64, false)]);
        let out = decode(&[Some(b"{\"a\":1}"), Some(b"{}"), None], Needs::Columns(fields)).await;
        assert_eq!(offsets_of(&out), [0, 2]);
        let values = out.runs[0].records[VALUE].as_struct();
        assert_eq!((values.is_valid(0), values.is_null(1)), (true, true));
        assert_eq!(out.rejected[0].error.message, "field `a` is missing");
    }

    #[tokio::test]
    async fn bytes_are_left_alone() {
        let out = decode(&[Some(b"no json")], Needs::Bytes).await;
        assert_eq!(out.runs[0].records, records(&[Some(b"no json")]));
    }

    #[tokio::test]
    async fn columns_and_documents_are_written_and_null_stays_null() {
        let converter = JsonConverter { decimals: DecimalFormat::Base64, default_for_null: true };
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let field = Arc::new(Field::new("id", DataType::Int64, true));
        let rows = StructArray::new(vec![field].into(), vec![ids], Some(vec![true, false].into()));
        let records = EnvelopeBuilder::new().value(Form::Columns, Arc::new(rows)).build().unwrap();
        let out = converter.encode(records, VALUE).await.unwrap();
        let bytes: Vec<_> = out.runs[0].records[VALUE].as_binary::<i32>().iter().collect();
        assert_eq!(bytes, [Some(br#"{"id":1}"#.as_slice()), None]);

        let text = StringArray::from(vec!["{\"a\":1.10}"]);
        let records = EnvelopeBuilder::new().value(Form::Document, Arc::new(text)).build().unwrap();
        let out = converter.encode(records, VALUE).await.unwrap();
        assert_eq!(out.runs[0].records[VALUE].as_binary::<i32>().value(0), b"{\"a\":1.10}");
        assert_eq!(Form::of(out.runs[0].records.schema_ref().field(0)), Form::Bytes);
    }
}
