//! Columns of records and columns of tables: which type becomes which, and how a table grows.

use arrow::datatypes::{DataType as ArrowType, FieldRef};
use deltalake::kernel::{ArrayType, DataType, MapType, PrimitiveType, StructField, StructType};

/// Characters that parquet's readers refuse in names, unless the table maps its columns.
const NOT_IN_NAMES: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// The type of a new column for typed data; `None` if no table has one, or nothing is known (only nulls). Any timestamp
/// becomes `timestamp` (microseconds UTC), a time of day the number that it is.
pub fn column_type(from: &ArrowType) -> Option<DataType> {
    let decimal = |precision: u8, scale: i8| {
        let scale = u8::try_from(scale).ok()?;
        PrimitiveType::decimal(precision, scale).ok()
    };
    let primitive = match from {
        ArrowType::Boolean => PrimitiveType::Boolean,
        ArrowType::Int8 => PrimitiveType::Byte,
        ArrowType::Int16 | ArrowType::UInt8 => PrimitiveType::Short,
        ArrowType::Int32 | ArrowType::UInt16 | ArrowType::Time32(_) => PrimitiveType::Integer,
        ArrowType::Int64 | ArrowType::UInt32 | ArrowType::Time64(_) => PrimitiveType::Long,
        ArrowType::UInt64 => decimal(20, 0)?,
        ArrowType::Float16 | ArrowType::Float32 => PrimitiveType::Float,
        ArrowType::Float64 => PrimitiveType::Double,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => PrimitiveType::String,
        ArrowType::Binary
        | ArrowType::LargeBinary
        | ArrowType::BinaryView
        | ArrowType::FixedSizeBinary(_) => PrimitiveType::Binary,
        ArrowType::Date32 | ArrowType::Date64 => PrimitiveType::Date,
        ArrowType::Timestamp(_, _) => PrimitiveType::Timestamp,
        ArrowType::Decimal32(p, s)
        | ArrowType::Decimal64(p, s)
        | ArrowType::Decimal128(p, s)
        | ArrowType::Decimal256(p, s) => decimal(*p, *s)?,
        ArrowType::Dictionary(_, values) => return column_type(values),
        ArrowType::List(item) | ArrowType::LargeList(item) | ArrowType::FixedSizeList(item, _) => {
            return Some(ArrayType::new(column_type(item.data_type())?, true).into());
        }
        ArrowType::Struct(fields) => return Some(columns(fields).into()),
        ArrowType::Map(entries, _) => {
            let ArrowType::Struct(fields) = entries.data_type() else { return None };
            let [key, value] = fields.iter().as_slice() else { return None };
            let (key, value) = (column_type(key.data_type())?, column_type(value.data_type())?);
            return Some(MapType::new(key, value, true).into());
        }
        _ => return None,
    };
    Some(primitive.into())
}

/// The columns for typed data, all nullable: those that a table can have.
pub fn columns(fields: &arrow::datatypes::Fields) -> StructType {
    let column =
        |field: &FieldRef| Some(StructField::nullable(field.name(), column_type(field.data_type())?));
    table(fields.iter().filter_map(column))
}

/// A table of these columns; of names that differ in nothing but case the first one stays.
pub fn table(columns: impl IntoIterator<Item = StructField>) -> StructType {
    let mut kept: Vec<StructField> = Vec::new();
    for column in columns {
        if is_name(column.name()) && !kept.iter().any(|k| same_name(k.name(), column.name())) {
            kept.push(column);
        }
    }
    // Names are distinct, which is all that can fail.
    StructType::try_new(kept).unwrap_or_else(|_| StructType::new_unchecked(Vec::new()))
}

/// Whether a column can have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(NOT_IN_NAMES)
}

fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// `table` with the columns of `incoming` that it does not have, as nullable ones, also within structs; and with `byte`
/// and `short` widened to what comes, which readers of the old files do not notice. `None` if there is nothing to change.
pub fn grow(table: &StructType, incoming: &StructType) -> Option<StructType> {
    let mut grown = false;
    let mut columns: Vec<StructField> = Vec::with_capacity(table.fields().len());
    for column in table.fields() {
        let wider =
            incoming.field(column.name()).and_then(|field| wider(column.data_type(), field.data_type()));
        grown |= wider.is_some();
        let data_type = wider.unwrap_or_else(|| column.data_type().clone());
        columns.push(StructField { data_type, ..column.clone() });
    }
    for field in incoming.fields() {
        if is_name(field.name()) && !columns.iter().any(|column| same_name(column.name(), field.name())) {
            grown = true;
            columns.push(StructField::nullable(field.name(), field.data_type().clone()));
        }
    }
    grown.then(|| StructType::try_new(columns).ok()).flatten()
}

