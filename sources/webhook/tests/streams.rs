//! The routes of streams with topics of Kafka behind them, word by word, over a real connection.

mod host;

use std::io::Write as _;

use connector_core::{Form, Source};
use flate2::Compression;
use flate2::write::GzEncoder;
use host::{Client, Host, JSON, call, run};
use serde_json::{Value, json};

const GEO: &str = r#"{"StreamName": "streaming-id-geo", "Data": {"ind": 41, "timestamp": "2019-02-03T04:05:06", "latitude": -12.3400, "longitude": 1.5e2, "country": "Cote d'Ivoire \u2026"}, "PartitionKey": "partition-1"}"#;
const GEO_VALUE: &str = r#"{"ind":41,"timestamp":"2019-02-03T04:05:06","latitude":-12.3400,"longitude":1.5e2,"country":"Cote d'Ivoire \u2026"}"#;

/// Streams `streaming-id-*` and `wide`; `streaming-id-geo` is the topic `id.geo`.
async fn kafka() -> Host {
    run(json!({
        "webhook.streams": ["streaming-id-*", "wide", "id.user", "gone"],
        "webhook.streams.backend": "kafka",
        "webhook.streams.topic.mapping": {"streaming-id-geo": "id.geo", "streaming-id-pin": "id.pin"},
    }))
    .await
}

