//! The routes of streams with Kinesis behind them: the stand-ins of `tests/services`, when they are up.

mod host;
#[path = "../../../tests/support/kinesis_faults.rs"]
mod kinesis_faults;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use connector_aws::access::Access;
use connector_aws::kinesis::Client;
use connector_core::{Secret, Source};
use host::call;
use kinesis_faults::{Fault, KinesisFaults};
use serde_json::{Value, json};
use source_webhook::WebhookSource;

const GEO: &str = r#"{"StreamName": "ignored", "Data": {"ind": 41, "latitude": -12.3400, "country": "Cote d'Ivoire \u2026"}, "PartitionKey": "partition-1"}"#;
const GEO_VALUE: &str = r#"{"ind":41,"latitude":-12.3400,"country":"Cote d'Ivoire \u2026"}"#;

/// A webhook in front of one stand-in, and a client that asks that one itself.
struct Proxy {
    name: &'static str,
    address: SocketAddr,
    kinesis: Client,
    _source: Arc<WebhookSource>,
}

/// In front of each stand-in; without the services there is nothing to test against.
async fn proxies() -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for name in ["MOTO", "KINESALITE"] {
        let variable = format!("SIDESTREAM_TEST_{name}");
        let Ok(endpoint) = std::env::var(&variable) else {
            eprintln!("skipped: {variable} is not set, run by tests/services/with-services.sh");
            continue;
        };
        let source = webhook(&endpoint);
        let address = host::open(&source).await;
        let key = Some((Secret::new("AK"), Secret::new("secret")));
        let access = Access { endpoint: Some(endpoint), key, ..Access::default() };
        let kinesis = connector_aws::kinesis::client(&access, 3).await;
        proxies.push(Proxy { name, address, kinesis, _source: source });
    }
    proxies
}

fn webhook(endpoint: &str) -> Arc<WebhookSource> {
    host::source(json!({
        "webhook.streams": [format!("{}-*", prefix())],
        "kinesis.endpoint": endpoint,
        "aws.access.key.id": "AK",
        "aws.secret.access.key": "secret",
    }))
}

fn prefix() -> String {
    format!("webhook-{}", std::process::id())
}

