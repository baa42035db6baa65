//! Rows, types, statistics and offsets of appended records.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, TimestampMicrosecondType};
use connector_core::FlushRange;
use connector_core::{Assignment, TopicPartition};
use deltalake::kernel::{Action, Add};
use serde_json::{Value, json};

use crate::{
    Lake, ddl, documents, integers, noted, open, partition, publish, rows, sink, strings, table, typed, write,
};

fn adds(actions: &[Action]) -> Vec<&Add> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Add(add) => Some(add),
            _ => None,
        })
        .collect()
}

/// Two rows as the geo cleaner makes them.
fn geo() -> ArrayRef {
    let columns: Vec<(Arc<Field>, ArrayRef)> = vec![
        (Arc::new(Field::new("ind", DataType::Int64, false)), Arc::new(Int64Array::from(vec![7, 3]))),
        (
            Arc::new(Field::new("country", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("Cote d'Ivoire"), None])),
        ),
        (
            Arc::new(Field::new(
                "coordinates",
                DataType::List(Arc::new(Field::new("item", DataType::Float64, true))),
                true,
            )),
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
                Some(vec![Some(-71.6856), Some(-179.126)]),
                None,
            ])),
        ),
        (
            Arc::new(Field::new(
                "timestamp",
                DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None),
                true,
            )),
            Arc::new(TimestampMillisecondArray::from(vec![Some(1_598_586_767_123), None])),
        ),
    ];
    Arc::new(StructArray::from(columns))
}

#[tokio::test]
async fn a_cleaned_table_has_the_types_of_the_pipeline() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("geo"), &[]);
    open(&*sink, &[partition(0)]).await;
    let written = sink.write(typed(&partition(0), 0, geo())).await.unwrap();
    assert!(written.rejected.is_empty(), "{written:?}");
    publish(&*sink, &[(&partition(0), 0..2)]).await;

    let table = table(&lake.url("geo")).await.unwrap();
    assert_eq!(
        ddl(&table),
        ["ind long", "country string", "coordinates array<double>", "timestamp timestamp"]
    );
    let rows = rows(&table).await;
    assert_eq!(strings(&rows, "country"), [Some("Cote d'Ivoire".to_owned()), None]);
    let at = rows[0].column_by_name("timestamp").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.iter().collect::<Vec<_>>(), [Some(1_598_586_767_123_000), None]);
    let coordinates = rows[0].column_by_name("coordinates").unwrap().as_list::<i32>();
    assert_eq!(coordinates.value(0).as_primitive::<Float64Type>().values(), &[-71.6856, -179.126]);
    assert!(coordinates.is_null(1));

    let actions = table.entry(1).await.unwrap().unwrap();
    let stats: Value = serde_json::from_str(adds(&actions)[0].stats.as_deref().unwrap()).unwrap();
    assert_eq!(
        stats,
        json!({
            "numRecords": 2,
            "minValues": {"ind": 3, "country": "Cote d'Ivoire", "timestamp": "2020-08-28T03:52:47.123Z"},
            "maxValues": {"ind": 7, "country": "Cote d'Ivoire", "timestamp": "2020-08-28T03:52:47.123Z"},
            "nullCount": {"ind": 0, "country": 1, "timestamp": 1},
        })
    );
}

#[tokio::test]
async fn documents_make_a_table_of_their_fields() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    let values = [
        r#"{"index":7,"title":"a…\u00a0","score":1,"tags":["x","y"],"nested":{"a":true},"nothing":null}"#,
        r#"{"index":8,"score":1.5,"nested":{"b":"é"},"more":false}"#,
    ];
    assert!(write(&*sink, &partition(0), 0, &values).await.rejected.is_empty());
    publish(&*sink, &[(&partition(0), 0..2)]).await;
    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!(ddl(&table)[..4], ["index long", "title string", "score double", "tags array<string>"]);
    assert!(ddl(&table).iter().any(|c| c == "more boolean") && ddl(&table).len() == 6, "{:?}", ddl(&table));
    assert_eq!(strings(&rows(&table).await, "title"), [Some("a…\u{a0}".to_owned()), None]);
}

