//! `<table>_pairs.jsonl`: rows as they arrive and as the pipeline's cleaning shows them.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use connector_core::arrow::array::{Array, AsArray, BinaryArray, Int64Array};
use connector_core::arrow::datatypes::Int64Type;
use connector_core::envelope::{EnvelopeBuilder, OFFSET, VALUE};
use connector_core::{ConfigMap, Form, Meta, TaskInfo, TopicPartition, Transform};
use connector_runtime::convert;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::recording::Recording;
use crate::support::block_on;
use crate::tally::Tally;

#[derive(serde::Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    raw: &'a RawValue,
    /// `null`, or nothing: the row has to be rejected.
    clean: Option<Value>,
    error: Option<Value>,
}

pub fn replay(recording: &Recording) {
    let cleaner = match recording.file.split('_').next() {
        Some("pinterest") => "pin-cleaner",
        Some("geolocation") => "geo-cleaner",
        Some("user") => "user-cleaner",
        _ => return println!("golden: {}: not yet: {} cases", recording.file, recording.lines.len()),
    };
    let mut tally = Tally::new(&recording.file);
    let pairs: Vec<Pair<'_>> = recording
        .lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file)))
        .collect();
    // In one batch, and each row alone: a row's neighbours must not matter.
    let rows: Vec<&str> = pairs.iter().map(|pair| pair.raw.get()).collect();
    let together = cleaned(cleaner, &rows);
    for (at, (pair, together)) in pairs.iter().zip(together).enumerate() {
        let alone = cleaned(cleaner, &rows[at..=at]).remove(0);
        let result = compare(pair, &alone).and_then(|()| {
            compare(pair, &together)
                .map_err(|error| format!("right when alone, but among the others: {error}"))
        });
        let case: Value = serde_json::from_str(&recording.lines[at]).unwrap();
        let number = format!("line {}", at + 1);
        tally.add(case["id"].as_str().unwrap_or(&number), cleaner, &case, result);
    }
    tally.finish();
}

fn compare(pair: &Pair<'_>, cleaned: &Result<String, String>) -> Result<(), String> {
    match (pair.clean.as_ref().filter(|_| pair.error.is_none()), cleaned) {
        (None, Err(_)) => Ok(()),
        (None, Ok(row)) => Err(format!("has to be rejected, but becomes {row}")),
        (Some(_), Err(error)) => Err(format!("rejected: {error}")),
        (Some(clean), Ok(row)) => same_row(clean, &serde_json::from_str(row).map_err(|e| e.to_string())?),
    }
}

/// The same columns in the same order with the same values; instants may be spelled differently.
fn same_row(clean: &Value, row: &Value) -> Result<(), String> {
    let (Value::Object(clean), Value::Object(row)) = (clean, row) else {
        return Err(format!("no object: {row}"));
    };
    let (want, have): (Vec<_>, Vec<_>) = (clean.keys().collect(), row.keys().collect());
    if want != have {
        return Err(format!("columns {have:?}, not {want:?}"));
    }
    let differs = clean.iter().find(|(column, value)| !same(value, &row[*column]));
    differs.map_or(Ok(()), |(column, value)| Err(format!("{column} is {}, not {value}", row[column])))
}

fn same(clean: &Value, value: &Value) -> bool {
    match (clean, value) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::String(a), Value::String(b)) => a == b || instant(a).is_some_and(|a| Some(a) == instant(b)),
        _ => clean == value,
    }
}

fn instant(text: &str) -> Option<DateTime<FixedOffset>> {
    let with_zone = |format| DateTime::parse_from_str(text, format).ok();
    DateTime::parse_from_rfc3339(text).ok().or_else(|| with_zone("%Y-%m-%dT%H:%M:%S%.f%z"))
}

/// Each row as JSON after the cleaner, or why it was rejected.
fn cleaned(cleaner: &str, rows: &[&str]) -> Vec<Result<String, String>> {
    let cleaner = transform(cleaner);
    let no_schema = ConfigMap::from([("schemas.enable".to_owned(), "false".to_owned())]);
    let converter = convert::converter("JsonConverter", &no_schema, false).unwrap();
    let values = Arc::new(BinaryArray::from_iter_values(rows));
    let offsets = Int64Array::from_iter_values(0..rows.len() as i64);
    let records = EnvelopeBuilder::new().offsets(offsets).value(Form::Bytes, values).build().unwrap();

    let mut results: Vec<Result<String, String>> = rows.iter().map(|_| Err("filtered".to_owned())).collect();
    let offset_of = |records: &connector_core::arrow::array::RecordBatch, row: usize| {
        usize::try_from(records[OFFSET].as_primitive::<Int64Type>().value(row)).unwrap()
    };
    let decoded = block_on(converter.decode(records.clone(), VALUE, &cleaner.needs())).unwrap();
    for rejection in decoded.rejected {
        results[offset_of(&records, rejection.row)] = Err(rejection.error.to_string());
    }
    let meta = Meta { partition: TopicPartition::new("golden", 0) };
    for run in decoded.runs {
        let given = run.records;
        let transformed = cleaner.apply(given.clone(), &meta).unwrap();
        for rejection in transformed.rejected {
            results[offset_of(&given, rejection.row)] = Err(rejection.error.to_string());
        }
        for run in transformed.runs {
            let encoded = block_on(converter.encode(run.records, VALUE)).unwrap();
            for run in encoded.runs {
                let values = run.records[VALUE].as_binary::<i32>();
                for row in 0..values.len() {
                    results[offset_of(&run.records, row)] =
                        Ok(String::from_utf8(values.value(row).to_vec()).unwrap());
                }
            }
        }
    }
    results
}

fn transform(name: &str) -> Arc<dyn Transform> {
    let all = transforms::components();
    let component = all.iter().find(|component| component.name == name);
    let component = component.unwrap_or_else(|| panic!("there is no transform {name}"));
    let config = component.check(&ConfigMap::new()).unwrap();
    component.create_transform(&config, &TaskInfo::default()).unwrap()
}
