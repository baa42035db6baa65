//! Certificates: the broker's, and the client's own.

use std::path::Path;
use std::process::Command;

use crate::support::Sidestream;
use crate::{SOON, Secured, sink};

fn key(name: &str, value: impl AsRef<Path>) -> String {
    format!("  {name}: '{}'\n", value.as_ref().display())
}

const SSL: &str = "  security.protocol: SSL\n";

#[test]
fn a_client_with_a_certificate_is_let_in_whatever_form_it_has_and_one_without_is_told() {
    let secured = Secured::start();
    let file = |name: &str| secured.file(name);
    let pkcs12 = SSL.to_owned()
        + &key("ssl.keystore.location", file("client.p12"))
        + "  ssl.keystore.password: store-secret\n  ssl.keystore.type: PKCS12\n";
    secured.lets_in(&secured.worker("MTLS", &pkcs12), &[]);
    let pem = |private: &str| {
        SSL.to_owned()
            + &key("ssl.certificate.location", file("client.pem"))
            + &key("ssl.key.location", file(private))
    };
    secured.lets_in(&secured.worker("MTLS", &pem("client-key.pem")), &[]);
    let locked = pem("client-key-locked.pem");
    secured.lets_in(&secured.worker("MTLS", &(locked.clone() + "  ssl.key.password: key-secret\n")), &[]);
    secured.refuses(
        &secured.worker("MTLS", SSL),
        &[],
        &["wants a certificate of the client", "ssl.keystore.location"],
    );

    let ends = |keys: &str, reason: &[&str]| {
        let text = secured.worker("MTLS", keys) + &sink("t");
        let mut worker = Sidestream::spawn(&[("a.yaml", &text)], &[]);
        assert_ne!(worker.wait_end(SOON).code(), Some(0));
        for part in reason {
            assert!(worker.log().contains(part), "{part} in {}", worker.log());
        }
        assert!(!worker.log().contains("hunter2"), "{}", worker.log());
    };
    ends(&locked, &["locked by a passphrase", "ssl.key.password"]);
    ends(&(locked.clone() + "  ssl.key.password: hunter2\n"), &["does not open with ssl.key.password"]);
    let wrong = pkcs12.replace("store-secret", "hunter2");
    ends(&wrong, &["client.p12", "does not open with ssl.keystore.password"]);
    ends(&wrong.replace("client.p12", "gone.p12"), &["gone.p12", "cannot be read"]);
}

#[test]
fn a_trust_store_in_java_s_spelling_is_read_whatever_its_form() {
    let secured = Secured::start();
    let brokers =
        format!("worker:\n  bootstrap.servers: '{}'\n  security.protocol: SSL\n", secured.at("MTLS"));
    let client = key("ssl.certificate.location", secured.file("client.pem"))
        + &key("ssl.key.location", secured.file("client-key.pem"));
    let store = |name: &str| {
        brokers.clone()
            + &client
            + &key("ssl.truststore.location", secured.file(name))
            + "  ssl.truststore.password: store-secret\n"
    };
    secured.lets_in(&store("truststore.p12"), &[]);
    let jks = secured.file("truststore.jks");
    let made = Command::new("keytool")
        .args([
            "-importcert",
            "-noprompt",
            "-alias",
            "authority",
            "-storetype",
            "JKS",
            "-storepass",
            "store-secret",
        ])
        .arg("-file")
        .arg(secured.file("ca.pem"))
        .arg("-keystore")
        .arg(&jks)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    secured.lets_in(&store("truststore.jks"), &[]);
    // Without it the system's authorities are asked, who know nothing of a private one.
    secured.refuses(
        &(brokers.clone() + &client),
        &[],
        &["not signed by an authority that is trusted here", "ssl.truststore.location"],
    );
}

#[test]
fn a_certificate_that_has_expired_or_is_for_another_host_is_named_so() {
    let secured = Secured::start();
    secured.refuses(&secured.worker("EXPIRED", SSL), &[], &["has expired", secured.at("EXPIRED")]);
    secured.refuses(
        &secured.worker("ELSEWHERE", SSL),
        &[],
        &["for another host", "ssl.endpoint.identification.algorithm"],
    );
    let trusting = SSL.to_owned() + "  ssl.endpoint.identification.algorithm: ''\n";
    secured.lets_in(&secured.worker("ELSEWHERE", &trusting), &[]);
    // A port without TLS.
    let plain =
        format!("worker:\n  bootstrap.servers: '{}'\n  security.protocol: SSL\n", secured.kafka.brokers);
    secured.refuses(&plain, &[], &["TLS", "security.protocol"]);
}
