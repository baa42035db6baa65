//! The text of a record's value.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use connector_core::envelope::VALUE;
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::{Batch, ConnectError, Envelope, Result};

/// One line for each record of `batch`.
pub fn lines(batch: &Batch) -> Result<Vec<u8>> {
    let value = Envelope::of(&batch.records)?.value();
    let mut out = Vec::with_capacity(value.get_array_memory_size() + batch.len());
    match value.data_type() {
        DataType::Utf8 => write(&mut out, value.as_string::<i32>().iter().map(|v| v.map(str::as_bytes))),
        DataType::LargeUtf8 => write(&mut out, value.as_string::<i64>().iter().map(|v| v.map(str::as_bytes))),
        DataType::Utf8View => write(&mut out, value.as_string_view().iter().map(|v| v.map(str::as_bytes))),
        DataType::Binary => write(&mut out, value.as_binary::<i32>().iter()),
        DataType::LargeBinary => write(&mut out, value.as_binary::<i64>().iter()),
        DataType::BinaryView => write(&mut out, value.as_binary_view().iter()),
        _ => {
            let fields = batch.records.schema_ref().fields();
            let (_, field) = fields
                .find(VALUE)
                .ok_or_else(|| ConnectError::internal("envelope", "a batch has no column `value`"))?;
            let mut encoder = Encoder::new(field, value, DecimalFormat::default())?;
            for row in 0..batch.len() {
                encoder.encode(row, &mut out);
                out.push(b'\n');
            }
        }
    }
    Ok(out)
}

fn write<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = Option<&'a [u8]>>) {
    for value in values {
        out.extend_from_slice(value.unwrap_or(b"null"));
        out.push(b'\n');
    }
}
