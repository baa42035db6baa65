//! JsonConverter with schemas (`schemas.enable=true`): `{"schema": …, "payload": …}` to typed columns and back.
//!
//! A run ends where the schema changes. A payload whose schema is null is a document. A record without a value is
//! null, whatever the schema.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use connector_core::config::ConfigProblem;
use connector_core::json::{self, DecimalFormat, Encoder};
use connector_core::schema::{Pairs, Schema, datum, with_defaults};
use connector_core::{ConnectError, Form, Needs, Result, Transformed};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Config, surrounded, syntax};
use super::stretch::{self, Held};
use super::{Converter, part, replaced};

const NO_ENVELOPE: &str = "JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not \
contain additional fields. If you are trying to deserialize plain JSON data, set schemas.enable=false in your \
converter configuration.";

pub(super) struct JsonSchemaConverter {
    decimals: DecimalFormat,
    default_for_null: bool,
    /// The schema of values that are bare payloads.
    content: Option<Arc<Schema>>,
    cache: Mutex<HashMap<String, Arc<Schema>>>,
    cache_size: usize,
}

impl JsonSchemaConverter {
    pub(super) fn new(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        let content = match config.schema_content.as_deref().map(str::trim) {
            None | Some("" | "null") => None,
            Some(text) => {
                let schema = serde_json::from_str::<Value>(text)
                    .map_err(|_| "is not JSON".to_owned())
                    .and_then(|json| Schema::parse(&json));
                let problem = |message: String| {
                    vec![ConfigProblem::new("schema.content", message, "give a schema in JSON")]
                };
                Some(Arc::new(schema.map_err(problem)?))
            }
        };
        Ok(Self {
            decimals: config.decimal_format,
            default_for_null: config.replace_null_with_default,
            content,
            cache: Mutex::default(),
            cache_size: usize::try_from(config.schemas_cache_size).unwrap_or(0),
        })
    }

    fn schema(&self, text: &str) -> Result<Arc<Schema>, String> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = cache.get(text) {
            return Ok(schema.clone());
        }
        let json: Value = serde_json::from_str(text).map_err(|_| "the schema is nested too deeply")?;
        let schema = Arc::new(Schema::parse(&json)?);
        if cache.len() >= self.cache_size {
            cache.clear();
        }
        if self.cache_size > 0 {
            cache.insert(text.to_owned(), schema.clone());
        }
        Ok(schema)
    }

    fn read(&self, bytes: &[u8], text: &mut Vec<u8>) -> Result<Held, ConnectError> {
        text.clear();
        let found = json::compact(bytes, text).map_err(syntax)?;
        let text = if found { str::from_utf8(text).unwrap_or_default() } else { "null" };
        let wrong = |message: String| {
            ConnectError::user("json.schema", message)
                .hint("correct the schema or the payload in the producer")
        };
        let raw = |text| serde_json::from_str::<&RawValue>(text).map_err(|_| wrong(NO_ENVELOPE.to_owned()));
        if let Some(schema) = &self.content {
            let value = datum(schema, Some(raw(text)?), self.default_for_null).map_err(wrong)?;
            return Ok(Held::Typed(schema.clone(), value));
        }
        let no_envelope = || wrong(NO_ENVELOPE.to_owned());
        let pairs: Pairs = serde_json::from_str(text).map_err(|_| no_envelope())?;
        let (Some(schema), Some(payload), 2) = (pairs.get("schema"), pairs.get("payload"), pairs.0.len())
        else {
            return Err(no_envelope());
        };
        if schema.get() == "null" {
            return Ok(match payload.get() {
                "null" => Held::Null,
                text => Held::Document(text.to_owned()),
            });
        }
        let schema = self.schema(schema.get()).map_err(wrong)?;
        let value = datum(&schema, Some(payload), self.default_for_null).map_err(wrong)?;
        Ok(Held::Typed(schema, value))
    }
}

