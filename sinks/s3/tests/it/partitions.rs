//! Directories by field and by time, several open files, and when they close.

use std::sync::Arc;

use connector_core::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, StructArray, TimestampMillisecondArray,
};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, Delivery, Form, Offset, OpenLimits, Written};

use crate::{batch, documents, objects, partition, publish, sink};

const HOUR: &str = "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH";
/// 2024-01-01T00:00:00Z.
const YEAR_2024: i64 = 1_704_067_200_000;

fn by_time<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let keys = [
        ("partitioner.class", "io.confluent.connect.storage.partitioner.TimeBasedPartitioner"),
        ("path.format", HOUR),
        ("partition.duration.ms", "3600000"),
        ("locale", "en-US"),
        ("timezone", "UTC"),
        ("timestamp.extractor", "Record"),
    ];
    [&keys[..], more].concat()
}

/// JSON numbers from `start`, with these timestamps after the beginning of 2024, in seconds.
fn timed(start: Offset, seconds: &[i64]) -> Batch {
    let values: Vec<String> = (0..seconds.len()).map(|n| (start + n as i64).to_string()).collect();
    let offsets = Int64Array::from_iter_values(start..start + seconds.len() as i64);
    let times = TimestampMillisecondArray::from_iter_values(seconds.iter().map(|s| YEAR_2024 + s * 1000));
    let builder = EnvelopeBuilder::new().offsets(offsets).timestamps(times);
    let records = builder.value(Form::Document, Arc::new(StringArray::from(values))).build().unwrap();
    Batch::new(partition(0), records)
}

/// Each object as `directory/start: lines`, without the parts that all have.
async fn files(name: &str) -> Vec<String> {
    let short = |key: &str| key.replace("topics/orders/", "").replace("orders+0+0000000", "");
    objects(name)
        .await
        .iter()
        .map(|(key, body)| format!("{}: {}", short(key), body.trim_end().replace('\n', " ")))
        .collect()
}

