//! The sink on `memory://` and `file:` stores.

mod config;
mod conformance;
mod disk;
mod inventory;
mod kept;
mod large;
mod many;
mod objects;
mod parquet;
mod partitions;
mod protected;
mod pure;
mod refusals;
mod schemas;
mod service;
mod siblings;
mod splits;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use connector_core::arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, FlushRange, Form, Offset, Sink, TaskInfo, TopicPartition};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

/// A sink that writes to the bucket `b` in the memory store `name`, with further keys.
pub fn sink(name: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let url = format!("memory://{name}");
    let mut map = connector_core::testing::config(&[("s3.bucket.name", "b"), ("store.url", &url)]);
    map.extend(connector_core::testing::config(keys));
    let component = sink_s3::component();
    let config = component.check(&map).unwrap();
    component.create_sink(&config, &TaskInfo::default()).unwrap()
}

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("orders", number)
}

/// Documents at offsets from `start`; `None` is a tombstone.
pub fn documents(start: Offset, values: &[Option<&str>]) -> Batch {
    batch(Form::Document, start, Arc::new(StringArray::from(values.to_vec())))
}

pub fn bytes(start: Offset, values: &[Option<&[u8]>]) -> Batch {
    batch(Form::Bytes, start, Arc::new(BinaryArray::from(values.to_vec())))
}

pub fn batch(form: Form, start: Offset, values: ArrayRef) -> Batch {
    let offsets = Int64Array::from_iter_values(start..start + values.len() as i64);
    let records = EnvelopeBuilder::new().offsets(offsets).value(form, values).build().unwrap();
    Batch::new(partition(0), records)
}

pub async fn publish(sink: &dyn Sink, range: Range<Offset>) {
    let staged = sink.flush(&[flush_range(range)]).await.unwrap();
    sink.commit(&staged).await.unwrap();
}

pub fn flush_range(range: Range<Offset>) -> FlushRange {
    FlushRange::new(partition(0), range)
}

/// Keys and bodies of a store.
pub async fn all(store: &dyn ObjectStore) -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    for object in listed {
        let body = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        objects.insert(object.location.to_string(), body.to_vec());
    }
    objects
}

/// Keys and bodies, as text, of the bucket `b` in the memory store `name`.
pub async fn objects(name: &str) -> Vec<(String, String)> {
    let text = |body| String::from_utf8(body).unwrap();
    all(&*sink_s3::memory_store(name, "b")).await.into_iter().map(|(key, body)| (key, text(body))).collect()
}

/// For comparisons with [`objects`].
pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, body)| ((*key).to_owned(), (*body).to_owned())).collect()
}
