//! Data files back to rows of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, SchemaRef};
use connector_core::{ConnectError, Result};
use deltalake::kernel::Add;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use crate::reader::FileReader;
use crate::table::{Head, Table};
use crate::{error, files};

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;

/// The rows of a file in batches, in order; only these columns of the table (all without a choice). A column that the
/// file does not have is null. Deletion vectors are not applied: ask [`Add::deletion_vector`] first.
pub async fn rows(
    table: &Table,
    head: &Head,
    file: &Add,
    columns: Option<&[String]>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let place: Arc<str> = table.place().into();
    let wanted: SchemaRef = match columns {
        None => Arc::clone(&head.schema),
        Some(names) => {
            let places =
                names.iter().map(|name| head.schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
            Arc::new(head.schema.project(&places)?)
        }
    };
    let reader = FileReader {
        store: Arc::clone(table.store()),
        path: files::path(&file.path)?,
        size: u64::try_from(file.size).unwrap_or_default(),
    };
    let failed = {
        let place = Arc::clone(&place);
        move |cause| error::parquet(&place, "reading", cause)
    };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(&failed)?;
    let roots: Vec<usize> = {
        let stored = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
        stored
            .filter(|(_, field)| wanted.column_with_name(field.name()).is_some())
            .map(|(at, _)| at)
            .collect()
    };
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let stream = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(&failed)?;
    let constants = Constants { file: file.clone(), partition_columns: head.partition_columns().to_vec() };
    Ok(stream.map_err(failed).map(move |rows| constants.complete(&rows?, &wanted)).boxed())
}

/// What the log says about a file's rows.
struct Constants {
    file: Add,
    partition_columns: Vec<String>,
}

impl Constants {
    /// `rows` as the table has them.
    fn complete(&self, rows: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
        let columns = wanted.fields().iter().map(|field| self.column(rows, field)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options)?)
    }

    fn column(&self, rows: &RecordBatch, field: &FieldRef) -> Result<ArrayRef> {
        if self.partition_columns.contains(field.name()) {
            let value = self.file.partition_values.get(field.name()).cloned().flatten();
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                return Ok(new_null_array(field.data_type(), rows.num_rows()));
            };
            let texts = StringArray::from(vec![value; rows.num_rows()]);
            return Ok(cast(&texts, field.data_type())?);
        }
        match rows.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast(column, field.data_type()).map_err(|cause| {
                let (name, from, to) = (field.name(), column.data_type(), field.data_type());
                let message =
                    format!("column `{name}` is {from} in `{}` and {to} in the table", self.file.path);
                ConnectError::user("delta.file_schema", message).caused_by(cause)
            }),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        }
    }
}
