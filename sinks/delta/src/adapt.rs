//! Typed records to the columns of a table. A value that its column cannot hold exactly rejects the record.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StructArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use connector_core::{ConnectError, Result};

use crate::schema::name_of;

/// Rows as a table has them.
#[derive(Debug)]
pub struct Adapted {
    /// All rows, with the table's columns; what stands in a rejected row means nothing.
    pub rows: RecordBatch,
    /// Rows in ascending order and what is wrong with each.
    pub rejected: Vec<(usize, ConnectError)>,
}

/// Brings `values` into the columns of `schema`. Fields without a column reject the rows in which they are not null.
pub fn adapt(values: &StructArray, schema: &SchemaRef) -> Result<Adapted> {
    let mut unfit = Unfit::default();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match values.column_by_name(field.name()) {
            Some(column) => convert(column, field, field.name(), &Rows::All, &mut unfit)?,
            None => new_null_array(field.data_type(), values.len()),
        });
    }
    for (field, column) in values.fields().iter().zip(values.columns()) {
        if schema.column_with_name(field.name()).is_none() {
            unfit.push_valid(column, &Rows::All, || no_column(field.name(), field.data_type()));
        }
    }
    for (field, column) in schema.fields().iter().zip(&columns) {
        if !field.is_nullable() && column.null_count() > 0 {
            unfit.push_null(column, || missing(field.name()));
        }
    }
    let rejected = unfit.sorted();
    // Rejected rows may hold nulls where none may be: the caller takes them out, and puts the schema on again.
    let open: Vec<_> =
        schema.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(values.len()));
    let open = Arc::new(arrow::datatypes::Schema::new(open));
    Ok(Adapted { rows: RecordBatch::try_new_with_options(open, columns, &options)?, rejected })
}

/// Which row of the batch an element of a nested column belongs to.
enum Rows {
    All,
    Of(Vec<usize>),
}

impl Rows {
    fn row(&self, at: usize) -> usize {
        match self {
            Self::All => at,
            Self::Of(rows) => rows.get(at).copied().unwrap_or(at),
        }
    }
}

/// What does not fit; a row is reported once.
#[derive(Default)]
struct Unfit(Vec<(usize, ConnectError)>);

impl Unfit {
    fn push(&mut self, row: usize, error: impl FnOnce() -> ConnectError) {
        self.0.push((row, error()));
    }

    fn push_valid(&mut self, column: &ArrayRef, rows: &Rows, error: impl Fn() -> ConnectError) {
        let nulls = column.logical_nulls();
        for at in (0..column.len()).filter(|&at| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at))) {
            self.push(rows.row(at), &error);
        }
    }

    fn push_null(&mut self, column: &ArrayRef, error: impl Fn() -> ConnectError) {
        for at in (0..column.len()).filter(|&at| column.is_null(at)) {
            self.push(at, &error);
        }
    }

    fn sorted(mut self) -> Vec<(usize, ConnectError)> {
        self.0.sort_by_key(|(row, _)| *row);
        self.0.dedup_by_key(|(row, _)| *row);
        self.0
    }
}