#[async_trait]
impl Converter for JsonSchemaConverter {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.json.JsonConverter"
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        if matches!(needs, Needs::Any | Needs::Bytes) {
            return Ok(Transformed::one(records));
        }
        let mut text = Vec::new();
        stretch::decode(&records, column, needs, |bytes| self.read(bytes, &mut text))
    }

    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let (field, array) = part(&records, column)?;
        let bytes = if Form::of(field) == Form::Document && array.data_type() == &DataType::Utf8 {
            let texts = array.as_string::<i32>();
            let mut write =
                |row: usize, out: &mut Vec<u8>| out.extend_from_slice(texts.value(row).as_bytes());
            surrounded("{\"schema\":null,\"payload\":", array, "}", &mut write)?
        } else {
            let schema = Schema::of_column(field).map_err(|message| {
                ConnectError::user("json.schema", message)
                    .hint("convert the field, or set schemas.enable=false")
            })?;
            let array = if self.default_for_null { &with_defaults(array)? } else { array };
            let before = format!("{{\"schema\":{},\"payload\":", schema.to_json(None));
            let field = Arc::new(field.clone());
            let mut encoder = Encoder::new(&field, array, self.decimals)?;
            surrounded(&before, array, "}", &mut |row, out| encoder.encode(row, out))?
        };
        replaced(records, Form::Bytes.field(column, DataType::Binary), Arc::new(bytes), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int64Array};
    use arrow::datatypes::Field;
    use connector_core::envelope::{EnvelopeBuilder, OFFSET, VALUE};

    fn converter(pairs: &[(&str, &str)]) -> Arc<dyn Converter> {
        let config = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        super::super::converter("JsonConverter", &config, false).ok().unwrap()
    }

    async fn decode(converter: &dyn Converter, texts: &[Option<&str>], needs: &Needs) -> Transformed {
        let values = Arc::new(texts.iter().map(|t| t.map(str::as_bytes)).collect::<BinaryArray>());
        let offsets = Int64Array::from_iter_values(0..texts.len() as i64);
        let records = EnvelopeBuilder::new().offsets(offsets).value(Form::Bytes, values).build().unwrap();
        converter.decode(records, VALUE, needs).await.unwrap()
    }

    /// What the text is after reading and writing, or why it is rejected.
    async fn through(pairs: &[(&str, &str)], text: &str) -> Result<String, String> {
        let converter = converter(pairs);
        let mut out = decode(&*converter, &[Some(text)], &Needs::Document).await;
        if let Some(rejection) = out.rejected.pop() {
            return Err(rejection.error.message);
        }
        let out = converter.encode(out.runs.remove(0).records, VALUE).await.unwrap();
        let bytes = out.runs[0].records[VALUE].as_binary::<i32>().value(0).to_vec();
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[tokio::test]
    async fn schemas_and_payloads_come_back_as_connect_writes_them() {
        for (text, expected) in [
            // CNV-Json-361: order of keys, defaults, floats.
            (
                r#"{"schema":{"type":"struct","fields":[{"field":"a","type":"float"},{"type":"int32","field":"b","optional":true,"default":3}]},"payload":{"b":null,"a":1.10}}"#,
                r#"{"schema":{"type":"struct","fields":[{"type":"float","optional":false,"field":"a"},{"type":"int32","optional":true,"default":3,"field":"b"}],"optional":false},"payload":{"a":1.1,"b":3}}"#,
            ),
            // CNV-Json-129, with a nested struct.
            (
                r#"{"payload":{"a":{"x":"y"}},"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"string","field":"x"}],"field":"a"}],"name":"com.acme.R","version":2,"doc":"dd","parameters":{"p":"1"}}}"#,
                r#"{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"string","optional":false,"field":"x"}],"optional":false,"field":"a"}],"optional":false,"name":"com.acme.R","version":2,"doc":"dd","parameters":{"p":"1"}},"payload":{"a":{"x":"y"}}}"#,
            ),
            (
                r#"{"schema":{"type":"map","keys":{"type":"int32"},"values":{"type":"array","items":{"type":"boolean","optional":true}}},"payload":[[1,[true,null]]]}"#,
                r#"{"schema":{"type":"map","keys":{"type":"int32","optional":false},"values":{"type":"array","items":{"type":"boolean","optional":true},"optional":false},"optional":false},"payload":[[1,[true,null]]]}"#,
            ),
            // CNV-Json-329.
            (
                r#"{"schema":{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"}},"payload":1234567890123456789012.34}"#,
                r#"{"schema":{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"}},"payload":"GiSbHxCgbJav8g=="}"#,
            ),
            (
                r#"{"schema":{"type":"int64","optional":false,"name":"org.apache.kafka.connect.data.Timestamp","version":1},"payload":1700000000123}"#,
                r#"{"schema":{"type":"int64","optional":false,"name":"org.apache.kafka.connect.data.Timestamp","version":1},"payload":1700000000123}"#,
            ),
            // CNV-Json-81: no schema, a document.
            (r#"{"schema":null, "payload":{"a": 1.10}}"#, r#"{"schema":null,"payload":{"a":1.10}}"#),
        ] {
            assert_eq!(through(&[], text).await.as_deref(), Ok(expected));
        }
    }

    #[tokio::test]
    async fn a_payload_that_contradicts_its_schema_is_read_as_connect_reads_it() {
        for (kind, payload, expected) in [
            ("int8", "300", "44"),
            ("int32", "3000000000", "-1294967296"),
            ("int32", "\"5\"", "0"),
            ("int32", "1.9", "1"),
            ("boolean", "\"true\"", "false"),
            ("double", "\"x\"", "0.0"),
            ("float", "1", "1.0"),
        ] {
            let text = format!(r#"{{"schema":{{"type":"{kind}","optional":false}},"payload":{payload}}}"#);
            let expected =
                format!(r#"{{"schema":{{"type":"{kind}","optional":false}},"payload":{expected}}}"#);
            assert_eq!(through(&[], &text).await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn errors_are_connects_and_hold_no_value() {
        let decimal = r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal""#;
        for (text, expected) in [
            ("{\"a\":1}".to_owned(), NO_ENVELOPE),
            ("null".to_owned(), NO_ENVELOPE),
            (String::new(), NO_ENVELOPE),
            (r#"{"schema":{"type":"string"},"payload":"x","extra":1}"#.to_owned(), NO_ENVELOPE),
            (r#"{"schema":{},"payload":null}"#.to_owned(), "Schema must contain 'type' field"),
            (r#"{"schema":{"type":"INT32"},"payload":null}"#.to_owned(), "Unknown schema type: INT32"),
            (
                r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"a"}]},"payload":[1]}"#
                    .to_owned(),
                "Structs should be encoded as JSON objects, but found ARRAY",
            ),
            (
                r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"a"}]},"payload":{}}"#
                    .to_owned(),
                "Invalid null value for required INT32 field",
            ),
            (r#"{"schema":{"type":"bytes"},"payload":"!!"}"#.to_owned(), "Invalid bytes field"),
            (format!(r#"{{"schema":{{{decimal}}},"payload":"AQ=="}}"#), "Invalid bytes for Decimal field"),
            (
                format!(r#"{{"schema":{{{decimal},"parameters":{{"scale":"1"}}}},"payload":0.25}}"#),
                "a decimal has more digits than its schema or 38 digits hold",
            ),
        ] {
            assert_eq!(through(&[], &text).await.unwrap_err(), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn schema_content_makes_the_value_a_bare_payload() {
        let schema = r#"{"type":"struct","fields":[{"type":"int32","field":"a"},{"type":"string","optional":true,"field":"b"}]}"#;
        let expected = r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"a"},{"type":"string","optional":true,"field":"b"}],"optional":false},"payload":{"a":1,"b":null}}"#;
        assert_eq!(through(&[("schema.content", schema)], "{\"a\":1}").await.as_deref(), Ok(expected));
        let config = [("schema.content".to_owned(), "{\"type\":\"foo\"}".to_owned())].into();
        let problems = super::super::converter("JsonConverter", &config, false).err().unwrap();
        assert_eq!(problems[0].message, "Unknown schema type: foo");
    }

    #[tokio::test]
    async fn a_run_ends_where_the_schema_changes_and_tombstones_go_with_their_neighbours() {
        let number = Some(r#"{"schema":{"type":"int64"},"payload":1}"#);
        let text = Some(r#"{"schema":{"type":"string"},"payload":"x"}"#);
        let texts = [number, None, number, Some("broken"), text, None, number];
        let out = decode(&*converter(&[]), &texts, &Needs::Document).await;
        let offsets: Vec<_> = out
            .runs
            .iter()
            .map(|run| run.records[OFFSET].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
            .collect();
        assert_eq!(offsets, [vec![0, 1, 2], vec![4, 5], vec![6]]);
        assert_eq!(out.rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [3]);
    }

    #[tokio::test]
    async fn a_stage_gets_the_fields_that_it_declared() {
        let typed = r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"},{"type":"string","field":"x"}]},"payload":{"id":7,"x":"y"}}"#;
        let untyped = r#"{"schema":null,"payload":{"id":8}}"#;
        let lacking = r#"{"schema":null,"payload":{"x":"y"}}"#;
        let needs = Needs::Columns(vec![Field::new("id", DataType::Int64, false)].into());
        let out = decode(&*converter(&[]), &[Some(lacking), Some(typed), Some(untyped)], &needs).await;
        let ids: Vec<_> = out
            .runs
            .iter()
            .map(|run| {
                let values = run.records[VALUE].as_struct();
                values.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)
            })
            .collect();
        assert_eq!(ids, [7, 8]);
        assert_eq!(
            (out.rejected[0].row, out.rejected[0].error.message.as_str()),
            (0, "field `id` is missing")
        );
    }
}
