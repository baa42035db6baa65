//! The rows that a cleaner is given, as columns, and those that it gives back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Fields, TimeUnit};
use connector_core::envelope::{self, VALUE};
use connector_core::json::REQUIRED;
use connector_core::{ConnectError, Envelope, Form, Rejection, Result, Run, Stage, Transformed};

/// A field that identifies the row: in each row, and not null.
pub(crate) fn key(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

/// A field that each row must have, if only as null.
pub(crate) fn needed(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true).with_metadata([(REQUIRED.to_owned(), "true".to_owned())].into())
}

pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The values of a batch; a null row is a tombstone.
pub(crate) struct Rows<'a> {
    records: &'a RecordBatch,
    values: &'a StructArray,
}

impl<'a> Rows<'a> {
    pub fn of(records: &'a RecordBatch) -> Result<Self> {
        let value = Envelope::of(records)?.value();
        let values = value.as_struct_opt().ok_or_else(|| {
            let message = format!("a cleaner was given values of type {}, not rows", value.data_type());
            ConnectError::user("cleaner.input", message).hint("choose JsonConverter as the value converter")
        })?;
        Ok(Self { records, values })
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn column(&self, name: &str) -> Result<&'a ArrayRef> {
        self.values.column_by_name(name).ok_or_else(|| self.unfit(name))
    }

    pub fn texts(&self, name: &str) -> Result<&'a StringArray> {
        self.column(name)?.as_string_opt().ok_or_else(|| self.unfit(name))
    }

    pub fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&'a PrimitiveArray<T>> {
        self.column(name)?.as_primitive_opt().ok_or_else(|| self.unfit(name))
    }

    #[cold]
    fn unfit(&self, name: &str) -> ConnectError {
        let message = match self.values.column_by_name(name) {
            Some(column) => format!("column `{name}` of the rows is of type {}", column.data_type()),
            None => format!("the rows have no column `{name}`"),
        };
        ConnectError::user("cleaner.column", message)
            .hint("give the cleaner the rows of its own table, from a topic or a source")
    }

    /// The same records with these columns as their value, without the rejected rows.
    pub fn cleaned(&self, columns: Vec<(Field, ArrayRef)>, rejected: Vec<Rejection>) -> Result<Transformed> {
        let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let nulls = self.values.nulls().cloned();
        let values = StructArray::try_new_with_length(Fields::from(fields), columns, nulls, self.len())?;
        let field = Form::Columns.field(VALUE, values.data_type().clone());
        let records = envelope::with_column(self.records, field, Arc::new(values))?;
        let rows: Vec<usize> = rejected.iter().map(|r| r.row).collect();
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&records, &rows)?)], rejected })
    }
}

/// A row that cannot be cleaned because of one of its fields.
pub(crate) fn rejection(row: usize, field: &str, problem: &str, remedy: &str) -> Rejection {
    let error = ConnectError::user("cleaner.field", format!("field `{field}` {problem}")).hint(remedy);
    Rejection::new(row, Stage::Transformation, error)
}

#[cfg(test)]
pub(crate) mod testing {
    //! From JSON rows to a batch, and from a cleaned batch to JSON rows.

    use super::*;
    use arrow::array::{BinaryArray, Int64Array};
    use connector_core::envelope::EnvelopeBuilder;
    use connector_core::json::{self, DecimalFormat, Encoder};
    use connector_core::testing::TransformCase;
    use connector_core::{Component, ConfigMap, Meta, Needs, TaskInfo, TopicPartition, Transform};

    pub fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    pub fn make(component: &Component, config: &ConfigMap) -> Arc<dyn Transform> {
        component.create_transform(&component.check(config).unwrap(), &TaskInfo::default()).unwrap()
    }

    /// The batch that the host makes of these JSON texts, and the messages of those that it rejects.
    pub fn decoded(transform: &dyn Transform, texts: &[&str]) -> (RecordBatch, Vec<String>) {
        let Needs::Columns(fields) = transform.needs() else { panic!("a cleaner needs columns") };
        let rows = json::decode(&BinaryArray::from_iter_values(texts), &fields).unwrap();
        let offsets = Int64Array::from_iter_values(0..rows.values.len() as i64);
        let values = Arc::new(rows.values);
        let records = EnvelopeBuilder::new().offsets(offsets).value(Form::Columns, values).build().unwrap();
        (records, rows.rejected.into_iter().map(|(_, error)| error.message).collect())
    }

    /// The cleaned rows as JSON, and the messages of all that were rejected.
    pub fn clean(
        component: &Component,
        pairs: &[(&str, &str)],
        texts: &[&str],
    ) -> (Vec<String>, Vec<String>) {
        let transform = make(component, &config(pairs));
        let (records, mut messages) = decoded(&*transform, texts);
        let out = transform.apply(records, &Meta { partition: TopicPartition::new("t", 0) }).unwrap();
        messages.extend(out.rejected.into_iter().map(|r| r.error.message));
        let mut rows = Vec::new();
        for run in out.runs {
            let schema = run.records.schema();
            let field = Arc::new(schema.field_with_name(VALUE).unwrap().clone());
            let mut encoder = Encoder::new(&field, &run.records[VALUE], DecimalFormat::Base64).unwrap();
            rows.extend((0..run.records.num_rows()).map(|row| {
                let mut text = Vec::new();
                encoder.encode(row, &mut text);
                String::from_utf8(text).unwrap()
            }));
        }
        (rows, messages)
    }

    /// A case for the conformance suite.
    pub fn case(component: Component, texts: &[&str]) -> TransformCase {
        let (records, _) = decoded(&*make(&component, &ConfigMap::new()), texts);
        TransformCase::new(component, ConfigMap::new(), records)
    }
}
