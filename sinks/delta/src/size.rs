//! How large records are in memory.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// Bytes of all rows.
pub fn total(rows: &RecordBatch) -> u64 {
    each(rows).into_iter().sum()
}

/// Bytes of each row: its values alone, so that the sum does not depend on how rows come in batches.
pub fn each(rows: &RecordBatch) -> Vec<u64> {
    let mut sizes = vec![0; rows.num_rows()];
    for column in rows.columns() {
        add(column, &mut sizes);
    }
    sizes
}

/// Adds the bytes of each value to `sizes`.
fn add(column: &ArrayRef, sizes: &mut [u64]) {
    match column.data_type() {
        DataType::Utf8 => add_lengths(column.as_string::<i32>().offsets().lengths(), sizes),
        DataType::Binary => add_lengths(column.as_binary::<i32>().offsets().lengths(), sizes),
        DataType::Struct(_) => {
            for child in column.as_struct().columns() {
                add(child, sizes);
            }
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            add_elements(list.values(), list.offsets(), sizes);
        }
        DataType::Map(_, _) => {
            let map = column.as_map();
            add_elements(map.keys(), map.offsets(), sizes);
            add_elements(map.values(), map.offsets(), sizes);
        }
        other => {
            let width = other.primitive_width().unwrap_or(1) as u64;
            sizes.iter_mut().for_each(|size| *size += width);
        }
    }
}

fn add_lengths(lengths: impl Iterator<Item = usize>, sizes: &mut [u64]) {
    for (size, length) in sizes.iter_mut().zip(lengths) {
        *size += length as u64;
    }
}

fn add_elements(values: &ArrayRef, offsets: &[i32], sizes: &mut [u64]) {
    let mut inner = vec![0; values.len()];
    add(values, &mut inner);
    for (size, ends) in sizes.iter_mut().zip(offsets.windows(2)) {
        let [start, end] = ends else { continue };
        let range = usize::try_from(*start).unwrap_or(0)..usize::try_from(*end).unwrap_or(0);
        *size += inner.get(range).map_or(0, |inner| inner.iter().sum());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Float64Type;

    use super::*;

    #[test]
    fn the_size_of_a_row_does_not_depend_on_its_batch() {
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(1.0), Some(2.0)]),
            None,
            Some(vec![]),
        ]);
        let rows = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec![Some("abc"), None, Some("é")]))),
            ("l", Arc::new(lists)),
            ("d", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))),
        ])
        .unwrap();
        assert_eq!(each(&rows), [8 + 3 + 16 + 8, 8 + 8, 8 + 2 + 8]);
        assert_eq!(total(&rows.slice(1, 2)), 16 + 18);
    }
}
