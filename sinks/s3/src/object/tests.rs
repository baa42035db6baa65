//! Tags, against the services of `tests/services` when they are up.

use std::sync::Arc;

use connector_aws::access::Access;
use connector_aws::parts::LocalParts;
use connector_aws::s3::{self, Options, S3};
use connector_core::Secret;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const IGNORE: Publishing = Publishing { create: false, tags_may_fail: true };
const FAIL: Publishing = Publishing { create: false, tags_may_fail: false };

async fn raw(url: &str, method: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn store(url: &str, bucket: &str, key: &str) -> Store {
    let access = Access {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(url.to_owned()),
        key: Some((Secret::new(key), Secret::new(format!("{key}-secret")))),
        ..Access::default()
    };
    // Whoever asks may read, so that the test can without a signature.
    let options = Options { acl: Some("public-read".to_owned()), ..Options::default() };
    let S3 { store, tagger } = s3::open(bucket, &access, &options).await.unwrap();
    let (objects, tagger) = (Arc::clone(&store) as _, Some(tagger));
    Store { objects, parts: store, tagger, place: "the service".into(), keys: crate::error::KEYS }
}

fn tags() -> Tags {
    [("startOffset", "0"), ("recordCount", "3"), ("team", "a b+c/ü")]
        .map(|(k, v)| (k.into(), v.into()))
        .into()
}

/// One object put whole and one of two parts; both have a key that must be escaped.
fn objects(tags: &Tags) -> [Object; 2] {
    let key = |n: u32| Path::parse(format!("t/partition=0/t+0+{n} ü.json")).unwrap();
    let upload = Upload::new(key(1), Arc::default());
    upload.push(vec![b'x'; 5 << 20].into(), 1);
    upload.push("rest".into(), 1);
    [
        Object::new(key(0), 3, tags.clone(), Staged::Whole("body".into())),
        Object::new(key(1), 3, tags.clone(), Staged::Parts(Arc::new(upload))),
    ]
}

#[tokio::test]
async fn small_and_large_objects_are_tagged_s3g_129() {
    let Ok(url) = std::env::var("SIDESTREAM_TEST_MOTO") else { return };
    let bucket = format!("sink-s3-tags-{}", std::process::id());
    raw(&url, "PUT", &format!("/{bucket}")).await;
    let store = store(&url, &bucket, "moto").await;
    for (n, object) in objects(&tags()).iter().enumerate() {
        object.publish(&store, FAIL).await.unwrap();
        assert!(object.is_visible());
        let path = format!("/{bucket}/t/partition%3D0/t%2B0%2B{n}%20%C3%BC.json?tagging");
        let answer = raw(&url, "GET", &path).await;
        for (key, value) in tags() {
            let tag = format!("<Key>{key}</Key><Value>{value}</Value>");
            assert!(
                answer.split_whitespace().collect::<Vec<_>>().join(" ").replace("> <", "><").contains(&tag),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn tags_pass_the_check_of_signatures() {
    let Ok(url) = std::env::var("SIDESTREAM_TEST_S3") else { return };
    let bucket = format!("sink-s3-tags-{}", std::process::id());
    let store = store(&url, &bucket, "sidestream").await;
    // This service makes a bucket for a signed request only.
    let tagger = store.tagger.as_ref().unwrap();
    let denied = tagger.tag(&Path::from("nothing"), &tags()).await.unwrap_err();
    let said = store.explain("tagging", None, &denied);
    assert_eq!(said.code, "s3.no_such_bucket", "{said}");
}

#[tokio::test]
async fn refused_tags_are_left_out_or_fail_as_configured() {
    // Tags of the wrong form are refused by every service.
    let Ok(url) = std::env::var("SIDESTREAM_TEST_MOTO") else { return };
    let bucket = format!("sink-s3-refused-tags-{}", std::process::id());
    raw(&url, "PUT", &format!("/{bucket}")).await;
    let store = store(&url, &bucket, "moto").await;
    let wrong: Tags = vec![("aws:reserved".into(), "x".into())];
    for object in objects(&wrong) {
        let error = object.publish(&store, FAIL).await.unwrap_err();
        assert!(!error.is_retriable() && error.code == "s3.refused", "{error}");
    }
    for object in objects(&wrong) {
        object.publish(&store, IGNORE).await.unwrap();
        assert!(store.objects.head(&object.key).await.is_ok());
    }
}

#[tokio::test]
async fn a_directory_has_no_tags() {
    let directory = tempfile::tempdir().unwrap();
    let files = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let parts = Arc::new(LocalParts::new(files.clone(), 5 << 20));
    let place = "a directory".into();
    let store = Store { objects: Arc::new(files), parts, tagger: None, place, keys: crate::error::KEYS };
    for object in objects(&tags()) {
        object.publish(&store, FAIL).await.unwrap();
        assert!(store.objects.head(&object.key).await.is_ok());
    }
}
