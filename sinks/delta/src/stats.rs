//! Statistics of a data file as the log has them: records, and each column's smallest and largest value and nulls.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use parquet::basic::{LogicalType, Repetition};
use parquet::data_type::AsBytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::{ColumnDescriptor, Type};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Columns that get statistics when the table does not say how many.
pub const INDEXED_COLUMNS: usize = 32;

/// The log's `stats`, in JSON. Numbers keep their digits: readers skip files by them.
pub fn of(metadata: &ParquetMetaData, indexed_columns: usize) -> String {
    let mut stats = Stats { num_records: metadata.file_metadata().num_rows(), ..Stats::default() };
    let schema = metadata.file_metadata().schema_descr();
    let top = schema.root_schema().get_fields();
    let indexed: Vec<&str> = top.iter().take(indexed_columns).map(|field| field.name()).collect();
    for (at, column) in schema.columns().iter().enumerate() {
        let path = column.path().parts();
        let Some((first, _)) = path.split_first() else { continue };
        if !indexed.contains(&first.as_str()) || is_repeated(top, path) {
            continue;
        }
        let chunks = metadata.row_groups().iter().filter_map(|group| group.columns().get(at));
        let chunks: Option<Vec<_>> = chunks.map(|chunk| chunk.statistics()).collect();
        let Some(chunks) = chunks.filter(|chunks| !chunks.is_empty()) else { continue };
        if let Some(nulls) = chunks.iter().map(|c| c.null_count_opt()).sum::<Option<u64>>() {
            put(&mut stats.null_count, path, raw(&nulls));
        }
        // A group of nulls has no bounds; any other without them leaves the column without.
        let rows = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
        let bounded = rows.zip(&chunks).filter(|(rows, chunk)| chunk.null_count_opt() != Some(*rows));
        let (mut min, mut max) = (Bound::None, Bound::None);
        for (_, chunk) in bounded {
            min = min.join(chunk, false);
            max = max.join(chunk, true);
        }
        if let (Some(min), Some(max)) = (min.json(column, false), max.json(column, true)) {
            put(&mut stats.min_values, path, Some(min));
            put(&mut stats.max_values, path, Some(max));
        }
    }
    // A map of texts and numbers has a JSON form.
    serde_json::to_string(&stats).unwrap_or_default()
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    num_records: i64,
    min_values: BTreeMap<String, Node>,
    max_values: BTreeMap<String, Node>,
    null_count: BTreeMap<String, Node>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Node {
    Leaf(Box<RawValue>),
    Struct(BTreeMap<String, Node>),
}

fn put(nodes: &mut BTreeMap<String, Node>, path: &[String], value: Option<Box<RawValue>>) {
    let (Some((name, rest)), Some(value)) = (path.split_first(), value) else { return };
    if rest.is_empty() {
        nodes.insert(name.clone(), Node::Leaf(value));
    } else if let Node::Struct(inner) =
        nodes.entry(name.clone()).or_insert_with(|| Node::Struct(BTreeMap::new()))
    {
        put(inner, rest, Some(value));
    }
}

/// Elements of lists and maps have no statistics in the log.
fn is_repeated(fields: &[std::sync::Arc<Type>], path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else { return false };
    let Some(field) = fields.iter().find(|field| field.name() == name) else { return false };
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
        || field.is_group() && is_repeated(field.get_fields(), rest)
}

/// The least or greatest of the row groups' bounds.
#[derive(Clone, Debug, PartialEq)]
enum Bound {
    None,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Bytes(Vec<u8>),
    /// Of a type without an order here.
    Unknown,
}

impl Bound {
    fn of(chunk: &Statistics, largest: bool) -> Self {
        fn pick<T: Copy>(min: Option<&T>, max: Option<&T>, largest: bool) -> Option<T> {
            if largest { max } else { min }.copied()
        }
        let found = match chunk {
            Statistics::Boolean(v) => pick(v.min_opt(), v.max_opt(), largest).map(Self::Boolean),
            Statistics::Int32(v) => pick(v.min_opt(), v.max_opt(), largest).map(|v| Self::Integer(v.into())),
            Statistics::Int64(v) => pick(v.min_opt(), v.max_opt(), largest).map(|v| Self::Integer(v.into())),
            Statistics::Float(v) => pick(v.min_opt(), v.max_opt(), largest).map(|v| Self::Float(v.into())),
            Statistics::Double(v) => pick(v.min_opt(), v.max_opt(), largest).map(Self::Float),
            Statistics::ByteArray(v) => {
                let bound = if largest { v.max_opt() } else { v.min_opt() };
                bound.map(|v| Self::Bytes(v.as_bytes().to_vec()))
            }
            Statistics::FixedLenByteArray(v) => {
                let bound = if largest { v.max_opt() } else { v.min_opt() };
                bound.and_then(|v| big_endian(v.as_bytes())).map(Self::Integer)
            }
            Statistics::Int96(_) => None,
        };
        found.unwrap_or(Self::Unknown)
    }

    fn join(self, chunk: &Statistics, largest: bool) -> Self {
        let other = Self::of(chunk, largest);
        let other_wins = match (&self, &other) {
            (Self::Unknown, _) => false,
            (_, Self::Unknown) | (Self::None, _) => true,
            (Self::Boolean(a), Self::Boolean(b)) => (b > a) == largest,
            (Self::Integer(a), Self::Integer(b)) => (b > a) == largest,
            (Self::Float(a), Self::Float(b)) => (b > a) == largest,
            (Self::Bytes(a), Self::Bytes(b)) => (b > a) == largest,
            _ => false,
        };
        if other_wins { other } else { self }
    }

    fn json(&self, column: &ColumnDescriptor, largest: bool) -> Option<Box<RawValue>> {
        match (self, column.logical_type_ref()) {
            (Self::Boolean(value), _) => raw(value),
            // A bound of zero may stand for either of its signs.
            (Self::Float(value), _) if *value == 0.0 => raw(&0.0),
            (Self::Float(value), _) if value.is_finite() => raw(value),
            (Self::Integer(days), Some(LogicalType::Date)) => {
                let date = NaiveDate::from_epoch_days(i32::try_from(*days).ok()?)?;
                raw(&date.format("%Y-%m-%d").to_string())
            }
            (Self::Integer(micros), Some(LogicalType::Timestamp(timestamp))) => {
                // The log has milliseconds: a smaller least and a larger greatest one keep every row inside.
                let micros = i64::try_from(*micros).ok()?;
                let millis = if largest { -(-micros).div_euclid(1000) } else { micros.div_euclid(1000) };
                let text =
                    DateTime::from_timestamp_millis(millis)?.format("%Y-%m-%dT%H:%M:%S%.3f").to_string();
                raw(&(text + if timestamp.is_adjusted_to_u_t_c { "Z" } else { "" }))
            }
            (Self::Integer(value), Some(LogicalType::Decimal(decimal))) => {
                RawValue::from_string(decimal_text(*value, usize::try_from(decimal.scale).ok()?)).ok()
            }
            (Self::Integer(value), _) => RawValue::from_string(value.to_string()).ok(),
            (Self::Bytes(text), Some(LogicalType::String)) => raw(&std::str::from_utf8(text).ok()?),
            _ => None,
        }
    }
}

fn raw<T: Serialize>(value: &T) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    (bytes.len() <= 16).then(|| {
        bytes.iter().fold(if negative { -1 } else { 0 }, |value: i128, byte| value << 8 | i128::from(*byte))
    })
}

fn decimal_text(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
