//! What arrives in a stream.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field};
use connector_aws::kpl;
use connector_core::Form;

use crate::{Stream, batch, documents, kinesalite, metric, moto, publish, sink};

#[tokio::test]
async fn values_arrive_byte_for_byte_under_their_keys_with_both_stand_ins() {
    for url in [kinesalite(), moto()].into_iter().flatten() {
        let stream = Stream::create(&url, "values", 2).await;
        let sink = sink(&url, &stream.name, &[]);
        sink.open(&[]).await.unwrap();
        let rows = [
            (Some("a"), r#"{"b":1.10,"a":"\u2026 é"}"#),
            (Some("b"), "[1]"),
            (None, "null"),
            (Some("a"), "2"),
        ];
        let written = sink.write(documents(0, &rows)).await.unwrap();
        assert_eq!((written.cut, written.rejected.len()), (Some(4), 0));
        publish(&*sink, 4).await.unwrap();
        let records = stream.records().await;
        for (key, value) in rows {
            let found = records.iter().find(|record| record.data == value).unwrap();
            assert!(key.is_none_or(|key| found.key == key) && !found.key.is_empty());
        }
        let of_a: Vec<_> =
            records.iter().filter(|record| record.key == "a").map(|r| r.data.as_str()).collect();
        assert_eq!(of_a, [rows[0].1, "2"]);
        assert_eq!(metric(&*sink, "sidestream_kinesis_stored_records_total"), 4.0);
    }
}

#[tokio::test]
async fn bytes_stay_as_they_are_and_columns_become_json() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "forms", 1).await;
    let sink = sink(&url, &stream.name, &[("kinesis.partition.key.field", "index")]);
    sink.open(&[]).await.unwrap();
    let fields = vec![
        (
            Arc::new(Field::new("index", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("latitude", DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![1.5, 2.0])) as ArrayRef,
        ),
    ];
    let keys: ArrayRef = Arc::new(BinaryArray::from(vec![Some(b"k".as_slice()), Some(b"k")]));
    let columns = batch(0, Arc::clone(&keys), Form::Columns, Arc::new(StructArray::from(fields)));
    assert!(sink.write(columns).await.unwrap().rejected.is_empty());
    publish(&*sink, 2).await.unwrap();
    let records = stream.records().await;
    assert_eq!(records[0].data, r#"{"index":7,"latitude":1.5}"#);
    assert_eq!(records[0].key, "7");
    assert!(records[1].data.contains("null") && records[1].key.len() == 16, "a random key instead of null");

    let plain = crate::sink(&url, &stream.name, &[]);
    plain.open(&[]).await.unwrap();
    let bytes = BinaryArray::from(vec![Some(b"\x00 raw".as_slice()), Some(b"")]);
    assert!(plain.write(batch(0, keys, Form::Bytes, Arc::new(bytes))).await.unwrap().rejected.is_empty());
    publish(&*plain, 2).await.unwrap();
    let data: Vec<_> = stream.records().await.into_iter().skip(2).map(|record| record.data).collect();
    assert_eq!(data, ["\0 raw", ""]);
}

#[tokio::test]
async fn the_partition_key_comes_from_a_field_or_a_header_k_04() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "keys", 2).await;
    let by_field = sink(&url, &stream.name, &[("kinesis.partition.key.field", "index")]);
    by_field.open(&[]).await.unwrap();
    let rows = [(Some("k"), r#"{"index":7528,"category":"art"}"#), (Some("k"), r#"{"index":"x"}"#)];
    by_field.write(documents(0, &rows)).await.unwrap();
    publish(&*by_field, 2).await.unwrap();
    let mut keys: Vec<_> = stream.records().await.into_iter().map(|record| record.key).collect();
    keys.sort();
    assert_eq!(keys, ["7528", "x"]);

    let stream = Stream::create(&url, "headers", 1).await;
    let by_header = sink(&url, &stream.name, &[("kinesis.partition.key.header", "ce-partition")]);
    by_header.open(&[]).await.unwrap();
    let mut batch = documents(0, &[(Some("k"), "1"), (Some("k"), "2")]);
    batch.records = with_header(&batch.records, "ce-partition", &["p1", "p2"]);
    by_header.write(batch).await.unwrap();
    publish(&*by_header, 2).await.unwrap();
    let found: Vec<_> = stream.records().await.into_iter().map(|record| (record.key, record.data)).collect();
    assert!(
        found.contains(&("p1".into(), "1".into())) && found.contains(&("p2".into(), "2".into())),
        "{found:?}"
    );
}

fn with_header(
    records: &arrow::array::RecordBatch,
    name: &str,
    values: &[&str],
) -> arrow::array::RecordBatch {
    use arrow::array::{BinaryBuilder, StructBuilder};
    let DataType::List(item) = connector_core::envelope::headers_type() else { unreachable!() };
    let DataType::Struct(fields) = item.data_type() else { unreachable!() };
    let entry = StructBuilder::new(
        fields.clone(),
        vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())],
    );
    let mut headers = ListBuilder::new(entry).with_field(Arc::clone(&item));
    for value in values {
        let entry = headers.values();
        entry.field_builder::<StringBuilder>(0).unwrap().append_value(name);
        entry.field_builder::<BinaryBuilder>(1).unwrap().append_value(value);
        entry.append(true);
        headers.append(true);
    }
    let field = Field::new("headers", connector_core::envelope::headers_type(), true);
    connector_core::envelope::with_column(records, field, Arc::new(headers.finish())).unwrap()
}

