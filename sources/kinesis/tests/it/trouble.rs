use connector_core::{ConnectError, Position, TaskConfig};
use serde_json::json;

use crate::kinesis_faults::{Fault, KinesisFaults};
use crate::reader::{Reader, SHARD_0, source};
use crate::stream::{Stream, kinesalite};

/// A stream with `0`…`9`, behind a proxy that does `fault` to the calls of GetRecords that `hit` (counted from 0) names.
async fn faulty(fault: Fault, hit: impl Fn(usize) -> bool + Send + 'static) -> Stream {
    let mut stream = Stream::create(&kinesalite(), 1).await;
    for n in 0..10 {
        stream.put("k", n.to_string()).await;
    }
    let mut reads = 0;
    let proxy = KinesisFaults::before(&stream.endpoint, move |call| {
        if call.action != "GetRecords" {
            return Fault::Pass;
        }
        reads += 1;
        if hit(reads - 1) { fault.clone() } else { Fault::Pass }
    });
    stream.endpoint = proxy.url;
    stream
}

const SMALL_PAGES: [(&str, &str); 1] = [("kinesis.record.limit", "3")];

async fn read_all(reader: &mut Reader) {
    reader.read_to(10).await;
    assert_eq!(reader.values(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

/// The first error of the polls.
async fn failure(reader: &mut Reader) -> ConnectError {
    loop {
        if let Err(error) = reader.poll(100).await {
            return error;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_missing_is_named_with_a_remedy() {
    let mut stream = Stream::create(&kinesalite(), 1).await;
    stream.name = "no-such-stream".to_owned();
    let error = source(&stream.config(&[])).plan(1).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.no_such_stream", false));
    assert!(error.message.contains("stream `no-such-stream`") && !error.hint.is_empty(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_while_it_is_read_fails_with_its_name() {
    let stream = Stream::create(&kinesalite(), 2).await;
    stream.put("k", "v").await;
    let mut reader = Reader::of(&stream, &[]).await;
    reader.read_to(1).await;
    stream.delete().await;
    let error = failure(&mut reader).await;
    assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.no_such_stream", false));
    assert!(error.message.contains(&stream.name), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_reads_pause_are_counted_and_lose_nothing_k_01() {
    let fault = Fault::Refuse("ProvisionedThroughputExceededException");
    let stream = faulty(fault, |read| read == 0 || read == 2).await;
    let mut reader = Reader::of(&stream, &SMALL_PAGES).await;
    read_all(&mut reader).await;
    assert_eq!(reader.metric("read_throttled_total"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_iterator_is_replaced_at_the_position() {
    let stream = faulty(Fault::Refuse("ExpiredIteratorException"), |read| read % 3 == 1).await;
    let mut reader = Reader::of(&stream, &SMALL_PAGES).await;
    read_all(&mut reader).await;
    assert!(reader.metric("expired_iterators_total") >= Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iterator_that_expires_before_the_first_record_does_not_skip_it_with_latest() {
    let stream = faulty(Fault::Refuse("ExpiredIteratorException"), |read| read == 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let mut reader = Reader::of(&stream, &[("kinesis.position", "LATEST")]).await;
    reader.poll(1).await.unwrap();
    reader.read_for(std::time::Duration::from_millis(100)).await;
    stream.put("k", "new").await;
    reader.read_to(1).await;
    assert_eq!(reader.values(), ["new"]);
    assert_eq!(reader.metric("expired_iterators_total"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_an_error_that_passes_and_the_next_poll_goes_on() {
    let stream = faulty(Fault::LoseAnswer, |read| read == 1).await;
    let mut reader = Reader::of(&stream, &SMALL_PAGES).await;
    let error = failure(&mut reader).await;
    assert!(error.is_retriable(), "{error}");
    assert!(error.message.contains(&format!("shard `{SHARD_0}` of stream `{}`", stream.name)), "{error}");
    read_all(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_shards_that_fail_for_one_reason_are_one_failure_not_one_each() {
    let mut stream = Stream::create(&kinesalite(), 6).await;
    let mut reads = 0;
    let proxy = KinesisFaults::before(&stream.endpoint, move |call| {
        reads += usize::from(call.action == "GetRecords");
        if call.action == "GetRecords" && reads <= 6 { Fault::Refuse("InternalFailure") } else { Fault::Pass }
    });
    stream.put("k", "v").await;
    stream.endpoint = proxy.url;
    let mut reader = Reader::of(&stream, &[]).await;
    failure(&mut reader).await;
    // As long as the host waits before it polls again.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    if reader.poll(10).await.is_err() {
        reader.read_to(1).await;
    }
    assert_eq!(reader.values(), ["v"]);
}

fn stored(stream: &Stream, offset: serde_json::Value) -> Vec<Position> {
    let position = json!({"partition": {"stream": stream.name, "shard": SHARD_0}, "offset": offset});
    vec![serde_json::from_value(position).unwrap()]
}

async fn open(stream: &Stream, positions: Vec<Position>) -> Result<Reader, ConnectError> {
    let config = stream.config(&[]);
    let task: TaskConfig = source(&config).plan(1).await.unwrap().remove(0);
    Reader::open(&config, task, positions).await
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_a_stream_that_was_made_anew_are_refused_not_skipped() {
    let stream = Stream::create(&kinesalite(), 1).await;
    let ended = stored(&stream, json!({"sequenceNumber": "SHARD_END"}));
    let error = open(&stream, ended).await.err().expect("an open shard cannot be at its end");
    assert_eq!(error.code, "kinesis.position");
    assert!(error.message.contains(SHARD_0) && error.hint.contains("reset"), "{error}");

    let foreign = stored(&stream, json!({"sequenceNumber": "12345"}));
    let mut reader = open(&stream, foreign).await.unwrap();
    let error = failure(&mut reader).await;
    assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.position", false));
    assert!(error.hint.contains("reset"), "{error}");

    let broken = stored(&stream, json!({"offset": 5}));
    assert_eq!(open(&stream, broken).await.err().unwrap().code, "kinesis.position");
}
