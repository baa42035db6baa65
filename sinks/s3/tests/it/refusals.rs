//! Records and stores that do not work.

use std::sync::Arc;

use connector_core::arrow::array::StringArray;
use connector_core::{Form, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{batch, documents, objects, partition, publish, sink};

#[tokio::test]
async fn a_tombstone_is_rejected_with_its_place_and_the_remedy() {
    let sink = sink("null-fail", &[("flush.size", "2")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let written = sink.write(documents(5, &[Some("1"), None, Some("3")])).await.unwrap();
    assert_eq!(written.cut, Some(8));
    let [rejection] = &written.rejected[..] else { panic!("{written:?}") };
    assert_eq!((rejection.row, rejection.stage), (1, Stage::TaskPut));
    let said = rejection.error.to_string();
    assert!(said.starts_with("orders-0 offset 6: Null valued records"), "{said}");
    assert!(said.contains("`behavior.on.null.values: ignore`"), "{said}");
}

#[tokio::test]
async fn an_ignored_tombstone_counts_as_filtered_and_moves_no_cut_s3g_112() {
    let sink = sink("null-ignore", &[("flush.size", "2"), ("behavior.on.null.values", "ignore")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let written = sink.write(documents(0, &[Some("0"), None, Some("2"), None, None])).await.unwrap();
    assert_eq!((written.cut, written.filtered), (Some(3), 3));
    publish(&*sink, 0..3).await;
    assert_eq!(objects("null-ignore").await[0].1, "0\n2\n");
}

#[tokio::test]
async fn the_bytes_format_refuses_what_is_not_bytes_s3g_034() {
    let sink = sink("not-bytes", &[("flush.size", "1"), ("format.class", "bytearray")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let strings = batch(Form::Columns, 0, Arc::new(StringArray::from(vec!["a", "hunter2"])));
    let written = sink.write(strings).await.unwrap();
    assert_eq!((written.cut, written.rejected.len()), (None, 2));
    let said = written.rejected[1].error.to_string();
    assert!(said.contains("Invalid schema type for ByteArrayConverter: STRING"), "{said}");
    assert!(said.contains("orders-0 offset 1") && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_partition_that_is_not_assigned_is_refused_s3g_131() {
    let sink = sink("not-assigned", &[("flush.size", "1")]);
    sink.open(&[partition(1).into()]).await.unwrap();
    let error = sink.write(documents(0, &[Some("1")])).await.unwrap_err();
    assert_eq!(error.code, "s3.not_assigned");
    assert!(error.message.contains("orders-0"), "{error}");
}

/// An HTTP server that gives one answer to every request.
async fn service(status: &'static str, code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let body = format!(
                "<Error><Code>{code}</Code><Message>m</Message><StringToSign>AKIAX</StringToSign></Error>"
            );
            let head =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn a_bucket_that_cannot_be_used_fails_the_start_with_a_reason() {
    for (status, answer, code, hint) in [
        ("404 Not Found", "NoSuchBucket", "s3.no_such_bucket", "s3.bucket.name"),
        ("403 Forbidden", "InvalidAccessKeyId", "s3.bad_credentials", "aws.access.key.id"),
        ("403 Forbidden", "SignatureDoesNotMatch", "s3.bad_credentials", "aws.secret.access.key"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "s3.wrong_region", "s3.region"),
    ] {
        let url = service(status, answer).await;
        let keys = [
            ("flush.size", "1"),
            ("store.url", url.as_str()),
            ("aws.access.key.id", "AKIAX"),
            ("aws.secret.access.key", "hunter2"),
        ];
        let sink = sink("unused", &keys);
        let error = sink.open(&[partition(0).into()]).await.unwrap_err();
        let said = error.to_string();
        assert_eq!(error.code, code, "{said}");
        assert!(!error.is_retriable() && error.hint.contains(hint), "{said}");
        assert!(said.contains("bucket `b`") && said.contains(&url), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("AKIAX"), "{said}");
    }
}

#[tokio::test]
async fn a_bucket_that_may_not_be_listed_is_tried_by_writing() {
    let url = service("403 Forbidden", "AccessDenied").await;
    let keys = [
        ("flush.size", "1"),
        ("store.url", url.as_str()),
        ("aws.access.key.id", "AKIAX"),
        ("aws.secret.access.key", "hunter2"),
    ];
    let sink = sink("unused", &keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &[Some("1")])).await.unwrap();
    let staged = sink.flush(&[crate::flush_range(0..1)]).await.unwrap();
    let error = sink.commit(&staged).await.unwrap_err();
    assert_eq!(error.code, "s3.access_denied");
    assert!(error.message.contains("orders+0+0000000000.json"), "{error}");
    assert!(error.hint.contains("s3:PutObject"), "{error}");
}
