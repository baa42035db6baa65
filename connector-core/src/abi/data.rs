//! Record batches across the boundary.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayData, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Schema};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};

use super::{Batch, check};
use crate::error::{ConnectError, Result};

/// Makes a batch ready to cross; the buffers stay where they are.
pub(super) fn export(records: &RecordBatch) -> Result<Batch> {
    for field in records.schema_ref().fields() {
        if let Some(stranger) = stranger(field.data_type()) {
            return Err(ConnectError::internal(
                "plugin.type",
                format!(
                    "column `{}` holds {stranger}, which does not cross the plugin boundary",
                    field.name()
                ),
            )
            .hint("cast it: run-end, union, list-view and string-view types stay on their side"));
        }
    }
    let schema = FFI_ArrowSchema::try_from(records.schema_ref().as_ref())?;
    let array = FFI_ArrowArray::new(&StructArray::from(records.clone()).into_data());
    Ok(Batch { schema, array })
}

/// The first type in here that older Arrow implementations cannot read.
fn stranger(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(_, _)
        | DataType::RunEndEncoded(_, _) => Some(data_type),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => stranger(field.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|field| stranger(field.data_type())),
        DataType::Dictionary(_, value) => stranger(value),
        _ => None,
    }
}

/// Takes a batch in. The layout is always checked before a pointer is followed far; the content (UTF-8, bounds of every
/// value) unless the other side is `trusted`. Buffers shorter than the offsets say cannot be seen.
pub(super) fn import(batch: Batch, trusted: bool) -> Result<RecordBatch, String> {
    let Batch { schema, array } = batch;
    unsafe { check::layout(&schema, &array) }?;
    // arrow asserts what the check above already made sure of; a gap between the two must not end the process.
    catch_unwind(AssertUnwindSafe(|| assemble(&schema, array, trusted)))
        .unwrap_or_else(|_| Err("cannot be read as Arrow data".to_owned()))
}

fn assemble(schema: &FFI_ArrowSchema, array: FFI_ArrowArray, trusted: bool) -> Result<RecordBatch, String> {
    let schema = Schema::try_from(schema).map_err(|error| error.to_string())?;
    let data_type = DataType::Struct(schema.fields().clone());
    let data = unsafe { from_ffi_and_data_type(array, data_type) }.map_err(|error| error.to_string())?;
    let data = settle_empty(data);
    if !trusted && let Err(error) = data.validate_full() {
        return Err(without_values(&error.to_string()));
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(data.len()));
    let records = StructArray::from(data);
    if records.null_count() > 0 {
        return Err("has null rows: each record must be there".to_owned());
    }
    let (_, columns, _) = records.into_parts();
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &rows).map_err(|error| error.to_string())
}

/// An empty array is imported without its bytes, while its one offset may still point into them, which validation
/// takes for a fault: such arrays are made anew.
fn settle_empty(data: ArrayData) -> ArrayData {
    if data.is_empty() {
        return ArrayData::new_empty(data.data_type());
    }
    if data.child_data().is_empty() {
        return data;
    }
    let children = data.child_data().iter().cloned().map(settle_empty).collect();
    // The same data otherwise; whether it is sound is for the validation to say.
    unsafe { data.into_builder().child_data(children).build_unchecked() }
}

/// arrow's text where it is about positions; some others quote the value.
fn without_values(message: &str) -> String {
    if message.contains("UTF8") || message.contains("UTF-8") {
        return message.to_owned();
    }
    "has values that do not fit their type or lie outside their buffer".to_owned()
}
