//! Objects of keys and headers beside those of values; tombstones; tags are in `service`.

use std::sync::Arc;

use connector_core::arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Int64Array, ListBuilder, StringArray, StringBuilder, StructBuilder,
    TimestampMillisecondArray,
};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::envelope::{EnvelopeBuilder, headers_type};
use connector_core::{Batch, Form};

use crate::{objects, partition, publish, sink};

type Headers<'a> = &'a [(&'a str, Option<&'a str>)];

fn headers(rows: &[Headers<'_>]) -> ArrayRef {
    let DataType::List(item) = headers_type() else { unreachable!() };
    let DataType::Struct(fields) = item.data_type().clone() else { unreachable!() };
    let entry =
        StructBuilder::new(fields, vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
    let mut list =
        ListBuilder::new(entry).with_field(Arc::new(Field::new("item", item.data_type().clone(), false)));
    for row in rows {
        for (key, value) in *row {
            list.values().field_builder::<StringBuilder>(0).unwrap().append_value(key);
            list.values().field_builder::<BinaryBuilder>(1).unwrap().append_option(value.map(str::as_bytes));
            list.values().append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

fn keyed(form: Form, keys: ArrayRef, values: &[Option<&str>], rows: Option<&[Headers<'_>]>) -> Batch {
    let count = values.len() as i64;
    let mut builder = EnvelopeBuilder::new()
        .offsets(Int64Array::from_iter_values(0..count))
        .timestamps(TimestampMillisecondArray::from_iter_values((0..count).map(|_| 1_704_067_140_000)))
        .key(form, keys)
        .value(Form::Document, Arc::new(StringArray::from(values.to_vec())));
    if let Some(rows) = rows {
        builder = builder.headers(headers(rows));
    }
    Batch::new(partition(0), builder.build().unwrap())
}

fn texts(keys: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(keys.to_vec()))
}

const KEYS: [(&str, &str); 2] =
    [("store.kafka.keys", "true"), ("keys.format.class", "io.confluent.connect.s3.format.json.JsonFormat")];
const HEADERS: [(&str, &str); 2] = [("store.kafka.headers", "true"), ("headers.format.class", "json")];

async fn files(name: &str) -> Vec<String> {
    let short = |key: &str| key.replace("topics/orders/", "").replace("orders+0+000000000", "");
    objects(name)
        .await
        .iter()
        .map(|(key, body)| format!("{}: {}", short(key), body.trim_end().replace('\n', " ")))
        .collect()
}

async fn written(name: &str, keys: &[(&str, &str)], batch: Batch) -> (Vec<String>, Vec<String>) {
    let sink = sink(name, keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    let written = sink.write(batch).await.unwrap();
    if let Some(cut) = written.cut {
        publish(&*sink, 0..cut).await;
    }
    (files(name).await, written.rejected.iter().map(|r| r.error.to_string()).collect())
}

#[tokio::test]
async fn keys_of_each_form_are_written_beside_the_values_s3g_119_121() {
    let values = [Some("1"), Some("2")];
    let keys = texts(&[Some("k\"0 é"), Some("k1")]);
    let json = [&KEYS[..], &[("flush.size", "2")]].concat();
    let columns = keyed(Form::Columns, keys.clone(), &values, None);
    let expected = ["partition=0/0.json: 1 2", "partition=0/0.keys.json: \"k\\\"0 é\" \"k1\""];
    assert_eq!(written("keys-text", &json, columns).await.0, expected);

    let document = keyed(Form::Document, texts(&[Some("{\"id\":1}"), Some("7")]), &values, None);
    let expected = ["partition=0/0.json: 1 2", "partition=0/0.keys.json: {\"id\":1} 7"];
    assert_eq!(written("keys-document", &json, document).await.0, expected);

    let bytes = || -> ArrayRef { Arc::new(BinaryArray::from(vec![b"k0".as_slice(), b"k1"])) };
    let plain = keyed(Form::Bytes, bytes(), &values, None);
    assert_eq!(written("keys-base64", &json, plain).await.0[1], "partition=0/0.keys.json: \"azA=\" \"azE=\"");
    let raw = [("flush.size", "2"), ("store.kafka.keys", "true"), ("keys.format.class", "bytearray")];
    let plain = keyed(Form::Bytes, bytes(), &values, None);
    assert_eq!(written("keys-bytes", &raw, plain).await.0[1], "partition=0/0.keys.bin: k0 k1");
    // S3G-128.
    let (files, errors) = written("keys-refused", &raw, keyed(Form::Columns, keys, &values, None)).await;
    assert!(
        files.is_empty() && errors[0].contains("Invalid schema type for ByteArrayConverter: STRING"),
        "{errors:?}"
    );
    assert!(errors[0].contains("key.converter"), "{errors:?}");
}

#[tokio::test]
async fn a_record_without_a_key_is_refused_before_anything_of_it_is_written_s3g_143() {
    let keys = [&KEYS[..], &[("flush.size", "2")]].concat();
    let batch =
        keyed(Form::Columns, texts(&[Some("k"), None, Some("l")]), &[Some("1"), Some("2"), Some("3")], None);
    let (files, errors) = written("null-key", &keys, batch).await;
    assert_eq!(files, ["partition=0/0.json: 1 3", "partition=0/0.keys.json: \"k\" \"l\""]);
    assert!(errors[0].starts_with("orders-0 offset 1: Key cannot be null"), "{errors:?}");
}

#[tokio::test]
async fn headers_are_written_as_connect_reads_them_s3g_124_155_159() {
    let rows: [Headers<'_>; 2] = [&[("n", Some("1.50")), ("n", Some("x"))], &[("d", Some("{\"x\":1}"))]];
    let batch = || keyed(Form::Columns, texts(&[Some("k"), Some("l")]), &[Some("1"), Some("2")], Some(&rows));
    for (converter, first, second) in [
        ("org.apache.kafka.connect.storage.SimpleHeaderConverter", "1.5", "{\\\"x\\\":1}"),
        ("StringConverter", "1.50", "{\\\"x\\\":1}"),
        ("ByteArrayConverter", "MS41MA==", "eyJ4IjoxfQ=="),
    ] {
        let keys =
            [&HEADERS[..], &KEYS[..], &[("flush.size", "2"), ("header.converter", converter)]].concat();
        let (files, _) = written(&format!("headers-{converter}"), &keys, batch()).await;
        let x = if converter == "ByteArrayConverter" { "eA==" } else { "x" };
        let expected = [
            format!(
                "partition=0/0.headers.json: {{\"headers\":[{{\"key\":\"n\",\"value\":\"{first}\"}},{{\"key\":\"n\",\"value\":\"{x}\"}}]}} \
                 {{\"headers\":[{{\"key\":\"d\",\"value\":\"{second}\"}}]}}"
            ),
            "partition=0/0.json: 1 2".to_owned(),
            "partition=0/0.keys.json: \"k\" \"l\"".to_owned(),
        ];
        assert_eq!(files, expected);
    }
}

#[tokio::test]
async fn each_record_needs_headers_with_values_s3g_122_157() {
    let keys = [&HEADERS[..], &[("flush.size", "1")]].concat();
    let rows: [Headers<'_>; 3] = [&[], &[("z", None)], &[("h", Some("v"))]];
    let batch = keyed(Form::Columns, texts(&[None; 3]), &[Some("1"), Some("2"), Some("3")], Some(&rows));
    let (files, errors) = written("bad-headers", &keys, batch).await;
    assert_eq!(files[1], "partition=0/2.json: 3");
    assert!(errors[0].contains("offset 0: Headers cannot be null"), "{errors:?}");
    assert!(errors[1].contains("offset 1: Invalid value: null"), "{errors:?}");
    let none = keyed(Form::Columns, texts(&[None]), &[Some("1")], None);
    assert_eq!(written("no-headers", &keys, none).await.1.len(), 1);
}

#[tokio::test]
async fn tombstones_leave_their_keys_alone_in_a_directory_s3g_114_115_117() {
    let letters = ["k1", "k2", "k3", "k4", "k5", "k6", "k7"].map(Some);
    let values = [Some("1"), None, Some("2"), None, None, Some("3"), Some("4")];
    let batch = || keyed(Form::Columns, texts(&letters), &values, None);
    let keys = [&KEYS[..], &[("flush.size", "3"), ("behavior.on.null.values", "write")]].concat();
    let expected = [
        "partition=0/0.json: 1 2",
        "partition=0/0.keys.json: \"k1\" \"k3\"",
        "partition=0/5.json: 3",
        "partition=0/5.keys.json: \"k6\"",
        "tombstone/1.keys.json: \"k2\"",
        "tombstone/3.keys.json: \"k4\" \"k5\"",
    ];
    assert_eq!(written("tombstones", &keys, batch()).await.0, expected);
    let time = [
        ("partitioner.class", "hourly"),
        ("timezone", "UTC"),
        ("timestamp.extractor", "RecordField"),
        ("tombstone.encoded.partition", "deleted"),
    ];
    let keys = [&keys[..], &time].concat();
    let values = [Some("{\"timestamp\":0}"), None, Some("{\"timestamp\":1}")];
    let batch = keyed(Form::Columns, texts(&letters[..3]), &values, None);
    let (files, errors) = written("tombstones-time", &keys, batch).await;
    assert_eq!(files.last().unwrap(), "year=1970/month=01/day=01/hour=00/0.keys.json: \"k1\" \"k3\"");
    assert_eq!((files[0].as_str(), errors), ("deleted/1.keys.json: \"k2\"", vec![]));
}

#[tokio::test]
async fn a_directory_of_tombstones_that_values_have_too_mixes_nothing() {
    let write = ("behavior.on.null.values", "write");
    let keys =
        [&KEYS[..], &[("flush.size", "3"), write, ("tombstone.encoded.partition", "partition=0")]].concat();
    let batch =
        keyed(Form::Columns, texts(&[Some("a"), Some("b"), Some("c")]), &[Some("1"), None, Some("2")], None);
    let expected =
        ["partition=0/0.json: 1 2", "partition=0/0.keys.json: \"a\" \"c\"", "partition=0/1.keys.json: \"b\""];
    assert_eq!(written("tombstones-same", &keys, batch).await.0, expected);
}
