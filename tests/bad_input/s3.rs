//! Records, buckets and credentials that the S3 sink cannot work with.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::layout::objects;
use crate::support::{Kafka, Record, S3, Services, Sidestream, services, unique, wait_until};
use crate::{SECRET, SOON, failed, keeps_secrets};

fn s3_sink(id: &str, bucket: &str, store: &str, more: &str) -> String {
    format!(
        "connectors:
  {id}:
    connector.class: s3-sink
    topics: {id}
    flush.size: 1
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
{more}"
    )
}

/// Nine records in partition 1 of a topic, the one with offset 5 is `bad`.
fn nine(kafka: &Kafka, id: &str, bad: Option<&str>) {
    kafka.create_topic(id, 2);
    kafka.produce((0..9).map(|n| {
        let value = match (n, bad) {
            (5, None) => None,
            (5, Some(text)) => Some(text.as_bytes().to_vec()),
            _ => Some(json!({"n": n, "secret": SECRET}).to_string().into_bytes()),
        };
        Record { value, ..Record::new(id, "") }.partition(1)
    }));
}

/// All records of `nine` but the bad one are in the bucket, once.
#[track_caller]
fn all_but_the_bad_one(s3: &S3, bucket: &str, id: &str) {
    let starts = || {
        let found = objects(s3, bucket, "topics");
        found
            .get(&(id.to_owned(), 1))
            .map(|all| all.iter().map(|o| (o.start, o.lines.len())).collect::<Vec<_>>())
    };
    let expected: Vec<_> = [0, 1, 2, 3, 4, 6, 7, 8].map(|offset| (offset, 1)).to_vec();
    wait_until(SOON, "all other records are in the bucket", || (starts()? == expected).then_some(()));
}

#[test]
fn a_tombstone_fails_the_task_with_its_place_and_can_be_gone_past() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("tombstone"), unique("tombstone-bucket"));
    s3.create_bucket(&bucket);
    nine(&kafka, &id, None);
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, ""))], &s3.credentials());
    failed(&worker, &id, &[&format!("{id}-1 offset 5"), "behavior.on.null.values"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let more = "    behavior.on.null.values: ignore\n";
    worker.rewrite("a.yaml", &s3_sink(&id, &bucket, &s3.url, more));
    let worker = worker.restart(&s3.credentials());
    all_but_the_bad_one(&s3, &bucket, &id);
    keeps_secrets(&worker);
}

#[test]
fn a_value_that_is_not_json_fails_the_task_with_its_place_and_can_be_gone_past() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("syntax"), unique("syntax-bucket"));
    s3.create_bucket(&bucket);
    nine(&kafka, &id, Some(&format!("{{\"n\": {SECRET}")));
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, ""))], &s3.credentials());
    failed(&worker, &id, &[&format!("{id}-1 offset 5"), "at byte", "errors.tolerance"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    worker.rewrite("a.yaml", &s3_sink(&id, &bucket, &s3.url, "    errors.tolerance: all\n"));
    let worker = worker.restart(&s3.credentials());
    all_but_the_bad_one(&s3, &bucket, &id);
    wait_until(SOON, "the record is counted", || {
        (worker.metrics().records(&id).last() == Some(&1)).then_some(())
    });
    keeps_secrets(&worker);
}

#[test]
fn a_bucket_that_is_missing_is_named() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("bucket"), unique("bucket-none"));
    nine(&kafka, &id, Some("5"));
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, ""))], &s3.credentials());
    failed(&worker, &id, &[&bucket, "does not exist", "create it, or correct `s3.bucket.name`"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    let committed = kafka.committed(&format!("connect-{id}"), &id);
    assert!(committed.values().all(|offset| *offset == 0), "nothing may be acknowledged: {committed:?}");

    s3.create_bucket(&bucket);
    let worker = worker.restart(&s3.credentials());
    wait_until(SOON, "all records are in the bucket", || (s3.keys(&bucket).len() == 9).then_some(()));
    keeps_secrets(&worker);
}

#[test]
fn a_bucket_that_may_not_be_written_is_named_with_what_to_allow() {
    let Services { kafka, s3, s3_reader, .. } = services();
    let (id, bucket) = (unique("denied"), unique("denied-bucket"));
    s3.create_bucket(&bucket);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": [s3_reader.access_key],
        "Action": ["s3:ListBucket", "s3:GetObject"],
        "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
    }]});
    s3.put_policy(&bucket, &policy.to_string());
    nine(&kafka, &id, Some("5"));
    let files = [("a.yaml", s3_sink(&id, &bucket, &s3.url, ""))];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut worker = Sidestream::start(&files, &s3_reader.credentials());
    let task = failed(&worker, &id, &[&bucket, "access denied", "s3:PutObject"]);
    assert!(!task.reason.contains(&s3_reader.secret_key), "{task:?}");
    assert!(!worker.log().contains(&s3_reader.secret_key));
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    assert_eq!(s3.keys(&bucket), [""; 0]);
    let committed = kafka.committed(&format!("connect-{id}"), &id);
    assert!(committed.values().all(|offset| *offset == 0), "nothing may be acknowledged: {committed:?}");

    // With an account that may write.
    let worker = worker.restart(&s3.credentials());
    wait_until(SOON, "all records are in the bucket", || (s3.keys(&bucket).len() == 9).then_some(()));
    keeps_secrets(&worker);
}

#[test]
fn a_wrong_secret_key_is_told_and_not_shown() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("key"), unique("key-bucket"));
    s3.create_bucket(&bucket);
    nine(&kafka, &id, Some("5"));
    let login = format!("    aws.access.key.id: {}\n    aws.secret.access.key: {SECRET}\n", s3.access_key);
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, &login))], &[]);
    failed(&worker, &id, &[&bucket, "credentials are refused", "aws.secret.access.key"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    fs::write(worker.dir.path().join("secret"), &s3.secret_key).unwrap();
    let login = format!(
        "    aws.access.key.id: {}\n    aws.secret.access.key: ${{directory:{}:secret}}\n",
        s3.access_key,
        Path::new(worker.dir.path()).display()
    );
    worker.rewrite("a.yaml", &s3_sink(&id, &bucket, &s3.url, &login));
    let worker = worker.restart(&[]);
    wait_until(SOON, "all records are in the bucket", || (s3.keys(&bucket).len() == 9).then_some(()));
    assert!(!worker.log().contains(&s3.secret_key));
    keeps_secrets(&worker);
}
