//! Topics that are declared, and topics that match.

use std::fs;

use serde_json::json;

use crate::SOON;
use crate::support::{Record, Services, Sidestream, services, unique, wait_until};

#[test]
fn declared_topics_are_created_and_grown_and_never_shrunk() {
    let Services { kafka, .. } = services();
    let id = unique("topics");
    let [wide, narrow, fresh, plain] =
        ["wide", "narrow", "fresh", "plain"].map(|name| format!("{id}.{name}"));
    kafka.create_topics([(wide.as_str(), 3), (narrow.as_str(), 1)]);
    kafka.produce([Record::new(&wide, "1").partition(2)]);
    let yaml = "topics:
  ${env:ID}.wide: {partitions: 1}
  ${env:ID}.narrow: {partitions: 3}
  ${env:ID}.fresh: {partitions: 2, replication.factor: 1, config: {retention.ms: 604800000, cleanup.policy: compact}}
  ${env:ID}.plain:
connectors:
  ${env:ID}: {connector.class: file-source, file: none.txt, topic: \"${env:ID}.plain\"}
"
    .replace("  ${env:ID}: {connector", &format!("  {id}: {{connector"));
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[("ID", &id)]);
    let counts = [&wide, &narrow, &fresh, &plain].map(|topic| kafka.partition_count(topic));
    assert_eq!(counts, [3, 3, 2, 1]);
    assert_eq!(kafka.topic_setting(&fresh, "retention.ms").as_deref(), Some("604800000"));
    assert_eq!(kafka.topic_setting(&fresh, "cleanup.policy").as_deref(), Some("compact"));
    let log = worker.log();
    let warned = log.lines().find(|line| line.contains(&wide) && line.contains("WARN"));
    let warned = warned.unwrap_or_else(|| panic!("no warning about {wide}:\n{log}"));
    assert!(warned.contains("3 partitions") && warned.contains("1 are declared"), "{warned}");
    assert_eq!(kafka.read(&wide).len(), 1, "its record is still there");
}

#[test]
fn topics_regex_is_javas_and_matches_whole_names_and_topics_that_come_later() {
    let Services { kafka, .. } = services();
    let id = unique("regex");
    // A possessive quantifier, a quotation and a look-ahead, which only Java's syntax has together.
    let regex = format!(r"\Q{id}.\E(?!skip)[a-z]++(_\d)?");
    let fits = ["pin", "geo_1"].map(|end| format!("{id}.{end}"));
    let others = [format!("{id}.skip"), format!("{id}.pin_12"), format!("x{id}.pin"), format!("{id}xpin")];
    kafka.create_topics(fits.iter().chain(&others).map(|topic| (topic.as_str(), 1)));
    kafka.produce(fits.iter().chain(&others).map(|topic| Record::new(topic, json!(topic).to_string())));
    let yaml = format!(
        "worker: {{consumer.metadata.max.age.ms: 500}}
connectors:
  {id}: {{connector.class: file-sink, topics.regex: '{regex}', file: out.txt, tasks.max: 2}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let out = || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        let mut topics: Vec<String> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        topics.sort();
        topics
    };
    let mut expected = fits.to_vec();
    expected.sort();
    wait_until(SOON, "the topics that match are read", || (out() == expected).then_some(()));

    let later = format!("{id}.user");
    kafka.create_topic(&later, 1);
    kafka.produce([Record::new(&later, json!(later).to_string())]);
    expected.push(later);
    expected.sort();
    wait_until(SOON, "a topic that came later is read", || (out() == expected).then_some(()));
}
