//! The sink against the Kinesis stand-ins of `tests/services`, with faults in between where a test asks for them.

#[path = "../../../../tests/support/kinesis_faults.rs"]
mod kinesis_faults;

mod conformance;
mod faults;
mod refusals;
mod service;
mod stream;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, FlushRange, Form, Offset, Sink, TaskInfo, TopicPartition, testing};

pub use stream::{Stream, kinesalite, moto};

/// A sink with the keys that every one needs, and `keys`.
pub fn sink(url: &str, stream: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let component = sink_kinesis::component();
    let config = component.check(&config(url, stream, keys)).unwrap();
    component.create_sink(&config, &TaskInfo::default()).unwrap()
}

pub fn config(url: &str, stream: &str, keys: &[(&str, &str)]) -> connector_core::ConfigMap {
    let mut map = testing::config(&[
        ("kinesis.stream", stream),
        ("kinesis.endpoint", url),
        ("kinesis.region", "us-east-1"),
        ("aws.access.key.id", "test"),
        ("aws.secret.access.key", "test-secret"),
    ]);
    map.extend(testing::config(keys));
    map
}

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("pins", number)
}

/// Documents with text keys, from offset `start` on.
pub fn documents(start: Offset, records: &[(Option<&str>, &str)]) -> Batch {
    let keys: BinaryArray = records.iter().map(|(key, _)| key.map(str::as_bytes)).collect();
    let values: StringArray = records.iter().map(|(_, value)| Some(*value)).collect();
    batch(start, Arc::new(keys), Form::Document, Arc::new(values))
}

pub fn batch(start: Offset, keys: ArrayRef, form: Form, values: ArrayRef) -> Batch {
    let offsets = Int64Array::from_iter_values(start..start + values.len() as i64);
    let records = EnvelopeBuilder::new().offsets(offsets).key(Form::Bytes, keys).value(form, values);
    Batch::new(partition(0), records.build().unwrap())
}

pub async fn publish(sink: &dyn Sink, end: Offset) -> connector_core::Result<()> {
    let staged = sink.flush(&[FlushRange::new(partition(0), 0..end)]).await?;
    sink.commit(&staged).await
}

/// The figure `name` of a sink, over all labels.
pub fn metric(sink: &dyn Sink, name: &str) -> f64 {
    sink.metrics().iter().filter(|metric| metric.name == name).map(|metric| metric.value).sum()
}
