//! SCRAM and PLAIN.

use crate::Secured;

fn keys(mechanism: &str, module: &str, user: &str, password: &str) -> String {
    format!(
        "  security.protocol: SASL_SSL
  sasl.mechanism: {mechanism}
  sasl.jaas.config: 'org.apache.kafka.common.security.{module} required username=\"{user}\" password=\"{password}\";'
"
    )
}

#[test]
fn each_mechanism_lets_in_who_knows_the_password_and_says_what_is_wrong_otherwise() {
    let secured = Secured::start();
    for (listener, mechanism, module, user) in [
        ("SCRAM", "SCRAM-SHA-512", "scram.ScramLoginModule", "bob"),
        ("SCRAM", "SCRAM-SHA-256", "scram.ScramLoginModule", "bob"),
        ("PLAIN", "PLAIN", "plain.PlainLoginModule", "alice"),
    ] {
        let worker = |password: &str| secured.worker(listener, &keys(mechanism, module, user, password));
        secured.lets_in(&worker(&format!("{user}-secret")), &[]);
        let said = secured.refuses(
            &worker("hunter2"),
            &[],
            &["refused the user and password", mechanism, "sasl.jaas.config"],
        );
        println!("{mechanism}: {said}");
    }
    // The right password at the port of another mechanism.
    let worker =
        secured.worker("PLAIN", &keys("SCRAM-SHA-512", "scram.ScramLoginModule", "bob", "bob-secret"));
    secured.refuses(&worker, &[], &["SCRAM-SHA-512", "sasl.mechanism", "9096"]);
}