/// The type that a column of type `has` must get for values of type `comes`, if it can.
fn wider(has: &DataType, comes: &DataType) -> Option<DataType> {
    use PrimitiveType::{Byte, Integer, Short};
    match (has, comes) {
        (DataType::Primitive(Byte), DataType::Primitive(Short | Integer))
        | (DataType::Primitive(Short), DataType::Primitive(Integer)) => Some(comes.clone()),
        (DataType::Struct(has), DataType::Struct(comes)) => grow(has, comes).map(Into::into),
        (DataType::Array(has), DataType::Array(comes)) => {
            let element = wider(has.element_type(), comes.element_type())?;
            Some(ArrayType::new(element, has.contains_null()).into())
        }
        (DataType::Map(has), DataType::Map(comes)) => {
            let value = wider(has.value_type(), comes.value_type())?;
            Some(MapType::new(has.key_type().clone(), value, has.value_contains_null()).into())
        }
        _ => None,
    }
}

/// The type that holds values of both, for columns that are not in a table yet.
pub fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use PrimitiveType::{Double, Long};
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (DataType::Primitive(Long), DataType::Primitive(Double))
        | (DataType::Primitive(Double), DataType::Primitive(Long)) => Some(Double.into()),
        (DataType::Struct(a), DataType::Struct(b)) => Some(union(a, b).into()),
        (DataType::Array(a), DataType::Array(b)) => {
            Some(ArrayType::new(common(a.element_type(), b.element_type())?, true).into())
        }
        _ => None,
    }
}

/// The columns of both; where their types have nothing in common, the first one's.
pub fn union(a: &StructType, b: &StructType) -> StructType {
    let joined = a.fields().map(|column| {
        let other = b.field(column.name());
        let both = other.and_then(|other| common(column.data_type(), other.data_type()));
        StructField { data_type: both.unwrap_or_else(|| column.data_type().clone()), ..column.clone() }
    });
    table(joined.chain(b.fields().cloned()))
}

/// As people read it in messages: SQL's name where Arrow's is another.
pub fn name_of(arrow: &ArrowType) -> String {
    column_type(arrow).map_or_else(|| arrow.to_string(), |delta| delta.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ddl;

    fn columns(text: &str) -> StructType {
        ddl::parse(text).unwrap()
    }

    #[test]
    fn a_table_grows_by_what_it_lacks_and_by_nothing_else() {
        for (table, incoming, grown) in [
            ("a long", "a long, b string", Some("a long, b string")),
            ("a long", "a string", None),
            ("a long", "A long", None),
            ("a byte, b short", "b integer, a short", Some("a short, b integer")),
            ("a integer", "a long", None),
            ("s struct<x: long>", "s struct<y: string>", Some("s struct<x: long, y: string>")),
            (
                "l array<struct<x: byte>>",
                "l array<struct<x: integer, y: long>>",
                Some("l array<struct<x: integer, y: long>>"),
            ),
            ("a long not null", "b long not null", Some("a long not null, b long")),
        ] {
            assert_eq!(grow(&columns(table), &columns(incoming)), grown.map(columns), "{table} + {incoming}");
        }
    }

    #[test]
    fn names_that_no_reader_takes_become_no_columns() {
        let odd = ["a b", "a,b", "a=b", "", "(x)"].map(|name| StructField::nullable(name, DataType::LONG));
        assert_eq!(table(odd.clone()).fields().len(), 0);
        assert_eq!(grow(&columns("a long"), &StructType::new_unchecked(odd)), None);
        assert!(is_name("größe-1.x"));
    }

    proptest! {
        #[test]
        fn growing_twice_by_the_same_is_growing_once(
            names in prop::collection::vec("[a-cA]{1,2}", 1..4),
            more in prop::collection::vec("[a-cA]{1,2}", 1..4),
        ) {
            let of = |names: &[String]| table(names.iter().map(|name| StructField::nullable(name, DataType::LONG)));
            let (have, come) = (of(&names), of(&more));
            let grown = grow(&have, &come).unwrap_or(have);
            prop_assert_eq!(grow(&grown, &come), None);
        }
    }
}
