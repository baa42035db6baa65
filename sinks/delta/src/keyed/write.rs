//! Rows into data files that are in the store when this is done: new rows, and rows of files that are written again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use connector_core::Result;
use deltalake::kernel::Add;
use futures::TryStreamExt;

use crate::files::{DataFile, FileWriter, Layout};
use crate::partition::{self, Partition};
use crate::read;
use crate::table::{Head, Table};

/// Memory of open files, beyond which row groups are ended early: many partitions share it.
const OPEN_BYTES: usize = 64 << 20;

/// `batches` have columns of `schema`, by name; what one lacks is null.
pub async fn write(
    table: &Table,
    head: &Head,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    layout: &Layout,
) -> Result<Vec<Arc<DataFile>>> {
    let mut writers = HashMap::new();
    let mut filled = Ok(());
    for batch in batches {
        filled = add(&mut writers, table, head, schema, batch, layout).await;
        if filled.is_err() {
            break;
        }
    }
    finish(table, writers.into_values(), filled).await
}

async fn add(
    writers: &mut HashMap<Partition, FileWriter>,
    table: &Table,
    head: &Head,
    schema: &SchemaRef,
    batch: &RecordBatch,
    layout: &Layout,
) -> Result<()> {
    for (partition, rows) in partition::split(&aligned(batch, schema)?, head.partition_columns())? {
        let writer = match writers.get_mut(&partition) {
            Some(writer) => writer,
            None => {
                let writer = FileWriter::new(table, head, schema, partition.clone(), layout.clone())?;
                writers.entry(partition).or_insert(writer)
            }
        };
        writer.write(&rows)?;
        writer.send().await?;
    }
    if writers.values().map(FileWriter::memory_bytes).sum::<usize>() > OPEN_BYTES {
        for writer in writers.values_mut() {
            writer.end_row_group()?;
        }
    }
    Ok(())
}

/// The rows of `files`, which are of one partition, in new files: those that `keep` leaves of each batch.
pub async fn copy(
    table: &Table,
    head: &Head,
    files: &[Add],
    layout: &Layout,
    keep: impl Fn(RecordBatch) -> Result<RecordBatch>,
) -> Result<Vec<Arc<DataFile>>> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let value = |name: &String| (name.clone(), first.partition_values.get(name).cloned().flatten());
    let partition = Partition(head.partition_columns().iter().map(value).collect());
    let mut writer = FileWriter::new(table, head, &head.schema, partition, layout.clone())?;
    let columns = in_files(head);
    let mut copied = Ok(());
    for file in files {
        copied = copy_one(table, head, file, &columns, &mut writer, &keep).await;
        if copied.is_err() {
            break;
        }
    }
    finish(table, [writer], copied).await
}

async fn copy_one(
    table: &Table,
    head: &Head,
    file: &Add,
    columns: &[usize],
    writer: &mut FileWriter,
    keep: &impl Fn(RecordBatch) -> Result<RecordBatch>,
) -> Result<()> {
    let mut rows = read::rows(table, head, file, None).await?;
    while let Some(batch) = rows.try_next().await? {
        writer.write(&keep(batch)?.project(columns)?)?;
        writer.send().await?;
        // Encoding is work without a pause; others want to run too.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Places of the columns that files have.
fn in_files(head: &Head) -> Vec<usize> {
    let fields = head.schema.fields().iter().enumerate();
    fields.filter(|(_, field)| !head.partition_columns().contains(field.name())).map(|(at, _)| at).collect()
}

/// Ends the files and waits until the store has them; after an error they are given up.
async fn finish(
    table: &Table,
    writers: impl IntoIterator<Item = FileWriter>,
    filled: Result<()>,
) -> Result<Vec<Arc<DataFile>>> {
    if let Err(error) = filled {
        for writer in writers {
            writer.discard(table).await;
        }
        return Err(error);
    }
    let mut files = Vec::new();
    for writer in writers {
        files.extend(writer.finish()?);
    }
    for file in &files {
        file.stage(table).await?;
    }
    Ok(files)
}

fn aligned(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let column = |name: &str| batch.column_by_name(name).map(Arc::clone);
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
