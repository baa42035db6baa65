//! Which files cannot hold any of the wanted keys, by their statistics and partition values alone.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use chrono::{DateTime, NaiveDate};
use connector_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::key::KeyColumns;

/// The wanted values of each key column that statistics can speak about.
#[derive(Debug, Default)]
pub struct Bounds {
    columns: Vec<(String, DataType, Wanted)>,
}

/// Ascending and distinct.
#[derive(Debug)]
enum Wanted {
    /// Integers; days of a date; microseconds of a timestamp.
    Numbers(Vec<i64>),
    Texts(Vec<String>),
}

/// The part of a file's statistics that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(default)]
    min_values: HashMap<String, Value>,
    #[serde(default)]
    max_values: HashMap<String, Value>,
}

impl Bounds {
    /// From all rows of `batches`, which have at least the key columns.
    pub fn of<'a>(keys: &KeyColumns, batches: impl Iterator<Item = &'a RecordBatch>) -> Result<Self> {
        let mut values: Vec<Option<Wanted>> =
            keys.fields().iter().map(|field| Wanted::empty(field.data_type())).collect();
        for batch in batches {
            for (wanted, column) in values.iter_mut().zip(keys.columns(batch)?) {
                // A null matches nulls, of which minimum and maximum say nothing.
                match wanted {
                    Some(wanted) if column.null_count() == 0 => wanted.add(&column)?,
                    _ => *wanted = None,
                }
            }
        }
        let named = keys.fields().iter().zip(values).filter_map(|(field, wanted)| {
            Some((field.name().clone(), field.data_type().clone(), wanted?.sorted()))
        });
        Ok(Self { columns: named.collect() })
    }

    /// False only if no row of the file can have a wanted key. `stats` is the JSON text of the log; what it does not say
    /// or says in an unknown form excludes nothing.
    pub fn may_match(&self, stats: Option<&str>, partition: &HashMap<String, Option<String>>) -> bool {
        let stats: Option<Stats> = stats.and_then(|text| serde_json::from_str(text).ok());
        self.columns.iter().all(|(name, data_type, wanted)| match (partition.get(name), &stats) {
            // Wanted keys have no nulls here, and a partition of nulls has nothing else.
            (Some(None), _) => false,
            (Some(Some(value)), _) => wanted.any_within(data_type, &text(value), &text(value)),
            (None, Some(Stats { min_values, max_values })) => {
                match (min_values.get(name), max_values.get(name)) {
                    (Some(low), Some(high)) => wanted.any_within(data_type, low, high),
                    _ => true,
                }
            }
            (None, None) => true,
        })
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

impl Wanted {
    fn empty(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 => {
                Some(Self::Numbers(Vec::new()))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => Some(Self::Numbers(Vec::new())),
            DataType::Utf8 => Some(Self::Texts(Vec::new())),
            _ => None,
        }
    }

    fn add(&mut self, column: &ArrayRef) -> Result<()> {
        match self {
            Self::Numbers(numbers) => {
                // Dates go to numbers of days only by way of the integer of their own width.
                let column = match column.data_type() {
                    DataType::Date32 => cast(column, &DataType::Int32)?,
                    _ => ArrayRef::clone(column),
                };
                let column = cast(&column, &DataType::Int64)?;
                numbers.extend_from_slice(column.as_primitive::<Int64Type>().values());
            }
            Self::Texts(texts) => texts.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned)),
        }
        Ok(())
    }

    fn sorted(self) -> Self {
        match self {
            Self::Numbers(mut numbers) => {
                numbers.sort_unstable();
                numbers.dedup();
                Self::Numbers(numbers)
            }
            Self::Texts(mut texts) => {
                texts.sort_unstable();
                texts.dedup();
                Self::Texts(texts)
            }
        }
    }

    /// Whether a wanted value is in `low..=high`; true if these cannot be read.
    fn any_within(&self, data_type: &DataType, low: &Value, high: &Value) -> bool {
        match self {
            Self::Numbers(numbers) => match (number(data_type, low), number(data_type, high)) {
                (Some(low), Some(high)) => {
                    // Timestamps in statistics are cut to milliseconds.
                    let slack = if matches!(data_type, DataType::Timestamp(..)) { 999 } else { 0 };
                    any_within(numbers, &low, &high.saturating_add(slack))
                }
                _ => true,
            },
            // Long texts are cut: the minimum to a prefix, which is smaller, the maximum to something greater.
            Self::Texts(texts) => match (low.as_str(), high.as_str()) {
                (Some(low), Some(high)) => {
                    let from = texts.partition_point(|text| text.as_str() < low);
                    texts.get(from).is_some_and(|text| text.as_str() <= high)
                }
                _ => true,
            },
        }
    }
}

