use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::reader::{Reader, SHARD_0, source};
use crate::stream::{Stream, first_key, kinesalite};

const KEYS: usize = 7;

/// Puts the numbers `range` under a few keys, which fall into all shards.
async fn put(stream: &Stream, range: std::ops::Range<usize>) {
    for n in range {
        stream.put(&format!("key-{}", n % KEYS), format!("{n:03}")).await;
    }
}

/// All of `0..count`, each once, and in order for each key.
fn assert_in_order(records: &[(String, String)], count: usize) {
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in records {
        by_key.entry(key).or_default().push(value);
    }
    for (key, values) in by_key {
        assert!(values.is_sorted(), "{key}: {values:?}");
    }
    let mut all: Vec<_> = records.iter().map(|(_, value)| value.clone()).collect();
    all.sort();
    assert_eq!(all, (0..count).map(|n| format!("{n:03}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn order_per_key_is_kept_through_splits_and_merges_that_happened_before() {
    let stream = Stream::create(&kinesalite(), 1).await;
    put(&stream, 0..40).await;
    stream.split(0).await;
    put(&stream, 40..60).await;
    stream.split(1).await;
    put(&stream, 60..80).await;
    stream.merge(0).await;
    put(&stream, 80..100).await;
    // Small pages: a child that did not wait would be done long before its parent.
    let limit = [("kinesis.record.limit", "4")];
    let mut reader = Reader::of(&stream, &limit).await;
    reader.read_to(100).await;
    assert_in_order(&reader.records, 100);
    assert_eq!(reader.offset(SHARD_0), Some(json!({"sequenceNumber": "SHARD_END"})));

    let mut again = Reader::resume(&stream, &limit, reader.positions.clone()).await;
    put(&stream, 100..107).await;
    again.read_to(7).await;
    let records = [reader.records, again.records].concat();
    assert_in_order(&records, 107);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_appear_while_reading_are_read_without_a_restart_k_05() {
    let stream = Stream::create(&kinesalite(), 1).await;
    put(&stream, 0..20).await;
    let limit = [("kinesis.record.limit", "4")];
    let mut reader = Reader::of(&stream, &limit).await;
    reader.read_to(10).await;
    stream.split(0).await;
    put(&stream, 20..40).await;
    reader.read_to(30).await;
    stream.merge(0).await;
    put(&stream, 40..60).await;
    reader.read_to(60).await;
    assert_in_order(&reader.records, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stops_in_the_middle_of_a_reshard_is_followed_by_one_that_goes_on() {
    let stream = Stream::create(&kinesalite(), 2).await;
    put(&stream, 0..30).await;
    stream.split(0).await;
    stream.merge(1).await;
    put(&stream, 30..60).await;
    let limit = [("kinesis.record.limit", "3")];
    let (mut records, mut positions) = (Vec::new(), Vec::new());
    while records.len() < 60 {
        let mut reader = Reader::resume(&stream, &limit, positions).await;
        reader.read_to((60 - records.len()).min(7)).await;
        reader.source.close().await.unwrap();
        records.extend(reader.records);
        positions = reader.positions;
    }
    assert_in_order(&records, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_across_two_tasks_waits_for_the_other_tasks_parent() {
    let stream = Stream::create(&kinesalite(), 2).await;
    let shards = stream.open_shards().await;
    let (low, high) = (first_key(&shards[0]), first_key(&shards[1]));
    let config = stream.config(&[]);
    let tasks = source(&config).plan(2).await.unwrap();
    assert_eq!(tasks.len(), 2);
    let mut left = Reader::open(&config, tasks[0].clone(), Vec::new()).await.unwrap();
    let mut right = Reader::open(&config, tasks[1].clone(), Vec::new()).await.unwrap();
    for n in 0..5 {
        stream.put_at(low, "low", &format!("low {n}")).await;
        stream.put_at(high, "high", &format!("high {n}")).await;
    }
    stream.merge(0).await;
    stream.put_at(low, "low", "low 5").await;
    stream.put_at(high, "high", "high 5").await;

    left.read_to(5).await;
    left.read_for(Duration::from_millis(1_500)).await;
    assert_eq!(left.values(), ["low 0", "low 1", "low 2", "low 3", "low 4"]);
    assert_eq!(left.metric("waiting_shards"), Some(1.0));

    right.read_to(5).await;
    assert_eq!(right.values(), ["high 0", "high 1", "high 2", "high 3", "high 4"]);
    // Its end comes with the records or after them.
    right.read_for(Duration::from_millis(1_500)).await;
    left.read_to(7).await;
    assert_eq!(left.values()[5..], ["low 5", "high 5"]);
    assert_eq!(left.metric("waiting_shards"), Some(0.0));

    // Planned anew, parents and child are in one task.
    assert_eq!(source(&config).plan(2).await.unwrap().len(), 1);
    let positions = [left.positions, right.positions].concat();
    let mut again = Reader::resume(&stream, &[], positions).await;
    stream.put_at(low, "low", "low 6").await;
    again.read_to(1).await;
    assert_eq!(again.values(), ["low 6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_until_latest_reads_parents_and_children_and_ends() {
    let stream = Stream::create(&kinesalite(), 1).await;
    put(&stream, 0..18).await;
    stream.split(0).await;
    put(&stream, 18..40).await;
    let until = [("kinesis.until", "latest"), ("kinesis.record.limit", "4")];
    let mut reader = Reader::of(&stream, &until).await;
    reader.read_to_end().await;
    assert_in_order(&reader.records, 40);
}
