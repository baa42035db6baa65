//! What another set of files would change, connector by connector.

use super::super::{Change, Changes};
use super::right;

fn between(old: &str, new: &str) -> Changes {
    let load = |text: &str| right(&[("a.yaml", text)]);
    Changes::between(&load(old), &load(new))
}

fn yaml(worker: &str, rest: &str) -> String {
    format!("worker: {{bootstrap.servers: localhost:9092{worker}}}\n{rest}")
}

const SINK: &str = "connector.class: s3-sink, topics: t, s3.bucket.name: b, s3.region: r, flush.size";

#[test]
fn only_connectors_with_other_values_change_however_they_are_written() {
    let old = yaml("", &format!("connectors: {{a: {{{SINK}: 1}}, b: {{{SINK}: 1}}, c: {{{SINK}: 1}}}}"));
    // The same values nested, in another order and beside a comment are the same.
    let new = yaml(
        "",
        &format!(
            "connectors:
  d: {{{SINK}: 1}}
  b: {{{SINK}: 2}}
  # moved
  a:
    s3: {{region: r, bucket.name: b}}
    flush.size: '1'
    topics: t
    connector.class: s3-sink"
        ),
    );
    let changes = between(&old, &new);
    assert_eq!(
        changes.lines(),
        ["connector b: restarts: flush.size: 1 -> 2", "connector c: stops", "connector d: starts"]
    );
    assert_eq!(changes.unchanged, ["a"]);
    assert!(between(&old, &old).is_empty());
    assert_eq!(between(&old, &old).to_string(), "nothing changes");
}

#[test]
fn a_key_of_the_worker_restarts_all_and_one_of_the_process_none() {
    let connectors = format!("connectors: {{a: {{{SINK}: 1}}}}");
    let old = yaml("", &connectors);
    let all = between(&old, &yaml(", consumer.max.poll.records: 7", &connectors));
    assert_eq!(
        all.lines(),
        [
            "worker: all connectors restart: consumer.max.poll.records: 7 (new)",
            "connector a: restarts with the worker",
        ]
    );
    let process = between(&old, &yaml(", memory.budget.bytes: 100000000", &connectors));
    assert_eq!(process.lines(), ["worker: takes a new process: memory.budget.bytes: 100000000 (new)"]);
    assert_eq!(process.unchanged, ["a"]);
}

#[test]
fn secrets_are_never_part_of_what_is_said() {
    let old = yaml(", ssl.key.password: first-hunter2", "");
    let new =
        yaml(", ssl.key.password: second-hunter2, sasl.jaas.config: 'm required password=\"hunter2\";'", "");
    let said = format!("{:?} {}", between(&old, &new), between(&old, &new));
    assert!(said.contains("ssl.key.password: [hidden] -> [hidden]"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let with = |password: &str| {
        yaml("", &format!("connectors: {{a: {{{SINK}: 1, store.url: 'http://u:{password}@h'}}}}"))
    };
    let (old, new) = (with("first-hunter2"), with("${env:PASSWORD}"));
    let changes = between(&old, &new);
    assert!(matches!(&changes.connectors["a"], Change::Restart(keys) if keys.len() == 1), "{changes}");
    assert!(!changes.to_string().contains("hunter2"), "{changes}");
}

#[test]
fn topics_are_made_when_they_are_new_or_others() {
    let old = yaml("", "topics: {t: {partitions: 1}, u: {partitions: 1}}");
    let new = yaml("", "topics: {t: {partitions: 3}, u: {partitions: 1}, v: {partitions: 1}}");
    assert_eq!(between(&old, &new).topics, ["t", "v"]);
}