#[tokio::test]
async fn a_version_notes_the_ranges_that_it_holds_and_what_became_of_their_records() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    let assigned = Assignment { partition: partition(3), topic_id: "kZ1".into() };
    sink.open(&[assigned]).await.unwrap();
    write(&*sink, &partition(3), 10, &[r#"{"n":1}"#, r#"{"n":2}"#]).await;
    let mut range = FlushRange::new(partition(3), 10..15);
    range.counts = connector_core::RangeCounts { delivered: 2, filtered: 2, rejected: 1 };
    let staged = sink.flush(&[range]).await.unwrap();
    sink.commit(&staged).await.unwrap();

    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!(
        noted(&table, 1).await,
        json!({"connector": "c", "ranges": [{"topic": "orders", "partition": 3, "topicId": "kZ1", "start": 10,
            "end": 15, "delivered": 2, "filtered": 2, "rejected": 1}]})
    );
    let txns = table.txn_versions(&table.head(), vec!["c/orders/3/kZ1".into(), "c/orders/3/".into()]).await;
    assert_eq!(txns.unwrap(), [Some(15), None], "another topic of that name would start afresh");
}

#[tokio::test]
async fn partitions_that_share_a_table_are_one_commit_and_tables_one_each() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("{topic}"), &[("topic.mapping.left", "both"), ("topic.mapping.right", "both")]);
    let parts: Vec<_> = ["left", "right", "other"].map(|topic| TopicPartition::new(topic, 0)).into();
    open(&*sink, &parts).await;
    for (at, tp) in parts.iter().enumerate() {
        write(&*sink, tp, 0, &[&format!(r#"{{"n":{at}}}"#)]).await;
    }
    publish(&*sink, &[(&parts[0], 0..1), (&parts[1], 0..1), (&parts[2], 0..1)]).await;
    let both = table(&lake.url("both")).await.unwrap();
    assert_eq!((both.head().version, integers(&both, "n").await), (1, vec![0, 1]));
    let other = table(&lake.url("other")).await.unwrap();
    assert_eq!((other.head().version, integers(&other, "n").await), (1, vec![2]));
}

#[tokio::test]
async fn a_range_that_ends_before_rows_that_came_meanwhile_takes_none_of_them() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    write(&*sink, &partition(0), 0, &[r#"{"n":0}"#, r#"{"n":1}"#]).await;
    // The host decided on the end before these came.
    write(&*sink, &partition(0), 2, &[r#"{"n":2}"#]).await;
    publish(&*sink, &[(&partition(0), 0..2)]).await;
    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!(integers(&table, "n").await, [0, 1]);
    publish(&*sink, &[(&partition(0), 2..3)]).await;
    assert_eq!(integers(&table, "n").await, [0, 1, 2]);
}

#[tokio::test]
async fn partition_columns_are_in_the_log_and_in_no_file() {
    let lake = Lake::empty();
    let keys = [("delta.schema", "n long, country string"), ("delta.partition.columns", "country")];
    let sink = sink(&lake.url("t"), &keys);
    open(&*sink, &[partition(0)]).await;
    let values =
        [r#"{"n":1,"country":"Cote d'Ivoire"}"#, r#"{"n":2,"country":null}"#, r#"{"n":3,"country":"Cuba"}"#];
    write(&*sink, &partition(0), 0, &values).await;
    publish(&*sink, &[(&partition(0), 0..3)]).await;
    let table = table(&lake.url("t")).await.unwrap();
    let files = table.files(&table.head()).await.unwrap();
    let mut found: Vec<_> = files.iter().map(|f| f.partition_values["country"].clone()).collect();
    found.sort();
    assert_eq!(found, [None, Some("Cote d'Ivoire".to_owned()), Some("Cuba".to_owned())]);
    assert!(files.iter().any(|f| f.path.starts_with("country=Cote%20d%27Ivoire/")), "{files:?}");
    assert!(files.iter().all(|f| !f.stats.as_deref().unwrap().contains("country")));
    let mut countries = strings(&rows(&table).await, "country");
    countries.sort();
    assert_eq!(countries, found);
    // The path in the log is a URI: its percent signs are escaped once more.
    let log = std::fs::read_to_string(lake.path("t").join("_delta_log/00000000000000000001.json")).unwrap();
    assert!(log.contains("country=Cote%2520d%2527Ivoire/"), "{log}");
}

#[tokio::test]
async fn tombstones_are_refused_with_the_remedy_or_skipped() {
    let lake = Lake::empty();
    for (name, keys, filtered) in [("a", vec![], 0), ("b", vec![("behavior.on.null.values", "ignore")], 1)] {
        let sink = sink(&lake.url(name), &keys);
        open(&*sink, &[partition(0)]).await;
        let written = sink.write(documents(&partition(0), 5, &[Some(r#"{"n":1}"#), None])).await.unwrap();
        assert_eq!(written.filtered, filtered);
        assert_eq!(written.rejected.len(), 1 - filtered);
        for rejection in written.rejected {
            let error = rejection.error.to_string();
            assert!(
                error.contains("orders-0 offset 6") && error.contains("behavior.on.null.values"),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_large_file_leaves_memory_in_parts_and_files_end_at_their_target_size() {
    let lake = Lake::empty();
    let sink =
        sink(&lake.url("t"), &[("parquet.codec", "none"), ("delta.optimize.target.file.bytes", "20971520")]);
    open(&*sink, &[partition(0)]).await;
    let (mut spilled, mut random, rows_a_batch) = (0, 1_u64, 2000);
    let batches = 40;
    for batch in 0..batches {
        let texts: Vec<String> = (0..rows_a_batch)
            .map(|_| {
                (0..63)
                    .map(|_| {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        format!("{:016x}", random)
                    })
                    .collect()
            })
            .collect();
        let columns: Vec<(Arc<Field>, ArrayRef)> = vec![
            (
                Arc::new(Field::new("n", DataType::Int32, false)),
                Arc::new(Int32Array::from_iter_values(0..rows_a_batch)),
            ),
            (Arc::new(Field::new("text", DataType::Utf8, false)), Arc::new(StringArray::from(texts))),
            (
                Arc::new(Field::new("x", DataType::Float64, false)),
                Arc::new(Float64Array::from_iter_values((0..rows_a_batch).map(f64::from))),
            ),
        ];
        let values = Arc::new(StructArray::from(columns));
        let written =
            sink.write(typed(&partition(0), i64::from(batch * rows_a_batch), values)).await.unwrap();
        assert_eq!(written.cut, None);
        spilled += written.spilled_bytes;
    }
    let total = u64::try_from(batches * rows_a_batch).unwrap() * 1020;
    assert!(spilled > total / 3 && spilled < total, "{spilled} of {total}");
    publish(&*sink, &[(&partition(0), 0..i64::from(batches * rows_a_batch))]).await;
    let table = table(&lake.url("t")).await.unwrap();
    let files = table.files(&table.head()).await.unwrap();
    assert!((3..=5).contains(&files.len()), "{}", files.len());
    assert!(files.iter().all(|file| file.size < 24 << 20), "{files:?}");
    for file in &files {
        let size = std::fs::metadata(lake.path("t").join(&file.path)).unwrap().len();
        assert_eq!(size, u64::try_from(file.size).unwrap(), "the log's size is the file's");
    }
    assert_eq!(integers(&table, "n").await.len(), usize::try_from(batches * rows_a_batch).unwrap());
}

#[tokio::test]
async fn rows_that_were_flushed_and_not_committed_are_no_part_of_the_table_and_are_removed() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let sink = sink(&url, &[("flush.size", "2"), ("delta.schema", "n long")]);
    open(&*sink, &[partition(0)]).await;
    write(&*sink, &partition(0), 0, &[r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]).await;
    let staged = sink.flush(&[FlushRange::new(partition(0), 0..2)]).await.unwrap();
    let files = || {
        std::fs::read_dir(lake.path("t")).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count()
    };
    assert_eq!(files(), 1);
    drop(staged);
    sink.close(&[partition(0)]).await.unwrap();
    assert_eq!(files(), 0, "nothing stays of what no commit can have");
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await, [0_i64; 0]);
}

#[tokio::test]
async fn the_clock_and_the_number_of_records_end_ranges() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[("flush.size", "3"), ("rotate.interval.ms", "5000")]);
    assert_eq!(sink.schedule().unwrap().every_ms, 5000);
    open(&*sink, &[partition(0)]).await;
    let values: Vec<String> = (0..8).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    assert_eq!(write(&*sink, &partition(0), 0, &values).await.cut, Some(6));
}

#[tokio::test]
async fn a_cut_is_flushed_while_files_grow_with_the_rows_behind_it() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[("flush.size", "100"), ("delta.schema", "n long, text string")]);
    let tp = partition(0);
    open(&*sink, std::slice::from_ref(&tp)).await;
    // 9 MiB: more than is held back from the files.
    let text = "x".repeat(100_000);
    let values: Vec<String> = (0..290).map(|n| format!(r#"{{"n":{n},"text":"{text}{n}"}}"#)).collect();
    let write_rows = async |range: std::ops::Range<usize>| {
        let start = range.start as i64;
        let values: Vec<&str> = values[range].iter().map(String::as_str).collect();
        write(&*sink, &tp, start, &values).await.cut
    };
    assert_eq!(write_rows(0..190).await, Some(100));
    publish(&*sink, &[(&tp, 0..100)]).await;
    assert_eq!(integers(&table(&lake.url("t")).await.unwrap(), "n").await, (0..100).collect::<Vec<_>>());
    assert_eq!(write_rows(190..290).await, Some(200));
    publish(&*sink, &[(&tp, 100..200)]).await;
    // The open rest is a range too when the host forces it.
    publish(&*sink, &[(&tp, 200..290)]).await;
    assert_eq!(integers(&table(&lake.url("t")).await.unwrap(), "n").await, (0..290).collect::<Vec<_>>());
}
