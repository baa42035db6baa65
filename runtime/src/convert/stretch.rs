//! Values that are read one by one, put together into runs of one schema.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use connector_core::schema::{Datum, Schema, array};
use connector_core::{ConnectError, Form, Needs, Rejection, Result, Run, Transformed, envelope};

use super::{columns, stage, undecoded};

/// What one record holds.
pub(super) enum Held {
    Null,
    /// JSON without a schema.
    Document(String),
    Typed(Arc<Schema>, Datum),
}

/// Records in a row that have one schema (`None`: documents).
struct Stretch {
    schema: Option<Arc<Schema>>,
    rows: Vec<usize>,
    values: Vec<Held>,
}

/// Reads the bytes in `column` with `read`. A run ends where the schema changes; a record without a value goes with its
/// neighbours, whatever their schema.
pub(super) fn decode(
    records: &RecordBatch,
    column: &'static str,
    needs: &Needs,
    read: impl FnMut(&[u8]) -> Result<Held, ConnectError>,
) -> Result<Transformed> {
    let (stretches, mut rejected) = stretches(undecoded(records, column)?, column, read);
    let mut runs = Vec::with_capacity(stretches.len());
    for stretch in &stretches {
        let part = stretch.records(records, column)?;
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

fn stretches(
    values: &BinaryArray,
    column: &str,
    mut read: impl FnMut(&[u8]) -> Result<Held, ConnectError>,
) -> (Vec<Stretch>, Vec<Rejection>) {
    let (mut stretches, mut rejected) = (Vec::<Stretch>::new(), Vec::new());
    for row in 0..values.len() {
        let value = if values.is_null(row) { Ok(Held::Null) } else { read(values.value(row)) };
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                rejected.push(Rejection::new(row, stage(column), error));
                continue;
            }
        };
        let schema = match &value {
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
        Ok((typed_field(column, schema), array(schema, &values)?))
    }

    /// The records of this stretch, with its values as their column.
    fn records(&self, records: &RecordBatch, column: &str) -> Result<RecordBatch> {
        let mut others: Vec<usize> = (0..records.num_rows()).collect();
        others.retain(|row| self.rows.binary_search(row).is_err());
        let (field, array) = self.column(column)?;
        envelope::with_column(&envelope::without_rows(records, &others)?, field, array)
    }
}

/// The field of a key or value column of this schema.
pub(super) fn typed_field(column: &str, schema: &Schema) -> Field {
    let field = Form::Columns.field(column, schema.data_type());
    let metadata = schema.column_metadata(field.metadata().clone());
    field.with_metadata(metadata)
}
