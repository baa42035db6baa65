//! Keys of rows: a 128-bit hash of the key columns, keyed with random numbers of this process, so that equal hashes mean
//! equal keys (two different keys meet with a probability of n²/2¹²⁹) and nobody can choose keys that meet.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use connector_core::{ConnectError, Result};
use siphasher::sip128::{Hasher128, SipHasher13};
use uuid::Uuid;

pub type Key = u128;

/// A set of [`Key`]s, which are not hashed again.
pub type KeySet = HashSet<Key, BuildHasherDefault<Hashed>>;

/// Passes half of a [`Key`] on: it is random already.
#[derive(Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// The columns that name a row.
#[derive(Debug)]
pub struct KeyColumns {
    fields: Vec<Field>,
    rows: RowConverter,
    secret: (u64, u64),
}

impl KeyColumns {
    /// `names` in `table`'s schema; `option` is the configuration key that lists them.
    pub fn new(option: &str, names: &[String], table: &Schema) -> Result<Self> {
        let fields: Vec<Field> =
            names.iter().map(|name| key_field(option, name, table)).collect::<Result<_>>()?;
        let sort = fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { fields, rows: RowConverter::new(sort)?, secret: Uuid::new_v4().as_u64_pair() })
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name().clone()).collect()
    }

    /// The key columns of `batch`, whole numbers as 64 bits.
    pub fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |field: &Field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                ConnectError::internal(
                    "delta.key",
                    format!("a batch lacks the key column `{}`", field.name()),
                )
            })?;
            match column.data_type() == field.data_type() {
                true => Ok(ArrayRef::clone(column)),
                false => Ok(cast(column, field.data_type())?),
            }
        };
        self.fields.iter().map(column).collect()
    }

    /// The key of each row; null is a value like any other.
    pub fn keys(&self, batch: &RecordBatch) -> Result<Vec<Key>> {
        let rows = self.rows.convert_columns(&self.columns(batch)?)?;
        let (k0, k1) = self.secret;
        let key = |row: arrow::row::Row<'_>| {
            let mut hasher = SipHasher13::new_with_keys(k0, k1);
            hasher.write(row.as_ref());
            hasher.finish128().as_u128()
        };
        Ok(rows.iter().map(key).collect())
    }

    /// Rows in which a key column is null.
    pub fn rows_without_key(&self, batch: &RecordBatch) -> Result<Vec<usize>> {
        let columns = self.columns(batch)?;
        let lacks = |&row: &usize| columns.iter().any(|column| column.is_null(row));
        Ok((0..batch.num_rows()).filter(lacks).collect())
    }
}

fn key_field(option: &str, name: &str, table: &Schema) -> Result<Field> {
    let Ok(field) = table.field_with_name(name) else {
        let known: Vec<_> = table.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(ConnectError::user(
            "delta.key_column",
            format!("`{option}`: the table has no column `{name}`"),
        )
        .hint(format!("its columns are {}", known.join(", "))));
    };
    // Fractions are no keys (NaN, -0.0, rounding); nested values have no order that all readers share.
    let fit = match field.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => false,
        other => !other.is_nested(),
    };
    if !fit {
        let what = format!("`{option}`: the column `{name}` is {}, which cannot be a key", field.data_type());
        return Err(ConnectError::user("delta.key_type", what)
            .hint("use columns of an integer, text, date, time, decimal, boolean or binary type"));
    }
    // Columns of whole numbers may become wider.
    let data_type = match field.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        other => other.clone(),
    };
    Ok(field.clone().with_data_type(data_type))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int16Array, Int64Array, LargeStringArray, StringArray};

    use super::*;

    fn batch(ids: Vec<Option<i64>>, names: Vec<Option<&str>>) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        let names: ArrayRef = Arc::new(StringArray::from(names));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap()
    }

    fn columns(names: &[&str], batch: &RecordBatch) -> KeyColumns {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        KeyColumns::new("delta.key.columns", &names, batch.schema_ref()).unwrap()
    }

    #[test]
    fn equal_values_and_only_these_have_equal_keys() {
        let batch = batch(
            vec![Some(1), Some(1), Some(2), None, Some(1)],
            vec![Some("a"), Some("ab"), Some("a"), Some("a"), Some("a")],
        );
        let keys = columns(&["id", "name"], &batch).keys(&batch).unwrap();
        assert_eq!(keys[0], keys[4]);
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 4);
    }

    #[test]
    fn texts_do_not_run_together() {
        let left: ArrayRef = Arc::new(StringArray::from(vec!["a", "ab"]));
        let right: ArrayRef = Arc::new(StringArray::from(vec!["bc", "c"]));
        let batch = RecordBatch::try_from_iter([("left", left), ("right", right)]).unwrap();
        let keys = columns(&["left", "right"], &batch).keys(&batch).unwrap();
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn a_column_that_another_writer_stored_as_another_arrow_type_has_the_same_keys() {
        let ours = batch(vec![Some(1)], vec![Some("a")]);
        let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["a"]));
        let theirs = RecordBatch::try_from_iter([("name", large)]).unwrap();
        let columns = columns(&["name"], &ours);
        assert_eq!(columns.keys(&ours).unwrap(), columns.keys(&theirs).unwrap());
    }

    #[test]
    fn a_number_has_the_same_key_in_a_wider_column() {
        let narrow: ArrayRef = Arc::new(Int16Array::from(vec![7]));
        let narrow = RecordBatch::try_from_iter([("id", narrow)]).unwrap();
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![7, 7 + (1 << 16)]));
        let wide = RecordBatch::try_from_iter([("id", wide)]).unwrap();
        let keys = columns(&["id"], &narrow);
        let (narrow, wide) = (keys.keys(&narrow).unwrap(), keys.keys(&wide).unwrap());
        assert!(narrow[0] == wide[0] && narrow[0] != wide[1]);
    }

    #[test]
    fn a_missing_or_unfit_column_is_refused_by_name() {
        let fractions: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let batch = RecordBatch::try_from_iter([("f", fractions)]).unwrap();
        let refused = |name: &str| {
            KeyColumns::new("delta.key.columns", &[name.to_owned()], batch.schema_ref()).unwrap_err()
        };
        assert_eq!(refused("g").code, "delta.key_column");
        assert_eq!(refused("f").code, "delta.key_type");
        assert!(refused("f").message.contains("`f` is Float64"), "{}", refused("f"));
    }

    #[test]
    fn rows_with_a_null_in_their_key_are_named() {
        let batch = batch(vec![Some(1), None, Some(3)], vec![Some("a"), Some("b"), None]);
        assert_eq!(columns(&["id"], &batch).rows_without_key(&batch).unwrap(), [1]);
        assert_eq!(columns(&["id", "name"], &batch).rows_without_key(&batch).unwrap(), [1, 2]);
    }
}
