//! How a worker gets in: MSK IAM before a broker that checks tokens, SCRAM, PLAIN, mutual TLS; and what it says when it does not.
//!
//! Each test target starts the secured broker of `tests/services/services.py one secured` for itself.

mod iam;
mod passwords;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use support::{Kafka, Record, Service, Sidestream, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A broker with a listener for each way in.
struct Secured {
    service: Service,
    /// By a listener that asks nobody who it is.
    kafka: Kafka,
}

impl Secured {
    fn start() -> Self {
        let service = Service::start("secured");
        let kafka = Kafka { brokers: service.variable("SIDESTREAM_TEST_KAFKA").to_owned() };
        Self { service, kafka }
    }

    fn at(&self, listener: &str) -> &str {
        self.service.variable(listener)
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(self.service.variable("FOLDER")).join(name)
    }

    /// What the IAM listeners decided, a line each.
    fn decisions(&self) -> Vec<String> {
        fs::read_to_string(self.file("decisions")).unwrap().lines().map(str::to_owned).collect()
    }

    /// Worker keys for a listener; the test authority is trusted.
    fn worker(&self, listener: &str, keys: &str) -> String {
        format!(
            "worker:
  bootstrap.servers: '{}'
  ssl.truststore.location: '{}'
{keys}",
            self.at(listener),
            self.file("ca.pem").display(),
        )
    }

    /// A worker with these keys moves records from a topic to a file.
    #[track_caller]
    fn lets_in(&self, worker: &str, env: &[(&str, &str)]) {
        let topic = unique("in");
        self.kafka.create_topic(&topic, 1);
        self.kafka.produce((0..20).map(|n| Record::new(&topic, json!({ "n": n }).to_string())));
        let mut worker = Sidestream::start(&[("a.yaml", &(worker.to_owned() + &sink(&topic)))], env);
        wait_until(SOON, "all records arrive", || (lines(&worker) == 20).then_some(()));
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    }

    /// A worker with these keys is not let in, and its task says why; the reason.
    #[track_caller]
    fn refuses(&self, worker: &str, env: &[(&str, &str)], reason: &[&str]) -> String {
        let topic = unique("out");
        let mut worker = Sidestream::spawn(&[("a.yaml", &(worker.to_owned() + &sink(&topic)))], env);
        worker.wait_listening();
        let said = wait_until(SOON, &format!("the task says {reason:?}"), || {
            let said = worker.tasks().into_iter().next()?.reason;
            eprintln!("{said}");
            reason.iter().all(|part| said.contains(part)).then_some(said)
        });
        assert_eq!(worker.get("/health/ready").0, 503);
        worker.stop(SOON);
        for secret in ["secret-key", "bob-secret", "alice-secret", "key-secret", "store-secret", "hunter2"] {
            assert!(!worker.log().contains(secret), "{secret} in {}", worker.log());
        }
        said
    }
}

fn sink(topic: &str) -> String {
    format!("connectors:\n  {topic}: {{connector.class: file-sink, topics: {topic}, file: out.txt}}\n")
}

fn lines(worker: &Sidestream) -> usize {
    fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default().lines().count()
}
