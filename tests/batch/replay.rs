//! Raw objects back into Kafka: each into the topic that its path names, in the order of the objects.

use serde_json::Value;

use crate::support::services;
use crate::{Job, TABLES, rows};

#[test]
fn objects_go_back_into_the_topics_that_their_paths_name_each_once() {
    let kafka = services().kafka;
    let job = Job::new(services().s3);
    let days = rows(250, 41);
    let topics = TABLES.map(|table| format!("{}.{table}", job.id));
    kafka.create_topics(topics.iter().map(|topic| (topic.as_str(), 1)));
    for (table, rows) in TABLES.iter().zip(&days) {
        job.put(table, 0, &rows[..50], 1);
        job.put(table, 50, &rows[50..200], 60);
    }
    let (bucket, id, url) = (&job.bucket, &job.id, &job.s3.url);
    let replay = format!(
        "  {id}-replay:
    connector.class: objects-source
    objects.path: s3://{bucket}/topics/{{topic}}/partition=*/*.json
    topic.mapping.{id}.user: {id}.user
    objects.headers: true
    s3.region: us-east-1
    store.url: {url}
"
    );
    let worker = format!("  bootstrap.servers: {}\n  group.id: {id}\n", kafka.brokers);
    let first = job.run_with(&worker, &replay, &[]);
    assert_eq!(first.code(), 0, "{}", first.text());
    check(&kafka, &topics, &days, 200);

    for (table, rows) in TABLES.iter().zip(&days) {
        job.put(table, 200, &rows[200..], 50);
    }
    let second = job.run_with(&worker, &replay, &[]);
    assert_eq!(second.code(), 0, "{}", second.text());
    assert_eq!(second.summary(&format!("{id}-replay"))["read"], 150, "{}", second.text());
    let records = check(&kafka, &topics, &days, 250);
    let last = &records[249];
    let header = |name: &str| {
        let (_, value) = last.headers.iter().find(|(header, _)| header == name).unwrap();
        String::from_utf8(value.clone().unwrap()).unwrap()
    };
    let topic = &topics[0];
    let key = format!("s3://{bucket}/topics/{topic}/partition=0/{topic}+0+0000000200.json");
    assert_eq!((header("objects.key"), header("objects.row")), (key, "49".to_owned()));
    assert_eq!(last.key, None);
}

/// Each topic has the first rows of its table, in order; the records of the first topic.
fn check(
    kafka: &crate::support::Kafka,
    topics: &[String],
    days: &[Vec<Value>],
    count: usize,
) -> Vec<crate::support::Record> {
    let mut all = topics.iter().map(|topic| kafka.read(topic)).collect::<Vec<_>>();
    for (records, rows) in all.iter().zip(days) {
        let texts: Vec<_> =
            records.iter().map(|r| String::from_utf8(r.value.clone().unwrap()).unwrap()).collect();
        assert_eq!(texts, rows[..count].iter().map(Value::to_string).collect::<Vec<_>>());
    }
    all.remove(0)
}
