use super::{WORKER, load, right, text};
use crate::config::Diagnostic;

/// Everything that findings show, in both forms.
fn all(diagnostics: &[Diagnostic]) -> String {
    text(diagnostics) + &serde_json::to_string(diagnostics).unwrap()
}

#[test]
fn no_finding_shows_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s.properties");
    std::fs::write(&file, "password=file-hunter2\n").unwrap();
    let from_file = format!("${{file:{}:password}}", file.display());
    let wrongs = [
        // a typo in the password's key, a wrong key on the same line, one after it
        "connectors:\n  a: {connector.class: s3-sink, aws.secret.acess.key: hunter2, flush.sise: 1}\n".to_owned(),
        "connectors:\n  a: {connector.class: s3-sink, topics: a, aws.secret.access.key: \"x\n hunter2\", flush.sise: 1}\n"
            .to_owned(),
        // written twice, in two ways
        "connectors:\n  a:\n    connector.class: s3-sink\n    aws.secret.access.key: hunter2\n    \
            aws: {secret.access.key: hunter2}\n    aws.secret.access.key: hunter2\n"
            .to_owned(),
        // where a number, a choice, a name belongs
        format!(
            "connectors:\n  a:\n    connector.class: s3-sink\n    topics: {from_file} x\n    flush.size: {from_file}\n    \
             format.class: {from_file}\n    s3.bucket.name: {from_file}_\n    tasks.max: {from_file}\n"
        ),
        format!("topics:\n  {from_file} x:\n"),
        // in an address
        "connectors:\n  a:\n    connector.class: s3-sink\n    store.url: http://joe:hunter2@host\n    \
            store.url: http://joe:hunter2@host\n    flush.size: http://joe:hunter2@host\n"
            .to_owned(),
        // malformed near it
        "connectors:\n  a:\n    aws.secret.access.key: hunter2 : hunter2: {hunter2\n".to_owned(),
        "worker:\n  sasl.jaas.config: hunter2\n  ssl.key.password: [hunter2, {x: hunter2}]\n  x: hunter2\n"
            .to_owned(),
    ];
    for yaml in &wrongs {
        let shown = all(&load(&[("w.yaml", WORKER), ("a.yaml", yaml)]).expect_err(yaml));
        assert!(!shown.contains("hunter2"), "{yaml}\n{shown}");
    }
}

#[test]
fn secrets_are_kept_for_redaction() {
    let yaml = "connectors:\n  a: {connector.class: webhook-source, connection.password: \"${env:PASSWORD}\", \
        producer.override.sasl.jaas.config: the jaas secret}\n";
    let deployment = right(&[("w.yaml", WORKER), ("a.yaml", yaml)]);
    let secrets = &deployment.connectors[0].secrets;
    assert_eq!(
        secrets.redact("it said from-env-hunter2 and the jaas secret"),
        "it said [hidden] and [hidden]"
    );
    assert!(!format!("{deployment:?}").contains("hunter2"));
    assert!(!format!("{deployment:?}").contains("jaas secret"));
}

#[test]
fn an_environment_variable_that_is_no_password_is_no_secret() {
    let yaml =
        "connectors:\n  a: {connector.class: webhook-source, webhook.topics: \"${env:USER_ID}.pin\"}\n";
    let deployment = right(&[("w.yaml", WORKER), ("a.yaml", yaml)]);
    assert_eq!(deployment.connectors[0].secrets.redact("12e371d757c1.pin"), "12e371d757c1.pin");
}
