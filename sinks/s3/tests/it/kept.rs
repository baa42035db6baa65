//! Objects that are there already, where they are not simply overwritten (`rotate.schedule.interval.ms`).

use std::sync::Arc;

use connector_core::arrow::array::{ArrayRef, Int64Array, StructArray};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::{Batch, ConfigMap, Form, Sink, TaskInfo, testing};

use crate::{all, batch, documents, flush_range, partition, publish};

const SCHEDULE: [(&str, &str); 3] =
    [("flush.size", "1000"), ("rotate.schedule.interval.ms", "3600000"), ("timezone", "UTC")];

fn numbers(values: std::ops::Range<i64>) -> Batch {
    let values = Int64Array::from_iter_values(values);
    let field = Arc::new(Field::new("n", DataType::Int64, false));
    batch(Form::Columns, 0, Arc::new(StructArray::from(vec![(field, Arc::new(values) as ArrayRef)])))
}

fn texts(values: std::ops::Range<i64>) -> Batch {
    let values: Vec<String> = values.map(|n| format!("{{\"n\":{n}}}")).collect();
    documents(0, &values.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>())
}

/// Writes the records of `batch` to the offsets from 0; the error's code, if any.
async fn put(name: &str, keys: &[(&str, &str)], part: Option<usize>, batch: Batch) -> Result<(), String> {
    let url = format!("memory://{name}");
    let mut map: ConfigMap = testing::config(&[("s3.bucket.name", "b"), ("store.url", &url)]);
    map.extend(testing::config(&SCHEDULE));
    map.extend(testing::config(keys));
    let component = sink_s3::component();
    let mut config = component.check(&map).unwrap();
    if let Some(size) = part {
        config["s3.part.size"] = size.into();
    }
    let sink: Arc<dyn Sink> = component.create_sink(&config, &TaskInfo::default()).unwrap();
    sink.open(&[partition(0).into()]).await.unwrap();
    let end = batch.records.num_rows() as i64;
    sink.write(batch).await.unwrap();
    let staged = sink.flush(&[flush_range(0..end)]).await.unwrap();
    let done = sink.commit(&staged).await.map_err(|error| error.code);
    sink.close(&[partition(0)]).await.unwrap();
    done
}

async fn body(name: &str) -> Vec<u8> {
    let objects = all(&*sink_s3::memory_store(name, "b")).await;
    assert_eq!(objects.len(), 1);
    objects.into_values().next().unwrap()
}

/// A member of the group that was thrown out comes late with fewer records, or the owner with more: no record that is
/// in the bucket is lost (S3-05).
#[tokio::test]
async fn no_record_of_a_compressed_object_is_lost_to_one_with_fewer() {
    type Make = fn(std::ops::Range<i64>) -> Batch;
    type Keys = &'static [(&'static str, &'static str)];
    let cases: [(&str, Keys, Make); 4] = [
        ("kept-json", &[], texts),
        ("kept-gzip", &[("s3.compression.type", "gzip")], texts),
        ("kept-parquet", &[("format.class", "parquet")], numbers),
        ("kept-zstd", &[("format.class", "parquet"), ("parquet.codec", "zstd")], numbers),
    ];
    for (name, keys, make) in cases {
        put(name, keys, None, make(0..3)).await.unwrap();
        let three = body(name).await;
        put(name, keys, None, make(0..2)).await.unwrap();
        assert_eq!(body(name).await, three, "{name}: the longer object stays");
        put(name, keys, None, make(0..5)).await.unwrap();
        let five = body(name).await;
        assert_ne!(five, three, "{name}: the shorter object is replaced");
        put(name, keys, None, make(0..5)).await.unwrap();
        assert_eq!(body(name).await, five);
        assert_eq!(put(name, keys, None, make(7..9)).await, Err("s3.object_exists".to_owned()), "{name}");
        assert_eq!(body(name).await, five, "{name}: other records are not overwritten");
    }
}

#[tokio::test]
async fn a_large_object_is_replaced_only_by_a_larger_one() {
    let name = "kept-large";
    put(name, &[], Some(200), texts(0..100)).await.unwrap();
    let hundred = body(name).await;
    assert_eq!(put(name, &[], Some(200), texts(0..50)).await, Err("s3.object_exists".to_owned()));
    assert_eq!(body(name).await, hundred);
    put(name, &[], Some(200), texts(0..150)).await.unwrap();
    assert!(body(name).await.len() > hundred.len());
}

#[tokio::test]
async fn parquet_is_overwritten_without_a_schedule_s3g_160() {
    let sink = crate::sink("kept-plain", &[("flush.size", "2"), ("format.class", "parquet")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(numbers(0..2)).await.unwrap();
    publish(&*sink, 0..2).await;
    let first = body("kept-plain").await;
    sink.write(numbers(5..7)).await.unwrap();
    publish(&*sink, 0..2).await;
    assert_ne!(body("kept-plain").await, first);
}
