//! Single puts, parts and conditions on the wire, against the S3 of `tests/services` when it is up.

use std::sync::Arc;

use connector_core::{Sink, TaskInfo, testing};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{all, documents, flush_range, partition, publish};

/// The address of moto; without the services there is nothing to test against.
fn service() -> Option<String> {
    let url = std::env::var("SIDESTREAM_TEST_MOTO").ok();
    if url.is_none() {
        eprintln!("skipped: SIDESTREAM_TEST_MOTO is not set, run by tests/services/with-services.sh");
    }
    url
}

async fn bucket(url: &str, name: &str) -> AmazonS3 {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request =
        format!("PUT /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let builder = AmazonS3Builder::new().with_endpoint(url).with_allow_http(true).with_region("us-east-1");
    builder.with_bucket_name(name).with_access_key_id("moto").with_secret_access_key("moto").build().unwrap()
}

fn sink(url: &str, bucket: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let mut map = testing::config(&[
        ("s3.bucket.name", bucket),
        ("store.url", url),
        ("s3.region", "us-east-1"),
        ("aws.access.key.id", "moto"),
        ("aws.secret.access.key", "moto-secret"),
        ("s3.part.size", "5242880"),
    ]);
    map.extend(testing::config(keys));
    let component = sink_s3::component();
    component.create_sink(&component.check(&map).unwrap(), &TaskInfo::default()).unwrap()
}

fn name(purpose: &str) -> String {
    format!("sink-s3-{purpose}-{}", std::process::id())
}

#[tokio::test]
async fn a_large_object_arrives_in_parts_and_a_small_one_whole() {
    let Some(url) = service() else { return };
    let name = name("parts");
    let store = bucket(&url, &name).await;
    let sink = sink(&url, &name, &[("flush.size", "13")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let megabyte = format!("\"{}\"", "x".repeat(1 << 20));
    for offset in 0..13 {
        sink.write(documents(offset, &[Some(&megabyte)])).await.unwrap();
    }
    sink.write(documents(13, &[Some("13")])).await.unwrap();
    assert!(all(&store).await.is_empty(), "nothing is visible before the commit");
    let staged = sink.flush(&[flush_range(0..14)]).await.unwrap();
    sink.commit(&staged).await.unwrap();
    sink.commit(&staged).await.unwrap();
    let objects = all(&store).await;
    let large = &objects["topics/orders/partition=0/orders+0+0000000000.json"];
    assert_eq!(large[..], format!("{megabyte}\n").repeat(13).into_bytes());
    assert_eq!(objects["topics/orders/partition=0/orders+0+0000000013.json"], b"13\n");
}

#[tokio::test]
async fn with_a_schedule_a_late_writer_changes_nothing_s3_05() {
    let Some(url) = service() else { return };
    let name = name("late");
    let store = bucket(&url, &name).await;
    let schedule = [("flush.size", "1000"), ("rotate.schedule.interval.ms", "3600000"), ("timezone", "UTC")];
    let (owner, zombie) = (sink(&url, &name, &schedule), sink(&url, &name, &schedule));
    for sink in [&owner, &zombie] {
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(documents(0, &[Some("0"), Some("1")])).await.unwrap();
    }
    let late = zombie.flush(&[flush_range(0..2)]).await.unwrap();
    owner.write(documents(2, &[Some("2")])).await.unwrap();
    publish(&*owner, 0..3).await;
    zombie.commit(&late).await.unwrap();
    assert_eq!(all(&store).await["topics/orders/partition=0/orders+0+0000000000.json"], b"0\n1\n2\n");
}

#[tokio::test]
async fn a_missing_bucket_fails_the_start() {
    let Some(url) = service() else { return };
    let sink = sink(&url, &name("missing"), &[("flush.size", "1")]);
    let error = sink.open(&[partition(0).into()]).await.unwrap_err();
    assert_eq!(error.code, "s3.no_such_bucket", "{error}");
}
