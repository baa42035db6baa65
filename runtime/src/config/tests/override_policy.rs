//! R-31: what `connector.client.config.override.policy` forbids, for the clients that a connector uses.

use super::{load, right, text};

fn found(policy: &str, connector: &str) -> String {
    let files = format!(
        "worker: {{bootstrap.servers: localhost:9092, connector.client.config.override.policy: {policy}}}\n\
         connectors: {{a: {{{connector}}}}}"
    );
    load(&[("a.yaml", &files)]).map_or_else(|diagnostics| text(&diagnostics), |_| String::new())
}

const SINK: &str = "connector.class: s3-sink, topics: t, flush.size: 1, s3.bucket.name: b, s3.region: r";
const SOURCE: &str = "connector.class: webhook-source, webhook.topics: t";

#[test]
fn none_refuses_every_key_and_principal_those_that_are_not_who_it_is() {
    let class = "org.apache.kafka.connect.connector.policy.NoneConnectorClientConfigOverridePolicy";
    for policy in ["None", class] {
        let said = found(policy, &format!("{SOURCE}, producer.override.acks: 1"));
        assert!(
            said.contains(
                "The 'None' policy does not allow 'acks' to be overridden in the connector configuration."
            ),
            "{said}"
        );
        assert!(said.contains("a.yaml:2:"), "{said}");
    }
    let jaas = "consumer.override.sasl.jaas.config: 'm required username=\"u\" password=\"hunter2\";'";
    assert_eq!(found("Principal", &format!("{SINK}, {jaas}")), "");
    let said = found("None", &format!("{SINK}, {jaas}"));
    assert!(said.contains("'sasl.jaas.config'") && !said.contains("hunter2"), "{said}");
    let said = found("Principal", &format!("{SINK}, consumer.override.max.poll.records: 5"));
    assert!(said.contains("The 'Principal' policy does not allow 'max.poll.records'"), "{said}");
    assert_eq!(found("All", &format!("{SINK}, consumer.override.max.poll.records: 5")), "");
}

#[test]
fn keys_of_clients_that_a_connector_does_not_use_pass() {
    assert_eq!(
        found("None", &format!("{SINK}, producer.override.acks: all, admin.override.client.id: x")),
        ""
    );
    assert_eq!(found("None", &format!("{SOURCE}, consumer.override.client.id: x")), "");
    let letters = "errors.tolerance: all, errors.deadletterqueue.topic.name: d, producer.override.acks: all";
    assert!(found("None", &format!("{SINK}, {letters}")).contains("'acks'"));
}

#[test]
fn a_policy_that_is_none_is_refused_and_all_is_the_default() {
    let said = found("Some", SINK);
    assert!(said.contains("connector.client.config.override.policy"), "{said}");
    right(&[(
        "a.yaml",
        &format!(
            "worker: {{bootstrap.servers: 'x:1'}}\nconnectors: {{a: {{{SOURCE}, producer.override.acks: 1}}}}"
        ),
    )]);
}
