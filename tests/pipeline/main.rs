//! The main job on real services: rows from a database and rows posted over HTTP go through Kafka and land in S3.

mod cleaned;
mod client;
mod connectors;
mod health;
mod msk_connect;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod whole;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Kafka, sidestream};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(150);
const TABLES: [&str; 3] = ["pin", "geo", "user"];

/// Rows of the three tables, made by the program itself: `[pin, geo, user]`.
fn rows(count: usize, seed: u32) -> [Vec<Value>; 3] {
    let dir = tempfile::tempdir().unwrap();
    let (count, seed) = (count.to_string(), seed.to_string());
    let into = format!("file://{}", dir.path().display());
    let made = sidestream(dir.path(), &["datagen", "--into", &into, "--rows", &count, "--seed", &seed], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    ["pinterest_data", "geolocation_data", "user_data"].map(|table| {
        let text = fs::read_to_string(dir.path().join(format!("{table}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    })
}

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
