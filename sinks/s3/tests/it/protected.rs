//! Encryption, access control lists and credentials on the wire, against the services of `tests/services` when they are
//! up.

use std::sync::Arc;

use connector_core::{Sink, TaskInfo, testing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{documents, partition, publish};

fn moto() -> Option<String> {
    let url = std::env::var("SIDESTREAM_TEST_MOTO").ok();
    if url.is_none() {
        eprintln!("skipped: SIDESTREAM_TEST_MOTO is not set, run by tests/services/with-services.sh");
    }
    url
}

/// The status line, and all that follows it.
async fn request(url: &str, method: &str, path: &str) -> (String, String) {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (status, rest) = answer.split_once("\r\n").unwrap();
    (status.to_owned(), rest.to_owned())
}

fn sink(url: &str, bucket: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let mut map = testing::config(&[
        ("s3.bucket.name", bucket),
        ("store.url", url),
        ("s3.region", "us-east-1"),
        ("aws.access.key.id", "moto"),
        ("aws.secret.access.key", "moto-secret"),
        ("s3.part.size", "5242880"),
        ("s3.part.retries", "0"),
        ("flush.size", "1000"),
    ]);
    map.extend(testing::config(keys));
    let component = sink_s3::component();
    component.create_sink(&component.check(&map).unwrap(), &TaskInfo::default()).unwrap()
}

/// A bucket with a small object at offset 0 and one in parts at offset 1.
async fn two_objects(url: &str, purpose: &str, keys: &[(&str, &str)]) -> String {
    let bucket = format!("sink-s3-{purpose}-{}", std::process::id());
    assert!(request(url, "PUT", &format!("/{bucket}")).await.0.contains("200"));
    write_both(&*sink(url, &bucket, keys)).await;
    bucket
}

const KEYS: [&str; 2] = [
    "topics/orders/partition%3D0/orders%2B0%2B0000000000.json",
    "topics/orders/partition%3D0/orders%2B0%2B0000000001.json",
];

#[tokio::test]
async fn objects_get_the_canned_list_s3_09() {
    let Some(url) = moto() else { return };
    let bucket = two_objects(&url, "acl", &[("s3.acl.canned", "public-read")]).await;
    for key in KEYS {
        let (status, acl) = request(&url, "GET", &format!("/{bucket}/{key}?acl")).await;
        assert!(status.contains("200") && acl.contains("AllUsers") && acl.contains("READ"), "{status} {acl}");
    }
    let bucket = two_objects(&url, "no-acl", &[]).await;
    let (_, acl) = request(&url, "GET", &format!("/{bucket}/{}?acl", KEYS[0])).await;
    assert!(!acl.contains("AllUsers"), "{acl}");
}

#[tokio::test]
async fn objects_are_encrypted_as_asked_s3_09() {
    let Some(url) = moto() else { return };
    // Without a signature only what is public can be read.
    let public = ("s3.acl.canned", "public-read");
    let kms = [("s3.ssea.name", "aws:kms"), ("s3.sse.kms.key.id", "the-key"), public];
    type Keys<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Keys, &[&str]); 2] = [
        ("aes", &[("s3.ssea.name", "AES256"), public], &["x-amz-server-side-encryption: AES256"]),
        (
            "kms",
            &kms,
            &[
                "x-amz-server-side-encryption: aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id: the-key",
            ],
        ),
    ];
    for (purpose, keys, headers) in cases {
        let bucket = two_objects(&url, purpose, keys).await;
        for key in KEYS {
            let (_, answer) = request(&url, "HEAD", &format!("/{bucket}/{key}")).await;
            let answer = answer.to_lowercase();
            for header in headers {
                assert!(answer.contains(&header.to_lowercase()), "{purpose}: {answer}");
            }
        }
    }
}

