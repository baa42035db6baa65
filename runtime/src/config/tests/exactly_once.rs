use std::time::Duration;

use insta::assert_snapshot;

use super::{right, wrong};
use crate::config::{Boundary, ExactlyOnce};

fn worker(support: &str) -> String {
    format!(
        "worker: {{bootstrap.servers: 'localhost:9092', exactly.once.source.support: {support}, \
         offset.flush.interval.ms: 7000}}\n"
    )
}

fn hook(keys: &str) -> String {
    format!("connectors:\n  hook: {{connector.class: webhook-source, webhook.topics: a{keys}}}\n")
}

fn read(support: &str, keys: &str) -> ExactlyOnce {
    let deployment = right(&[("worker.yaml", &worker(support)), ("a.yaml", &hook(keys))]);
    deployment.connectors.into_iter().next().unwrap().exactly_once
}

#[test]
fn sources_write_in_transactions_where_the_worker_says_so_and_a_poll_is_one() {
    let plain =
        ExactlyOnce { enabled: false, required: false, boundary: Boundary::Poll, offsets_topic: None };
    assert_eq!(read("disabled", ""), plain);
    assert_eq!(read("preparing", ""), plain);
    let enabled = ExactlyOnce { enabled: true, ..plain };
    assert_eq!(read("enabled", ""), enabled);
    assert_eq!(read("ENABLED", ", transaction.boundary: POLL"), enabled);
    let interval = |seconds| Boundary::Interval(Duration::from_secs(seconds));
    assert_eq!(read("enabled", ", transaction.boundary: interval").boundary, interval(7));
    let keys = ", transaction.boundary: interval, transaction.boundary.interval.ms: 2000";
    assert_eq!(read("enabled", keys).boundary, interval(2));
    let own = read("enabled", ", offsets.storage.topic: own, exactly.once.support: requested");
    assert_eq!(own.offsets_topic.as_deref(), Some("own"));
}

#[test]
fn what_cannot_be_exactly_once_is_refused_where_it_is_required() {
    let refused =
        |support: &str, keys: &str| wrong(&[("worker.yaml", &worker(support)), ("a.yaml", &hook(keys))]);
    assert_snapshot!(refused("preparing", ", exactly.once.support: required"), @r#"
    a.yaml:2:62: error: connector "hook": `exactly.once.support` is `required`, but this worker runs sources at least once
      2 | exactly.once.support: required}
        | ^
      hint: set `exactly.once.source.support: enabled` in the worker's keys, or leave this key out
    "#);
    assert_snapshot!(refused("enabled", ", exactly.once.support: required"), @r#"
    a.yaml:2:62: error: connector "hook": `exactly.once.support` is `required`, but webhook-source as it is configured here cannot say exactly what it has read
      2 | exactly.once.support: required}
        | ^
      hint: write `requested`: its records then go into transactions too, but some may come twice
    "#);
    assert_snapshot!(refused("enabled", ", transaction.boundary: connector, offsets.storage.topic: 'a b'"), @r#"
    a.yaml:2:62: error: connector "hook": `transaction.boundary`: webhook-source sets no boundaries of its own
      2 | transaction.boundary: connector, offsets.storage.topic: 'a b'}
        | ^
      hint: write `poll` or `interval`
    a.yaml:2:95: error: connector "hook": `offsets.storage.topic`: the name has a character that Kafka does not take
      2 | offsets.storage.topic: 'a b'}
        | ^
      hint: letters, digits, `.`, `_` and `-`, at most 249
    "#);
}
