//! SimpleHeaderConverter: header values as texts, their types guessed.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::schema::{Datum, Schema, datum, parse_text, payload_text, text_of_value};
use connector_core::{ConnectError, Form, Needs, Result, Transformed};
use serde_json::Value;
use serde_json::value::RawValue;

use super::stretch::{self, Held};
use super::{Converter, part, replaced};

/// Texts of any kind are read, so nothing is ever refused.
pub(super) struct SimpleHeaderConverter;

#[async_trait]
impl Converter for SimpleHeaderConverter {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.storage.SimpleHeaderConverter"
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        if matches!(needs, Needs::Any | Needs::Bytes) {
            return Ok(Transformed::one(records));
        }
        stretch::decode(&records, column, needs, |bytes| {
            Ok(match parse_text(&String::from_utf8_lossy(bytes)) {
                (_, Datum::Null) => Held::Null,
                (Some(schema), value) => Held::Typed(Arc::new(schema), value),
                (None, value) => Held::Document(payload_text(None, &value)),
            })
        })
    }

    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let (field, array) = part(&records, column)?;
        let texts: Vec<Option<String>> =
            if Form::of(field) == Form::Document && array.data_type() == &DataType::Utf8 {
                array.as_string::<i32>().iter().map(|text| text.map(document)).collect()
            } else {
                let schema = Schema::of_column(field)
                    .map_err(|message| ConnectError::internal("header.schema", message))?;
                let field = Arc::new(field.clone());
                let mut encoder = Encoder::new(&field, array, DecimalFormat::Base64)?;
                let mut text = |row: usize| {
                    if array.is_null(row) {
                        return None;
                    }
                    let mut json = Vec::new();
                    encoder.encode(row, &mut json);
                    let raw: &RawValue = serde_json::from_slice(&json).ok()?;
                    text_of_value(&schema, &datum(&schema, Some(raw), false).ok()?)
                };
                (0..array.len()).map(&mut text).collect()
            };
        let bytes: BinaryArray = texts.iter().map(|text| text.as_ref().map(String::as_bytes)).collect();
        let field = Form::Bytes.field(column, DataType::Binary);
        replaced(records, field, Arc::new(bytes), Vec::new())
    }
}

/// The text of a value without a schema: a string without its quotes, everything else as JSON has it.
fn document(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => text,
        _ => json.to_owned(),
    }
}
