//! Types of PostgreSQL.

use tokio_postgres::{Error, Row};

use crate::column::{Column, Kind};

/// Columns of a table: `$1` schema, `$2` table. A domain counts as what it is made of.
pub const COLUMNS: &str = "\
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), b.typname::text, b.typtype::text,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       CASE WHEN b.typcategory = 'A' THEN e.typname::text END, e.typtype::text,
       NOT (a.attnotnull OR t.typnotnull),
       a.attidentity <> '' OR COALESCE(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false),
       COALESCE(a.attnum = ANY (k.conkey), false)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p'
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum";

/// A column from a row of [`COLUMNS`].
pub fn column(row: &Row) -> Result<Column, Error> {
    let (base, base_type): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    let (item, item_type): (Option<String>, Option<String>) = (row.try_get(5)?, row.try_get(6)?);
    let mapped = match (item, item_type) {
        (Some(item), Some(item_type)) => array(&item, &item_type),
        _ => scalar(&base, &base_type, row.try_get(4)?),
    };
    Ok(Column {
        name: row.try_get(0)?,
        sql_type: row.try_get(1)?,
        cast: mapped.as_ref().map_or("", |m| m.1),
        kind: mapped.map(|m| m.0),
        nullable: row.try_get(7)?,
        generated: row.try_get(8)?,
        primary: row.try_get(9)?,
    })
}

/// The kind of a type and the cast with which it is read.
fn scalar(name: &str, typtype: &str, modifier: i32) -> Option<(Kind, &'static str)> {
    if typtype == "e" {
        return Some((Kind::Text, "::text"));
    }
    if matches!(typtype, "r" | "m") {
        return Some((Kind::Text, "::text"));
    }
    Some(match name {
        "bool" => (Kind::Bool, ""),
        "int2" => (Kind::Int16, ""),
        "int4" => (Kind::Int32, ""),
        "int8" => (Kind::Int64, ""),
        "oid" => (Kind::UInt32, ""),
        "float4" => (Kind::Float32, ""),
        "float8" => (Kind::Float64, ""),
        "numeric" => (numeric(modifier), "::text"),
        "money" => (Kind::Decimal { precision: 19, scale: 2 }, "::numeric::text"),
        "text" | "varchar" | "bpchar" | "name" => (Kind::Text, ""),
        "bytea" => (Kind::Bytes, ""),
        "date" => (Kind::Date, ""),
        "time" => (Kind::Time, ""),
        "timestamp" => (Kind::Timestamp { utc: false }, ""),
        "timestamptz" => (Kind::Timestamp { utc: true }, ""),
        "char" | "timetz" | "interval" | "uuid" | "json" | "jsonb" | "jsonpath" | "xml" | "bit"
        | "varbit" | "inet" | "cidr" | "macaddr" | "macaddr8" | "point" | "line" | "lseg" | "box"
        | "path" | "polygon" | "circle" | "tsvector" | "tsquery" | "pg_lsn" | "citext" | "hstore"
        | "ltree" => (Kind::Text, "::text"),
        _ => return None,
    })
}

/// Digits and scale as the type modifier packs them; without one, a number of any size.
fn numeric(modifier: i32) -> Kind {
    let packed = modifier - 4;
    // The scale has eleven bits with a sign since PostgreSQL 15.
    let (precision, scale) = (packed >> 16, ((packed & 0x7ff) ^ 1024) - 1024);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale @ 0..)) if modifier >= 4 && scale as u8 <= precision => {
            Kind::Decimal { precision, scale }
        }
        _ => Kind::Numeric,
    }
}

fn array(item: &str, typtype: &str) -> Option<(Kind, &'static str)> {
    let (kind, cast) = scalar(item, typtype, -1)?;
    let (kind, cast) = match kind {
        Kind::Bool
        | Kind::Int16
        | Kind::Int32
        | Kind::Int64
        | Kind::Float32
        | Kind::Float64
        | Kind::Bytes => (kind, ""),
        Kind::Date | Kind::Timestamp { .. } => (kind, ""),
        Kind::Text if cast.is_empty() => (kind, ""),
        _ => (Kind::Text, "::text[]"),
    };
    Some((Kind::List(Box::new(kind)), cast))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn numerics_keep_their_declared_digits() {
        assert_eq!(numeric(modifier(10, 2)), Kind::Decimal { precision: 10, scale: 2 });
        assert_eq!(numeric(modifier(76, 0)), Kind::Decimal { precision: 76, scale: 0 });
        for any_size in [-1, modifier(100, 2), modifier(5, -2), modifier(2, 5)] {
            assert_eq!(numeric(any_size), Kind::Numeric);
        }
    }

    #[test]
    fn types_without_a_binary_form_of_ours_are_read_as_text() {
        assert_eq!(scalar("mood", "e", -1), Some((Kind::Text, "::text")));
        assert_eq!(scalar("int4range", "r", -1), Some((Kind::Text, "::text")));
        assert_eq!(scalar("address", "c", -1), None);
        assert_eq!(scalar("geometry", "b", -1), None);
        assert_eq!(array("int4", "b"), Some((Kind::List(Box::new(Kind::Int32)), "")));
        assert_eq!(array("uuid", "b"), Some((Kind::List(Box::new(Kind::Text)), "::text[]")));
        assert_eq!(array("address", "c"), None);
    }
}
