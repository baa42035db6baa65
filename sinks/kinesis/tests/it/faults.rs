//! Order and completeness while entries, calls and connections fail (K-02).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_core::Sink;

use crate::kinesis_faults::{Call, Fault, KinesisFaults};
use crate::stream::Record;
use crate::{Stream, documents, kinesalite, metric, publish, sink};

/// xorshift: the same faults in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// One entry in five fails, one call in ten does.
fn random(mut dice: Dice) -> impl FnMut(&Call) -> Fault {
    move |call| {
        if call.action != "PutRecords" {
            return Fault::Pass;
        }
        let late = |dice: &mut Dice, then| Fault::Late(Duration::from_millis(dice.roll(20)), Box::new(then));
        match dice.roll(40) {
            0 => Fault::Refuse(THROTTLED),
            1 => Fault::Refuse("InternalFailure"),
            2 => late(&mut dice, Fault::Drop),
            3 => late(&mut dice, Fault::LoseAnswer),
            _ => {
                let code = |dice: &mut Dice| if dice.roll(2) == 0 { THROTTLED } else { "InternalFailure" };
                let entries = 0..call.partition_keys().len();
                let failed: Vec<_> = entries.filter(|_| dice.roll(5) == 0).map(|at| (at, "")).collect();
                let failed = failed.into_iter().map(|(at, _)| (at, code(&mut dice))).collect();
                late(&mut dice, Fault::Entries(failed))
            }
        }
    }
}

/// Each record is there, and the first copies of each key's are in order.
fn check(records: &[Record], keys: usize, count: usize) {
    let mut next: HashMap<usize, usize> = HashMap::new();
    for record in records {
        let number: usize = record.data.parse().unwrap();
        let next = next.entry(number % keys).or_insert(number % keys);
        assert!(number <= *next, "{number} came before {next}");
        if number == *next {
            *next += keys;
        }
    }
    for (key, next) in &next {
        assert!(*next >= count, "key {key} ends before {next}");
    }
    assert_eq!(next.len(), keys, "keys are missing");
}

async fn write_all(
    url: &str,
    stream: &Stream,
    count: usize,
    keys: usize,
    settings: &[(&str, &str)],
) -> Arc<dyn Sink> {
    let sink = sink(url, &stream.name, settings);
    sink.open(&[]).await.unwrap();
    write(&*sink, count, keys).await;
    publish_in_time(&*sink, count).await;
    sink
}

async fn publish_in_time(sink: &dyn Sink, count: usize) {
    tokio::time::timeout(Duration::from_secs(120), publish(sink, count as i64)).await.unwrap().unwrap();
}