#[tokio::test]
async fn a_record_is_written_compact_with_its_partition_key_and_answered_with_shard_and_sequence_number() {
    let host = kafka().await;
    let mut client = Client::connect(host.address).await;
    for (offset, path) in
        ["/prod/streams/streaming-id-geo/record", "/streams/streaming-id-geo/record/"].into_iter().enumerate()
    {
        let head = format!("PUT {path} HTTP/1.1\r\nContent-Type: application/json");
        let answer = client.call(&head, GEO.as_bytes()).await;
        let body = format!(r#"{{"ShardId":"shardId-000000000000","SequenceNumber":"{offset}"}}"#);
        assert_eq!((answer.status, &answer.body), (200, &body));
        assert_eq!(host::header(&answer.head, "content-type"), Some("application/json"));
    }
    let written = host.log.written();
    assert_eq!(written.len(), 2);
    for record in written {
        assert_eq!((record.topic.as_str(), record.text()), ("id.geo", GEO_VALUE));
        assert_eq!((record.key.as_deref(), record.form), (Some(&b"partition-1"[..]), Form::Document));
    }
}

#[tokio::test]
async fn several_records_are_answered_one_by_one_also_when_kafka_refuses_some() {
    let host = kafka().await;
    let body = r#"{"records": [{"data": {"a": 1}, "partition-key": "k"}, {"data": "too large", "partition-key": "l"},
        {"data": "{\"a\": 2}", "partition-key": "m"}]}"#;
    let answer = call(host.address, "PUT /streams/wide/records", body).await;
    let expected = json!({"FailedRecordCount": 1, "Records": [
        {"ShardId": "shardId-000000000000", "SequenceNumber": "0"},
        {"ErrorCode": "InvalidArgumentException", "ErrorMessage": "Broker: Message size too large"},
        {"ShardId": "shardId-000000000000", "SequenceNumber": "1"},
    ]});
    assert_eq!((answer.status, answer.json()), (200, expected));
    let texts: Vec<_> = host.log.written().iter().map(|w| w.text().to_owned()).collect();
    assert_eq!(texts, [r#"{"a":1}"#, r#"{"a": 2}"#], "a string is the record's text as it stands");

    let refused =
        call(host.address, "PUT /streams/wide/record", r#"{"Data": "too large", "PartitionKey": "k"}"#).await;
    let (status, exception, message) = refused.exception();
    assert_eq!((status, exception.as_str()), (400, "InvalidArgumentException"));
    assert_eq!(message, "Broker: Message size too large");
}

#[tokio::test]
async fn bodies_that_are_wrong_in_the_wild_have_a_clear_answer_or_a_defined_record() {
    let host = kafka().await;
    let put = |body: &'static str| call(host.address, "PUT /streams/streaming-id-geo/record", body);
    for (body, exception, message) in [
        (r#"{"ind": 41, "country": "hunter2"}"#, "ValidationException", "Value null at 'data'"),
        (r#"{"index": {"country": "hunter2"}}"#, "ValidationException", "Value null at 'partitionKey'"),
        (r#"{"records": [{"value": {"country": "hunter2"}}]}"#, "ValidationException", "2 validation errors"),
        (r#"{"Data": {"country": "hunter2"}}"#, "ValidationException", "Value null at 'partitionKey'"),
        (r#"{"Data": {"country": "hunter2}"#, "SerializationException", "line 1 column"),
        ("", "ValidationException", r#"{"Data": …, "PartitionKey": "…"}"#),
    ] {
        let (status, told, text) = put(body).await.exception();
        assert_eq!((status, told.as_str()), (400, exception), "{body}: {text}");
        assert!(text.contains(message) && !text.contains("hunter2"), "{body}: {text}");
    }
    assert_eq!(host.log.written(), []);

    // The body's stream name is not looked at; what was encoded before is a JSON string; a pin in the stream of
    // another table is a record like others.
    for (body, value) in [
        (r#"{"StreamName": "private", "Data": {"ind": 1}, "PartitionKey": "p"}"#, r#"{"ind":1}"#),
        (r#"{"Data": "{\"ind\": 41}", "PartitionKey": "p"}"#, r#""{\"ind\": 41}""#),
        (r#"{"Data": "eyJpbmQiOiA0MX0=", "PartitionKey": "p"}"#, r#""eyJpbmQiOiA0MX0=""#),
        (
            r#"{"Data": {"index": 1, "title": "a pin"}, "PartitionKey": "p"}"#,
            r#"{"index":1,"title":"a pin"}"#,
        ),
    ] {
        assert_eq!(put(body).await.status, 200, "{body}");
        let last = host.log.written().pop().unwrap();
        assert_eq!((last.topic.as_str(), last.text()), ("id.geo", value));
    }
}

#[tokio::test]
async fn a_gateway_of_its_own_words_refuses_content_types_and_methods() {
    let host = kafka().await;
    let mut client = Client::connect(host.address).await;
    let wrong = "PUT /streams/wide/record HTTP/1.1\r\nContent-Type: application/vnd.kafka.json.v2+json";
    let (status, exception, message) = client.call(wrong, GEO.as_bytes()).await.exception();
    assert_eq!((status, exception.as_str()), (415, ""));
    assert!(message.contains("Unsupported Media Type"), "{message}");
    assert_eq!(client.call("PUT /streams/wide/record HTTP/1.1", GEO.as_bytes()).await.status, 200, "no type");
    let answer = call(host.address, "POST /streams/wide/record", GEO).await;
    assert_eq!((answer.exception().0, host::header(&answer.head, "allow")), (405, Some("PUT")));
    let long = format!(r#"{{"Data": "{}", "PartitionKey": "p"}}"#, "x".repeat(11_000_000));
    assert_eq!(call(host.address, "PUT /streams/wide/record", &long).await.exception().0, 413);
}

#[tokio::test]
async fn streams_that_are_closed_or_missing_are_refused_and_only_allowed_ones_are_listed() {
    let host = kafka().await;
    for line in ["PUT /streams/private/record", "GET /streams/private", "DELETE /streams/private"] {
        let (status, exception, message) = call(host.address, line, GEO).await.exception();
        assert_eq!((status, exception.as_str()), (400, "AccessDeniedException"), "{line}");
        assert!(message.contains("webhook.streams"), "{message}");
    }
    for line in ["PUT /streams/gone/record", "GET /streams/gone"] {
        let (status, exception, message) = call(host.address, line, GEO).await.exception();
        assert_eq!((status, exception.as_str()), (400, "ResourceNotFoundException"), "{line}");
        assert!(message.contains("no topic gone"), "{message}");
    }
    assert_eq!(host.log.written(), []);
    let answer = call(host.address, "GET /prod/streams/", "").await;
    let names = ["id.user", "streaming-id-geo", "streaming-id-pin", "wide"];
    assert_eq!((answer.status, answer.json()), (200, json!({"HasMoreStreams": false, "StreamNames": names})));
}

#[tokio::test]
async fn a_topic_is_described_as_a_stream_whose_shards_are_its_partitions() {
    let host = kafka().await;
    let description = call(host.address, "GET /streams/wide", "").await.json()["StreamDescription"].take();
    assert_eq!(
        (&description["StreamName"], &description["StreamStatus"]),
        (&json!("wide"), &json!("ACTIVE"))
    );
    let shards: Vec<_> = description["Shards"].as_array().unwrap().iter().map(|s| &s["ShardId"]).collect();
    assert_eq!(shards, ["shardId-000000000000", "shardId-000000000001", "shardId-000000000002"]);
    for (line, body) in [("POST /streams/wide", r#"{"ShardCount": 1}"#), ("DELETE /streams/wide", "")] {
        let (status, exception, message) = call(host.address, line, body).await.exception();
        assert_eq!((status, exception.as_str()), (400, "InvalidArgumentException"), "{line}");
        assert!(message.contains("topics:"), "{message}");
    }
}

#[tokio::test]
async fn without_an_acknowledgement_the_answer_is_504_in_kinesis_words_and_a_full_queue_is_503() {
    let config = json!({
        "webhook.streams": ["*"], "webhook.streams.backend": "kafka", "webhook.ack.timeout.ms": 50,
        "webhook.queue.records": 1
    });
    let source = host::source(config);
    let address = host::open(&source).await;
    let (status, exception, message) = call(address, "PUT /streams/wide/record", GEO).await.exception();
    assert_eq!((status, exception.as_str()), (504, "InternalFailure"));
    assert!(message.contains("may have been written"), "{message}");
    let full = call(address, "PUT /streams/wide/record", GEO).await;
    assert_eq!(host::header(&full.head, "retry-after"), Some("1"));
    assert_eq!((full.exception().0, full.exception().1.as_str()), (503, "ServiceUnavailable"));
}

fn zipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_gzip_body_is_read_on_both_halves_and_its_content_is_bounded() {
    let host = kafka().await;
    let mut client = Client::connect(host.address).await;
    let stream = "PUT /streams/wide/record HTTP/1.1\r\nContent-Encoding: gzip";
    assert_eq!(client.call(stream, &zipped(GEO.as_bytes())).await.status, 200);
    let topic = format!("POST /topics/id.geo HTTP/1.1\r\nContent-Type: {JSON}\r\nContent-Encoding: GZIP");
    let geo = format!(r#"{{"records": [{{"value": {GEO_VALUE}}}]}}"#);
    assert_eq!(client.call(&topic, &zipped(geo.as_bytes())).await.status, 200);
    let texts: Vec<_> = host.log.written().iter().map(|w| w.text().to_owned()).collect();
    assert_eq!(texts, [GEO_VALUE, GEO_VALUE]);

    let half = zipped(geo.as_bytes());
    let (status, code, text) = client.call(&topic, &half[..half.len() / 2]).await.error();
    assert_eq!((status, code), (400, 400));
    assert!(text.contains("gzip"), "{text}");
    let bomb = zipped(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(client.call(&topic, &bomb).await.status, 413);
    let brotli = "PUT /streams/wide/record HTTP/1.1\r\nContent-Encoding: br";
    assert_eq!(client.call(brotli, GEO.as_bytes()).await.exception().0, 415);
    assert_eq!(host.log.written().len(), 2);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let host = kafka().await;
    call(host.address, "PUT /streams/wide/record", GEO).await;
    call(host.address, "PUT /prod/streams/streaming-id-geo/record/", GEO).await;
    call(host.address, "PUT /streams/wide/record", "{}").await;
    call(host.address, "GET /topics", "").await;
    call(host.address, "GET /nothing", "").await;
    let metrics = host.source.metrics();
    assert!(metrics.iter().all(|metric| metric.name == "sidestream_webhook_requests_total"));
    let counts: Vec<_> = metrics
        .iter()
        .map(|m| (m.labels.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join(" → "), m.value))
        .collect();
    let expected = [
        ("GET /topics → 200", 1.0),
        ("PUT /streams/{name}/record → 200", 2.0),
        ("PUT /streams/{name}/record → 400", 1.0),
        ("other → 404", 1.0),
    ];
    assert_eq!(counts, expected.map(|(label, count)| (label.to_owned(), count)));
}

#[tokio::test]
async fn without_streams_none_is_served() {
    let host = run(json!({})).await;
    let answer = call(host.address, "PUT /streams/id.geo/record", GEO).await;
    assert_eq!(answer.exception().1, "AccessDeniedException");
    let none: Vec<Value> = Vec::new();
    let config = json!({"webhook.streams.backend": "kafka"});
    let kafka = run(config).await;
    assert_eq!(call(kafka.address, "GET /streams", "").await.json()["StreamNames"], json!(none));
}
