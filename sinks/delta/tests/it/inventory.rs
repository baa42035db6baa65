//! What the sink finds again in its tables.

use std::fs;
use std::path::{Path, PathBuf};

use connector_core::{Assignment, Extent, FlushRange, Offset, RangeCounts, Sink};

use crate::{Lake, named, partition, sink, write};

const ROW: &str = r#"{"n":1,"place":"100 % a/b"}"#;

async fn commit(sink: &dyn Sink, number: i32, start: Offset, rows: usize, counts: RangeCounts) {
    let written = write(sink, &partition(number), start, &vec![ROW; rows]).await;
    assert!(written.rejected.is_empty(), "{written:?}");
    let end = start + (counts.delivered + counts.filtered + counts.rejected) as Offset;
    let range = FlushRange { counts, ..FlushRange::new(partition(number), start..end) };
    let staged = sink.flush(&[range]).await.unwrap();
    sink.commit(&staged).await.unwrap();
}

fn delivered(delivered: u64) -> RangeCounts {
    RangeCounts { delivered, ..RangeCounts::default() }
}

async fn open(sink: &dyn Sink, topic_id: &str) {
    for number in [0, 1] {
        let assigned = Assignment { partition: partition(number), topic_id: topic_id.into() };
        sink.open(&[assigned]).await.unwrap();
    }
}

/// Partition, start, end, records and whether there are counts, in order.
async fn found(sink: &dyn Sink) -> Vec<(i32, Offset, Option<Offset>, u64, bool)> {
    let mut found: Vec<_> = sink
        .inventory(&["orders".into()])
        .await
        .unwrap()
        .into_iter()
        .map(|Extent { partition, start, end, records, counts, .. }| {
            (partition.partition, start, end, records, counts.is_some())
        })
        .collect();
    found.sort_unstable();
    found
}

fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if !path.ends_with("_delta_log") => files.extend(self::files(&path, end)),
            _ if path.to_string_lossy().ends_with(end) => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn each_range_is_found_with_what_became_of_its_records() {
    let lake = Lake::empty();
    let table = sink(&lake.url("t"), &[("delta.partition.columns", "place")]);
    open(&*table, "id").await;
    assert!(found(&*table).await.is_empty(), "no table, no extents");
    assert!(!lake.path("t").exists(), "looking makes no table");

    commit(&*table, 0, 10, 3, delivered(3)).await;
    commit(&*table, 1, 0, 2, RangeCounts { delivered: 2, filtered: 4, rejected: 1 }).await;
    commit(&*table, 0, 13, 0, RangeCounts { filtered: 5, ..RangeCounts::default() }).await;
    // Another connector in the same table, and another topic's name.
    let other = named("other", &lake.url("t"), &[]);
    open(&*other, "id").await;
    commit(&*other, 0, 0, 9, delivered(9)).await;

    let all = [(0, 10, Some(13), 3, true), (0, 13, Some(18), 0, true), (1, 0, Some(7), 2, true)];
    assert_eq!(found(&*table).await, all);
    assert!(table.inventory(&["invoices".into()]).await.unwrap().is_empty());
    let counts = table.inventory(&["orders".into()]).await.unwrap();
    let counts = counts.iter().find(|extent| extent.partition.partition == 1).unwrap().counts;
    assert_eq!(counts, Some(RangeCounts { delivered: 2, filtered: 4, rejected: 1 }));
}

#[tokio::test]
async fn only_the_topic_that_was_written_last_counts() {
    let lake = Lake::empty();
    let table = sink(&lake.url("t"), &[]);
    open(&*table, "old").await;
    commit(&*table, 0, 0, 4, delivered(4)).await;
    let anew = sink(&lake.url("t"), &[]);
    open(&*anew, "new").await;
    commit(&*anew, 0, 0, 2, delivered(2)).await;
    assert_eq!(found(&*anew).await, [(0, 0, Some(2), 2, true)]);
}

#[tokio::test]
async fn rows_of_a_file_that_is_gone_are_not_there() {
    let lake = Lake::empty();
    let table = sink(&lake.url("t"), &[("delta.partition.columns", "place")]);
    open(&*table, "id").await;
    commit(&*table, 0, 0, 4, delivered(4)).await;
    let before = files(&lake.path("t"), ".parquet");
    commit(&*table, 0, 4, 5, delivered(5)).await;
    let gone = files(&lake.path("t"), ".parquet").into_iter().find(|file| !before.contains(file)).unwrap();
    fs::remove_file(gone).unwrap();
    assert_eq!(found(&*table).await, [(0, 0, Some(4), 4, true), (0, 4, Some(9), 0, true)]);
}

#[tokio::test]
async fn what_is_older_than_the_log_is_known_by_its_position() {
    let lake = Lake::empty();
    let table = sink(&lake.url("t"), &[("delta.checkpointInterval", "4")]);
    open(&*table, "id").await;
    commit(&*table, 1, 0, 2, delivered(2)).await;
    for start in (0..50).step_by(10) {
        commit(&*table, 0, start, 10, delivered(10)).await;
    }
    table.close(&[partition(0), partition(1)]).await.unwrap();
    let log = lake.path("t").join("_delta_log");
    assert_eq!(files(&log, ".checkpoint.parquet").len(), 1, "{:?}", files(&log, ""));
    // Version 0 made the table, 1 is of partition 1; the checkpoint is of version 3.
    for version in 0..3 {
        fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let after: Vec<_> = (10..50).step_by(10).map(|at| (0, at, Some(at + 10), 10, true)).collect();
    let expected = [&[(0, 0, Some(10), 0, false)], after.as_slice(), &[(1, 0, Some(2), 0, false)]].concat();
    assert_eq!(found(&*sink(&lake.url("t"), &[])).await, expected);
}
