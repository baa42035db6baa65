//! What the integration tests share: the services they run against, Kafka, S3, and the program itself as a process.
//!
//! The services are started outside (`tests/services/with-services.sh`, which `make test` uses) and found through
//! environment variables. Names of topics, groups and buckets must be each test's own: see [`unique`].
#![allow(dead_code)] // Each test binary uses a part of it.

pub mod database;
pub mod forward;
pub mod http;
pub mod http_faults;
pub mod kafka;
pub mod layout;
pub mod metrics;
pub mod process;
pub mod random;
pub mod s3;
pub mod service;

use std::future::Future;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[allow(unused_imports)]
pub use {
    database::Database,
    kafka::{Kafka, Record},
    metrics::Metrics,
    process::{Sidestream, Task, sidestream},
    random::Random,
    s3::S3,
    service::Service,
};

/// The services of a test run.
#[derive(Clone, Debug)]
pub struct Services {
    pub kafka: Kafka,
    /// `mysql://user:password@host:port/database`
    pub mysql: String,
    /// `postgres://user:password@host:port/database`
    pub postgres: String,
    /// moto: accepts any credentials.
    pub moto: S3,
    /// Kinesis whose closed shards end: `http://host:port`; accepts any credentials.
    pub kinesalite: String,
    /// versitygw: checks signatures and conditional writes.
    pub s3: S3,
    /// versitygw with a user who may only do what a bucket's policy allows.
    pub s3_reader: S3,
}

/// The services that the environment names.
pub fn services() -> Services {
    Services {
        kafka: Kafka { brokers: variable("SIDESTREAM_TEST_KAFKA") },
        mysql: variable("SIDESTREAM_TEST_MYSQL"),
        postgres: variable("SIDESTREAM_TEST_POSTGRES"),
        moto: S3::new(variable("SIDESTREAM_TEST_MOTO"), "moto", "moto-secret"),
        kinesalite: variable("SIDESTREAM_TEST_KINESALITE"),
        s3: versitygw("SIDESTREAM_TEST_S3"),
        s3_reader: versitygw("SIDESTREAM_TEST_S3_READONLY"),
    }
}

fn versitygw(login: &str) -> S3 {
    let part = |what: &str| variable(&format!("{login}_{what}"));
    S3::new(variable("SIDESTREAM_TEST_S3"), &part("ACCESS_KEY"), &part("SECRET_KEY"))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: this test needs real services. Run it as `make test` does: \
             tests/services/with-services.sh cargo nextest run …"
        )
    })
}

/// `what-<process>-<number>`: a name that no other test of this run has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks `condition` until it gives something; fails the test with `what` when `deadline` has passed.
#[track_caller]
pub fn wait_until<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        sleep(Duration::from_millis(50));
    }
}

/// Runs a future on a runtime that all tests of this process share.
pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(future)
}

/// The Python of the test environment, which has readers that are not ours.
pub fn python() -> std::path::PathBuf {
    let work = std::env::var_os("SIDESTREAM_WORK").map(std::path::PathBuf::from);
    work.unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".work"))
        .join("venv/bin/python")
}

/// Rows of the three tables, made by the program itself: `[pin, geo, user]`.
pub fn rows(count: usize, seed: u32) -> [Vec<serde_json::Value>; 3] {
    let dir = tempfile::tempdir().unwrap();
    let (count, seed) = (count.to_string(), seed.to_string());
    let into = format!("file://{}", dir.path().display());
    let made = sidestream(dir.path(), &["datagen", "--into", &into, "--rows", &count, "--seed", &seed], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    ["pinterest_data", "geolocation_data", "user_data"].map(|table| {
        let text = std::fs::read_to_string(dir.path().join(format!("{table}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    })
}
