//! The time of a record, and the directory of its bucket.

use chrono::Utc;
use connector_core::{Batch, ConnectError, Envelope, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::date_text;
use super::field::{Datum, Field, FieldPath};
use super::pattern::Pattern;
use super::zone::Zone;

/// `timestamp.extractor`: which time of a record names its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Extractor {
    /// When it is written. A record that is read again after a crash may come into another directory, so delivery is
    /// at least once.
    #[default]
    #[serde(
        alias = "Wallclock",
        alias = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner$WallclockTimestampExtractor"
    )]
    Wallclock,
    /// Its timestamp in Kafka.
    #[serde(
        alias = "Record",
        alias = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner$RecordTimestampExtractor"
    )]
    Record,
    /// The field `timestamp.field` of its value: epoch milliseconds, a date, or ISO 8601 text.
    #[serde(
        alias = "RecordField",
        alias = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner$RecordFieldTimestampExtractor"
    )]
    RecordField,
}

/// How a time names a directory.
#[derive(Clone, Debug)]
pub struct TimeRule {
    pub pattern: Pattern,
    /// Length of a bucket, at least 1.
    pub duration_ms: i64,
    pub zone: Zone,
    pub extractor: Extractor,
    pub field: FieldPath,
}

/// The times of a batch's records.
pub enum Times<'a> {
    Now(i64),
    Record(Option<&'a arrow::array::TimestampMillisecondArray>),
    Field(Field<'a>, &'a FieldPath),
}

impl TimeRule {
    pub fn times<'a>(&'a self, batch: &'a Batch) -> Result<Times<'a>> {
        let envelope = Envelope::of(&batch.records)?;
        Ok(match self.extractor {
            Extractor::Wallclock => Times::Now(Utc::now().timestamp_millis()),
            Extractor::Record => Times::Record(envelope.timestamps()),
            Extractor::RecordField => {
                Times::Field(Field::of(envelope.value(), envelope.value_form(), &self.field)?, &self.field)
            }
        })
    }

    /// The start of the bucket of an instant, on the zone's clock. It rounds towards 1970, also before it (S3G-086).
    pub fn bucket(&self, instant_ms: i64) -> Result<i64> {
        let local = self.zone.offset_ms(instant_ms).and_then(|offset| instant_ms.checked_add(offset));
        local.map(|local| local / self.duration_ms * self.duration_ms).ok_or_else(out_of_range)
    }

    /// Appends the directory of a bucket.
    pub fn write(&self, bucket_ms: i64, out: &mut String) -> Result<()> {
        let instant = self.zone.instant_ms(bucket_ms).ok_or_else(out_of_range)?;
        if self.pattern.write(instant, self.zone, out) { Ok(()) } else { Err(out_of_range()) }
    }
}

impl Times<'_> {
    /// Epoch milliseconds of the record in `row`. A record without a value has no fields: its timestamp stands in.
    pub fn get(&self, row: usize, batch: &Batch, tombstone: bool) -> Result<i64> {
        match self {
            Self::Now(now) => Ok(*now),
            Self::Record(times) => record_time(*times, row),
            Self::Field(..) if tombstone => record_time(Envelope::of(&batch.records)?.timestamps(), row),
            Self::Field(field, path) => field_time(field.get(row), &path.name),
        }
    }
}

fn record_time(times: Option<&arrow::array::TimestampMillisecondArray>, row: usize) -> Result<i64> {
    use arrow::array::Array;
    times.filter(|times| times.is_valid(row)).map(|times| times.value(row)).ok_or_else(|| {
        ConnectError::user("s3.no_timestamp", "the record has no timestamp")
            .hint("use another `timestamp.extractor`, or a topic whose messages have timestamps")
    })
}

