//! From single values to Arrow columns.

use arrow::array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder,
    Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    Time32MillisecondBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    TimestampMillisecondBuilder, UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, i256};
use arrow::error::ArrowError;
use chrono_tz::Tz;
use std::sync::Arc;

use crate::column::Kind;
use crate::config::TimestampGranularity;
use crate::moment;

/// One value as a database's driver hands it over.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float32(f32),
    Float64(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01.
    Timestamp(i64),
    List(Vec<Cell<'a>>),
}

/// Why a value does not fit its column; says nothing of the value.
pub type Misfit = &'static str;

const OTHER_TYPE: Misfit = "a value of another type than the column's";
const TOO_LARGE: Misfit = "a number that does not fit the column's type";

/// A column that grows.
pub struct Cells {
    kind: Kind,
    zone: Tz,
    builder: Builder,
    rows: usize,
    /// Bytes that were appended, roughly.
    bytes: usize,
}

enum Builder {
    Bool(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder),
    Decimal256(Decimal256Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    TimeMillis(Time32MillisecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampMillis(TimestampMillisecondBuilder),
    List { item: Box<Cells>, offsets: Vec<i32>, valid: Vec<bool> },
}

impl Builder {
    fn new(kind: &Kind, zone: Tz) -> Self {
        use TimestampGranularity as G;
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int8 => Self::Int8(Int8Builder::new()),
            Kind::Int16 => Self::Int16(Int16Builder::new()),
            Kind::Int32 => Self::Int32(Int32Builder::new()),
            Kind::Int64 | Kind::Moment { granularity: G::MicrosLong | G::NanosLong, .. } => {
                Self::Int64(Int64Builder::new())
            }
            Kind::UInt8 => Self::UInt8(UInt8Builder::new()),
            Kind::UInt16 => Self::UInt16(UInt16Builder::new()),
            Kind::UInt32 => Self::UInt32(UInt32Builder::new()),
            Kind::UInt64 => Self::UInt64(UInt64Builder::new()),
            Kind::Float32 => Self::Float32(Float32Builder::new()),
            Kind::Float64 => Self::Float64(Float64Builder::new()),
            Kind::Decimal { precision, .. } if *precision <= 38 => {
                Self::Decimal128(Decimal128Builder::new().with_data_type(kind.data_type()))
            }
            Kind::Decimal { .. } => {
                Self::Decimal256(Decimal256Builder::new().with_data_type(kind.data_type()))
            }
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Date | Kind::LogicalDate => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::LogicalTime => Self::TimeMillis(Time32MillisecondBuilder::new()),
            Kind::Timestamp { .. } => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(kind.data_type()))
            }
            Kind::Moment { granularity: G::ConnectLogical, .. } => {
                Self::TimestampMillis(TimestampMillisecondBuilder::new().with_data_type(kind.data_type()))
            }
            Kind::Numeric | Kind::Text | Kind::Moment { .. } => Self::Text(StringBuilder::new()),
            Kind::List(item) => Self::List {
                item: Box::new(Cells::new((**item).clone(), zone)),
                offsets: vec![0],
                valid: Vec::new(),
            },
        }
    }
}

/// Appends to any of the integer builders.
macro_rules! integer {
    ($builder:expr, $cell:expr) => {
        $builder.append_value(match $cell {
            Cell::Int(n) => n.try_into().map_err(|_| TOO_LARGE)?,
            Cell::UInt(n) => n.try_into().map_err(|_| TOO_LARGE)?,
            Cell::Text(digits) => {
                let unscaled = unscaled(digits, 0)?;
                unscaled.parse().map_err(|_| TOO_LARGE)?
            }
            _ => return Err(OTHER_TYPE),
        })
    };
}

macro_rules! nothing {
    ($self:expr, $($variant:ident),*) => {
        match &mut $self.builder {
            $(Builder::$variant(b) => b.append_null(),)*
            Builder::List { item, offsets, valid } => {
                offsets.push(item.rows as i32);
                valid.push(false);
            }
        }
    };
}

