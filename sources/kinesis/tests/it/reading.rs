use std::time::Duration;

use connector_aws::kpl::Aggregate;
use connector_core::arrow::array::AsArray;
use connector_core::{Acks, Envelope, PollBudget};
use serde_json::json;

use crate::reader::{Reader, SHARD_0, source};
use crate::stream::{Stream, first_key, kinesalite, moto};

/// Kinesis tells times apart by the second, at least where it begins to read.
async fn a_second_passes() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_out_as_they_were_put_with_their_key_and_time() {
    let (stream, before) = (Stream::create(&kinesalite(), 1).await, now());
    let odd = "{\"title\": \"\u{5d0} \u{2026}\u{a0}\",\n \"n\": 1.10}";
    stream.put("partition-1", odd).await;
    let last = stream.put("partition-2", "no JSON").await;
    let mut reader = Reader::of(&stream, &[]).await;
    reader.read_to(2).await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(reader.records, [pair("partition-1", odd), pair("partition-2", "no JSON")]);
    assert!(reader.timestamps.iter().all(|time| (before - 1_000..=now() + 1_000).contains(time)));
    assert_eq!(reader.offset(SHARD_0), Some(json!({"sequenceNumber": last})));
    assert_eq!(reader.metric("behind_latest_milliseconds"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_goes_on_after_the_last_committed_record_k_06() {
    let stream = Stream::create(&kinesalite(), 1).await;
    for n in 0..10 {
        stream.put("k", n.to_string()).await;
    }
    let mut first = Reader::of(&stream, &[("kinesis.record.limit", "3")]).await;
    first.read_to(4).await;
    first.source.close().await.unwrap();
    let mut second = Reader::resume(&stream, &[], first.positions.clone()).await;
    second.read_to(6).await;
    assert_eq!(second.values(), ["4", "5", "6", "7", "8", "9"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregated_record_is_taken_apart_and_resumed_inside_k_07() {
    let stream = Stream::create(&kinesalite(), 1).await;
    stream.put("p", "before").await;
    let mut aggregate = Aggregate::new("user-1".to_owned(), None);
    ["a", "b", "c", "d"].into_iter().for_each(|data| aggregate.push(data.as_bytes().to_vec()));
    let sequence = stream.put("a", aggregate.finish()).await;
    stream.put("p", "after").await;

    let mut first = Reader::of(&stream, &[]).await;
    first.read_to(3).await;
    assert_eq!(first.values(), ["before", "a", "b"]);
    assert_eq!(first.records[1].0, "user-1");
    assert_eq!(first.offset(SHARD_0), Some(json!({"sequenceNumber": sequence, "subSequenceNumber": 1})));

    let mut second = Reader::resume(&stream, &[], first.positions.clone()).await;
    second.read_to(2).await;
    assert_eq!(second.offset(SHARD_0), Some(json!({"sequenceNumber": sequence})));
    second.read_to(3).await;
    assert_eq!(second.values(), ["c", "d", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_a_record_is_its_shard_and_sequence_number_until_it_is_committed() {
    let stream = Stream::create(&kinesalite(), 1).await;
    let mut aggregate = Aggregate::new("user-1".to_owned(), None);
    ["a", "b"].into_iter().for_each(|data| aggregate.push(data.as_bytes().to_vec()));
    let numbers = [stream.put("p", "secret").await, stream.put("a", aggregate.finish()).await];
    let reader = Reader::of(&stream, &[]).await;
    let mut places = Vec::new();
    while places.len() < 3 {
        let budget = PollBudget { max_records: 10, max_bytes: 1 << 20 };
        let batch = reader.source.poll(budget).await.unwrap().unwrap();
        let token = batch.offset.token;
        places.extend((0..).map_while(|row| reader.source.place(token, row)));
        reader.source.commit(&batch.offset, &Acks::default()).await.unwrap();
        assert_eq!(reader.source.place(token, 0), None);
    }
    let place = format!("stream `{}` shard `{SHARD_0}` sequence number", stream.name);
    let [whole, packed] = numbers;
    assert_eq!(
        places,
        [
            format!("{place} {whole}"),
            format!("{place} {packed} sub-sequence number 0"),
            format!("{place} {packed} sub-sequence number 1"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_reads_what_comes_after_the_first_start_even_if_nothing_was_read_before_a_restart() {
    let stream = Stream::create(&kinesalite(), 2).await;
    stream.split(0).await;
    stream.put("k", "old").await;
    a_second_passes().await;
    let latest = [("kinesis.position", "LATEST")];
    let mut first = Reader::of(&stream, &latest).await;
    let batch = first.poll(10).await.unwrap().unwrap();
    assert!(batch.runs.is_empty());
    assert_eq!(first.offset(SHARD_0), Some(json!({"sequenceNumber": "SHARD_END"})));
    assert_eq!(first.positions.len(), 4);
    a_second_passes().await;
    first.source.close().await.unwrap();

    stream.put("k", "while nobody reads").await;
    let mut second = Reader::resume(&stream, &latest, first.positions.clone()).await;
    second.read_to(1).await;
    stream.put("k", "while it is read").await;
    second.read_to(2).await;
    assert_eq!(second.values(), ["while nobody reads", "while it is read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_timestamp_begins_at_that_time() {
    let stream = Stream::create(&kinesalite(), 1).await;
    stream.put("k", "old").await;
    a_second_passes().await;
    let time = now().to_string();
    a_second_passes().await;
    stream.put("k", "new").await;
    let at = [("kinesis.position", "AT_TIMESTAMP"), ("kinesis.shard.timestamp", time.as_str())];
    let mut reader = Reader::of(&stream, &at).await;
    reader.read_to(1).await;
    assert_eq!(reader.values(), ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_say_where_a_record_was_if_they_are_asked_for_k_04() {
    let stream = Stream::create(&kinesalite(), 1).await;
    let sequence = stream.put("p", "v").await;
    let mut reader = Reader::of(&stream, &[("kinesis.record.headers", "true")]).await;
    let batch = reader.poll(10).await.unwrap().unwrap();
    let headers = Envelope::of(&batch.runs[0].records).unwrap().headers().unwrap().value(0);
    let (names, values) = (headers.as_struct().column(0), headers.as_struct().column(1));
    let pairs: Vec<_> = names.as_string::<i32>().iter().zip(values.as_binary::<i32>().iter()).collect();
    let pair = |name: &'static str, value: &'static str| (Some(name), Some(value.as_bytes()));
    let sequence = (Some("aws.kinesis.sequence.number"), Some(sequence.as_bytes()));
    assert_eq!(
        pairs,
        [pair("aws.kinesis.partition.key", "p"), sequence, pair("aws.kinesis.shard.id", SHARD_0)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_until_latest_reads_what_is_there_and_ends() {
    for endpoint in [kinesalite(), moto()] {
        let stream = Stream::create(&endpoint, 3).await;
        for n in 0..40 {
            stream.put(&format!("k{n}"), format!("{n:02}")).await;
        }
        let until = [("kinesis.until", "latest"), ("kinesis.record.limit", "4")];
        assert!(source(&stream.config(&until)).bounded());
        assert!(!source(&stream.config(&[])).bounded());
        let mut reader = Reader::of(&stream, &until).await;
        reader.read_to_end().await;
        let mut values = reader.values();
        values.sort_unstable();
        assert_eq!(values, (0..40).map(|n| format!("{n:02}")).collect::<Vec<_>>(), "{endpoint}");

        stream.put("k", "later").await;
        let mut next = Reader::resume(&stream, &until, reader.positions.clone()).await;
        next.read_to_end().await;
        assert_eq!(next.values(), ["later"], "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_divided_among_tasks_and_each_record_is_read_by_one() {
    let stream = Stream::create(&kinesalite(), 4).await;
    let shards = stream.open_shards().await;
    for n in 0..40 {
        stream.put_at(first_key(&shards[n % 4]), "k", &format!("{n:02}")).await;
    }
    let config = stream.config(&[("kinesis.until", "latest")]);
    let tasks = source(&config).plan(3).await.unwrap();
    assert_eq!(tasks.len(), 3);
    let mut values = Vec::new();
    for task in tasks {
        let mut reader = Reader::open(&config, task, Vec::new()).await.unwrap();
        reader.read_to_end().await;
        assert!(!reader.records.is_empty());
        values.extend(reader.records.into_iter().map(|(_, value)| value));
    }
    values.sort();
    assert_eq!(values, (0..40).map(|n| format!("{n:02}")).collect::<Vec<_>>());
}
