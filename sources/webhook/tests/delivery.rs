//! When a request is answered, and what becomes of those that wait.

mod host;

use std::sync::Arc;
use std::time::Duration;

use connector_core::{Acks, PollBudget, Source, TaskInfo};
use host::{BUDGET, Client, JSON, Log, header, open, post, run, serve, source};
use serde_json::{Value, json};
use tokio::time::timeout;

const ONE: &str = r#"{"records":[{"value":1}]}"#;
const PATH: &str = "/topics/id.pin";
const SOON: Duration = Duration::from_millis(100);

fn spawn_post(address: std::net::SocketAddr, body: &str) -> tokio::task::JoinHandle<host::Answer> {
    let body = body.to_owned();
    tokio::spawn(async move { post(address, PATH, JSON, body).await })
}

#[tokio::test]
async fn a_request_is_answered_only_after_the_commit() {
    let source = source(json!({}));
    let address = open(&source).await;
    let mut answer = spawn_post(address, ONE);
    let batch = source.poll(BUDGET).await.unwrap().unwrap();
    assert!(source.wants_acks() && batch.offset.positions.is_empty());
    assert!(timeout(SOON, &mut answer).await.is_err(), "answered before Kafka was");
    source.commit(&batch.offset, &Log::default().write(&batch)).await.unwrap();
    assert_eq!(answer.await.unwrap().status, 200);
}