impl Cells {
    /// `zone`: of times without one, when they have to become instants.
    pub fn new(kind: Kind, zone: Tz) -> Self {
        Self { builder: Builder::new(&kind, zone), kind, zone, rows: 0, bytes: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, cell: Cell<'_>) -> Result<(), Misfit> {
        self.rows += 1;
        self.bytes += 8;
        if cell == Cell::Null {
            nothing!(
                self,
                Bool,
                Int8,
                Int16,
                Int32,
                Int64,
                UInt8,
                UInt16,
                UInt32,
                UInt64,
                Float32,
                Float64,
                Decimal128,
                Decimal256,
                Text,
                Bytes,
                Date,
                Time,
                TimeMillis,
                Timestamp,
                TimestampMillis
            );
            return Ok(());
        }
        match (&mut self.builder, cell) {
            (_, Cell::Timestamp(micros)) => return self.push_timestamp(micros),
            (Builder::Bool(b), Cell::Bool(v)) => b.append_value(v),
            (Builder::Int8(b), cell) => integer!(b, cell),
            (Builder::Int16(b), cell) => integer!(b, cell),
            (Builder::Int32(b), cell) => integer!(b, cell),
            (Builder::Int64(b), cell) => integer!(b, cell),
            (Builder::UInt8(b), cell) => integer!(b, cell),
            (Builder::UInt16(b), cell) => integer!(b, cell),
            (Builder::UInt32(b), cell) => integer!(b, cell),
            (Builder::UInt64(b), cell) => integer!(b, cell),
            (Builder::Float32(b), Cell::Float32(v)) => b.append_value(v),
            (Builder::Float64(b), Cell::Float64(v)) => b.append_value(v),
            (Builder::Float64(b), Cell::Text(digits)) => {
                b.append_value(digits.parse().map_err(|_| OTHER_TYPE)?)
            }
            (Builder::Decimal128(b), Cell::Text(digits)) => {
                b.append_value(unscaled(digits, scale(&self.kind))?.parse().map_err(|_| TOO_LARGE)?);
            }
            (Builder::Decimal256(b), Cell::Text(digits)) => {
                let unscaled = unscaled(digits, scale(&self.kind))?;
                b.append_value(i256::from_string(&unscaled).ok_or(TOO_LARGE)?);
            }
            (Builder::Text(b), Cell::Text(text)) => {
                self.bytes += text.len();
                b.append_value(text);
            }
            (Builder::Bytes(b), Cell::Bytes(bytes)) => {
                self.bytes += bytes.len();
                b.append_value(bytes);
            }
            (Builder::Date(b), Cell::Date(days)) => b.append_value(days),
            (Builder::Time(b), Cell::Time(micros)) => b.append_value(micros),
            (Builder::TimeMillis(b), Cell::Time(micros)) => {
                b.append_value(i32::try_from(micros / 1000).map_err(|_| TOO_LARGE)?);
            }
            (Builder::List { item, offsets, valid }, Cell::List(cells)) => {
                let before = item.bytes;
                for cell in cells {
                    item.push(cell)?;
                }
                self.bytes += item.bytes - before;
                offsets.push(i32::try_from(item.rows).map_err(|_| TOO_LARGE)?);
                valid.push(true);
            }
            _ => return Err(OTHER_TYPE),
        }
        Ok(())
    }

    fn push_timestamp(&mut self, micros: i64) -> Result<(), Misfit> {
        use TimestampGranularity as G;
        let (utc, granularity) = match (&self.kind, &mut self.builder) {
            (Kind::Timestamp { .. }, Builder::Timestamp(b)) => {
                b.append_value(micros);
                return Ok(());
            }
            (Kind::Moment { utc, granularity }, _) => (*utc, *granularity),
            _ => return Err(OTHER_TYPE),
        };
        // ISO texts show the clock as it stands; numbers count from an instant.
        let instant = || if utc { Ok(micros) } else { moment::instant(micros, self.zone) };
        let nanos =
            || instant()?.checked_mul(1000).ok_or("a time outside 1677 to 2262, too far for nanoseconds");
        match (&mut self.builder, granularity) {
            (Builder::TimestampMillis(b), G::ConnectLogical) => b.append_value(instant()?.div_euclid(1000)),
            (Builder::Int64(b), G::MicrosLong) => b.append_value(instant()?),
            (Builder::Int64(b), G::NanosLong) => b.append_value(nanos()?),
            (Builder::Text(b), G::MicrosString) => b.append_value(instant()?.to_string()),
            (Builder::Text(b), G::NanosString) => b.append_value(nanos()?.to_string()),
            (Builder::Text(b), G::MicrosIsoDatetimeString) => b.append_value(moment::iso(micros, "%.6f")?),
            (Builder::Text(b), G::NanosIsoDatetimeString) => b.append_value(moment::iso(micros, "%.9f")?),
            _ => return Err(OTHER_TYPE),
        }
        Ok(())
    }

    /// The column so far; starts a new one.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        Ok(match &mut self.builder {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int8(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::UInt8(b) => Arc::new(b.finish()),
            Builder::UInt16(b) => Arc::new(b.finish()),
            Builder::UInt32(b) => Arc::new(b.finish()),
            Builder::UInt64(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal128(b) => {
                let array = b.finish();
                array.validate_decimal_precision(array.precision())?;
                Arc::new(array)
            }
            Builder::Decimal256(b) => {
                let array = b.finish();
                array.validate_decimal_precision(array.precision())?;
                Arc::new(array)
            }
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytes(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::TimeMillis(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::TimestampMillis(b) => Arc::new(b.finish()),
            Builder::List { item, offsets, valid } => {
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                let nulls = NullBuffer::from(std::mem::take(valid));
                let items = item.finish()?;
                let field = Field::new("item", items.data_type().clone(), true);
                Arc::new(ListArray::try_new(Arc::new(field), offsets, items, Some(nulls))?)
            }
        })
    }
}

fn scale(kind: &Kind) -> usize {
    match kind {
        Kind::Decimal { scale, .. } => usize::try_from(*scale).unwrap_or(0),
        _ => 0,
    }
}

/// The digits of `text` (`-12.5`) without the point, with `scale` of them after it: `-1250` for scale 2.
fn unscaled(text: &str, scale: usize) -> Result<String, Misfit> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') {
        return Err("a number without a decimal form (NaN or infinite)");
    }
    let (kept, cut) = fraction.split_at(fraction.len().min(scale));
    if cut.bytes().any(|b| b != b'0') {
        return Err("a number with more digits after the point than the column declares");
    }
    Ok(format!("{whole}{kept}{:0<width$}", "", width = scale - kept.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    fn shown(kind: Kind, zone: Tz, cells: Vec<Cell<'_>>) -> Vec<String> {
        let mut column = Cells::new(kind.clone(), zone);
        for cell in cells {
            column.push(cell).unwrap();
        }
        let array = column.finish().unwrap();
        assert_eq!(array.data_type(), &kind.data_type());
        let format = ArrayFormatter::try_new(&array, &FormatOptions::new().with_null("null")).unwrap();
        (0..array.len()).map(|i| format.value(i).to_string()).collect()
    }

    #[test]
    fn decimals_keep_every_digit() {
        let kind = Kind::Decimal { precision: 38, scale: 4 };
        let texts = vec![Cell::Text("-0.5"), Cell::Text("12"), Cell::Null, Cell::Text("7.1200")];
        assert_eq!(shown(kind, Tz::UTC, texts), ["-0.5000", "12.0000", "null", "7.1200"]);
        let kind = Kind::Decimal { precision: 65, scale: 2 };
        let digits = "123456789012345678901234567890123456789012345678901234567890123.45";
        assert_eq!(shown(kind, Tz::UTC, vec![Cell::Text(digits)]), [digits]);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_rounded() {
        let mut column = Cells::new(Kind::Decimal { precision: 5, scale: 1 }, Tz::UTC);
        assert!(column.push(Cell::Text("1.25")).is_err());
        assert!(column.push(Cell::Text("NaN")).is_err());
        assert!(Cells::new(Kind::Int8, Tz::UTC).push(Cell::Int(128)).is_err());
        assert!(Cells::new(Kind::UInt64, Tz::UTC).push(Cell::Int(-1)).is_err());
        assert!(Cells::new(Kind::Text, Tz::UTC).push(Cell::Int(1)).is_err());
    }

    #[test]
    fn lists_keep_nulls_inside_and_outside() {
        let kind = Kind::List(Box::new(Kind::Int32));
        let cells = vec![
            Cell::List(vec![Cell::Int(1), Cell::Null]),
            Cell::Null,
            Cell::List(vec![]),
            Cell::List(vec![Cell::Int(2)]),
        ];
        assert_eq!(shown(kind, Tz::UTC, cells), ["[1, null]", "null", "[]", "[2]"]);
    }

    #[test]
    fn a_wall_clock_becomes_an_instant_only_where_a_number_is_wanted() {
        let granularity = |granularity| Kind::Moment { utc: false, granularity };
        let noon = || vec![Cell::Timestamp(1_593_604_800_000_000)]; // 2020-07-01T12:00:00
        let berlin = Tz::Europe__Berlin;
        assert_eq!(
            shown(granularity(TimestampGranularity::MicrosLong), berlin, noon()),
            ["1593597600000000"]
        );
        assert_eq!(
            shown(granularity(TimestampGranularity::MicrosIsoDatetimeString), berlin, noon()),
            ["2020-07-01T12:00:00.000000"]
        );
        assert_eq!(shown(Kind::Timestamp { utc: false }, berlin, noon()), ["2020-07-01T12:00:00"]);
        let skipped = vec![Cell::Timestamp(1_585_449_000_000_000)]; // 2020-03-29T02:30:00
        assert_eq!(
            shown(granularity(TimestampGranularity::MicrosLong), berlin, skipped),
            ["1585445400000000"]
        );
    }
}
