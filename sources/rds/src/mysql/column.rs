//! Types and values of MySQL and MariaDB.

use chrono::NaiveDate;
use mysql_async::Value;

use crate::cells::{Cell, Misfit};
use crate::column::{Column, Kind};
use crate::pages::ZERO_DATE;

/// A row of `information_schema.columns`: name, data type, column type, nullable, precision, scale, key, extra.
pub type Declared = (String, String, String, String, Option<u64>, Option<u64>, String, String);

pub fn column(declared: Declared) -> Column {
    let (name, data_type, sql_type, nullable, precision, scale, key, extra) = declared;
    Column {
        name,
        kind: kind(&data_type.to_ascii_lowercase(), &sql_type.to_ascii_lowercase(), precision, scale),
        sql_type,
        nullable: nullable.eq_ignore_ascii_case("yes"),
        generated: extra.to_ascii_lowercase().contains("auto_increment"),
        primary: key == "PRI",
        cast: "",
    }
}

fn kind(data_type: &str, column_type: &str, precision: Option<u64>, scale: Option<u64>) -> Option<Kind> {
    let unsigned = column_type.contains("unsigned");
    Some(match (data_type, unsigned) {
        ("tinyint", false) => Kind::Int8,
        ("tinyint", true) => Kind::UInt8,
        ("smallint", false) | ("year", _) => Kind::Int16,
        ("smallint", true) => Kind::UInt16,
        ("mediumint" | "int" | "integer", false) => Kind::Int32,
        ("mediumint" | "int" | "integer", true) => Kind::UInt32,
        ("bigint", false) => Kind::Int64,
        ("bigint", true) | ("bit", _) => Kind::UInt64,
        ("float", _) => Kind::Float32,
        ("double" | "real", _) => Kind::Float64,
        ("decimal" | "numeric", _) => Kind::Decimal {
            precision: precision.and_then(|p| u8::try_from(p).ok()).filter(|p| *p <= 76)?,
            scale: i8::try_from(scale.unwrap_or(0)).ok()?,
        },
        ("date", _) => Kind::Date,
        ("datetime" | "timestamp", _) => Kind::Timestamp { utc: false },
        ("time", _) => Kind::Time,
        ("char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext", _) => Kind::Text,
        ("json" | "enum" | "set" | "uuid" | "inet4" | "inet6", _) => Kind::Text,
        ("binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob", _) => Kind::Bytes,
        _ => return None,
    })
}

/// A value of the binary protocol.
pub fn cell<'a>(value: &'a Value, kind: Option<&Kind>, zero_is_null: bool) -> Result<Cell<'a>, Misfit> {
    Ok(match value {
        Value::NULL => Cell::Null,
        Value::Int(n) => Cell::Int(*n),
        Value::UInt(n) => Cell::UInt(*n),
        Value::Float(n) => Cell::Float32(*n),
        Value::Double(n) => Cell::Float64(*n),
        Value::Bytes(bytes) => match kind {
            Some(Kind::Bytes) => Cell::Bytes(bytes),
            // BIT(n) comes as bytes, the highest first.
            Some(Kind::UInt64) => Cell::UInt(bytes.iter().fold(0, |n, &b| (n << 8) | u64::from(b))),
            _ => Cell::Text(std::str::from_utf8(bytes).map_err(|_| "text that is not valid UTF-8")?),
        },
        Value::Date(_, month, day, ..) if *month == 0 || *day == 0 => {
            if !zero_is_null {
                return Err(ZERO_DATE);
            }
            Cell::Null
        }
        Value::Date(year, month, day, hour, minute, second, micro) => {
            let date = NaiveDate::from_ymd_opt(i32::from(*year), u32::from(*month), u32::from(*day));
            let date = date.ok_or("a date that the calendar does not have")?;
            let days = date.signed_duration_since(NaiveDate::default()).num_days();
            match kind {
                Some(Kind::Date) => Cell::Date(i32::try_from(days).map_err(|_| "a date out of range")?),
                _ => Cell::Timestamp(days * DAY + clock(0, *hour, *minute, *second, *micro)),
            }
        }
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            if *negative || *days > 0 {
                return Err("a TIME below 00:00:00 or past 23:59:59.999999, which is no time of day");
            }
            Cell::Time(clock(*days, *hours, *minutes, *seconds, *micros))
        }
    })
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

fn clock(days: u32, hours: u8, minutes: u8, seconds: u8, micros: u32) -> i64 {
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    i64::from(days) * DAY + seconds * 1_000_000 + i64::from(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart_by_width_and_sign() {
        let of = |data_type: &str, column_type: &str| kind(data_type, column_type, Some(65), Some(30));
        assert_eq!(of("tinyint", "tinyint(1)"), Some(Kind::Int8));
        assert_eq!(of("int", "int(10) unsigned zerofill"), Some(Kind::UInt32));
        assert_eq!(of("bigint", "bigint(20)"), Some(Kind::Int64));
        assert_eq!(of("decimal", "decimal(65,30)"), Some(Kind::Decimal { precision: 65, scale: 30 }));
        assert_eq!(of("timestamp", "timestamp(6)"), Some(Kind::Timestamp { utc: false }));
        assert_eq!(of("geometry", "geometry"), None);
    }

    #[test]
    fn zero_dates_are_refused_or_null() {
        let zero = Value::Date(0, 0, 0, 0, 0, 0, 0);
        assert_eq!(cell(&zero, Some(&Kind::Date), false), Err(ZERO_DATE));
        assert_eq!(cell(&zero, Some(&Kind::Date), true), Ok(Cell::Null));
        assert_eq!(cell(&Value::Date(2020, 5, 0, 0, 0, 0, 0), Some(&Kind::Date), false), Err(ZERO_DATE));
    }

    #[test]
    fn times_count_in_microseconds() {
        let value = Value::Date(2020, 8, 28, 3, 52, 47, 5);
        let kind = Kind::Timestamp { utc: false };
        assert_eq!(cell(&value, Some(&kind), false), Ok(Cell::Timestamp(1_598_586_767_000_005)));
        assert_eq!(cell(&value, Some(&Kind::Date), false), Ok(Cell::Date(18_502)));
        assert!(cell(&Value::Time(false, 1, 0, 0, 0, 0), Some(&Kind::Time), false).is_err());
        assert_eq!(cell(&Value::Bytes(vec![1, 2]), Some(&Kind::UInt64), false), Ok(Cell::UInt(258)));
    }
}