fn convert(column: &ArrayRef, to: &FieldRef, path: &str, rows: &Rows, unfit: &mut Unfit) -> Result<ArrayRef> {
    let (from, target) = (column.data_type(), to.data_type());
    if from == target {
        return Ok(Arc::clone(column));
    }
    match (from, target) {
        (DataType::Dictionary(_, values), _) => {
            return convert(&cast(column, values)?, to, path, rows, unfit);
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            return nested_struct(column.as_struct(), fields, path, rows, unfit);
        }
        (DataType::List(_), DataType::List(item)) => {
            return list(column.as_list::<i32>(), item, path, rows, unfit);
        }
        (DataType::LargeList(_), DataType::List(item)) => {
            return list(column.as_list::<i64>(), item, path, rows, unfit);
        }
        (DataType::FixedSizeList(item, _), DataType::List(_)) => {
            let plain = cast(column, &DataType::List(Arc::clone(item)))?;
            return convert(&plain, to, path, rows, unfit);
        }
        (DataType::Map(_, _), DataType::Map(entries, _)) => {
            return map(column.as_map(), entries, path, rows, unfit);
        }
        _ => {}
    }
    if !may_cast(from, target) {
        unfit.push_valid(column, rows, || conflict(path, from, target));
        return Ok(new_null_array(target, column.len()));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let made = cast_with_options(column, target, &options)?;
    let nulls = column.logical_nulls();
    let lost = made.logical_null_count() > nulls.as_ref().map_or(0, NullBuffer::null_count);
    let changed = if is_lossy(from, target) {
        let back = cast_with_options(&made, from, &options)?;
        Some(distinct(column, &back)?)
    } else {
        None
    };
    if lost || changed.as_ref().is_some_and(|c| c.true_count() > 0) {
        let made_nulls = made.logical_nulls();
        for at in 0..column.len() {
            let valid = nulls.as_ref().is_none_or(|n| n.is_valid(at));
            let gone = made_nulls.as_ref().is_some_and(|n| n.is_null(at));
            if valid && (gone || changed.as_ref().is_some_and(|c| c.value(at))) {
                unfit.push(rows.row(at), || out_of_range(path, from, target));
            }
        }
    }
    Ok(made)
}

/// Whether values of `from` may become `to`, each that fits.
fn may_cast(from: &DataType, to: &DataType) -> bool {
    let decimal = |t: &DataType| {
        matches!(
            t,
            DataType::Decimal32(_, _)
                | DataType::Decimal64(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Decimal256(_, _)
        )
    };
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let time = |t: &DataType| matches!(t, DataType::Time32(_) | DataType::Time64(_));
    match to {
        _ if matches!(from, DataType::Null) => true,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            from.is_integer() || time(from)
        }
        DataType::Float32 | DataType::Float64 => from.is_integer() || from.is_floating(),
        DataType::Decimal128(_, _) => decimal(from) || from.is_integer(),
        DataType::Utf8 => text(from),
        DataType::Binary => {
            matches!(from, DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
        }
        DataType::Date32 => matches!(from, DataType::Date64),
        DataType::Timestamp(_, _) => matches!(from, DataType::Timestamp(_, _)),
        _ => false,
    }
}

/// Whether a cast may change a value without saying so.
fn is_lossy(from: &DataType, to: &DataType) -> bool {
    match to {
        DataType::Float32 => {
            !matches!(from, DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::Float16)
        }
        DataType::Float64 => matches!(from, DataType::Int64 | DataType::UInt64),
        DataType::Decimal128(_, scale) => match from {
            DataType::Decimal32(_, s)
            | DataType::Decimal64(_, s)
            | DataType::Decimal128(_, s)
            | DataType::Decimal256(_, s) => s > scale,
            _ => false,
        },
        _ => false,
    }
}

fn nested_struct(
    from: &StructArray,
    fields: &arrow::datatypes::Fields,
    path: &str,
    rows: &Rows,
    unfit: &mut Unfit,
) -> Result<ArrayRef> {
    let visible = |column: &ArrayRef| -> Result<ArrayRef> {
        // Under a null struct nothing is there, whatever its buffers hold.
        match from.nulls() {
            Some(nulls) => {
                let hidden = arrow::array::BooleanArray::new(!nulls.inner(), None);
                Ok(arrow::compute::nullif(column, &hidden)?)
            }
            None => Ok(Arc::clone(column)),
        }
    };
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let path = format!("{path}.{}", field.name());
        columns.push(match from.column_by_name(field.name()) {
            Some(column) => convert(&visible(column)?, field, &path, rows, unfit)?,
            None => new_null_array(field.data_type(), from.len()),
        });
    }
    for (field, column) in from.fields().iter().zip(from.columns()) {
        if fields.find(field.name()).is_none() {
            let path = format!("{path}.{}", field.name());
            unfit.push_valid(&visible(column)?, rows, || no_column(&path, field.data_type()));
        }
    }
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        from.nulls().cloned(),
        from.len(),
    )?))
}

/// The row of each element.
fn rows_of(offsets: &OffsetBuffer<i32>, rows: &Rows) -> Rows {
    let elements = offsets.lengths().enumerate();
    Rows::Of(elements.flat_map(|(at, length)| std::iter::repeat_n(rows.row(at), length)).collect())
}

