//! The main job on real services: rows from a database and rows posted over HTTP go through Kafka and land in S3.

mod cleaned;
mod client;
mod connectors;
mod health;
mod msk_connect;
mod registry;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod transforms;
mod whole;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::Kafka;

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(150);
const TABLES: [&str; 3] = ["pin", "geo", "user"];

#[track_caller]
fn wait_committed(kafka: &Kafka, group: &str, topic: &str, expected: &[(i32, i64)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    let end = Instant::now() + LONG;
    loop {
        let committed = kafka.committed(group, topic);
        if committed == expected {
            return;
        }
        assert!(Instant::now() < end, "{group} has committed {committed:?} of {topic}, and not {expected:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
