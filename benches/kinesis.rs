//! From a batch of documents to the last answer of PutRecords, over HTTP to an endpoint in this process that reads each
//! request and stores nothing.
//!
//! `cargo bench -p sink-kinesis --bench kinesis`

use std::sync::Arc;

use arrow::array::{BinaryArray, Int64Array, StringArray};
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::routing::post;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, FlushRange, Form, Sink, TaskInfo, TopicPartition, testing};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::runtime::Runtime;

/// Records a batch, as the host hands them over, and batches until a flush.
const ROWS: i64 = 1_000;
const BATCHES: i64 = 20;

const SUMMARY: &str = r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"arn:aws:kinesis:us-east-1:1:stream/s","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1,"EnhancedMonitoring":[],"OpenShardCount":1,"MaxRecordSizeInKiB":1024}}"#;
const SHARDS: &str = r#"{"Shards":[{"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"},"SequenceNumberRange":{"StartingSequenceNumber":"1"}}]}"#;
const STORED: &str = r#"{"SequenceNumber":"49680565205005037619362513303107382566958780403951861794","ShardId":"shardId-000000000000"}"#;

#[derive(Deserialize)]
struct PutRecords {
    #[serde(rename = "Records")]
    records: Vec<IgnoredAny>,
}

async fn answer(headers: HeaderMap, body: Bytes) -> String {
    let target = headers.get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
    match target.rsplit('.').next().unwrap_or_default() {
        "DescribeStreamSummary" => SUMMARY.to_owned(),
        "ListShards" => SHARDS.to_owned(),
        _ => {
            let PutRecords { records } = serde_json::from_slice(&body).unwrap();
            let results = vec![STORED; records.len()].join(",");
            format!(r#"{{"FailedRecordCount":0,"Records":[{results}]}}"#)
        }
    }
}

async fn endpoint() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(answer)).layer(DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn sink(url: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let mut map = testing::config(&[
        ("kinesis.stream", "s"),
        ("kinesis.endpoint", url),
        ("aws.access.key.id", "test"),
        ("aws.secret.access.key", "test-secret"),
    ]);
    map.extend(testing::config(keys));
    let component = sink_kinesis::component();
    let sink = component.create_sink(&component.check(&map).unwrap(), &TaskInfo::default()).unwrap();
    sink.open(&[]).await.unwrap();
    sink
}

fn partition() -> TopicPartition {
    TopicPartition::new("pins", 0)
}

/// Documents of 733 bytes; the key of offset n is `key(n)`.
fn batch(start: i64, key: &dyn Fn(i64) -> Option<String>) -> Batch {
    let offsets = start..start + ROWS;
    let keys: Vec<_> = offsets.clone().map(key).collect();
    let keys: BinaryArray = keys.iter().map(|key| key.as_deref().map(str::as_bytes)).collect();
    let document = |n: i64| format!(r#"{{"index":{n:010},"description":"{}"}}"#, "gardens ".repeat(87));
    let values = StringArray::from_iter_values(offsets.clone().map(document));
    let records = EnvelopeBuilder::new()
        .offsets(Int64Array::from_iter_values(offsets))
        .key(Form::Bytes, Arc::new(keys))
        .value(Form::Document, Arc::new(values));
    Batch::new(partition(), records.build().unwrap())
}

async fn round(sink: &dyn Sink, batches: Vec<Batch>) {
    for batch in batches {
        sink.write(batch).await.unwrap();
    }
    let staged = sink.flush(&[FlushRange::new(partition(), 0..ROWS * BATCHES)]).await.unwrap();
    sink.commit(&staged).await.unwrap();
}

/// A name, the key of each offset, and settings of the sink.
type Case = (&'static str, fn(i64) -> Option<String>, &'static [(&'static str, &'static str)]);

fn put(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let url = runtime.block_on(endpoint());
    let mut group = criterion.benchmark_group("kinesis");
    group.throughput(Throughput::Elements((ROWS * BATCHES) as u64)).sample_size(10);
    let cases: [Case; 4] = [
        ("5000 keys in order", |n| Some(format!("key-{}", n % 5000)), &[]),
        ("no keys", |_| None, &[]),
        ("one key in order, packed", |_| Some("partition-1".to_owned()), &[("kinesis.aggregation", "true")]),
        ("one key without an order", |_| Some("partition-1".to_owned()), &[("kinesis.ordering", "none")]),
    ];
    for (name, key, settings) in cases {
        let sink = runtime.block_on(sink(&url, settings));
        let batches = || (0..BATCHES).map(|n| batch(n * ROWS, &key)).collect::<Vec<_>>();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                batches,
                |batches| runtime.block_on(round(&*sink, batches)),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, put);
criterion_main!(benches);
