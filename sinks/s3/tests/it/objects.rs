//! Keys, bodies and cuts.

use std::io::Read;
use std::sync::Arc;

use connector_core::arrow::array::{ArrayRef, BinaryArray, Int32Array, StringArray, StructArray};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::{Delivery, Form, Needs};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::{all, batch, bytes, documents, flush_range, objects, pairs, partition, publish, sink};

const SIX: [Option<&str>; 6] = [
    Some(r#"{"n":0}"#),
    Some(r#"{"n":1}"#),
    Some(r#"{"n":2}"#),
    Some(r#"{"n":3}"#),
    Some(r#"{"n":4}"#),
    Some("5"),
];

#[tokio::test]
async fn flush_size_makes_the_objects_and_the_cut() {
    let sink = sink("flush", &[("flush.size", "2")]);
    assert_eq!(
        (sink.delivery(), sink.needs(), sink.schedule()),
        (Delivery::StableRange, Needs::Document, None)
    );
    sink.open(&[partition(0).into()]).await.unwrap();
    let written = sink.write(documents(40, &SIX[..5])).await.unwrap();
    assert_eq!(written.cut, Some(44));
    assert_eq!(objects("flush").await, []);
    publish(&*sink, 40..44).await;
    let expected = [
        ("topics/orders/partition=0/orders+0+0000000040.json", "{\"n\":0}\n{\"n\":1}\n"),
        ("topics/orders/partition=0/orders+0+0000000042.json", "{\"n\":2}\n{\"n\":3}\n"),
    ];
    assert_eq!(objects("flush").await, pairs(&expected));
}

#[tokio::test]
async fn flush_size_zero_acts_as_one() {
    let sink = sink("zero", &[("flush.size", "0")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    assert_eq!(sink.write(documents(0, &SIX)).await.unwrap().cut, Some(6));
    publish(&*sink, 0..6).await;
    assert_eq!(objects("zero").await.len(), 6);
}

#[tokio::test]
async fn a_forced_cut_closes_the_open_file() {
    let sink = sink("forced", &[("flush.size", "1000")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    assert_eq!(sink.write(documents(7, &SIX[..2])).await.unwrap().cut, None);
    publish(&*sink, 7..9).await;
    sink.write(documents(9, &SIX[2..3])).await.unwrap();
    publish(&*sink, 9..10).await;
    let expected = [
        ("topics/orders/partition=0/orders+0+0000000007.json", "{\"n\":0}\n{\"n\":1}\n"),
        ("topics/orders/partition=0/orders+0+0000000009.json", "{\"n\":2}\n"),
    ];
    assert_eq!(objects("forced").await, pairs(&expected));
}

#[tokio::test]
async fn a_range_cannot_end_inside_of_a_file() {
    let sink = sink("inside", &[("flush.size", "1000")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &SIX)).await.unwrap();
    let error = sink.flush(&[flush_range(0..3)]).await.unwrap_err();
    assert_eq!(error.code, "s3.not_a_cut");
}

#[tokio::test]
async fn names_follow_the_configuration() {
    for (name, (key, value), expected) in [
        ("names-dir", ("topics.dir", "raw/data"), "raw/data/orders/partition=0/orders+0+0000000005.json"),
        ("names-blank", ("topics.dir", " "), "orders/partition=0/orders+0+0000000005.json"),
        ("names-delim", ("directory.delim", "_"), "topics_orders_partition=0_orders+0+0000000005.json"),
        ("names-file", ("file.delim", "__"), "topics/orders/partition=0/orders__0__0000000005.json"),
        ("names-pad", ("filename.offset.zero.pad.width", "3"), "topics/orders/partition=0/orders+0+005.json"),
    ] {
        let sink = sink(name, &[("flush.size", "1"), (key, value)]);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(documents(5, &SIX[..1])).await.unwrap();
        publish(&*sink, 5..6).await;
        assert_eq!(objects(name).await, pairs(&[(expected, "{\"n\":0}\n")]));
    }
}

#[tokio::test]
async fn gzip_compresses_and_names() {
    for level in ["-1", "0", "9"] {
        let name = format!("gzip{level}");
        let keys = [("flush.size", "3"), ("s3.compression.type", "gzip"), ("s3.compression.level", level)];
        let sink = sink(&name, &keys);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(documents(0, &SIX[..3])).await.unwrap();
        publish(&*sink, 0..3).await;
        let objects = all(&*sink_s3::memory_store(&name, "b")).await;
        let (key, body) = objects.first_key_value().unwrap();
        assert_eq!(key, "topics/orders/partition=0/orders+0+0000000000.json.gz");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
    }
}

#[tokio::test]
async fn bytes_are_written_as_they_are() {
    let sink = sink("bytes", &[("flush.size", "3"), ("format.class", "bytearray")]);
    assert_eq!(sink.needs(), Needs::Document);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(bytes(0, &[Some(b"\x00\xff"), Some(b""), Some(b"a\nb")])).await.unwrap();
    publish(&*sink, 0..3).await;
    let objects = all(&*sink_s3::memory_store("bytes", "b")).await;
    assert_eq!(objects["topics/orders/partition=0/orders+0+0000000000.bin"], b"\x00\xff\n\na\nb\n");
}

#[tokio::test]
async fn the_separator_and_the_extension_are_used_as_given() {
    let keys = [
        ("flush.size", "2"),
        ("format.class", "bytearray"),
        ("format.bytearray.separator", " \r\n"),
        ("format.bytearray.extension", "txt"),
        ("s3.compression.type", "none"),
    ];
    let sink = sink("separator", &keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(bytes(0, &[Some(b"a"), Some(b"b")])).await.unwrap();
    publish(&*sink, 0..2).await;
    let expected = [("topics/orders/partition=0/orders+0+0000000000txt", "a \r\nb \r\n")];
    assert_eq!(objects("separator").await, pairs(&expected));
}

#[tokio::test]
async fn typed_values_become_json() {
    let fields = vec![
        (
            Arc::new(Field::new("id", DataType::Int32, false)),
            Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("é"), None])) as _,
        ),
    ];
    let cases: [(&str, Form, ArrayRef, &str); 3] = [
        (
            "typed-struct",
            Form::Columns,
            Arc::new(StructArray::from(fields)),
            "{\"id\":1,\"name\":\"é\"}\n{\"id\":2,\"name\":null}\n",
        ),
        (
            "typed-text",
            Form::Columns,
            Arc::new(StringArray::from(vec!["a\"b", "{}"])),
            "\"a\\\"b\"\n\"{}\"\n",
        ),
        (
            "typed-bytes",
            Form::Bytes,
            Arc::new(BinaryArray::from(vec![&b"\x00\x01"[..], b""])),
            "\"AAE=\"\n\"\"\n",
        ),
    ];
    for (name, form, values, expected) in cases {
        let sink = sink(name, &[("flush.size", "2")]);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(batch(form, 0, values)).await.unwrap();
        publish(&*sink, 0..2).await;
        assert_eq!(objects(name).await[0].1, expected);
    }
}

#[tokio::test]
async fn an_existing_object_is_overwritten_s3g_160() {
    let store = sink_s3::memory_store("exists", "b");
    let key = Path::parse("topics/orders/partition=0/orders+0+0000000000.json").unwrap();
    store.put(&key, "old\n".into()).await.unwrap();
    let sink = sink("exists", &[("flush.size", "1")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &SIX[..1])).await.unwrap();
    publish(&*sink, 0..1).await;
    assert_eq!(objects("exists").await[0].1, "{\"n\":0}\n");
}

const SCHEDULE: [(&str, &str); 3] =
    [("flush.size", "2"), ("rotate.schedule.interval.ms", "3600000"), ("timezone", "Europe/London")];

#[tokio::test]
async fn with_a_schedule_an_existing_object_is_kept_when_it_holds_the_records_s3_04() {
    let store = sink_s3::memory_store("conditional", "b");
    let key = Path::parse("topics/orders/partition=0/orders+0+0000000000.json").unwrap();
    let sink = sink("conditional", &SCHEDULE);
    assert_eq!(sink.schedule().map(|s| s.every_ms), Some(3_600_000));
    for (existing, kept) in [
        ("{\"n\":0}\n{\"n\":1}\n", true),
        ("{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n", true),
        // Cut earlier before a crash: keeping it would lose the record at offset 1.
        ("{\"n\":0}\n", false),
    ] {
        store.put(&key, existing.into()).await.unwrap();
        let before = store.head(&key).await.unwrap().e_tag;
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(documents(0, &SIX[..2])).await.unwrap();
        publish(&*sink, 0..2).await;
        assert_eq!(store.head(&key).await.unwrap().e_tag == before, kept);
        sink.close(&[partition(0)]).await.unwrap();
    }
    assert_eq!(objects("conditional").await[0].1, "{\"n\":0}\n{\"n\":1}\n");
}

#[tokio::test]
async fn with_a_schedule_a_foreign_object_is_neither_overwritten_nor_taken_for_ours() {
    let store = sink_s3::memory_store("foreign", "b");
    let key = Path::parse("topics/orders/partition=0/orders+0+0000000000.json").unwrap();
    store.put(&key, "something else\n".into()).await.unwrap();
    let sink = sink("foreign", &SCHEDULE);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &SIX[..2])).await.unwrap();
    let staged = sink.flush(&[flush_range(0..2)]).await.unwrap();
    let error = sink.commit(&staged).await.unwrap_err();
    assert_eq!(error.code, "s3.object_exists");
    assert!(error.hint.contains("enable.conditional.writes"), "{error}");
    assert_eq!(objects("foreign").await[0].1, "something else\n");
    // S3G-162: without conditional writes it is overwritten.
    let sink = crate::sink("foreign", &[&SCHEDULE[..], &[("enable.conditional.writes", "false")]].concat());
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &SIX[..2])).await.unwrap();
    publish(&*sink, 0..2).await;
    assert_eq!(objects("foreign").await[0].1, "{\"n\":0}\n{\"n\":1}\n");
}

#[tokio::test]
async fn a_directory_store_has_the_bucket_as_directory() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let sink = sink("unused", &[("flush.size", "1"), ("store.url", &url)]);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &SIX[..1])).await.unwrap();
    publish(&*sink, 0..1).await;
    let file = directory.path().join("b/topics/orders/partition=0/orders+0+0000000000.json");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"n\":0}\n");
}