async fn written(name: &str, keys: &[(&str, &str)], batches: Vec<Batch>) -> (Vec<Written>, Vec<String>) {
    let sink = sink(name, keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    let mut answers = Vec::new();
    for batch in batches {
        answers.push(sink.write(batch).await.unwrap());
    }
    if let Some(cut) = answers.iter().filter_map(|answer| answer.cut).max() {
        publish(&*sink, 0..cut).await;
    }
    (answers, files(name).await)
}

#[tokio::test]
async fn files_close_by_the_records_time_counted_from_the_first_s3g_007() {
    let keys = by_time(&[("flush.size", "1000"), ("rotate.interval.ms", "60000")]);
    let seconds = [36000, 36010, 36059, 36060, 36061, 36130, 36131];
    let (answers, files) = written("rotate-time", &keys, vec![timed(0, &seconds)]).await;
    assert_eq!(answers[0].cut, Some(5));
    let hour = "year=2024/month=01/day=01/hour=10";
    assert_eq!(files, [format!("{hour}/000.json: 0 1 2"), format!("{hour}/003.json: 3 4")]);
}

#[tokio::test]
async fn a_time_before_the_first_closes_nothing_s3g_008() {
    let keys = by_time(&[("flush.size", "1000"), ("rotate.interval.ms", "60000")]);
    let (answers, _) = written("rotate-base", &keys, vec![timed(0, &[100, 50, 159, 160])]).await;
    assert_eq!(answers[0].cut, Some(3));
}

#[tokio::test]
async fn another_directory_closes_all_files_s3g_009() {
    let keys = by_time(&[("flush.size", "1000"), ("rotate.interval.ms", "600000")]);
    let seconds = [-60, -30, 0, 30, -1, 3640, 3641, 9940];
    let (answers, files) = written("rotate-change", &keys, vec![timed(0, &seconds)]).await;
    assert_eq!(answers[0].cut, Some(7));
    let expected = [
        "year=2023/month=12/day=31/hour=23/000.json: 0 1",
        "year=2023/month=12/day=31/hour=23/004.json: 4",
        "year=2024/month=01/day=01/hour=00/002.json: 2 3",
        "year=2024/month=01/day=01/hour=01/005.json: 5 6",
    ];
    assert_eq!(files, expected);
    let keys = [&keys[..], &[("rotate.file.on.partition.change", "false")]].concat();
    let (answers, _) = written("rotate-stay", &keys, vec![timed(0, &seconds[..5])]).await;
    assert_eq!(answers[0].cut, None);
}

#[tokio::test]
async fn what_is_skipped_between_does_not_move_the_cut_s3g_112() {
    let keys = by_time(&[
        ("flush.size", "100"),
        ("rotate.interval.ms", "1000"),
        ("behavior.on.null.values", "ignore"),
    ]);
    let sink = sink("rotate-gap", &keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(timed(0, &[0])).await.unwrap();
    assert_eq!(sink.write(timed(5, &[5])).await.unwrap().cut, Some(1));
}

#[tokio::test]
async fn flush_size_counts_over_all_directories_and_closes_all_s3g_064_077() {
    let keys = by_time(&[("flush.size", "3")]);
    let (answers, files) = written("flush-all", &keys, vec![timed(0, &[86400, 0, 86401, 5])]).await;
    assert_eq!(answers[0].cut, Some(3));
    let expected =
        ["year=2024/month=01/day=01/hour=00/001.json: 1", "year=2024/month=01/day=02/hour=00/000.json: 0 2"];
    assert_eq!(files, expected);
}

#[tokio::test]
async fn one_file_too_many_closes_all_s3g_076() {
    let keys = [
        ("flush.size", "100"),
        ("partitioner.class", "field"),
        ("partition.field.name", "c"),
        ("partitioner.max.open.files", "2"),
    ];
    let values: Vec<String> =
        ["a", "b", "a", "c", "a", "d"].iter().map(|c| format!("{{\"c\":\"{c}\"}}")).collect();
    let values: Vec<_> = values.iter().map(|v| Some(v.as_str())).collect();
    let (answers, files) = written("max-open", &keys, vec![documents(0, &values)]).await;
    assert_eq!(answers[0].cut, Some(5));
    let names: Vec<_> = files.iter().map(|file| file.split(':').next().unwrap()).collect();
    assert_eq!(names, ["c=a/000.json", "c=a/004.json", "c=b/001.json", "c=c/003.json"]);
}

#[tokio::test]
async fn fields_of_json_without_a_schema_name_directories() {
    let keys = [("flush.size", "1"), ("partitioner.class", "field"), ("partition.field.name", "country,a.b")];
    let values = [
        r#"{"country":"de","a":{"b":1}}"#,
        r#"{"country":"","a":null}"#,
        r#"{"country":"a/b","a":{"b":true}}"#,
        r#"{"country":"../up","a":{"b":-7}}"#,
    ];
    let values: Vec<_> = values.iter().map(|v| Some(*v)).collect();
    let (_, files) = written("fields", &keys, vec![documents(0, &values)]).await;
    let names: Vec<_> = files.iter().map(|file| file.split(": ").next().unwrap()).collect();
    // S3G-067: unescaped.
    let expected = [
        "country=../up/a.b=-7/003.json",
        "country=/a.b=null/001.json",
        "country=a/b/a.b=true/002.json",
        "country=de/a.b=1/000.json",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn fields_that_name_no_directory_refuse_their_record_alone_and_show_no_value() {
    let keys = [("flush.size", "2"), ("partitioner.class", "field"), ("partition.field.name", "c")];
    let long = format!("{{\"c\":\"{}\"}}", "hunter2".repeat(200));
    let bad = [
        ("{}", "'c' is not present"),
        ("{\"c\":1.5}", "no whole number"),
        ("{\"c\":{\"hunter2\":1}}", "an object"),
        ("{\"c\":\"hunter2//x\"}", "no object can be in"),
        ("{\"c\":\"hunter2/../x\"}", "no object can be in"),
        ("{\"c\":\"hunter2\\n\"}", "no object can be in"),
        (long.as_str(), "1024"),
        ("\"hunter2\"", "not present"),
    ];
    let values: Vec<_> =
        bad.iter().map(|(value, _)| Some(*value)).chain([Some("{\"c\":1}"), Some("{\"c\":1}")]).collect();
    let (answers, files) = written("bad-fields", &keys, vec![documents(0, &values)]).await;
    assert_eq!(answers[0].rejected.len(), bad.len());
    for (rejection, (value, said)) in answers[0].rejected.iter().zip(bad) {
        let error = rejection.error.to_string();
        assert!(error.contains(said) && !error.contains("hunter2"), "{value}: {error}");
        assert!(error.starts_with(&format!("orders-0 offset {}: ", rejection.row)), "{error}");
    }
    assert_eq!(files, ["c=1/008.json: {\"c\":1} {\"c\":1}"]);
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let columns = columns.into_iter();
    Arc::new(StructArray::from(
        columns
            .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array))
            .collect::<Vec<_>>(),
    ))
}

#[tokio::test]
async fn typed_fields_name_directories_s3g_066_068_071() {
    let inner = rows(vec![("b", Arc::new(StringArray::from(vec![Some("x"), None])))]);
    let values = || {
        rows(vec![
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("n", Arc::new(Int64Array::from(vec![7, -7]))),
            ("a", inner.clone()),
            ("lat", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
        ])
    };
    let field =
        |names| [("flush.size", "1"), ("partitioner.class", "field"), ("partition.field.name", names)];
    let (_, files) = written("typed", &field("ok,n,a.b"), vec![batch(Form::Columns, 0, values())]).await;
    let names: Vec<_> = files.iter().map(|file| file.split(": ").next().unwrap()).collect();
    assert_eq!(names, ["ok=null/n=-7/a.b=null/001.json", "ok=true/n=7/a.b=x/000.json"]);
    // S3G-145: a double names no directory, its absence does.
    let (answers, files) = written("double", &field("lat"), vec![batch(Form::Columns, 0, values())]).await;
    assert_eq!(answers[0].rejected.len(), 1);
    assert!(files.len() == 1 && files[0].starts_with("lat=null/001.json"), "{files:?}");
}

#[tokio::test]
async fn the_time_of_a_field_names_directories_s3g_087_096() {
    let keys =
        by_time(&[("flush.size", "1"), ("timestamp.extractor", "RecordField"), ("timestamp.field", "m.ts")]);
    let values = [
        r#"{"m":{"ts":1704067200000.9}}"#,
        r#"{"m":{"ts":"2024-01-02"}}"#,
        r#"{"m":{"ts":"yesterday"}}"#,
        r#"{"m":{"ts":null}}"#,
        r#"{"m":{"ts":9223372036854775807}}"#,
        "[]",
    ];
    let values: Vec<_> = values.iter().map(|v| Some(*v)).collect();
    let (answers, files) = written("field-time", &keys, vec![documents(0, &values)]).await;
    let names: Vec<_> = files.iter().map(|file| file.split(": ").next().unwrap()).collect();
    assert_eq!(
        names,
        ["year=2024/month=01/day=01/hour=00/000.json", "year=2024/month=01/day=02/hour=00/001.json"]
    );
    assert_eq!(answers[0].rejected.iter().map(|r| r.row).collect::<Vec<_>>(), [2, 3, 4, 5]);
    let said = answers[0].rejected[0].error.to_string();
    assert!(
        said.contains("orders-0 offset 2") && said.contains("m.ts") && !said.contains("yesterday"),
        "{said}"
    );
}

#[tokio::test]
async fn typed_times_are_understood_s3g_097() {
    let times = TimestampMillisecondArray::from(vec![YEAR_2024 - 1, YEAR_2024]);
    let values = rows(vec![
        ("ts", Arc::new(times.with_timezone("UTC"))),
        ("d", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
    ]);
    let keys = |field| {
        by_time(&[("flush.size", "1"), ("timestamp.extractor", "RecordField"), ("timestamp.field", field)])
    };
    let (_, files) = written("typed-time", &keys("ts"), vec![batch(Form::Columns, 0, values.clone())]).await;
    assert!(files[0].starts_with("year=2023/month=12/day=31/hour=23/000.json"), "{files:?}");
    assert!(files[1].starts_with("year=2024/month=01/day=01/hour=00/001.json"), "{files:?}");
    // S3G-099.
    let (answers, _) = written("double-time", &keys("d"), vec![batch(Form::Columns, 0, values)]).await;
    assert_eq!(answers[0].rejected.len(), 2);
}

#[tokio::test]
async fn a_record_without_a_timestamp_is_refused() {
    let keys = by_time(&[("flush.size", "1")]);
    let (answers, _) = written("no-time", &keys, vec![documents(0, &[Some("1")])]).await;
    assert!(answers[0].rejected[0].error.to_string().contains("no timestamp"));
}

#[tokio::test]
async fn hours_and_days_have_their_own_partitioners_s3g_101_102() {
    let keys = |class, zone| {
        [
            ("partitioner.class", class),
            ("flush.size", "2"),
            ("timezone", zone),
            ("timestamp.extractor", "Record"),
        ]
    };
    let (_, files) = written("daily", &keys("daily", "Asia/Tokyo"), vec![timed(0, &[-60, 86340])]).await;
    assert_eq!(files, ["year=2024/month=01/day=01/000.json: 0", "year=2024/month=01/day=02/001.json: 1"]);
    let keys = [&keys("hourly", "UTC")[..], &[("directory.delim", "_h_")]].concat();
    let (_, files) = written("hourly", &keys, vec![timed(0, &[0, 3600])]).await;
    assert!(files[0].contains("_h_year=2024_h_month=01_h_day=01_h_hour=00_h_000.json"), "{files:?}");
}

#[tokio::test]
async fn the_schema_may_name_a_directory() {
    let rows = rows(vec![("n", Arc::new(Int64Array::from(vec![1])))]);
    let schema = Form::Columns.field("value", rows.data_type().clone());
    let metadata = schema
        .metadata()
        .clone()
        .into_iter()
        .chain([("connect.name".to_owned(), "pin".to_owned())])
        .collect();
    let records = connector_core::envelope::with_column(
        &batch(Form::Columns, 0, rows).records,
        schema.with_metadata(metadata),
        Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("n", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![1])) as ArrayRef,
        )])),
    );
    let named = Batch::new(partition(0), records.unwrap());
    let keys = [("flush.size", "1"), ("s3.schema.partition.affix.type", "SUFFIX")];
    let (_, files) = written("affix", &keys, vec![named, documents(1, &[Some("1")])]).await;
    let names: Vec<_> = files.iter().map(|file| file.split(": ").next().unwrap()).collect();
    assert_eq!(names, ["partition=0/schema_name=null/001.json", "partition=0/schema_name=pin/000.json"]);
}

