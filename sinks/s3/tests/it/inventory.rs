//! What the sink finds again in its store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use connector_core::arrow::array::{Int64Array, StructArray};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::{Extent, Form, Sink};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::{batch, bytes, documents, publish, sink};

/// Start, records and place of each extent of the topic `orders`, by start.
async fn found(sink: &dyn Sink) -> Vec<(i64, u64, String)> {
    let mut extents = sink.inventory(&["orders".into()]).await.unwrap();
    extents.sort_by_key(|extent| extent.start);
    extents.into_iter().map(|Extent { start, records, place, .. }| (start, records, place)).collect()
}

async fn put(store: &str, key: &str, body: impl Into<Bytes>) {
    let payload = PutPayload::from_bytes(body.into());
    sink_s3::memory_store(store, "b").put(&Path::parse(key).unwrap(), payload).await.unwrap();
}

async fn write(sink: &dyn Sink, records: connector_core::Batch, end: i64) {
    sink.open(&[records.partition.clone().into()]).await.unwrap();
    sink.write(records).await.unwrap();
    publish(sink, 0..end).await;
}

#[tokio::test]
async fn json_lines_are_counted_plain_and_compressed_and_other_things_are_left_alone() {
    for (name, keys) in [("i-json", vec![]), ("i-gzip", vec![("s3.compression.type", "gzip")])] {
        let sink = sink(name, &[&[("flush.size", "3")], keys.as_slice()].concat());
        let rows: Vec<_> = (0..7).map(|_| Some(r#"{"a":"x\ny"}"#)).collect();
        write(&*sink, documents(0, &rows), 7).await;
        for key in [
            "topics/orders/README",
            "topics/orders/partition=0/orders+0+x.json",
            "topics/other/partition=0/other+0+0000000000.json",
        ] {
            put(name, key, "a\n").await;
        }
        let found: Vec<_> =
            found(&*sink).await.into_iter().map(|(start, records, _)| (start, records)).collect();
        assert_eq!(found, [(0, 3), (3, 3), (6, 1)], "{name}");
    }
}

#[tokio::test]
async fn bytes_are_counted_by_their_separator() {
    for separator in ["\n", "<>", "aab"] {
        let name = format!("i-bytes-{separator}");
        let keys =
            [("flush.size", "5"), ("format.class", "bytearray"), ("format.bytearray.separator", separator)];
        let sink = sink(&name, &keys);
        let rows: Vec<_> = [&b"x"[..], b"", b"<", b"a", b"yy"].into_iter().map(Some).collect();
        write(&*sink, bytes(0, &rows), 5).await;
        assert_eq!(found(&*sink).await.len(), 1);
        assert_eq!(found(&*sink).await[0].1, 5, "{separator:?}");
    }
}

#[tokio::test]
async fn rows_of_parquet_are_counted() {
    let keys = [("flush.size", "4"), ("format.class", "parquet")];
    let sink = sink("i-parquet", &keys);
    let field = Arc::new(Field::new("n", DataType::Int64, false));
    let column = Arc::new(Int64Array::from_iter_values(0..6)) as _;
    let rows = StructArray::from(vec![(field, column)]);
    write(&*sink, batch(Form::Columns, 0, Arc::new(rows)), 6).await;
    let found: Vec<_> = found(&*sink).await.into_iter().map(|(start, records, _)| (start, records)).collect();
    assert_eq!(found, [(0, 4), (4, 2)]);
}

#[tokio::test]
async fn directories_are_series_and_keys_without_values_are_tombstones_s3_08() {
    let sink = sink("i-series", &[("flush.size", "3")]);
    for (key, body) in [
        ("topics/orders/year=2024/month=01/orders+3+0000000010.json", "1\n2\n"),
        ("topics/orders/year=2024/month=01/orders+3+0000000010.keys.json", "1\n2\n"),
        ("topics/orders/year=2024/month=01/orders+3+0000000010.headers.json", "1\n2\n"),
        ("topics/orders/year=2024/month=02/orders+3+0000000011.json", "1\n"),
        ("topics/orders/tombstone/orders+3+0000000013.keys.json", "1\n"),
    ] {
        put("i-series", key, body).await;
    }
    let extents = sink.inventory(&["orders".into()]).await.unwrap();
    let by_start: BTreeMap<_, _> = extents
        .iter()
        .map(|e| ((e.partition.partition, e.start), (e.series.as_str(), e.records, e.end)))
        .collect();
    let expected = [
        ((3, 10), ("year=2024/month=01", 2, None)),
        ((3, 11), ("year=2024/month=02", 1, None)),
        ((3, 13), ("tombstone", 1, None)),
    ];
    assert_eq!(by_start, expected.into());
    // How far it was.
    let figures: Vec<_> = sink.metrics().into_iter().map(|metric| metric.value).collect();
    assert_eq!(figures, [3.0, 3.0]);
}

#[tokio::test]
async fn keys_without_slashes_are_read_too() {
    let keys = [("flush.size", "2"), ("directory.delim", "_"), ("file.delim", "-"), ("topics.dir", "a/b")];
    let sink = sink("i-delim", &keys);
    write(&*sink, documents(0, &[Some("1"), Some("2"), Some("3")]), 3).await;
    put("i-delim", "a/b_orders_x_partition=0_orders_x-0-0000000000.json", "1\n").await;
    let found: Vec<_> = found(&*sink).await.into_iter().map(|(start, records, _)| (start, records)).collect();
    assert_eq!(found, [(0, 2), (2, 1)]);
}

#[tokio::test]
async fn damage_is_named_and_what_is_left_counted() {
    let sink = sink("i-damage", &[("flush.size", "3")]);
    let key = |start: &str| format!("topics/orders/partition=0/orders+0+{start}");
    put("i-damage", &key("0.json"), "1\n2\n{\"a\":").await;
    put("i-damage", &key("3.json.gz"), "no gzip").await;
    put("i-damage", &key("6.snappy.parquet"), "no parquet").await;
    put("i-damage", &key("9.json"), "").await;
    let found = found(&*sink).await;
    let counts: Vec<_> = found.iter().map(|(start, records, _)| (*start, *records)).collect();
    assert_eq!(counts, [(0, 2), (3, 0), (6, 0), (9, 0)]);
    for (_, _, place) in &found[..3] {
        assert!(place.contains("damaged: "), "{place}");
    }
    put("i-damage", &key("12.xml"), "<a/>").await;
    let error = sink.inventory(&["orders".into()]).await.unwrap_err();
    assert!(error.code == "s3.inventory" && error.message.contains("orders+0+12.xml"), "{error}");
}

#[tokio::test]
async fn a_store_without_anything_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    for keys in
        [[("store.url", url.as_str()), ("flush.size", "1")], [("topics.dir", ""), ("flush.size", "1")]]
    {
        assert_eq!(sink("i-empty", &keys).inventory(&["orders".into()]).await.unwrap(), []);
    }
}