#[tokio::test]
async fn all_waiting_requests_are_one_batch_with_a_run_for_each_destination() {
    let source = source(json!({}));
    let address = open(&source).await;
    let mut answers = Vec::new();
    for path in ["/topics/id.pin", "/topics/id.geo", "/topics/id.pin", "/topics/wide/partitions/2"] {
        let body = format!(r#"{{"records":[{{"value":"{path} 1"}},{{"value":"{path} 2"}}]}}"#);
        answers.push(tokio::spawn(async move { post(address, path, JSON, body).await }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let batch = source.poll(BUDGET).await.unwrap().unwrap();
    let runs: Vec<_> = batch
        .runs
        .iter()
        .map(|run| (run.topic.as_deref().unwrap(), run.partition, run.records.num_rows()))
        .collect();
    assert_eq!(runs, [("id.pin", None, 4), ("id.geo", None, 2), ("wide", Some(2), 2)]);
    source.commit(&batch.offset, &Log::default().write(&batch)).await.unwrap();
    let mut offsets: Vec<Vec<i64>> = Vec::new();
    for answer in answers {
        let body = answer.await.unwrap().json();
        offsets.push(
            body["offsets"].as_array().unwrap().iter().map(|o| o["offset"].as_i64().unwrap()).collect(),
        );
    }
    assert_eq!(offsets, [vec![0, 1], vec![0, 1], vec![2, 3], vec![0, 1]]);
}

#[tokio::test]
async fn a_request_larger_than_a_poll_is_answered_once_with_all_its_offsets_in_order() {
    let source = source(json!({}));
    let address = open(&source).await;
    let log = Log::default();
    let budget = PollBudget { max_records: 7, max_bytes: 1 << 20 };
    let host = tokio::spawn(serve(Arc::clone(&source), log.clone(), budget));
    let body = format!(
        r#"{{"records":[{}]}}"#,
        (0..50).map(|n| format!(r#"{{"value":{n}}}"#)).collect::<Vec<_>>().join(",")
    );
    let (first, second) = (spawn_post(address, &body), spawn_post(address, &body));
    for answer in [first, second] {
        let body = answer.await.unwrap().json();
        let offsets: Vec<_> =
            body["offsets"].as_array().unwrap().iter().map(|o| o["offset"].as_i64().unwrap()).collect();
        assert_eq!(offsets.len(), 50);
        assert!(offsets.windows(2).all(|w| w[0] + 1 == w[1]), "{offsets:?}");
    }
    let texts: Vec<_> = log.written().iter().map(|w| w.text().parse::<i32>().unwrap()).collect();
    assert_eq!(texts, (0..50).chain(0..50).collect::<Vec<_>>());
    host.abort();
}

#[tokio::test]
async fn a_full_queue_is_503_with_retry_after_and_takes_records_again_when_polled() {
    let source = source(json!({"webhook.queue.records": 2}));
    let address = open(&source).await;
    let (one, two) = (spawn_post(address, ONE), spawn_post(address, ONE));
    tokio::time::sleep(SOON).await;
    let full = post(address, PATH, JSON, ONE).await;
    assert_eq!((full.status, header(&full.head, "retry-after")), (503, Some("1")), "{full:?}");
    assert_eq!(full.error().1, 503);
    let host = tokio::spawn(serve(Arc::clone(&source), Log::default(), BUDGET));
    for answer in [one, two, spawn_post(address, ONE)] {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    host.abort();
}

#[tokio::test]
async fn bodies_that_wait_are_bounded_in_bytes() {
    let source = source(json!({"webhook.queue.bytes": 1000, "webhook.max.body.bytes": 1000}));
    let address = open(&source).await;
    let body = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(600));
    let _waits = spawn_post(address, &body);
    tokio::time::sleep(SOON).await;
    assert_eq!(post(address, PATH, JSON, &body).await.status, 503);
}

#[tokio::test]
async fn records_that_kafka_refuses_are_reported_beside_those_it_took() {
    let host = run(json!({})).await;
    let body = r#"{"records":[{"value":"a"},{"value":"too large"},{"value":"b"}]}"#;
    let answer = post(host.address, PATH, JSON, body).await;
    let expected = json!([
        {"partition": 0, "offset": 0, "error_code": null, "error": null},
        {"partition": null, "offset": null, "error_code": 50002, "error": "Broker: Message size too large"},
        {"partition": 0, "offset": 1, "error_code": null, "error": null},
    ]);
    assert_eq!((answer.status, &answer.json()["offsets"]), (200, &expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_keep_alive_and_each_keeps_its_order() {
    let host = run(json!({})).await;
    let address = host.address;
    let clients = (0..20).map(|client| {
        tokio::spawn(async move {
            let mut connection = Client::connect(address).await;
            let mut offsets = Vec::new();
            for n in 0..50 {
                let body = format!(r#"{{"records":[{{"value":{{"client":{client},"n":{n}}}}}]}}"#);
                let answer = connection.post(PATH, JSON, body.as_bytes()).await;
                assert_eq!(answer.status, 200);
                offsets.push((answer.json()["offsets"][0]["offset"].as_i64().unwrap(), client, n));
            }
            offsets
        })
    });
    let mut answered = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        answered.extend(client.await.unwrap());
    }
    answered.sort_unstable();
    let written: Vec<_> = host
        .log
        .written()
        .iter()
        .map(|w| {
            let value: Value = serde_json::from_str(w.text()).unwrap();
            (w.offset, value["client"].as_i64().unwrap(), value["n"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(answered, written, "each answer names the offset of its own record");
}

#[tokio::test]
async fn a_record_of_a_client_that_is_gone_is_committed_like_others() {
    let source = source(json!({}));
    let address = open(&source).await;
    let gone = spawn_post(address, ONE);
    let batch = source.poll(BUDGET).await.unwrap().unwrap();
    gone.abort();
    assert!(gone.await.is_err());
    source.commit(&batch.offset, &Log::default().write(&batch)).await.unwrap();
}

#[tokio::test]
async fn without_an_acknowledgement_the_answer_is_504_in_time() {
    let source = source(json!({"webhook.ack.timeout.ms": 50}));
    let address = open(&source).await;
    let (status, code, text) = post(address, PATH, JSON, ONE).await.error();
    assert_eq!((status, code), (504, 50003));
    assert!(text.contains("webhook.ack.timeout.ms") && text.contains("may have been written"), "{text}");
}

#[tokio::test]
async fn closing_answers_what_was_polled_and_refuses_what_was_not() {
    let source = source(json!({}));
    let address = open(&source).await;
    let _idle = Client::connect(address).await;
    let polled = spawn_post(address, ONE);
    let batch = source.poll(BUDGET).await.unwrap().unwrap();
    let waiting = spawn_post(address, ONE);
    tokio::time::sleep(SOON).await;

    let closing = tokio::spawn({
        let source = Arc::clone(&source);
        async move { source.close().await }
    });
    let refused = waiting.await.unwrap();
    assert_eq!((refused.status, header(&refused.head, "retry-after")), (503, Some("1")));
    assert!(refused.body.contains("none of these records"), "{refused:?}");
    assert!(!closing.is_finished(), "a request still waits");

    source.commit(&batch.offset, &Log::default().write(&batch)).await.unwrap();
    assert_eq!(polled.await.unwrap().status, 200);
    let started = std::time::Instant::now();
    timeout(Duration::from_secs(5), closing).await.expect("an idle connection holds it up").unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(source.poll(BUDGET).await.unwrap().is_none());
    std::net::TcpListener::bind(address).expect("the port is free again");
}

#[tokio::test]
async fn closing_does_not_wait_for_a_commit_that_never_comes() {
    let source = source(json!({}));
    let address = open(&source).await;
    let polled = spawn_post(address, ONE);
    source.poll(BUDGET).await.unwrap().unwrap();
    timeout(Duration::from_secs(3), source.close()).await.expect("close hangs").unwrap();
    let (status, code, text) = polled.await.unwrap().error();
    assert_eq!((status, code), (500, 50003));
    assert!(text.contains("may have been written"), "{text}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_clear_error() {
    let first = source(json!({}));
    let address = open(&first).await;
    let second = source(json!({"webhook.listen": address.to_string()}));
    let task = connector_core::TaskConfig::new();
    let context =
        connector_core::SourceContext { task, positions: Vec::new(), topics: Arc::new(host::Topics) };
    let error = second.open(context).await.unwrap_err();
    assert_eq!(error.code, "webhook.address_in_use");
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("choose another"), "{text}");
}

#[tokio::test]
async fn one_task_and_commits_that_do_not_fit_are_errors() {
    let source = source(json!({}));
    assert_eq!(source.plan(8).await.unwrap().len(), 1);
    let address = open(&source).await;
    let answer = spawn_post(address, ONE);
    let batch = source.poll(BUDGET).await.unwrap().unwrap();
    let other = connector_core::SourceOffset { token: 99, positions: Vec::new() };
    assert!(source.commit(&other, &Acks::default()).await.is_err());
    let error = source.commit(&batch.offset, &Acks::default()).await.unwrap_err();
    assert!(error.message.contains("1 records, but 0 acknowledgements"), "{error}");
    assert_eq!(answer.await.unwrap().error().1, 50003);
}

#[tokio::test]
async fn in_a_direct_pipeline_whatever_is_allowed_is_taken_without_a_topic() {
    let config = json!({"webhook.streams": ["stream-*"], "webhook.streams.backend": "kafka"});
    let source = host::source_of(config, &TaskInfo { direct: true, ..TaskInfo::default() });
    let address = open(&source).await;
    let host = tokio::spawn(serve(Arc::clone(&source), Log::default(), BUDGET));
    assert_eq!(post(address, "/topics/missing", JSON, ONE).await.status, 200);
    assert_eq!(post(address, "/topics/missing/partitions/1", JSON, ONE).await.error().1, 40402);
    assert_eq!(post(address, "/topics/private", JSON, ONE).await.error().1, 40301);
    let put =
        host::call(address, "PUT /streams/stream-x/record", r#"{"Data": 1, "PartitionKey": "k"}"#).await;
    assert_eq!(put.status, 200);
    host.abort();
}
