//! `schema.compatibility`: a record with another schema is written to another file, or with the file's schema.

use std::sync::Arc;

use connector_core::Form;
use connector_core::arrow::array::{ArrayRef, Int32Array, NullArray, StringArray, StructArray};
use connector_core::arrow::datatypes::{DataType, Field};

use crate::{batch, objects, pairs, partition, publish, sink};

#[tokio::test]
async fn another_schema_closes_the_file_before_its_first_record_s3g_061() {
    let sink = sink("schemas", &[("flush.size", "4")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let write =
        async |start, values: ArrayRef| sink.write(batch(Form::Columns, start, values)).await.unwrap().cut;
    let numbers = || Arc::new(Int32Array::from(vec![1, 2]));
    assert_eq!(write(0, numbers()).await, None);
    assert_eq!(write(2, numbers()).await, Some(4));
    assert_eq!(write(4, numbers()).await, None);
    assert_eq!(write(6, Arc::new(StringArray::from(vec!["x"]))).await, Some(6));
    publish(&*sink, 0..6).await;
    let expected = [
        ("topics/orders/partition=0/orders+0+0000000000.json", "1\n2\n1\n2\n"),
        ("topics/orders/partition=0/orders+0+0000000004.json", "1\n2\n"),
    ];
    assert_eq!(objects("schemas").await, pairs(&expected));
}

#[tokio::test]
async fn what_is_not_written_closes_no_file() {
    let sink = sink("unwritten", &[("flush.size", "2"), ("behavior.on.null.values", "ignore")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let write =
        async |start, values: ArrayRef| sink.write(batch(Form::Columns, start, values)).await.unwrap().cut;
    assert_eq!(write(0, Arc::new(Int32Array::from(vec![1]))).await, None);
    assert_eq!(write(1, Arc::new(NullArray::new(1))).await, None);
    assert_eq!(write(2, Arc::new(Int32Array::from(vec![2]))).await, Some(3));
}

/// Rows of `{a, b}` or `{a}` with a schema of this version.
fn versioned(start: i64, version: Option<&str>, b: Option<Vec<&str>>, a: Vec<i32>) -> connector_core::Batch {
    let mut columns: Vec<(Arc<Field>, ArrayRef)> =
        vec![(Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(a)))];
    if let Some(b) = b {
        columns.push((Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(b))));
    }
    let plain = batch(Form::Columns, start, Arc::new(StructArray::from(columns)));
    let (at, field) = plain.records.schema_ref().fields().find("value").unwrap();
    let version = version.map(|version| ("connect.version".to_owned(), version.to_owned()));
    let metadata = field.metadata().clone().into_iter().chain(version).collect();
    let field = field.as_ref().clone().with_metadata(metadata);
    let records =
        connector_core::envelope::with_column(&plain.records, field, plain.records.column(at).clone());
    connector_core::Batch::new(partition(0), records.unwrap())
}

#[tokio::test]
async fn an_older_version_is_projected_and_a_newer_one_closes_s3g_062() {
    let sink = sink("backward", &[("flush.size", "4"), ("schema.compatibility", "BACKWARD")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let old = |start, a| versioned(start, Some("1"), None, vec![a]);
    let new = |start, a, b| versioned(start, Some("2"), Some(vec![b]), vec![a]);
    let mut cuts = Vec::new();
    for batch in [old(0, 1), new(1, 2, "x"), old(2, 3), new(3, 4, "y"), old(4, 5)] {
        cuts.push(sink.write(batch).await.unwrap().cut);
    }
    assert_eq!(cuts, [None, Some(1), None, None, Some(5)]);
    publish(&*sink, 0..5).await;
    let two = "{\"a\":2,\"b\":\"x\"}\n{\"a\":3,\"b\":null}\n{\"a\":4,\"b\":\"y\"}\n{\"a\":5,\"b\":null}\n";
    let expected = [
        ("topics/orders/partition=0/orders+0+0000000000.json", "{\"a\":1}\n"),
        ("topics/orders/partition=0/orders+0+0000000001.json", two),
    ];
    assert_eq!(objects("backward").await, pairs(&expected));
}

#[tokio::test]
async fn a_schema_without_version_is_refused_beside_another_one_unless_none_is_asked_for() {
    let sink = sink("unversioned", &[("flush.size", "4"), ("schema.compatibility", "FULL")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let mut rejected = Vec::new();
    for batch in [versioned(0, None, None, vec![1, 2]), versioned(2, None, Some(vec!["x"]), vec![3])] {
        rejected.extend(sink.write(batch).await.unwrap().rejected);
    }
    let [rejection] = &rejected[..] else { panic!("{rejected:?}") };
    let said = rejection.error.to_string();
    assert!(said.contains("orders-0 offset 2") && said.contains("no version"), "{said}");
}

#[tokio::test]
async fn parquet_takes_projected_rows_too() {
    let keys = [("flush.size", "3"), ("schema.compatibility", "BACKWARD"), ("format.class", "parquet")];
    let sink = sink("backward-parquet", &keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(versioned(0, Some("2"), Some(vec!["x"]), vec![1])).await.unwrap();
    let cut = sink.write(versioned(1, Some("1"), None, vec![2, 3])).await.unwrap().cut;
    assert_eq!(cut, Some(3));
    publish(&*sink, 0..3).await;
    let store = sink_s3::memory_store("backward-parquet", "b");
    let bodies: Vec<_> = crate::all(&*store).await.into_values().collect();
    assert_eq!(bodies.len(), 1);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
        bytes::Bytes::from(bodies[0].clone()),
        10,
    );
    let rows: usize = reader.unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 3);
}
