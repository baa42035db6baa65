//! From an HTTP request to the records of a poll, and back to the answer, on one core and without a socket.
//!
//! `cargo bench -p source-webhook --bench webhook`

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use connector_core::{Ack, Acks, Plugin, PollBudget, Source, TaskInfo, TopicDirectory};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use source_webhook::{Config, Endpoint, WebhookSource};
use tokio::runtime::Runtime;

struct OneTopic;

impl TopicDirectory for OneTopic {
    fn partitions(&self, topic: &str) -> Option<u32> {
        (topic == "id.pin").then_some(1)
    }

    fn names(&self) -> Vec<String> {
        vec!["id.pin".to_owned()]
    }
}

/// A row of 682 bytes, as Python's `json.dumps` writes it: blanks after `:` and `,`, escapes instead of UTF-8.
const ROW: &str = r#"{"index": 7001, "unique_id": "00000000-0000-4000-8000-000000007001", "title": "Twelve small gardens for a balcony - and how to keep them", "description": "Herbs, strawberries and a fern: what grows in the shade, what needs the sun, and what forgives a week without water\u2026 \u00a0", "poster_name": "Green | A Balcony Diary", "follower_count": "124k", "tag_list": "Balcony Garden,Herbs In Pots,Small Space Gardening,Vertical Garden Diy,Strawberry Planters,Shade Plants", "is_image_or_video": "image", "image_src": "https://img.example/originals/b3/bc/e2/00000000000000000000000000007001.jpg", "downloaded": 1, "save_location": "Local save in /data/gardens", "category": "gardens"}"#;

fn body(records: usize) -> Bytes {
    let record = format!(r#"{{"value": {ROW}}}"#);
    format!(r#"{{"records": [{}]}}"#, vec![record; records].join(", ")).into()
}

/// All requests wait at once, as from as many connections; one poll takes them, one commit answers them.
async fn round(source: &WebhookSource, endpoint: &Endpoint, requests: Vec<Request>, acks: &Acks) {
    let host = async {
        let budget = PollBudget { max_records: acks.rows.len(), max_bytes: 1 << 30 };
        let mut done = 0;
        while done < acks.rows.len() {
            let batch = source.poll(budget).await.expect("polls").expect("is open");
            done += batch.runs.iter().map(|run| run.records.num_rows()).sum::<usize>();
            source.commit(&batch.offset, acks).await.expect("commits");
        }
    };
    let answers = join_all(requests.into_iter().map(|request| endpoint.answer(request)));
    let (answers, ()) = futures::future::join(answers, host).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
}

fn webhook(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let config = serde_json::json!({"webhook.topics": ["id.*"]});
    let config: Config = serde_json::from_value(config).expect("a configuration");
    let source = WebhookSource::create(config, &TaskInfo::default()).expect("a source");
    let endpoint = source.endpoint(Arc::new(OneTopic));
    let mut group = c.benchmark_group("webhook");
    for (requests, records) in [(256, 1), (1, 1000)] {
        let ack = |n: usize| Ack {
            destination: "id.pin".into(),
            partition: "0".to_owned(),
            offset: (565 + n).to_string(),
            error: None,
        };
        let acks = Acks { delivered: requests * records, rows: (0..requests * records).map(ack).collect() };
        let body = body(records);
        let request = || {
            Request::post("/prod/topics/id.pin/")
                .header("content-type", "application/vnd.kafka.json.v2+json")
                .header("content-length", body.len())
                .body(Body::from(body.clone()))
                .expect("a request")
        };
        group.throughput(Throughput::Elements((requests * records) as u64));
        group.bench_function(format!("{requests} requests of {records} records"), |b| {
            b.iter_batched(
                || (0..requests).map(|_| request()).collect::<Vec<_>>(),
                // `block_on` polls everything on this thread.
                |all| runtime.block_on(round(&source, &endpoint, all, &acks)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, webhook);
criterion_main!(benches);