impl Proxy {
    async fn wait_status(&self, path: &str, wanted: &str) {
        for _ in 0..100 {
            let answer = call(self.address, &format!("GET {path}"), "").await;
            let status = match answer.status {
                200 => answer.json()["StreamDescription"]["StreamStatus"].as_str().unwrap().to_owned(),
                _ => answer.exception().1,
            };
            if status == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{}: {path} has not become {wanted}", self.name);
    }

    /// Partition key and data of all records of a shard.
    async fn read(&self, stream: &str, shard: &str) -> Vec<(String, String)> {
        let iterator = self.kinesis.get_shard_iterator().stream_name(stream).shard_id(shard);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let got =
            self.kinesis.get_records().set_shard_iterator(iterator.shard_iterator).send().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        got.records.into_iter().map(|r| (r.partition_key.unwrap(), text(r.data.as_ref()))).collect()
    }
}

#[tokio::test]
async fn a_stream_is_made_described_filled_listed_and_deleted_over_the_six_routes() {
    for proxy in proxies().await {
        let (name, stream) = (proxy.name, format!("{}-life", prefix()));
        let path = format!("/prod/streams/{stream}");
        let at = proxy.address;
        let created = call(at, &format!("POST {path}"), r#"{"ShardCount": 2}"#).await;
        assert_eq!(created.status, 200, "{name}: {created:?}");
        proxy.wait_status(&path, "ACTIVE").await;
        let again = call(at, &format!("POST {path}/"), "").await.exception();
        assert_eq!((again.0, again.1.as_str()), (400, "ResourceInUseException"), "{name}");
        let description = call(at, &format!("GET {path}"), "").await.json()["StreamDescription"].take();
        assert_eq!(description["StreamName"], json!(stream), "{name}");
        assert_eq!(description["Shards"].as_array().unwrap().len(), 2, "{name}");

        let put = call(at, &format!("PUT {path}/record/"), GEO).await;
        assert_eq!(put.status, 200, "{name}: {put:?}");
        assert_eq!(host::header(&put.head, "content-type"), Some("application/json"));
        let put = put.json();
        let shard = put["ShardId"].as_str().unwrap();
        assert!(put["SequenceNumber"].as_str().unwrap().bytes().all(|b| b.is_ascii_digit()), "{name}: {put}");
        let encoded = r#"{"Data": "{\"ind\": 41}", "PartitionKey": "partition-1"}"#;
        assert_eq!(call(at, &format!("PUT {path}/record"), encoded).await.status, 200, "{name}");
        let many = r#"{"records": [{"data": {"b": 1.0, "a": 2}, "partition-key": "partition-1"},
            {"data": "{\"a\": 3}", "partition-key": "partition-1"}]}"#;
        let answer = call(at, &format!("PUT {path}/records"), many).await.json();
        assert_eq!(answer["FailedRecordCount"], json!(0), "{name}");
        assert_eq!(answer["Records"].as_array().unwrap().len(), 2, "{name}");
        let values = [GEO_VALUE, r#""{\"ind\": 41}""#, r#"{"b":1.0,"a":2}"#, r#"{"a": 3}"#];
        let expected = values.map(|value| ("partition-1".to_owned(), value.to_owned()));
        assert_eq!(proxy.read(&stream, shard).await, expected, "{name}");

        proxy
            .kinesis
            .create_stream()
            .stream_name(format!("other-{stream}"))
            .shard_count(1)
            .send()
            .await
            .unwrap();
        let listed = call(at, "GET /streams", "").await.json();
        assert_eq!(listed["HasMoreStreams"], Value::Bool(false), "{name}");
        let names = listed["StreamNames"].as_array().unwrap();
        assert!(names.contains(&json!(stream)), "{name}: {names:?}");
        assert!(names.iter().all(|n| n.as_str().unwrap().starts_with("webhook-")), "{name}: {names:?}");

        let deleted = call(at, &format!("DELETE {path}"), "").await;
        assert_eq!(deleted.status, 200, "{name}: {deleted:?}");
        proxy.wait_status(&path, "ResourceNotFoundException").await;
    }
}

#[tokio::test]
async fn what_kinesis_refuses_is_answered_with_its_status_and_words() {
    for proxy in proxies().await {
        let (name, at) = (proxy.name, proxy.address);
        let missing = format!("/streams/{}-missing", prefix());
        for line in [format!("PUT {missing}/record"), format!("GET {missing}"), format!("DELETE {missing}")] {
            let (status, exception, message) = call(at, &line, GEO).await.exception();
            assert_eq!((status, exception.as_str()), (400, "ResourceNotFoundException"), "{name}: {line}");
            assert!(message.contains("missing"), "{name}: {message}");
        }
        let (status, exception, _) =
            call(at, &format!("PUT {missing}/record"), r#"{"Data": 1}"#).await.exception();
        assert_eq!((status, exception.as_str()), (400, "ValidationException"), "{name}");
        let other = call(at, "PUT /streams/another/record", GEO).await.exception();
        assert_eq!((other.0, other.1.as_str()), (400, "AccessDeniedException"), "{name}");
    }
}

#[tokio::test]
async fn lists_of_more_than_one_page_are_whole() {
    for proxy in proxies().await {
        let names: Vec<_> = (0..12).map(|n| format!("{}-page-{n:02}", prefix())).collect();
        for name in &names {
            proxy.kinesis.create_stream().stream_name(name).shard_count(1).send().await.unwrap();
        }
        let listed = call(proxy.address, "GET /streams", "").await.json();
        let listed: Vec<_> =
            listed["StreamNames"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
        assert!(names.iter().all(|name| listed.contains(&name.as_str())), "{}: {listed:?}", proxy.name);
    }
}

#[tokio::test]
async fn a_kinesis_that_is_not_there_is_503_and_one_that_is_silent_504() {
    let config = |endpoint: String, patience: u64| {
        json!({
            "webhook.topics": [], "webhook.streams": ["*"], "webhook.ack.timeout.ms": patience,
            "kinesis.endpoint": endpoint, "aws.access.key.id": "AK", "aws.secret.access.key": "hunter2"
        })
    };
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = host::source(config(format!("http://{gone}"), 20_000));
    let address = host::open(&source).await;
    let answer = call(address, "PUT /streams/s/record", GEO).await;
    let (status, exception, message) = answer.exception();
    assert_eq!((status, exception.as_str()), (503, "ServiceUnavailable"), "{message}");
    assert!(message.contains("kinesis.unreachable") && !message.contains("hunter2"), "{message}");
    source.close().await.unwrap();

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = host::source(config(format!("http://{}", silent.local_addr().unwrap()), 300));
    let address = host::open(&source).await;
    let (status, _, message) = call(address, "PUT /streams/s/record", GEO).await.exception();
    assert_eq!(status, 504);
    assert!(
        message.contains("webhook.ack.timeout.ms") && message.contains("may have been written"),
        "{message}"
    );
}

#[tokio::test]
async fn a_call_that_may_pass_is_made_again_and_what_stays_refused_has_kinesis_words_k_02() {
    for proxy in proxies().await {
        let (name, stream) = (proxy.name, format!("{}-faults", prefix()));
        let created = call(proxy.address, &format!("POST /streams/{stream}"), r#"{"ShardCount": 1}"#).await;
        assert_eq!(created.status, 200, "{name}: {created:?}");
        proxy.wait_status(&format!("/streams/{stream}"), "ACTIVE").await;
        let endpoint = std::env::var(format!("SIDESTREAM_TEST_{name}")).unwrap();
        let through = async |faults: Vec<Fault>, line: &str, body: &str| {
            let (mut faults, last) = (faults.clone().into_iter(), faults.last().cloned().unwrap());
            let faulty = KinesisFaults::before(&endpoint, move |_| faults.next().unwrap_or(last.clone()));
            let source = webhook(&faulty.url);
            let address = host::open(&source).await;
            call(address, &format!("PUT /streams/{stream}/{line}"), body).await
        };
        let throttled = Fault::Refuse("ProvisionedThroughputExceededException");

        let passed = through(vec![throttled.clone(), throttled.clone(), Fault::Pass], "record", GEO).await;
        assert_eq!(passed.status, 200, "{name}: {passed:?}");
        assert_eq!(proxy.read(&stream, "shardId-000000000000").await.len(), 1, "{name}");

        let (status, exception, _) = through(vec![throttled], "record", GEO).await.exception();
        assert_eq!((status, exception.as_str()), (400, "ProvisionedThroughputExceededException"), "{name}");
        let (status, exception, _) =
            through(vec![Fault::Refuse("InternalFailure")], "record", GEO).await.exception();
        assert_eq!((status, exception.as_str()), (500, "InternalFailure"), "{name}");
        let refused = through(vec![Fault::Refuse("UnrecognizedClientException")], "record", GEO).await;
        let (status, exception, message) = refused.exception();
        assert_eq!((status, exception.as_str()), (503, "ServiceUnavailable"), "{name}");
        assert!(message.contains("kinesis.bad_credentials"), "{name}: {message}");

        let many = r#"{"records": [{"data": 1, "partition-key": "a"}, {"data": 2, "partition-key": "b"}]}"#;
        let partly = vec![Fault::Entries(vec![(0, "ProvisionedThroughputExceededException")])];
        let partly = through(partly, "records", many).await;
        let answer = partly.json();
        assert_eq!((partly.status, &answer["FailedRecordCount"]), (200, &json!(1)), "{name}");
        assert_eq!(answer["Records"][0]["ErrorCode"], "ProvisionedThroughputExceededException", "{name}");
        assert!(answer["Records"][1]["SequenceNumber"].is_string(), "{name}: {answer}");
        assert_eq!(proxy.read(&stream, "shardId-000000000000").await.len(), 2, "{name}");
    }
}
