//! Parquet through the whole sink.

use std::sync::Arc;

use connector_core::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StructArray,
};
use connector_core::arrow::datatypes::{Field, Int64Type};
use connector_core::{Batch, ConfigMap, Form, Sink, Stage, TaskInfo, testing};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{all, batch, documents, partition, publish};

fn sink(name: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    crate::sink(name, &[&[("format.class", "parquet")][..], keys].concat())
}

fn column(name: &str, array: impl Array + 'static, nullable: bool) -> (Arc<Field>, ArrayRef) {
    (Arc::new(Field::new(name, array.data_type().clone(), nullable)), Arc::new(array))
}

fn rows(offsets: std::ops::Range<i64>) -> Batch {
    let names = offsets.clone().map(|n| (n % 3 > 0).then(|| format!("name {n}")));
    let values = StructArray::from(vec![
        column("n", Int64Array::from_iter_values(offsets.clone()), false),
        column("name", StringArray::from_iter(names), true),
    ]);
    batch(Form::Columns, offsets.start, Arc::new(values))
}

/// `n` of each row, and the codec.
fn read(file: Vec<u8>) -> (Vec<i64>, String) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let codec = builder.metadata().row_group(0).column(0).compression().to_string();
    let batches = builder.build().unwrap().map(|batch| batch.unwrap());
    let column = |batch: RecordBatch| batch["n"].as_primitive::<Int64Type>().values().to_vec();
    (batches.flat_map(column).collect(), codec)
}

#[tokio::test]
async fn files_are_named_after_their_codec_s3_10() {
    for (codec, extension, written) in [
        ("", ".snappy.parquet", "SNAPPY"),
        ("none", ".parquet", "UNCOMPRESSED"),
        ("gzip", ".gz.parquet", "GZIP"),
        ("zstd", ".zstd.parquet", "ZSTD"),
        ("lz4", ".lz4.parquet", "LZ4"),
        ("brotli", ".br.parquet", "BROTLI"),
    ] {
        let name = format!("parquet-{codec}");
        // Compression of the whole object is for other formats.
        let mut keys = vec![("flush.size", "3"), ("s3.compression.type", "gzip")];
        if !codec.is_empty() {
            keys.push(("parquet.codec", codec));
        }
        let sink = sink(&name, &keys);
        sink.open(&[partition(0).into()]).await.unwrap();
        assert_eq!(sink.write(rows(0..5)).await.unwrap().cut, Some(3));
        publish(&*sink, 0..3).await;
        let (key, body) = all(&*sink_s3::memory_store(&name, "b")).await.into_iter().next().unwrap();
        assert_eq!(key, format!("topics/orders/partition=0/orders+0+0000000000{extension}"));
        let (numbers, codec) = read(body);
        assert_eq!(numbers, [0, 1, 2]);
        assert!(codec.starts_with(written), "{codec}");
    }
}

#[tokio::test]
async fn records_without_a_schema_are_refused_with_the_remedy() {
    let sink = sink("parquet-refused", &[("flush.size", "1")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let text = Arc::new(StringArray::from(vec!["hunter2"]));
    let number = Arc::new(Int64Array::from(vec![1]));
    for (offset, batch, why) in [
        (0, documents(0, &[Some("{\"password\":\"hunter2\"}")]), "JSON without a schema"),
        (1, batch(Form::Columns, 1, text), "of type Utf8, not a struct"),
        (2, batch(Form::Columns, 2, number), "of type Int64, not a struct"),
        (3, crate::bytes(3, &[Some(b"hunter2")]), "bytes"),
    ] {
        let written = sink.write(batch).await.unwrap();
        let [rejection] = &written.rejected[..] else { panic!("{written:?}") };
        let said = rejection.error.to_string();
        assert_eq!((written.cut, rejection.stage), (None, Stage::TaskPut));
        assert!(said.contains(&format!("orders-0 offset {offset}")) && said.contains(why), "{said}");
        assert!(said.contains("schemas.enable") && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn another_schema_makes_another_file() {
    let sink = sink("parquet-schemas", &[("flush.size", "100")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    assert_eq!(sink.write(rows(0..2)).await.unwrap().cut, None);
    let other = StructArray::from(vec![column("n", Int64Array::from(vec![2]), true)]);
    let other = batch(Form::Columns, 2, Arc::new(other));
    assert_eq!(sink.write(other).await.unwrap().cut, Some(2));
    publish(&*sink, 0..2).await;
    let objects = all(&*sink_s3::memory_store("parquet-schemas", "b")).await;
    assert_eq!(objects.into_values().map(|body| read(body).0).collect::<Vec<_>>(), [[0, 1]]);
}

#[tokio::test]
async fn row_groups_leave_in_parts_and_give_memory_back() {
    let mut map: ConfigMap = testing::config(&[
        ("s3.bucket.name", "b"),
        ("store.url", "memory://parquet-parts"),
        ("format.class", "parquet"),
        ("parquet.codec", "none"),
        ("flush.size", "20000"),
    ]);
    map.insert("rotate.interval.ms".to_owned(), "-1".to_owned());
    let component = sink_s3::component();
    let mut config = component.check(&map).unwrap();
    config["s3.part.size"] = 20_000.into();
    let sink = component.create_sink(&config, &TaskInfo::default()).unwrap();
    sink.open(&[partition(0).into()]).await.unwrap();
    let mut spilled = 0;
    for start in (0..20_000).step_by(500) {
        spilled += sink.write(rows(start..start + 500)).await.unwrap().spilled_bytes;
        tokio::task::yield_now().await;
    }
    assert!(spilled > 200_000, "{spilled}");
    let store = sink_s3::memory_store("parquet-parts", "b");
    assert!(all(&*store).await.is_empty(), "nothing is visible before the commit");
    publish(&*sink, 0..20_000).await;
    let body = all(&*store).await.into_values().next().unwrap();
    assert_eq!(read(body).0, (0..20_000).collect::<Vec<_>>());
}
