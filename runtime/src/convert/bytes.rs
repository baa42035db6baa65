//! ByteArrayConverter: bytes stay bytes.

use std::sync::Arc;

use arrow::array::{Array, BinaryArray, RecordBatch};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use connector_core::{ConnectError, Form, Needs, Rejection, Result, Transformed};

use super::{Converter, no_fields, optional, part, replaced, stage, undecoded};

pub(super) struct ByteArrayConverter;

#[async_trait]
impl Converter for ByteArrayConverter {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.converters.ByteArrayConverter"
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        match needs {
            Needs::Any | Needs::Bytes => Ok(Transformed::one(records)),
            // Connect's BYTES: a typed value.
            Needs::Document => {
                let bytes = undecoded(&records, column)?.clone();
                let field = optional(Form::Columns.field(column, DataType::Binary));
                replaced(records, field, Arc::new(bytes), Vec::new())
            }
            Needs::Columns(_) => Err(no_fields("ByteArrayConverter")),
        }
    }

    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let (_, array) = part(&records, column)?;
        let array = match array.data_type() {
            DataType::Binary => array.clone(),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                arrow::compute::cast(array, &DataType::Binary)?
            }
            other => {
                let refusal = || {
                    let message = format!("ByteArrayConverter is not compatible with data of type {other}");
                    ConnectError::user("bytes.type", message)
                        .hint("choose StringConverter or JsonConverter as the converter")
                };
                let refused: Vec<_> = (0..array.len())
                    .filter(|&row| array.is_valid(row))
                    .map(|row| Rejection::new(row, stage(column), refusal()))
                    .collect();
                let nulls = BinaryArray::new_null(array.len() - refused.len());
                return replaced(
                    records,
                    Form::Bytes.field(column, DataType::Binary),
                    Arc::new(nulls),
                    refused,
                );
            }
        };
        replaced(records, Form::Bytes.field(column, DataType::Binary), array, Vec::new())
    }
}
