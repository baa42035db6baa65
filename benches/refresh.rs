//! Whether renewing tokens and authenticating again stalls writes: the latency of a record that is posted and answered for
//! once Kafka has it, over MSK IAM with tokens of five seconds, and over TLS alone, where nobody is ever asked again.
//!
//! `cargo bench --bench refresh`; it starts the secured broker of `tests/services` itself. `SIDESTREAM_TEST_REAUTH_MS`
//! (default 5000) is the lifetime of tokens and sessions. Milliseconds: median / p99 / maximum.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use support::http::{KAFKA_JSON, post};
use support::process::free_port;
use support::{Kafka, Service, Sidestream, unique, wait_until};

const TIME: Duration = Duration::from_secs(40);
/// How long a token and a session live, in milliseconds. The broker reads it as well.
const LIFETIME: &str = "SIDESTREAM_TEST_REAUTH_MS";
const ROUNDS: usize = 2;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags that mean nothing here.
    if std::env::args().any(|a| a == "--test" || a == "--list") {
        return;
    }
    let service = Service::start("secured");
    let kafka = Kafka { brokers: service.variable("SIDESTREAM_TEST_KAFKA").to_owned() };
    let folder = service.variable("FOLDER").to_owned();
    let lifetime = std::env::var(LIFETIME).ok().and_then(|ms| ms.parse().ok()).unwrap_or(5000);
    let iam = format!(
        "  security.protocol: SASL_SSL\n  sasl.mechanism: AWS_MSK_IAM\n  sasl.iam.token.lifetime.ms: {lifetime}\n"
    );
    let renewed = format!("IAM, renewed every {} s", lifetime / 1000);
    let time = TIME.max(Duration::from_millis(2 * lifetime));
    let tls = format!(
        "  security.protocol: SSL\n  ssl.keystore.location: {folder}/client.p12\n  ssl.keystore.password: store-secret\n"
    );
    for round in 1..=ROUNDS {
        for (name, listener, keys) in [(renewed.as_str(), "IAM", &iam), ("TLS alone", "MTLS", &tls)] {
            let mut taken = latencies(&kafka, service.variable(listener), &folder, keys, time);
            taken.sort();
            let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
            println!(
                "round {round}: {name:<24} {:>7.2} / {:>7.2} / {:>7.2} ms of {} records",
                at(0.5),
                at(0.99),
                at(1.0),
                taken.len()
            );
        }
    }
}

/// Of single records, one after the other.
fn latencies(kafka: &Kafka, brokers: &str, folder: &str, keys: &str, time: Duration) -> Vec<Duration> {
    let (topic, port) = (unique("latency"), free_port());
    kafka.create_topic(&topic, 1);
    let yaml = format!(
        "worker:
  bootstrap.servers: {brokers}
  ssl.truststore.location: {folder}/ca.pem
{keys}connectors:
  api: {{connector.class: webhook-source, webhook.topics: {topic}, webhook.listen: '127.0.0.1:{port}', producer.override.linger.ms: 0}}
"
    );
    let env = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST"),
        ("AWS_SECRET_ACCESS_KEY", "test-secret-key"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &env);
    worker.wait_state("api", "RUNNING", Duration::from_secs(60));
    let address = format!("127.0.0.1:{port}");
    let path = format!("/topics/{topic}");
    let send = || {
        post(&address, &path, KAFKA_JSON, br#"{"records":[{"value":{"n":1}}]}"#)
            .is_ok_and(|a| a.status == 200)
    };
    wait_until(Duration::from_secs(60), "the first record is taken", || send().then_some(()));
    let (began, mut taken) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        let sent = Instant::now();
        assert!(send(), "a record was refused:\n{}", worker.log());
        taken.push(sent.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    taken
}