#[tokio::test]
async fn a_partition_as_hash_key_keeps_a_partition_in_one_shard_k_03() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "hash", 4).await;
    let sink = sink(&url, &stream.name, &[("usePartitionAsHashKey", "true")]);
    sink.open(&[]).await.unwrap();
    let keys: Vec<_> = (0..40).map(|n| format!("key-{n}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (Some(key.as_str()), "1")).collect();
    sink.write(documents(0, &rows)).await.unwrap();
    publish(&*sink, 40).await.unwrap();
    let records = stream.records().await;
    assert_eq!(records.len(), 40);
    assert!(records.iter().all(|record| record.shard == records[0].shard));
}

#[tokio::test]
async fn a_record_without_a_key_has_the_partitions_number_if_asked_k_03() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "fallback", 2).await;
    let sink = sink(&url, &stream.name, &[("kinesis.partition.key.fallback", "partition")]);
    sink.open(&[]).await.unwrap();
    sink.write(documents(0, &[(None, "1"), (Some(""), "2"), (None, "3")])).await.unwrap();
    publish(&*sink, 3).await.unwrap();
    let records: Vec<_> =
        stream.records().await.into_iter().map(|record| (record.key, record.data)).collect();
    assert_eq!(records, ["1", "2", "3"].map(|data| ("0".to_owned(), data.to_owned())));
}

#[tokio::test]
async fn with_aggregation_one_record_holds_many_of_a_key_k_07() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "aggregated", 1).await;
    let sink = sink(&url, &stream.name, &[("aggregation", "true")]);
    sink.open(&[]).await.unwrap();
    let values: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    let rows: Vec<_> = values.iter().map(|value| (Some("partition-1"), value.as_str())).collect();
    sink.write(documents(0, &rows)).await.unwrap();
    publish(&*sink, 500).await.unwrap();
    let call = stream.client.list_shards().stream_name(&stream.name).send().await.unwrap();
    let iterator = stream.client.get_shard_iterator().stream_name(&stream.name);
    let iterator = iterator.shard_id(call.shards()[0].shard_id());
    let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.unwrap();
    let answer =
        stream.client.get_records().set_shard_iterator(iterator.shard_iterator).send().await.unwrap();
    assert!(answer.records().len() <= 2, "{} records", answer.records().len());
    let user_records: Vec<_> =
        answer.records().iter().flat_map(|record| kpl::decode(record.data().as_ref()).unwrap()).collect();
    let data: Vec<_> =
        user_records.iter().map(|record| String::from_utf8(record.data.clone()).unwrap()).collect();
    assert_eq!(data, values);
}

#[tokio::test]
async fn text_values_are_bytes_without_quotes() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "text", 1).await;
    let sink = sink(&url, &stream.name, &[]);
    sink.open(&[]).await.unwrap();
    let keys: ArrayRef = Arc::new(BinaryArray::from(vec![Some(b"k".as_slice())]));
    sink.write(batch(0, keys, Form::Columns, Arc::new(StringArray::from(vec!["plain text"])))).await.unwrap();
    publish(&*sink, 1).await.unwrap();
    assert_eq!(stream.data().await, ["plain text"]);
}
