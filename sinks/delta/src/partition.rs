//! Partition columns: their values are in the log and in directory names, not in the files.

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use connector_core::{ConnectError, Result};

/// The values of a table's partition columns in the log's text form, in the columns' order; `None` is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Partition(pub Vec<(String, Option<String>)>);

impl Partition {
    /// `country=Cuba/year=2022/`, as Hive escapes it; empty without partition columns.
    pub fn directory(&self) -> String {
        let mut path = String::new();
        for (name, value) in &self.0 {
            escape(name, &mut path);
            path.push('=');
            match value {
                Some(value) => escape(value, &mut path),
                None => path.push_str("__HIVE_DEFAULT_PARTITION__"),
            }
            path.push('/');
        }
        path
    }

    /// As the log's `partitionValues`.
    pub fn values(&self) -> HashMap<String, Option<String>> {
        self.0.iter().cloned().collect()
    }
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Columns of the files: all but these.
pub fn without(schema: &SchemaRef, partition_columns: &[String]) -> Result<SchemaRef> {
    Ok(schema.project(&kept(schema, partition_columns))?.into())
}

fn kept(schema: &SchemaRef, partition_columns: &[String]) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, f)| !partition_columns.contains(f.name())).map(|(at, _)| at).collect()
}

/// The rows of each partition, in order, without the partition columns.
pub fn split(rows: &RecordBatch, partition_columns: &[String]) -> Result<Vec<(Partition, RecordBatch)>> {
    if partition_columns.is_empty() {
        return Ok(vec![(Partition::default(), rows.clone())]);
    }
    let texts = partition_columns
        .iter()
        .map(|name| rows.column_by_name(name).map(text).transpose())
        .collect::<Result<Vec<_>>>()?;
    let mut places: HashMap<Vec<Option<&str>>, usize> = HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for row in 0..rows.num_rows() {
        let key: Vec<_> = texts.iter().map(|column| column.as_ref().and_then(|c| value(c, row))).collect();
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        // A batch has less than 2^32 rows: its offsets are 32-bit too.
        if let (Some(group), Ok(row)) = (groups.get_mut(place), u32::try_from(row)) {
            group.push(row);
        }
    }
    let kept = rows.project(&kept(&rows.schema(), partition_columns))?;
    let mut parts: Vec<(usize, Partition)> = places
        .into_iter()
        .map(|(key, place)| {
            let values = partition_columns.iter().cloned().zip(key.into_iter().map(|v| v.map(str::to_owned)));
            (place, Partition(values.collect()))
        })
        .collect();
    parts.sort_unstable_by_key(|(place, _)| *place);
    let mut split = Vec::with_capacity(parts.len());
    for ((_, partition), rows) in parts.into_iter().zip(groups) {
        split.push((partition, take_record_batch(&kept, &UInt32Array::from(rows))?));
    }
    Ok(split)
}

/// The log does not tell an empty text from null.
fn value(column: &StringArray, row: usize) -> Option<&str> {
    (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row))
}

/// The text form of the log: `2020-08-28`, `2020-08-28 03:52:47.000000`, `true`, `1.50`.
fn text(column: &ArrayRef) -> Result<StringArray> {
    if let DataType::Timestamp(TimeUnit::Microsecond, _) = column.data_type() {
        let micros = column.as_primitive::<TimestampMicrosecondType>();
        let texts = micros.iter().map(|value| {
            let Some(value) = value else { return Ok(None) };
            let instant = DateTime::from_timestamp_micros(value).ok_or_else(|| {
                ConnectError::user(
                    "delta.partition_value",
                    "a timestamp of a partition column is out of range",
                )
            })?;
            Ok(Some(instant.format("%Y-%m-%d %H:%M:%S%.6f").to_string()))
        });
        return texts.collect();
    }
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// Whether a column of this type can be a partition column.
pub fn can_partition_by(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Binary | DataType::Null)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn rows_are_split_by_value_and_keep_their_order() {
        let rows = RecordBatch::try_from_iter([
            ("c", Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("")])) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ])
        .unwrap();
        let parts = split(&rows, &columns(&["c"])).unwrap();
        let seen: Vec<_> = parts
            .iter()
            .map(|(p, rows)| {
                (
                    p.directory(),
                    rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [("c=a/".to_owned(), vec![1, 3]), ("c=__HIVE_DEFAULT_PARTITION__/".to_owned(), vec![2, 4])]
        );
    }

    #[test]
    fn values_have_the_text_form_of_the_log() {
        let rows = RecordBatch::try_from_iter([
            ("d", Arc::new(Date32Array::from(vec![18_502])) as ArrayRef),
            (
                "t",
                Arc::new(TimestampMicrosecondArray::from(vec![1_598_586_767_000_001]).with_timezone("UTC")),
            ),
            ("s", Arc::new(StringArray::from(vec!["Cote d'Ivoire/é"]))),
            ("n", Arc::new(Int64Array::from(vec![1]))),
        ])
        .unwrap();
        let parts = split(&rows, &columns(&["d", "t", "s"])).unwrap();
        let values: Vec<_> = parts[0].0.0.iter().map(|(_, v)| v.as_deref().unwrap()).collect();
        assert_eq!(values, ["2020-08-28", "2020-08-28 03:52:47.000001", "Cote d'Ivoire/é"]);
        assert_eq!(
            parts[0].0.directory(),
            "d=2020-08-28/t=2020-08-28%2003%3A52%3A47.000001/s=Cote%20d%27Ivoire%2F%C3%A9/"
        );
        assert_eq!(parts[0].1.num_columns(), 1);
    }
}