async fn write(sink: &dyn Sink, count: usize, keys: usize) {
    let texts: Vec<_> = (0..count).map(|n| (format!("key-{}", n % keys), n.to_string())).collect();
    for (part, chunk) in texts.chunks(250).enumerate() {
        let rows: Vec<_> = chunk.iter().map(|(key, value)| (Some(key.as_str()), value.as_str())).collect();
        sink.write(documents((part * 250) as i64, &rows)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_random_failures_nothing_is_lost_and_the_order_of_each_key_stays_k_02() {
    let Some(url) = kinesalite() else { return };
    for seed in [1, 2, 3] {
        let stream = Stream::create(&url, "faults", 3).await;
        let faults = KinesisFaults::before(&url, random(Dice(seed * 0x9E37_79B9)));
        let sink = write_all(&faults.url, &stream, 2000, 60, &[]).await;
        check(&stream.records().await, 60, 2000);
        assert!(metric(&*sink, "sidestream_kinesis_retried_entries_total") > 100.0);
        assert!(metric(&*sink, "sidestream_kinesis_throttled_entries_total") > 10.0);
        assert_eq!(metric(&*sink, "sidestream_kinesis_requests_in_flight"), 0.0);
        assert_eq!(metric(&*sink, "sidestream_kinesis_queued_bytes"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_order_the_same_failures_lose_nothing_but_do_change_it() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "unordered", 3).await;
    let faults = KinesisFaults::before(&url, random(Dice(7)));
    write_all(&faults.url, &stream, 2000, 60, &[("kinesis.ordering", "none")]).await;
    let records = stream.records().await;
    let mut numbers: Vec<usize> = records.iter().map(|record| record.data.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
    // The check of the other tests is one that can fail.
    assert!(std::panic::catch_unwind(|| check(&records, 60, 2000)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_hold_no_key_twice_and_several_are_under_way() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "requests", 3).await;
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let faults = KinesisFaults::before(&url, move |call| {
        if call.action != "PutRecords" {
            return Fault::Pass;
        }
        seen.lock().unwrap().push(call.partition_keys());
        Fault::Late(Duration::from_millis(300), Box::new(Fault::Pass))
    });
    let sink = sink(&faults.url, &stream.name, &[]);
    sink.open(&[]).await.unwrap();
    write(&*sink, 4000, 1500).await;
    let (mut published, mut most) = (std::pin::pin!(publish_in_time(&*sink, 4000)), 0.0_f64);
    while tokio::time::timeout(Duration::from_millis(5), &mut published).await.is_err() {
        most = most.max(metric(&*sink, "sidestream_kinesis_requests_in_flight"));
    }
    assert!((2.0..=8.0).contains(&most), "{most} requests under way at most");
    check(&stream.records().await, 1500, 4000);
    let requests = requests.lock().unwrap();
    for request in &*requests {
        let keys: HashSet<_> = request.iter().collect();
        assert_eq!(keys.len(), request.len(), "a key is twice in a request");
    }
    let largest = requests.iter().map(Vec::len).max().unwrap();
    assert!(largest > 200 && largest <= 500, "{largest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_stream_is_asked_less_often_and_the_host_is_told_why_nothing_moves() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "throttled", 1).await;
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let open = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let faults = KinesisFaults::before(&url, move |call| {
        if call.action != "PutRecords" || opened.load(std::sync::atomic::Ordering::Relaxed) {
            return Fault::Pass;
        }
        *counted.lock().unwrap() += 1;
        Fault::Entries((0..call.partition_keys().len()).map(|at| (at, THROTTLED)).collect())
    });
    let sink = sink(&faults.url, &stream.name, &[]);
    sink.open(&[]).await.unwrap();
    sink.write(documents(0, &[(Some("a"), "1"), (Some("b"), "2")])).await.unwrap();
    let error = publish(&*sink, 2).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.throttled", true), "{error}");
    assert!(error.message.contains(&stream.name) && error.hint.contains("shards"), "{error}");
    let calls = *calls.lock().unwrap();
    assert!((5..30).contains(&calls), "{calls} calls in 15 s");
    let throttled: Vec<_> = sink
        .metrics()
        .into_iter()
        .filter(|m| m.name == "sidestream_kinesis_throttled_entries_total")
        .collect();
    assert_eq!(throttled.len(), 1);
    assert!(throttled[0].value >= f64::from(calls), "{throttled:?}");
    assert!(throttled[0].labels.contains(&("shard".into(), "shardId-000000000000".into())), "{throttled:?}");

    // What the host does with such an error: the same call again.
    open.store(true, std::sync::atomic::Ordering::Relaxed);
    let again = async {
        while let Err(error) = publish(&*sink, 2).await {
            assert!(error.is_retriable());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
    assert_eq!(stream.data().await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_stream_is_split_and_merged_the_order_of_each_key_stays() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "reshard", 1).await;
    let faults = KinesisFaults::before(&url, random(Dice(11)));
    let sink = sink(&faults.url, &stream.name, &[]);
    sink.open(&[]).await.unwrap();
    let (count, keys) = (1500, 30);
    for start in (0..count).step_by(100) {
        let texts: Vec<_> =
            (start..start + 100).map(|n| (format!("key-{}", n % keys), n.to_string())).collect();
        let rows: Vec<_> = texts.iter().map(|(key, value)| (Some(key.as_str()), value.as_str())).collect();
        sink.write(documents(start as i64, &rows)).await.unwrap();
        // What was written last is under way when the stream changes.
        if start == 300 || start == 900 {
            publish(&*sink, start as i64 - 100).await.unwrap();
        }
        if start == 300 {
            let split = stream.client.split_shard().stream_name(&stream.name);
            let split = split
                .shard_to_split("shardId-000000000000")
                .new_starting_hash_key((u128::MAX / 2).to_string());
            split.send().await.unwrap();
            stream.settle().await;
        }
        if start == 900 {
            let merge = stream.client.merge_shards().stream_name(&stream.name);
            let merge =
                merge.shard_to_merge("shardId-000000000001").adjacent_shard_to_merge("shardId-000000000002");
            merge.send().await.unwrap();
            stream.settle().await;
        }
    }
    tokio::time::timeout(Duration::from_secs(60), publish(&*sink, count as i64)).await.unwrap().unwrap();
    let records = stream.records().await;
    check(&records, keys, count);
    let mut shards: Vec<_> = records.iter().map(|record| record.shard.as_str()).collect();
    shards.dedup();
    assert_eq!(shards.len(), 4, "{shards:?}");
}
