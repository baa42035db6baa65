//! JsonConverter with schemas (`schemas.enable=true`): `{"schema": …, "payload": …}` to typed columns and back.
//!
//! A run ends where the schema changes. A payload whose schema is null is a document. A record without a value is
//! null, whatever the schema.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use connector_core::config::ConfigProblem;
use connector_core::json::{self, DecimalFormat, Encoder};
use connector_core::{ConnectError, Form, Needs, Rejection, Result, Run, Transformed, envelope};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Config, surrounded, syntax};
use super::payload::{Datum, Pairs, array, datum};
use super::schema::Schema;
use super::{Converter, columns, part, replaced, stage, undecoded};

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

/// What one record holds.
enum Held {
    Null,
    Document(String),
    Typed(Arc<Schema>, Datum),
}

/// Records in a row that have one schema (`None`: documents).
struct Stretch {
    schema: Option<Arc<Schema>>,
    rows: Vec<usize>,
    values: Vec<Held>,
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
        if cache.len() < self.cache_size {
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

    /// Reads all rows into stretches of one schema.
    fn stretches(&self, values: &arrow::array::BinaryArray, column: &str) -> (Vec<Stretch>, Vec<Rejection>) {
        let (mut stretches, mut rejected, mut text) = (Vec::<Stretch>::new(), Vec::new(), Vec::new());
        for row in 0..values.len() {
            let value =
                if values.is_null(row) { Ok(Held::Null) } else { self.read(values.value(row), &mut text) };
            let value = match value {
                Ok(value) => value,
                Err(error) => {
                    rejected.push(Rejection::new(row, stage(column), error));
                    continue;
                }
            };
            let schema = match &value {
                // A record without a value goes with its neighbours.
                Held::Null => stretches.last().and_then(|s| s.schema.clone()),
                Held::Document(_) => None,
                Held::Typed(schema, _) => Some(schema.clone()),
            };
            match stretches.last_mut() {
                Some(last) if last.schema == schema => {
                    last.rows.push(row);
                    last.values.push(value);
                }
                _ => stretches.push(Stretch { schema, rows: vec![row], values: vec![value] }),
            }
        }
        (stretches, rejected)
    }
}

impl Stretch {
    fn column(&self, column: &str) -> Result<(Field, ArrayRef)> {
        let Some(schema) = &self.schema else {
            let texts =
                self.values.iter().map(|v| if let Held::Document(text) = v { Some(text) } else { None });
            return Ok((
                Form::Document.field(column, DataType::Utf8),
                Arc::new(texts.collect::<StringArray>()),
            ));
        };
        let values: Vec<_> = self
            .values
            .iter()
            .map(|v| if let Held::Typed(_, datum) = v { Some(datum) } else { None })
            .collect();
        let field = Form::Columns.field(column, schema.data_type());
        let metadata = schema.column_metadata(field.metadata().clone());
        Ok((field.with_metadata(metadata), array(schema, &values)?))
    }

    /// The records of this stretch, with its values as their column.
    fn records(&self, records: &RecordBatch, column: &str) -> Result<RecordBatch> {
        let mut others: Vec<usize> = (0..records.num_rows()).collect();
        others.retain(|row| self.rows.binary_search(row).is_err());
        let (field, array) = self.column(column)?;
        envelope::with_column(&envelope::without_rows(records, &others)?, field, array)
    }
}

#[async_trait]
impl Converter for JsonSchemaConverter {
    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        if *needs == Needs::Bytes {
            return Ok(Transformed::one(records));
        }
        let (stretches, mut rejected) = self.stretches(undecoded(&records, column)?, column);
        let mut runs = Vec::with_capacity(stretches.len());
        for stretch in &stretches {
            let part = stretch.records(&records, column)?;
            let out = match (needs, &stretch.schema) {
                (Needs::Columns(fields), Some(_)) => columns::conform(part, column, fields)?,
                (Needs::Columns(fields), None) => columns::read(part, column, fields)?,
                _ => Transformed::one(part),
            };
            runs.extend(out.runs);
            rejected.extend(out.rejected.into_iter().map(|rejection| {
                let row = stretch.rows.get(rejection.row).copied().unwrap_or_default();
                Rejection { row, ..rejection }
            }));
        }
        rejected.sort_by_key(|r| r.row);
        runs.retain(|run: &Run| run.records.num_rows() > 0);
        Ok(Transformed { runs, rejected })
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
            let before = format!("{{\"schema\":{},\"payload\":", schema.to_json(None));
            let field = Arc::new(field.clone());
            let mut encoder = Encoder::new(&field, array, self.decimals)?;
            surrounded(&before, array, "}", &mut |row, out| encoder.encode(row, out))?
        };
        replaced(records, Form::Bytes.field(column, DataType::Binary), Arc::new(bytes), Vec::new())
    }
}