/// A server that keeps the heads of the requests and answers as S3 does to a put and to the creation of an upload.
async fn recorder() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let end = loop {
                    let mut some = [0; 4096];
                    let n = stream.read(&mut some).await.unwrap();
                    bytes.extend_from_slice(&some[..n]);
                    if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                        break end;
                    }
                    if n == 0 {
                        return;
                    }
                };
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
                let mut left = length.saturating_sub(bytes.len() - end - 4);
                while left > 0 {
                    let mut some = [0; 65536];
                    left -= stream.read(&mut some).await.unwrap().min(left);
                }
                let body = match head.split(' ').take(2).collect::<Vec<_>>()[..] {
                    ["post", path] if path.contains("?uploads") => {
                        "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                    }
                    ["post", _] => {
                        "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
                    }
                    ["get", _] => "<ListBucketResult></ListBucketResult>",
                    _ => "",
                };
                kept.lock().unwrap().push(head);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (url, heads)
}

async fn write_both(sink: &dyn Sink) {
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(documents(0, &[Some("0")])).await.unwrap();
    publish(sink, 0..1).await;
    let megabyte = format!("\"{}\"", "x".repeat(1 << 20));
    for offset in 1..8 {
        sink.write(documents(offset, &[Some(&megabyte)])).await.unwrap();
    }
    publish(sink, 1..8).await;
}

#[tokio::test]
async fn only_requests_that_make_an_object_carry_the_list_and_it_is_signed() {
    let (url, heads) = recorder().await;
    let sink = sink(&url, "b", &[("s3.acl.canned", "bucket-owner-full-control")]);
    write_both(&*sink).await;
    let heads = heads.lock().unwrap();
    assert!(heads.len() >= 6, "{heads:#?}");
    for head in heads.iter() {
        let line = head.split("\r\n").next().unwrap();
        let makes = line.starts_with("put") && !line.contains("partnumber") || line.contains("?uploads");
        assert_eq!(head.contains("x-amz-acl: bucket-owner-full-control"), makes, "{head}");
        assert_eq!(head.matches("authorization: ").count(), 1, "{head}");
        let signed = head.split("signedheaders=").nth(1).unwrap().split(',').next().unwrap();
        assert_eq!(signed.split(';').any(|header| header == "x-amz-acl"), makes, "{head}");
    }
}

#[tokio::test]
async fn a_key_of_ones_own_goes_with_every_byte_s3_09() {
    let (url, heads) = recorder().await;
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    write_both(&*sink(&url, "b", &[("s3.sse.customer.key", key)])).await;
    let heads = heads.lock().unwrap();
    let with_key: Vec<_> = heads.iter().filter(|head| head.contains(&key.to_lowercase())).collect();
    for head in &with_key {
        assert!(head.contains("x-amz-server-side-encryption-customer-algorithm: aes256"), "{head}");
        // MD5 of the 32 bytes.
        assert!(head.contains("x-amz-server-side-encryption-customer-key-md5: "), "{head}");
    }
    // The small object, the upload's creation, and each part.
    let bytes = heads.iter().filter(|head| head.starts_with("put ") || head.contains("?uploads")).count();
    assert!(bytes >= 4 && with_key.len() == bytes, "{heads:#?}");
}

#[tokio::test]
async fn a_proxy_is_asked_with_name_and_password_s3_09() {
    let (url, heads) = recorder().await;
    let keys = [
        ("store.url", "http://s3.example.test:9000"),
        ("s3.proxy.url", url.as_str()),
        ("s3.proxy.user", "me@home"),
        ("s3.proxy.password", "p:/@w"),
    ];
    let sink = sink("http://unused", "b", &keys);
    write_both(&*sink).await;
    let heads = heads.lock().unwrap();
    assert!(!heads.is_empty());
    for head in heads.iter() {
        assert!(head.split(' ').nth(1).unwrap().starts_with("http://s3.example.test:9000/b"), "{head}");
        // "me@home:p:/@w" in base64, in lower case as all of the head is here.
        assert!(head.contains("proxy-authorization: basic bwvaag9tztpwoi9adw=="), "{head}");
    }
}

#[tokio::test]
async fn the_bucket_can_be_in_the_host_name() {
    let (url, heads) = recorder().await;
    let keys = [("s3.path.style.access.enabled", "false"), ("s3.proxy.url", url.as_str())];
    let sink = sink("http://s3.example.test:9000", "b", &keys);
    write_both(&*sink).await;
    for head in heads.lock().unwrap().iter() {
        assert!(head.split(' ').nth(1).unwrap().starts_with("http://b.s3.example.test:9000/"), "{head}");
    }
}