fn list<O: OffsetSizeTrait>(
    from: &arrow::array::GenericListArray<O>,
    item: &FieldRef,
    path: &str,
    rows: &Rows,
    unfit: &mut Unfit,
) -> Result<ArrayRef> {
    let (offsets, values) = if from.null_count() == 0 {
        let (first, last) = (from.value_offsets().first(), from.value_offsets().last());
        let (first, last) = (first.map_or(0, |o| o.as_usize()), last.map_or(0, |o| o.as_usize()));
        (
            OffsetBuffer::<i32>::from_lengths(from.offsets().lengths()),
            from.values().slice(first, last - first),
        )
    } else {
        // Under a null list there may be elements: they are left out.
        let length = |at| if from.is_null(at) { 0 } else { from.value_length(at).as_usize() };
        let parts: Vec<ArrayRef> =
            (0..from.len()).filter(|&at| from.is_valid(at)).map(|at| from.value(at)).collect();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let values =
            if parts.is_empty() { from.values().slice(0, 0) } else { arrow::compute::concat(&parts)? };
        (OffsetBuffer::from_lengths((0..from.len()).map(length)), values)
    };
    let of = rows_of(&offsets, rows);
    let values = convert(&values, item, &format!("{path}.element"), &of, unfit)?;
    // Elements that may not be null and are: rejected with their record, by the schema's own check.
    let item = Arc::new(item.as_ref().clone().with_nullable(item.is_nullable() || values.null_count() > 0));
    Ok(Arc::new(ListArray::try_new(item, offsets, values, from.nulls().cloned())?))
}

fn map(from: &MapArray, entries: &FieldRef, path: &str, rows: &Rows, unfit: &mut Unfit) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ConnectError::internal("delta.map", "a map's entries are no struct"));
    };
    let [key, value] = fields.iter().as_slice() else {
        return Err(ConnectError::internal("delta.map", "a map's entries are not two columns"));
    };
    let (first, last) = (from.offsets().first().copied(), from.offsets().last().copied());
    let (first, last) = (first.map_or(0, |o| o as usize), last.map_or(0, |o| o as usize));
    let slice = |column: &ArrayRef| column.slice(first, last - first);
    let offsets = OffsetBuffer::<i32>::from_lengths(from.offsets().lengths());
    let of = rows_of(&offsets, rows);
    let keys = convert(&slice(from.keys()), key, &format!("{path}.key"), &of, unfit)?;
    let values = convert(&slice(from.values()), value, &format!("{path}.value"), &of, unfit)?;
    let both = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, both, from.nulls().cloned(), false)?))
}

const CONFLICT: &str = "convert the field with a transform, or write these records to another table";

fn conflict(path: &str, from: &DataType, to: &DataType) -> ConnectError {
    type_conflict(path, &name_of(from), to)
}

/// A value of a type that its column cannot hold.
pub fn type_conflict(path: &str, from: &str, to: &DataType) -> ConnectError {
    let message = format!("column `{path}` is {} in the table and {from} in the record", name_of(to));
    ConnectError::user("delta.type_conflict", message).hint(CONFLICT)
}

fn out_of_range(path: &str, from: &DataType, to: &DataType) -> ConnectError {
    let (from, to) = (name_of(from), name_of(to));
    let message =
        format!("column `{path}` is {to} in the table, which cannot hold the record's {from} exactly");
    ConnectError::user("delta.out_of_range", message).hint(CONFLICT)
}

pub fn missing(path: &str) -> ConnectError {
    let message = format!("column `{path}` may not be null in the table, and the record has no value for it");
    ConnectError::user("delta.null", message)
        .hint("send the field in each record, or make the column nullable")
}

fn no_column(path: &str, from: &DataType) -> ConnectError {
    unknown(path, &name_of(from))
}

/// A field that has no column.
pub fn unknown(path: &str, from: &str) -> ConnectError {
    let message = format!("the table has no column for the field `{path}` ({from}) and gets none");
    ConnectError::user("delta.unknown_field", message).hint(
        "set `schema.evolution: add`, or drop or rename the field with a transform; names that differ in case alone, or \
         hold blanks or any of ,;{}()=, cannot be columns",
    )
}
