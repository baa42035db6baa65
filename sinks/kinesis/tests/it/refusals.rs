//! What is wrong with a configuration, a stream or a record, and how the user is told.

use std::sync::Arc;

use arrow::array::{BinaryArray, StringArray};
use connector_core::{Form, TaskInfo, testing};
use serde_json::{Value, json};

use crate::kinesis_faults::{Fault, KinesisFaults};
use crate::{Stream, batch, config, documents, kinesalite, moto, publish, sink};

#[test]
fn the_configuration_of_awslabs_sink_is_accepted_k_03() {
    let component = sink_kinesis::component();
    assert!(component.answers_to("com.amazon.kinesis.kafka.AmazonKinesisSinkConnector"));
    let theirs = testing::config(&[
        ("region", "us-east-1"),
        ("streamName", "s"),
        ("kinesisEndpoint", "kinesis.us-east-1.amazonaws.com"),
        ("roleARN", "arn:aws:iam::1:role/r"),
        ("roleSessionName", "x"),
        ("roleExternalID", "x"),
        ("roleDurationSeconds", "3600"),
        ("usePartitionAsHashKey", "true"),
        ("maxConnections", "24"),
        ("aggregation", "true"),
    ]);
    assert_eq!(component.validate(&theirs), Ok(()));
    for key in ["maxBufferedTime", "rateLimit", "ttl", "metricsLevel", "flushSync"] {
        assert!(component.inert_keys.iter().any(|inert| inert == key), "{key}");
    }
}

#[test]
fn wrong_keys_are_named() {
    let component = sink_kinesis::component();
    let problems = |keys: &[(&str, &str)]| {
        let map = config("http://127.0.0.1:1", "s", keys);
        let problems = component.check(&map).and_then(|c| component.create_sink(&c, &TaskInfo::default()));
        problems.err().unwrap().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    let both = [("kinesis.partition.key.field", "a"), ("kinesis.partition.key.header", "b")];
    assert_eq!(problems(&both), ["kinesis.partition.key.header"]);
    assert_eq!(problems(&[("kinesis.endpoint", "ftp://x")]), ["kinesis.endpoint"]);
    assert_eq!(problems(&[("kinesis.max.requests", "0")]), ["kinesis.max.requests"]);
    assert_eq!(problems(&[("kinesis.ordering", "shard")]), ["kinesis.ordering"]);
}

#[tokio::test]
async fn a_missing_stream_fails_the_start_and_is_named() {
    for url in [kinesalite(), moto()].into_iter().flatten() {
        let error = sink(&url, "nowhere", &[]).open(&[]).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.no_such_stream", false));
        assert!(error.message.contains("`nowhere`") && error.hint.contains("create the stream"), "{error}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_tried_again() {
    let error = sink("http://127.0.0.1:1", "s", &[]).open(&[]).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.unreachable", true), "{error}");
    assert!(error.hint.contains("kinesis.endpoint"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_deleted_while_writing_fails_the_task() {
    for url in [kinesalite(), moto()].into_iter().flatten() {
        let stream = Stream::create(&url, "deleted", 1).await;
        let sink = sink(&url, &stream.name, &[]);
        sink.open(&[]).await.unwrap();
        sink.write(documents(0, &[(Some("a"), "1")])).await.unwrap();
        publish(&*sink, 1).await.unwrap();
        stream.client.delete_stream().stream_name(&stream.name).send().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        sink.write(documents(1, &[(Some("a"), "2")])).await.unwrap();
        let error = publish(&*sink, 2).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.is_retriable()), ("kinesis.no_such_stream", false), "{error}");
        let again = sink.write(documents(2, &[(Some("a"), "3")])).await.unwrap_err();
        assert_eq!(again.code, error.code, "nothing is taken any more");
    }
}

#[tokio::test]
async fn refused_access_and_credentials_are_told_apart() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "denied", 1).await;
    for (name, code) in [
        ("AccessDeniedException", "kinesis.access_denied"),
        ("UnrecognizedClientException", "kinesis.bad_credentials"),
        ("KMSAccessDeniedException", "kinesis.encryption_key"),
    ] {
        let on_open = KinesisFaults::before(&url, move |_| Fault::Refuse(name));
        let error = sink(&on_open.url, &stream.name, &[]).open(&[]).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.is_retriable()), (code, false), "{error}");

        let on_put = KinesisFaults::before(&url, move |call| match call.action.as_str() {
            "PutRecords" => Fault::Refuse(name),
            _ => Fault::Pass,
        });
        let sink = sink(&on_put.url, &stream.name, &[]);
        sink.open(&[]).await.unwrap();
        sink.write(documents(0, &[(Some("a"), "1")])).await.unwrap();
        let error = publish(&*sink, 1).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.is_retriable()), (code, false), "{error}");
        assert!(error.message.contains(&stream.name) && !error.hint.is_empty(), "{error}");
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_is_rejected_alone_k_01() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "large", 1).await;
    let sink = sink(&url, &stream.name, &[]);
    sink.open(&[]).await.unwrap();
    let largest = "x".repeat((1 << 20) - 1);
    let larger = "y".repeat(1 << 20);
    let rows = [(Some("k"), largest.as_str()), (Some("k"), larger.as_str()), (Some("k"), "3")];
    let written = sink.write(documents(10, &rows)).await.unwrap();
    assert_eq!(written.rejected.len(), 1);
    let rejection = &written.rejected[0];
    assert_eq!((rejection.row, rejection.error.code.as_str()), (1, "kinesis.record_too_large"));
    assert!(rejection.error.message.starts_with("pins-0 offset 11: 1048577 bytes"), "{}", rejection.error);
    assert!(rejection.error.hint.contains("MaxRecordSizeInKiB"));
    publish(&*sink, 13).await.unwrap();
    assert_eq!(stream.data().await, ["3", &largest]);
}

