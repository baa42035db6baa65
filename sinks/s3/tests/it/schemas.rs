//! `schema.compatibility` NONE: a record with another schema is written to another file.

use std::sync::Arc;

use connector_core::Form;
use connector_core::arrow::array::{ArrayRef, Int32Array, NullArray, StringArray};

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