fn field_time(datum: Datum<'_>, name: &str) -> Result<i64> {
    let wrong = |message: String| {
        Err(ConnectError::user("s3.timestamp_field", message)
            .hint("`timestamp.field` has to name epoch milliseconds, a date, or text in ISO 8601 form"))
    };
    match datum {
        Datum::Integer(ms) | Datum::Instant(ms) => Ok(ms),
        // As Java casts it: the fraction is dropped.
        Datum::Number(text) => match text.parse::<f64>() {
            Ok(number) if number.abs() < 9.3e18 => Ok(number as i64),
            _ => wrong(format!(
                "Error extracting timestamp from record field: {name}: the number is too large"
            )),
        },
        Datum::Text(text) => match date_text::parse(&text) {
            Some(ms) => Ok(ms),
            None => wrong(format!("Invalid format: the text in the field `{name}` is no time")),
        },
        Datum::Missing | Datum::Null => wrong(format!("The field '{name}' does not exist.")),
        Datum::Boolean(_) => {
            wrong(format!("Error extracting timestamp from record field: {name}: it is a boolean"))
        }
        Datum::Other(what) => {
            wrong(format!("Error extracting timestamp from record field: {name}: it is {what}"))
        }
    }
}

fn out_of_range() -> ConnectError {
    ConnectError::user("s3.timestamp_range", "the record's time is beyond the years that a date can have")
        .hint("correct the time in the producer; it is in milliseconds")
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;

    fn directory(pattern: &str, duration_ms: i64, zone: &str, instant_ms: i64) -> String {
        let rule = TimeRule {
            pattern: Pattern::parse(pattern, Names::of("en").unwrap()).unwrap(),
            duration_ms,
            zone: Zone::parse(zone).unwrap(),
            extractor: Extractor::Record,
            field: FieldPath::new("timestamp"),
        };
        let mut out = String::new();
        rule.write(rule.bucket(instant_ms).unwrap(), &mut out).unwrap();
        out
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_bucket_is_counted_on_the_zones_clock_s3g_078_079_084_086() {
        let hours = "MM-dd/HH";
        let new_york = |ms| directory(hours, HOUR, "America/New_York", ms);
        // 01:00, then 03:00: the clock jumps over 02:00.
        assert_eq!(new_york(1_710_050_400_000), "03-10/01");
        assert_eq!(new_york(1_710_054_000_000), "03-10/03");
        // 01:30 twice.
        assert_eq!(new_york(1_730_611_800_000), "11-03/01");
        assert_eq!(new_york(1_730_615_400_000), "11-03/01");
        assert_eq!(directory("YYYY-MM-dd", 7 * 24 * HOUR, "UTC", 1_704_067_140_000), "2023-12-28");
        assert_eq!(directory("YYYY-MM-dd/HH", HOUR, "UTC", -1), "1970-01-01/00");
        assert_eq!(directory("YYYY-MM-dd/HH", HOUR, "UTC", -HOUR - 1), "1969-12-31/23");
    }

    #[test]
    fn a_day_without_midnight_begins_when_the_clock_goes_on() {
        // Beirut's clocks go from 23:59:59 to 01:00 on 2024-03-31.
        assert_eq!(directory("MM-dd/HH", 24 * HOUR, "Asia/Beirut", 1_711_886_400_000), "03-31/01");
    }

    #[test]
    fn fields_of_each_kind_have_a_time_or_an_error_that_does_not_show_them() {
        let time = |datum| field_time(datum, "ts");
        assert_eq!(time(Datum::Integer(-1)).unwrap(), -1);
        assert_eq!(time(Datum::Number("1704067200000.9")).unwrap(), 1_704_067_200_000);
        assert_eq!(time(Datum::Text("2024-01-01".into())).unwrap(), 1_704_067_200_000);
        for (datum, said) in [
            (Datum::Missing, "does not exist"),
            (Datum::Null, "does not exist"),
            (Datum::Boolean(true), "boolean"),
            (Datum::Other("a floating-point number".into()), "floating-point"),
            (Datum::Number("1e300"), "too large"),
            (Datum::Text("hunter2".into()), "`ts` is no time"),
        ] {
            let error = time(datum).unwrap_err().to_string();
            assert!(
                error.contains(said) && error.contains("timestamp.field") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
