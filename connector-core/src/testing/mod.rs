//! Conformance suites: what every source, transform and sink keeps, natively and through the plugin boundary.
//!
//! A suite is an async function that panics with a sentence on the first promise that is broken. It needs a tokio
//! runtime and nothing else, so it runs under any test framework:
//!
//! ```ignore
//! #[tokio::test]
//! async fn conforms() {
//!     let component = Component::sink::<MySink>(env!("CARGO_PKG_VERSION"));
//!     let case = SinkCase::new(component, testing::config(&[("dir", "/tmp/x")]), || async { lines_in("/tmp/x") });
//!     testing::sink::run_both(&case).await;
//! }
//! ```

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};

use crate::batch::{Offset, TopicPartition};
use crate::component::Component;
use crate::config::ConfigMap;
use crate::envelope::{EnvelopeBuilder, Form};
use crate::json::{DecimalFormat, Encoder};

pub mod sink;
pub mod source;
pub mod transform;

pub use sink::SinkCase;
pub use source::SourceCase;
pub use transform::TransformCase;

/// A flat configuration from pairs.
pub fn config(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Records that say in their value where they belong: `{"topic":"t","partition":0,"offset":7}`.
/// The timestamp of offset n is n seconds after 1970-01-01, its key the bytes of `key-n`.
pub fn records(form: Form, partition: &TopicPartition, offsets: Range<Offset>) -> RecordBatch {
    records_with(form, partition, offsets, |_| false)
}

/// As [`records`], with a null value (a tombstone) at each offset that `null` picks.
pub fn records_with(
    form: Form,
    partition: &TopicPartition,
    offsets: Range<Offset>,
    null: impl Fn(Offset) -> bool,
) -> RecordBatch {
    let text = |offset: Offset| {
        let (topic, partition) = (&partition.topic, partition.partition);
        (!null(offset)).then(|| format!(r#"{{"topic":"{topic}","partition":{partition},"offset":{offset}}}"#))
    };
    let values: Vec<_> = offsets.clone().map(text).collect();
    let value: ArrayRef = match form {
        Form::Bytes => {
            Arc::new(values.iter().map(|v| v.as_deref().map(str::as_bytes)).collect::<BinaryArray>())
        }
        Form::Document => Arc::new(StringArray::from(values)),
        Form::Columns => panic!("conformance: records with columns come from the case: call `.records(…)`"),
    };
    let keys: Vec<_> = offsets.clone().map(|offset| Some(format!("key-{offset}"))).collect();
    EnvelopeBuilder::new()
        .offsets(Int64Array::from_iter_values(offsets.clone()))
        .timestamps(TimestampMillisecondArray::from_iter_values(offsets.map(|offset| offset * 1000)))
        .key(
            Form::Bytes,
            Arc::new(keys.iter().map(|k| k.as_deref().map(str::as_bytes)).collect::<BinaryArray>()),
        )
        .value(form, value)
        .build()
        .unwrap_or_else(|error| panic!("conformance: cannot build records: {error}"))
}

/// Where a value made by [`records`] belongs; `None` for any other text.
pub fn position_of(value: &[u8]) -> Option<(TopicPartition, Offset)> {
    let value: serde_json::Value = serde_json::from_slice(value).ok()?;
    let partition = i32::try_from(value.get("partition")?.as_i64()?).ok()?;
    Some((TopicPartition::new(value.get("topic")?.as_str()?, partition), value.get("offset")?.as_i64()?))
}

/// A number that no other run of this process has, so that runs do not meet in one target.
fn unique() -> u32 {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

/// The value, or a panic that says what was being done.
fn ok<T, E: Display>(result: Result<T, E>, doing: impl Display) -> T {
    result.unwrap_or_else(|error| panic!("conformance: {doing} failed: {error}"))
}

/// Each row of a batch as text, all columns.
fn rows(records: &RecordBatch) -> Vec<String> {
    let schema = records.schema();
    // Not with arrow's own formatting: that does not know the time zone UTC by its name.
    let mut columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(records.columns())
        .map(|(field, column)| {
            (field.name(), ok(Encoder::new(field, column, DecimalFormat::Numeric), "formatting a column"))
        })
        .collect();
    (0..records.num_rows())
        .map(|row| {
            let mut text = Vec::new();
            for (name, column) in &mut columns {
                text.extend_from_slice(name.as_bytes());
                text.push(b'=');
                column.encode(row, &mut text);
                text.push(b' ');
            }
            String::from_utf8_lossy(&text).into_owned()
        })
        .collect()
}

/// The checks of a configuration that are the same for each kind of plugin.
fn check_configuration(component: &Component, config: &ConfigMap) {
    let name = &component.name;
    for attempt in ["first", "second"] {
        if let Err(problems) = component.validate(config) {
            let list: Vec<_> = problems.iter().map(ToString::to_string).collect();
            panic!(
                "conformance: `{name}` refuses the case's configuration ({attempt} time): {}",
                list.join("; ")
            );
        }
    }
    let required: Vec<_> =
        crate::config::keys(&component.schema).into_iter().filter(|key| key.required).collect();
    if required.is_empty() {
        return;
    }
    let Err(problems) = component.validate(&ConfigMap::new()) else {
        panic!(
            "conformance: `{name}` accepts an empty configuration although `{}` is required",
            required[0].name
        );
    };
    for key in required {
        assert!(
            problems.iter().any(|problem| problem.key == key.name),
            "conformance: `{name}` does not report that `{}` is missing",
            key.name
        );
    }
}

#[cfg(test)]
mod tests;