fn any_within(sorted: &[i64], low: &i64, high: &i64) -> bool {
    let from = sorted.partition_point(|value| value < low);
    sorted.get(from).is_some_and(|value| value <= high)
}

/// A bound as statistics (JSON numbers, ISO texts) or partition values (texts) give it.
fn number(data_type: &DataType, value: &Value) -> Option<i64> {
    match (data_type, value) {
        (DataType::Date32, Value::String(text)) => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(date.signed_duration_since(NaiveDate::default()).num_days())
        }
        (DataType::Timestamp(..), Value::String(text)) => {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            // Whole milliseconds are what all writers agree on; more digits only narrow what is kept.
            Some(time.timestamp_micros())
        }
        (_, Value::Number(number)) => number.as_i64(),
        (DataType::Date32 | DataType::Timestamp(..), _) => None,
        (_, Value::String(text)) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::Schema;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bounds(column: ArrayRef) -> Bounds {
        let batch = RecordBatch::try_from_iter_with_nullable([("k", column, true)]).unwrap();
        let schema: &Schema = batch.schema_ref();
        let keys = KeyColumns::new("delta.key.columns", &["k".to_owned()], schema).unwrap();
        Bounds::of(&keys, [&batch].into_iter()).unwrap()
    }

    fn within(bounds: &Bounds, low: Value, high: Value) -> bool {
        let stats = json!({"numRecords": 2, "minValues": {"k": low}, "maxValues": {"k": high}, "nullCount": {"k": 0}});
        bounds.may_match(Some(&stats.to_string()), &HashMap::new())
    }

    fn in_partition(bounds: &Bounds, value: Option<&str>) -> bool {
        bounds.may_match(None, &HashMap::from([("k".to_owned(), value.map(str::to_owned))]))
    }

    #[test]
    fn a_range_between_two_wanted_numbers_is_excluded() {
        let bounds = bounds(Arc::new(Int64Array::from(vec![100, 1])));
        assert!(within(&bounds, json!(0), json!(1)) && within(&bounds, json!(100), json!(100)));
        assert!(!within(&bounds, json!(2), json!(99)) && !within(&bounds, json!(101), json!(900)));
        assert!(in_partition(&bounds, Some("100")) && !in_partition(&bounds, Some("50")));
        assert!(!in_partition(&bounds, None));
    }

    #[test]
    fn dates_texts_and_timestamps_are_compared_as_the_log_writes_them() {
        let days = bounds(Arc::new(Date32Array::from(vec![18_262]))); // 2020-01-01
        assert!(within(&days, json!("2019-12-31"), json!("2020-01-01")));
        assert!(
            !within(&days, json!("2020-01-02"), json!("2020-02-01"))
                && !in_partition(&days, Some("2021-01-01"))
        );
        let texts = bounds(Arc::new(StringArray::from(vec!["m"])));
        assert!(within(&texts, json!("a"), json!("m")) && !within(&texts, json!("ma"), json!("z")));
        let at = TimestampMicrosecondArray::from(vec![1_577_836_800_000_999]).with_timezone("UTC");
        let times = bounds(Arc::new(at)); // 2020-01-01T00:00:00.000999Z: its file's maximum is cut to .000
        assert!(within(&times, json!("2019-01-01T00:00:00.000Z"), json!("2020-01-01T00:00:00.000Z")));
        assert!(!within(&times, json!("2020-01-01T00:00:00.001Z"), json!("2021-01-01T00:00:00.000Z")));
    }

    #[test]
    fn what_is_not_said_excludes_nothing() {
        let numbers = bounds(Arc::new(Int64Array::from(vec![7])));
        assert!(numbers.may_match(None, &HashMap::new()));
        assert!(numbers.may_match(Some("no JSON"), &HashMap::new()));
        assert!(within(&numbers, json!(null), json!(null)) && within(&numbers, json!("a"), json!(1)));
        let nulls = bounds(Arc::new(Int64Array::from(vec![Some(7), None])));
        assert!(
            within(&nulls, json!(8), json!(9)),
            "the wanted null is outside of what minimum and maximum tell"
        );
    }

    proptest! {
        #[test]
        fn no_file_that_holds_a_wanted_key_is_excluded(
            wanted in prop::collection::vec(any::<i64>(), 1..20),
            mut file in prop::collection::vec(any::<i64>(), 1..20),
            taken in any::<prop::sample::Index>(),
        ) {
            file.push(wanted[taken.index(wanted.len())]);
            let bounds = bounds(Arc::new(Int64Array::from(wanted)));
            prop_assert!(within(&bounds, json!(file.iter().min()), json!(file.iter().max())));
        }

        #[test]
        fn statistics_of_any_form_do_no_harm(text in ".{0,80}") {
            bounds(Arc::new(Int64Array::from(vec![7]))).may_match(Some(&text), &HashMap::new());
        }
    }
}