/// Answers DescribeStreamSummary with `more` in it, and stores nothing.
fn described(url: &str, more: &Value) -> KinesisFaults {
    let mut summary = json!({
        "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:1:stream/s", "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1, "EnhancedMonitoring": [], "OpenShardCount": 1
    });
    for (name, value) in more.as_object().unwrap() {
        summary[name] = value.clone();
    }
    KinesisFaults::before(url, move |call| match call.action.as_str() {
        "DescribeStreamSummary" => Fault::Answer(json!({"StreamDescriptionSummary": summary})),
        "ListShards" => Fault::Answer(json!({"Shards": []})),
        _ => {
            let stored = json!({"SequenceNumber": "1", "ShardId": ""});
            Fault::Answer(
                json!({"FailedRecordCount": 0, "Records": vec![stored; call.partition_keys().len()]}),
            )
        }
    })
}

#[tokio::test]
async fn the_largest_record_is_what_the_stream_says_k_01() {
    let service = described("http://127.0.0.1:1", &json!({"MaxRecordSizeInKiB": 2048}));
    let sink = sink(&service.url, "s", &[]);
    sink.open(&[]).await.unwrap();
    let (largest, larger) = ("x".repeat((2 << 20) - 1), "y".repeat(2 << 20));
    let rows = [(Some("k"), largest.as_str()), (Some("k"), larger.as_str())];
    let written = sink.write(documents(0, &rows)).await.unwrap();
    let rejected: Vec<_> = written.rejected.iter().map(|rejection| rejection.row).collect();
    assert_eq!(rejected, [1]);
    assert!(
        written.rejected[0].error.message.ends_with("the stream takes 2097152"),
        "{}",
        written.rejected[0].error
    );
    publish(&*sink, 2).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_being_created_is_waited_for_and_one_that_is_being_deleted_is_not() {
    for (status, code, retriable) in
        [("CREATING", "kinesis.stream_in_use", true), ("DELETING", "kinesis.no_such_stream", false)]
    {
        let service = described("http://127.0.0.1:1", &json!({"StreamStatus": status}));
        let error = sink(&service.url, "s", &[]).open(&[]).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.is_retriable()), (code, retriable), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_kinesis_is_said_to_be_none() {
    let service = KinesisFaults::before("http://127.0.0.1:1", |_| Fault::Answer(json!({"hello": "world"})));
    let error = sink(&service.url, "s", &[]).open(&[]).await.unwrap_err();
    assert_eq!(error.code, "kinesis.no_answer", "{error}");
}

#[tokio::test]
async fn a_key_that_kinesis_cannot_take_is_rejected_alone_and_never_shown() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "badkeys", 1).await;
    let sink = sink(&url, &stream.name, &[]);
    sink.open(&[]).await.unwrap();
    let (longest, longer, emoji) = ("k".repeat(256), "k".repeat(257), "😀".repeat(129));
    let keys: [&[u8]; 5] = [longest.as_bytes(), longer.as_bytes(), emoji.as_bytes(), b"\xff\xfe", b"ok"];
    let keys = BinaryArray::from_iter_values(keys);
    let values = StringArray::from(vec!["1", "2", "3", "4", "5"]);
    let written = sink.write(batch(0, Arc::new(keys), Form::Document, Arc::new(values))).await.unwrap();
    let rejected: Vec<_> = written.rejected.iter().map(|rejection| rejection.row).collect();
    assert_eq!(rejected, [1, 2, 3]);
    for rejection in &written.rejected {
        let error = rejection.error.to_string();
        assert!(
            error.starts_with("pins-0 offset ") && rejection.error.code == "kinesis.partition_key",
            "{error}"
        );
        assert!(!error.contains("kkk") && !error.contains('😀'), "{error}");
    }
    publish(&*sink, 5).await.unwrap();
    assert_eq!(stream.data().await, ["1", "5"]);
}

#[tokio::test]
async fn a_field_of_values_without_fields_is_a_rejection_not_a_crash() {
    let Some(url) = kinesalite() else { return };
    let stream = Stream::create(&url, "nofields", 1).await;
    let sink = sink(&url, &stream.name, &[("kinesis.partition.key.field", "index")]);
    sink.open(&[]).await.unwrap();
    let keys = BinaryArray::from_iter_values([b"k"]);
    let values = BinaryArray::from_iter_values([b"raw"]);
    let written = sink.write(batch(0, Arc::new(keys), Form::Bytes, Arc::new(values))).await.unwrap();
    assert!(written.rejected[0].error.message.contains("`index`"), "{}", written.rejected[0].error);
}
