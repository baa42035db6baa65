//! A table's columns as the database declares them, and what their values become.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use connector_core::json;

use crate::config::{NumericMapping, TimestampGranularity};

/// What a column holds, before the configuration chooses how to represent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
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
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// PostgreSQL's `numeric` without a declared precision.
    Numeric,
    Text,
    Bytes,
    /// Days.
    Date,
    /// Time of day.
    Time,
    /// `utc`: an instant; otherwise what a clock on a wall shows.
    Timestamp {
        utc: bool,
    },
    /// A one-dimensional array.
    List(Box<Kind>),
    /// Represented as `timestamp.granularity` says.
    Moment {
        utc: bool,
        granularity: TimestampGranularity,
    },
    /// Connect's Date and Time.
    LogicalDate,
    LogicalTime,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// As the database writes it: `int(10) unsigned`.
    pub sql_type: String,
    /// `None` when there is no Arrow type for it.
    pub kind: Option<Kind>,
    pub nullable: bool,
    /// The database numbers new rows in it.
    pub generated: bool,
    /// Part of the primary key.
    pub primary: bool,
    /// What is appended to the name in SELECT: `::text`.
    pub cast: &'static str,
}

impl Kind {
    /// What the configuration makes of it.
    #[must_use]
    pub fn represented(self, numbers: NumericMapping, times: Option<TimestampGranularity>) -> Self {
        use NumericMapping::{BestFit, BestFitEagerDouble, None as Exact};
        match (self, times) {
            (Self::Decimal { precision, scale: 0 }, _) if numbers != Exact && precision < 19 => {
                match precision {
                    0..=2 => Self::Int8,
                    3..=4 => Self::Int16,
                    5..=9 => Self::Int32,
                    _ => Self::Int64,
                }
            }
            (Self::Decimal { precision, scale }, _)
                if scale > 0 && (numbers == BestFitEagerDouble || (numbers == BestFit && precision < 19)) =>
            {
                Self::Float64
            }
            (Self::Numeric, _) if matches!(numbers, BestFit | BestFitEagerDouble) => Self::Float64,
            (Self::Timestamp { utc }, Some(granularity)) => Self::Moment { utc, granularity },
            (Self::Date, Some(TimestampGranularity::ConnectLogical)) => Self::LogicalDate,
            (Self::Time, Some(TimestampGranularity::ConnectLogical)) => Self::LogicalTime,
            (other, _) => other,
        }
    }

    pub fn data_type(&self) -> DataType {
        use TimestampGranularity as G;
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } if *precision <= 38 => {
                DataType::Decimal128(*precision, *scale)
            }
            Self::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Numeric | Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date | Self::LogicalDate => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::LogicalTime => DataType::Time32(TimeUnit::Millisecond),
            Self::Timestamp { utc: false } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp { utc: true } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
            Self::Moment { granularity: G::ConnectLogical, .. } => {
                DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
            }
            Self::Moment { granularity: G::MicrosLong | G::NanosLong, .. } => DataType::Int64,
            Self::Moment { .. } => DataType::Utf8,
        }
    }

    /// The field of a column; Connect's logical types carry their name.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.data_type(), nullable);
        let logical = match self {
            Self::Moment { granularity: TimestampGranularity::ConnectLogical, .. } => json::TIMESTAMP,
            Self::LogicalDate => json::DATE,
            Self::LogicalTime => json::TIME,
            _ => return field,
        };
        field.with_metadata([(json::NAME.to_owned(), logical.to_owned())].into())
    }

    /// Whether values of this kind can grow by one and be an offset.
    pub fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::Int8
                | Self::Int16
                | Self::Int32
                | Self::Int64
                | Self::UInt8
                | Self::UInt16
                | Self::UInt32
                | Self::UInt64
        )
    }

    /// Whether a record's key can be made of it.
    pub fn is_key(&self) -> bool {
        !matches!(self, Self::Bytes | Self::List(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_numeric_mapping() {
        let of = |precision, scale, mapping| Kind::Decimal { precision, scale }.represented(mapping, None);
        assert_eq!(of(5, 2, NumericMapping::None), Kind::Decimal { precision: 5, scale: 2 });
        assert_eq!(of(5, 0, NumericMapping::PrecisionOnly), Kind::Int32);
        assert_eq!(of(5, 2, NumericMapping::PrecisionOnly), Kind::Decimal { precision: 5, scale: 2 });
        assert_eq!(of(18, 2, NumericMapping::BestFit), Kind::Float64);
        assert_eq!(of(19, 2, NumericMapping::BestFit), Kind::Decimal { precision: 19, scale: 2 });
        assert_eq!(of(19, 2, NumericMapping::BestFitEagerDouble), Kind::Float64);
        assert_eq!(of(19, 0, NumericMapping::BestFitEagerDouble), Kind::Decimal { precision: 19, scale: 0 });
    }

    #[test]
    fn connects_logical_types_carry_their_name() {
        let logical = Some(TimestampGranularity::ConnectLogical);
        let kind = Kind::Timestamp { utc: false }.represented(NumericMapping::None, logical);
        let field = kind.field("t", true);
        assert_eq!(field.metadata()["connect.name"], "org.apache.kafka.connect.data.Timestamp");
        assert!(Kind::Date.represented(NumericMapping::None, None).field("d", true).metadata().is_empty());
    }
}