#[tokio::test]
async fn the_sink_says_how_long_files_may_stay_open_and_what_it_promises() {
    let idle = |idle_ms| OpenLimits { idle_ms, age_ms: None };
    let interval = ("rotate.interval.ms", "5000");
    let by_record = sink("limits", &by_time(&[("flush.size", "9"), interval]));
    assert_eq!((by_record.open_limits(), by_record.delivery()), (idle(Some(5000)), Delivery::StableRange));
    let as_connect = sink("limits", &by_time(&[("flush.size", "9"), interval, ("rotate.idle", "false")]));
    assert_eq!(as_connect.open_limits(), idle(None));
    let plain = sink("limits", &[("flush.size", "9"), interval]);
    assert_eq!(plain.open_limits(), OpenLimits { age_ms: Some(5000), idle_ms: None });
    assert_eq!(sink("limits", &[("flush.size", "9")]).open_limits(), OpenLimits::default());
    let clock = sink("limits", &by_time(&[("flush.size", "9"), ("timestamp.extractor", "Wallclock")]));
    assert_eq!(clock.delivery(), Delivery::AtLeastOnce);
}

#[tokio::test]
async fn the_clock_may_name_directories() {
    let keys = by_time(&[("flush.size", "1"), ("timestamp.extractor", "Wallclock"), ("path.format", "YYYY")]);
    let (_, files) = written("clock", &keys, vec![documents(0, &[Some("1")])]).await;
    let year: i32 = files[0].split('/').next().unwrap().parse().unwrap();
    assert!(year >= 2024, "{files:?}");
}
