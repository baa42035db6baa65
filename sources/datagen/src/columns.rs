//! Rows as Arrow columns, in the order and with the types of the tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Fields};
use connector_core::Result;

use crate::config::Table;
use crate::rows::{Geo, Pin, User};

/// The rows with these numbers.
pub fn columns(table: Table, seed: u64, rows: impl IntoIterator<Item = u64>) -> Result<StructArray> {
    let rows = rows.into_iter();
    match table {
        Table::Pin => pins(&rows.map(|n| Pin::at(seed, n)).collect::<Vec<_>>()),
        Table::Geo => geos(&rows.map(|n| Geo::at(seed, n)).collect::<Vec<_>>()),
        Table::User => users(&rows.map(|n| User::at(seed, n)).collect::<Vec<_>>()),
    }
}

fn texts<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> &'a String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
}

fn floats<T>(rows: &[T], of: impl Fn(&T) -> f32) -> ArrayRef {
    Arc::new(Float32Array::from_iter_values(rows.iter().map(of)))
}

/// From seconds.
fn times<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| of(row) * 1_000_000)))
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Result<StructArray> {
    let fields: Fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    Ok(StructArray::try_new(fields, columns.into_iter().map(|(_, column)| column).collect(), None)?)
}

fn pins(rows: &[Pin]) -> Result<StructArray> {
    table(vec![
        ("index", numbers(rows, |r| r.index)),
        ("unique_id", texts(rows, |r| &r.unique_id)),
        ("title", texts(rows, |r| &r.title)),
        ("description", texts(rows, |r| &r.description)),
        ("poster_name", texts(rows, |r| &r.poster_name)),
        ("follower_count", texts(rows, |r| &r.follower_count)),
        ("tag_list", texts(rows, |r| &r.tag_list)),
        ("is_image_or_video", texts(rows, |r| &r.is_image_or_video)),
        ("image_src", texts(rows, |r| &r.image_src)),
        ("downloaded", numbers(rows, |r| r.downloaded)),
        ("save_location", texts(rows, |r| &r.save_location)),
        ("category", texts(rows, |r| &r.category)),
    ])
}

fn geos(rows: &[Geo]) -> Result<StructArray> {
    table(vec![
        ("ind", numbers(rows, |r| r.ind)),
        ("timestamp", times(rows, |r| r.timestamp)),
        ("latitude", floats(rows, |r| r.latitude)),
        ("longitude", floats(rows, |r| r.longitude)),
        ("country", texts(rows, |r| &r.country)),
    ])
}

fn users(rows: &[User]) -> Result<StructArray> {
    table(vec![
        ("ind", numbers(rows, |r| r.ind)),
        ("first_name", texts(rows, |r| &r.first_name)),
        ("last_name", texts(rows, |r| &r.last_name)),
        ("age", numbers(rows, |r| r.age)),
        ("date_joined", times(rows, |r| r.date_joined)),
    ])
}
