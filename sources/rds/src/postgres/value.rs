//! Values of PostgreSQL's binary protocol.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use crate::cells::{Cell, Misfit};
use crate::column::Kind;

const UNREADABLE: Misfit = "a value that cannot be read";
const INFINITE: Misfit = "an infinite date or time";

/// Days and microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's own zero.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The number in a date, time or timestamp, as it is sent.
struct Raw(i64);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *raw {
            [a, b, c, d] => Ok(Self(i32::from_be_bytes([a, b, c, d]).into())),
            _ => Ok(Self(i64::from_be_bytes(raw.try_into()?))),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::DATE | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ)
    }
}

fn date<'a>(raw: Raw) -> Result<Cell<'a>, Misfit> {
    let days = i32::try_from(raw.0).map_err(|_| UNREADABLE)?;
    if matches!(days, i32::MIN | i32::MAX) {
        return Err(INFINITE);
    }
    Ok(Cell::Date(days.checked_add(EPOCH_DAYS).ok_or(UNREADABLE)?))
}

fn timestamp<'a>(raw: Raw) -> Result<Cell<'a>, Misfit> {
    if matches!(raw.0, i64::MIN | i64::MAX) {
        return Err(INFINITE);
    }
    Ok(Cell::Timestamp(raw.0.checked_add(EPOCH_MICROS).ok_or(UNREADABLE)?))
}

/// 24:00:00 is a time to PostgreSQL, and no time of day.
fn time<'a>(raw: Raw) -> Result<Cell<'a>, Misfit> {
    if raw.0 < 86_400_000_000 {
        Ok(Cell::Time(raw.0))
    } else {
        Err("the time 24:00:00, which is no time of day")
    }
}

fn one<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
    cell: impl FnOnce(T) -> Result<Cell<'a>, Misfit>,
) -> Result<Cell<'a>, Misfit> {
    let value: Option<T> = row.try_get(index).map_err(|_| UNREADABLE)?;
    value.map_or(Ok(Cell::Null), cell)
}

fn many<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
    cell: impl Fn(T) -> Result<Cell<'a>, Misfit>,
) -> Result<Cell<'a>, Misfit> {
    let not_flat = |_| "an array of more than one dimension";
    let Some(values) = row.try_get::<_, Option<Vec<Option<T>>>>(index).map_err(not_flat)? else {
        return Ok(Cell::Null);
    };
    let cells = values.into_iter().map(|v| v.map_or(Ok(Cell::Null), &cell));
    Ok(Cell::List(cells.collect::<Result<_, _>>()?))
}

/// The value of column `index`.
pub fn cell<'a>(row: &'a Row, index: usize, kind: Option<&Kind>) -> Result<Cell<'a>, Misfit> {
    match kind {
        Some(Kind::Bool) => one(row, index, |v| Ok(Cell::Bool(v))),
        Some(Kind::Int16) => one(row, index, |v: i16| Ok(Cell::Int(v.into()))),
        Some(Kind::Int32) => one(row, index, |v: i32| Ok(Cell::Int(v.into()))),
        Some(Kind::Int64) => one(row, index, |v| Ok(Cell::Int(v))),
        Some(Kind::UInt32) => one(row, index, |v: u32| Ok(Cell::UInt(v.into()))),
        Some(Kind::Float32) => one(row, index, |v| Ok(Cell::Float32(v))),
        Some(Kind::Float64) => one(row, index, |v| Ok(Cell::Float64(v))),
        Some(Kind::Text | Kind::Numeric | Kind::Decimal { .. }) => one(row, index, |v| Ok(Cell::Text(v))),
        Some(Kind::Bytes) => one(row, index, |v| Ok(Cell::Bytes(v))),
        Some(Kind::Date) => one(row, index, date),
        Some(Kind::Time) => one(row, index, time),
        Some(Kind::Timestamp { .. }) => one(row, index, timestamp),
        Some(Kind::List(item)) => match **item {
            Kind::Bool => many(row, index, |v| Ok(Cell::Bool(v))),
            Kind::Int16 => many(row, index, |v: i16| Ok(Cell::Int(v.into()))),
            Kind::Int32 => many(row, index, |v: i32| Ok(Cell::Int(v.into()))),
            Kind::Int64 => many(row, index, |v| Ok(Cell::Int(v))),
            Kind::Float32 => many(row, index, |v| Ok(Cell::Float32(v))),
            Kind::Float64 => many(row, index, |v| Ok(Cell::Float64(v))),
            Kind::Text => many(row, index, |v| Ok(Cell::Text(v))),
            Kind::Bytes => many(row, index, |v| Ok(Cell::Bytes(v))),
            Kind::Date => many(row, index, date),
            Kind::Timestamp { .. } => many(row, index, timestamp),
            _ => Err(UNREADABLE),
        },
        _ => Err(UNREADABLE),
    }
}
