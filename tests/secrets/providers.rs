//! What each provider gives, and what is said when it gives nothing.

use std::fs;

use serde_json::json;

use crate::support::forward::Forward;
use crate::support::http_faults::{Fate, HttpFaults, Message};
use crate::support::{Database, Record, Services, Sidestream, services, sidestream, unique, wait_until};
use crate::{SOON, environment, put_parameter, put_secret, wait_lines, wait_reason};

#[test]
fn each_provider_of_the_jvm_library_gives_what_a_connector_needs() {
    let Services { kafka, mysql, moto, .. } = services();
    let (rows, lines, bucket) = (unique("rows"), unique("lines"), unique("import-bucket"));
    let database = Database::create(&mysql);
    database.run("CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(40) NOT NULL)");
    database.run("INSERT INTO events (what) VALUES ('a'), ('b')");
    let (user, password, rest) = database.parts();
    put_secret(&moto, &rows, &json!({"user": user, "password": password}).to_string());
    put_parameter(&moto, &format!("/{rows}/table"), "events");
    moto.create_bucket(&bucket);
    moto.put(&bucket, "some/in.txt", b"one\ntwo\nthree\n");
    kafka.create_topics([(format!("{rows}.events").as_str(), 1), (lines.as_str(), 1)]);
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "worker:
  config.providers: secretsmanager,ssm,s3import
  config.providers.secretsmanager.class: com.amazonaws.kafka.config.providers.SecretsManagerConfigProvider
  config.providers.secretsmanager.param.region: us-east-1
  config.providers.secretsmanager.param.endpoint: {moto}
  config.providers.ssm.class: com.amazonaws.kafka.config.providers.SsmParamStoreConfigProvider
  config.providers.ssm.param.endpoint: {moto}
  config.providers.s3import.class: com.amazonaws.kafka.config.providers.S3ImportConfigProvider
  config.providers.s3import.param.endpoint: {moto}
  config.providers.s3import.param.local_dir: '{folder}'
connectors:
  {rows}:
    connector.class: rds-source
    connection.url: 'mysql://${{secretsmanager:{rows}:user}}:${{secretsmanager:{rows}:password}}@{rest}'
    mode: incrementing
    incrementing.column.name: id
    table.whitelist: '${{ssm::/{rows}/table}}'
    topic.prefix: '{rows}.'
  {lines}: {{connector.class: file-source, topic: {lines}, file: '${{s3import:us-east-1:{bucket}/some/in.txt}}'}}
",
        moto = moto.url,
        folder = folder.path().display(),
    );
    let env = environment("http://127.0.0.1:1");
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &env);
    wait_until(SOON, "the rows are there", || {
        (kafka.read(&format!("{rows}.events")).len() == 2).then_some(())
    });
    wait_until(SOON, "the lines are there", || (kafka.read(&lines).len() == 3).then_some(()));
    assert_eq!(worker.get("/health/ready").0, 200);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    // To check a file nothing is asked of AWS.
    let checked = sidestream(worker.dir.path(), &["validate", "a.yaml", "test-worker.yaml"], &[]);
    let said = String::from_utf8(checked.stderr).unwrap() + &String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(said.contains("is not read yet"), "{said}");
}

#[test]
fn connectors_wait_for_secrets_that_cannot_be_had_and_the_others_run() {
    let Services { kafka, moto, .. } = services();
    let (needs, plain) = (unique("needs"), unique("plain"));
    kafka.create_topics([(needs.as_str(), 1), (plain.as_str(), 1)]);
    for topic in [&needs, &plain] {
        kafka.produce((0..5).map(|n| Record::new(topic, json!({ "n": n }).to_string())));
    }
    let forward = Forward::closed(moto.url.trim_start_matches("http://"));
    let yaml = format!(
        "connectors:
  {needs}: {{connector.class: file-sink, topics: {needs}, file: '${{secretsmanager:{needs}:file}}'}}
  {plain}: {{connector.class: file-sink, topics: {plain}, file: plain.txt}}
"
    );
    let url = format!("http://{}", forward.address);
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &environment(&url));
    wait_lines(&worker, "plain.txt", 5);
    wait_reason(
        &worker,
        &needs,
        &["waiting for a secret", &format!("${{secretsmanager:{needs}:file}}"), "param.endpoint"],
    );
    assert_eq!(worker.get("/health/ready").0, 503);
    assert_eq!(worker.get("/health").0, 200);
    forward.open();
    wait_reason(&worker, &needs, &["is not there", "check its name"]);
    put_secret(&moto, &needs, r#"{"file": "needs.txt"}"#);
    wait_lines(&worker, "needs.txt", 5);
    wait_until(SOON, "the worker is ready", || (worker.get("/health/ready").0 == 200).then_some(()));
}

#[test]
fn a_worker_whose_own_keys_wait_serves_and_starts_when_they_come() {
    let Services { kafka, moto, .. } = services();
    let topic = unique("brokers");
    kafka.create_topic(&topic, 1);
    kafka.produce((0..5).map(|n| Record::new(&topic, json!({ "n": n }).to_string())));
    let yaml = format!(
        "worker: {{bootstrap.servers: '${{ssm::/{topic}}}'}}
connectors: {{{topic}: {{connector.class: file-sink, topics: {topic}, file: out.txt}}}}
"
    );
    let worker = Sidestream::spawn(&[("a.yaml", &yaml)], &environment(&moto.url));
    worker.wait_listening();
    assert_eq!(worker.get("/health/live").0, 200);
    wait_reason(&worker, &topic, &["waiting for a secret", "bootstrap.servers"]);
    put_parameter(&moto, &format!("/{topic}"), &kafka.brokers);
    wait_lines(&worker, "out.txt", 5);
}

#[test]
fn who_may_not_read_a_secret_is_told_which_permission_it_takes() {
    let refused = HttpFaults::before("http://127.0.0.1:1", |_| {
        let body = br#"{"__type":"AccessDeniedException","Message":"User: arn:aws:iam::1:user/x is not authorized"}"#;
        Fate::Answer(Message::answer("400 Bad Request", "application/x-amz-json-1.1", body.to_vec()))
    });
    let yaml = "connectors:
  a: {connector.class: file-sink, topics: t, file: '${secretsmanager:db:file}'}
  b: {connector.class: file-sink, topics: t, file: '${ssm::/db/file}'}
";
    let worker = Sidestream::spawn(&[("a.yaml", yaml)], &environment(&refused.url));
    worker.wait_listening();
    wait_reason(&worker, "a", &["the secret `db` may not be read", "secretsmanager:GetSecretValue"]);
    wait_reason(&worker, "b", &["the parameter `/db/file` may not be read", "ssm:GetParameter"]);
    // A run that is to come to an end does not wait.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), format!("worker: {{bootstrap.servers: 'localhost:1'}}\n{yaml}"))
        .unwrap();
    let ended =
        sidestream(dir.path(), &["run", "--until", "caught-up", "a.yaml"], &environment(&refused.url));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("secretsmanager:GetSecretValue"), "{ended:?}");
}
