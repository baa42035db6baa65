//! The configuration of the pipeline's connector, as MSK Connect has it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::http::python_json;
use crate::support::{Record, S3, Services, Sidestream, rows, services, unique};
use crate::{SOON, TABLES, wait_committed};

/// The configuration that these pipelines have on MSK Connect (13 lines), with the id filled in, and below it what
/// another endpoint than AWS needs.
fn msk_connect(name: &str, id: &str, bucket: &str, s3: &S3) -> String {
    format!(
        "connector.class=io.confluent.connect.s3.S3SinkConnector
s3.region=us-east-1
flush.size=1
schema.compatibility=NONE
tasks.max=3
topics.regex={id}.*
format.class=io.confluent.connect.s3.format.json.JsonFormat
partitioner.class=io.confluent.connect.storage.partitioner.DefaultPartitioner
value.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
storage.class=io.confluent.connect.s3.storage.S3Storage
key.converter=org.apache.kafka.connect.storage.StringConverter
s3.bucket.name={bucket}
name={name}
store.url={}
",
        s3.url
    )
}

#[test]
fn the_13_lines_of_msk_connect_write_one_object_a_record_under_connects_keys() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket, name) = (unique("id"), unique("user-bucket"), unique("msk"));
    s3.create_bucket(&bucket);
    let topics = TABLES.map(|table| format!("{id}.{table}"));
    kafka.create_topics(topics.iter().map(|topic| (topic.as_str(), 1)));
    let rows = rows(100, 7);
    for (topic, rows) in topics.iter().zip(&rows) {
        // As the REST Proxy stores them: compact, non-ASCII as the client escaped it.
        kafka.produce(rows.iter().map(|row| Record::new(topic, python_json(row).into_bytes())));
    }

    let properties = msk_connect(&name, &id, &bucket, &s3);
    let mut worker = Sidestream::start(&[("msk.properties", &properties)], &s3.credentials());
    let group = format!("connect-{name}");
    for topic in &topics {
        wait_committed(&kafka, &group, topic, &[(0, 100)]);
    }
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let found = s3.objects(&bucket);
    let mut expected = BTreeMap::new();
    for (topic, rows) in topics.iter().zip(&rows) {
        for (offset, row) in rows.iter().enumerate() {
            expected.insert(format!("topics/{topic}/partition=0/{topic}+0+{offset:010}.json"), row);
        }
    }
    assert_eq!(found.len(), 300);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, body) in &found {
        let line = body.strip_suffix(b"\n").unwrap_or_else(|| panic!("{key}: the line has no end"));
        assert!(!line.contains(&b'\n'), "{key}: more than one line");
        assert_eq!(&serde_json::from_slice::<Value>(line).unwrap(), expected[key], "{key}");
    }
}
