//! Secrets in every place where one can stand, and a search of everything that the process printed, served or stored.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::support::{Database, Record, Services, Sidestream, services, sidestream, unique, wait_until};
use crate::{SOON, environment, put_parameter, put_secret};

/// Texts that nobody else has, by where they were planted.
#[derive(Default)]
struct Planted(BTreeMap<String, String>);

impl Planted {
    /// A new one; with characters that addresses and JSON write differently.
    fn plant(&mut self, place: &str) -> String {
        let text = format!("hunt3r-{}-+/=&x", place.replace('.', "-"));
        self.0.insert(place.to_owned(), text.clone());
        text
    }

    /// As [`Self::plant`], without characters that do not fit everywhere.
    fn plant_plain(&mut self, place: &str) -> String {
        let text = format!("hunt3r{}", place.replace(['.', '-'], "").to_uppercase());
        self.0.insert(place.to_owned(), text.clone());
        text
    }

    /// Which secrets a text shows, in any of the ways to write them.
    fn seen(&self, text: &str) -> Vec<&str> {
        let shows = |secret: &String| {
            let url: String =
                reqwest::Url::parse_with_params("http://x", [("q", secret)]).unwrap().query().unwrap()[2..]
                    .to_owned();
            let json = serde_json::to_string(secret).unwrap();
            let debug = format!("{:?}", secret.as_bytes());
            let encoded =
                [STANDARD.encode(secret), STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)];
            let mut ways = vec![secret.clone(), url, json.trim_matches('"').to_owned(), debug];
            ways.extend(encoded);
            ways.iter().any(|way| text.contains(way.as_str()))
        };
        self.0.iter().filter(|(_, secret)| shows(secret)).map(|(place, _)| place.as_str()).collect()
    }

    #[track_caller]
    fn nowhere_in(&self, what: &str, text: &str) {
        let seen = self.seen(text);
        assert!(seen.is_empty(), "{what} shows {seen:?}:\n{text}");
    }
}

#[test]
fn the_search_finds_a_secret_however_it_is_written() {
    let mut planted = Planted::default();
    let secret = planted.plant("a.key");
    for text in [
        secret.clone(),
        STANDARD.encode(&secret),
        "x=hunt3r-a-key-%2B%2F%3D%26x".to_owned(),
        json!(secret).to_string(),
    ] {
        assert_eq!(planted.seen(&format!("before {text} after")), ["a.key"], "{text}");
    }
    assert!(planted.seen("hunt3r").is_empty());
}

#[test]
fn no_secret_is_printed_served_or_stored() {
    let Services { kafka, mysql, s3, moto, .. } = services();
    let mut planted = Planted::default();
    let id = unique("hunt");
    let bucket = unique("hunt-bucket");
    s3.create_bucket(&bucket);
    let database = Database::create(&mysql);
    database.run("CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(40) NOT NULL)");
    database.run("INSERT INTO events (what) VALUES ('a'), ('b')");

    // Real ones, which are used.
    let (user, password, rest) = database.parts();
    planted.0.insert("the database's password".to_owned(), password.to_owned());
    planted.0.insert("the object store's key".to_owned(), s3.credentials()[1].1.to_owned());
    put_secret(
        &moto,
        &id,
        &json!({"password": password, "other": planted.plant("another key of the secret")}).to_string(),
    );
    put_parameter(&moto, &format!("/{id}"), s3.credentials()[1].1);
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("s.properties");
    let (from_file, neighbour) = (planted.plant("file provider"), planted.plant("neighbour in the file"));
    fs::write(&file, format!("one={from_file}\ntwo={neighbour}\n")).unwrap();
    fs::write(secrets.path().join("three"), planted.plant("directory provider") + "\n").unwrap();
    let (file, directory) = (file.display(), secrets.path().display());

    let mut p = |place: &str| planted.plant(place);
    let yaml = format!(
        "worker:
  ssl.key.password: '{wssl}'
  ssl.keystore.password: '{wstore}'
  consumer.sasl.jaas.config: 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"{wjaas}\";'
connectors:
  {id}-rows:
    connector.class: rds-source
    connection.url: 'mysql://{user}:${{secretsmanager:{id}:password}}@{rest}'
    mode: incrementing
    incrementing.column.name: id
    table.whitelist: events
    topic.prefix: '{id}.'
  {id}-denied:
    connector.class: rds-source
    connection.url: 'mysql://{user}:{urlpw}@{rest}'
    mode: incrementing
    incrementing.column.name: id
    table.whitelist: events
    topic.prefix: '{id}.denied.'
  {id}-property:
    connector.class: rds-source
    connection.url: 'jdbc:mysql://{rest}'
    connection.user: {user}
    connection.password: '${{file:{file}:one}}'
    mode: incrementing
    incrementing.column.name: id
    topic.prefix: '{id}.property.'
  {id}-lake:
    connector.class: s3-sink
    topics: '{id}.events'
    flush.size: 1
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
    aws.access.key.id: {access}
    aws.secret.access.key: '${{ssm::/{id}}}'
    consumer.override.sasl.jaas.config: 'org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"{cjaas}\";'
    producer.override.ssl.key.password: '{pkey}'
  {id}-lake-denied:
    connector.class: s3-sink
    topics: '{id}.events'
    flush.size: 1
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
    aws.access.key.id: '{s3id}'
    aws.secret.access.key: '${{directory:{directory}:three}}'
    s3.proxy.url: '{store}'
    s3.proxy.user: joe
    s3.proxy.password: '{proxy}'
  {id}-delta-denied:
    connector.class: delta-sink
    topics: '{id}.events'
    delta.table.path: 's3://{bucket}/delta'
    s3.region: us-east-1
    store.url: {store}
    aws.access.key.id: '{did}'
    aws.secret.access.key: '{dkey}'
  {id}-kinesis-denied:
    connector.class: kinesis-sink
    topics: '{id}.events'
    kinesis.stream: nothing
    kinesis.region: us-east-1
    kinesis.endpoint: '{store}'
    aws.access.key.id: '{kid}'
    aws.secret.access.key: '{kkey}'
  {id}-letters:
    connector.class: s3-sink
    topics: '{id}'
    flush.size: 1
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
    topics.dir: letters
    aws.access.key.id: {access}
    aws.secret.access.key: '${{ssm::/{id}}}'
    errors.tolerance: all
    errors.log.enable: true
    errors.log.include.messages: true
    errors.deadletterqueue.topic.name: '{id}-dead'
    errors.deadletterqueue.topic.replication.factor: 1
    errors.deadletterqueue.context.headers.enable: true
",
        wssl = p("worker ssl.key.password"),
        wstore = p("worker ssl.keystore.password"),
        wjaas = p("worker jaas").replace(['=', '&'], "x"),
        urlpw = "hunt3rURLPW",
        cjaas = "hunt3rCJAAS",
        pkey = p("producer override ssl.key.password"),
        s3id = "AKIAhunt3rS3ID",
        proxy = p("s3 proxy"),
        did = "AKIAhunt3rDID",
        dkey = p("delta key"),
        kid = "AKIAhunt3rKID",
        kkey = p("kinesis key"),
        store = s3.url,
        access = s3.credentials()[0].1,
    );
    for (place, text) in [
        ("url", "hunt3rURLPW"),
        ("consumer jaas", "hunt3rCJAAS"),
        ("s3 id", "AKIAhunt3rS3ID"),
        ("delta id", "AKIAhunt3rDID"),
        ("kinesis id", "AKIAhunt3rKID"),
    ] {
        planted.0.insert(place.to_owned(), text.to_owned());
    }
    let environment_secret = planted.plant_plain("environment");
    kafka.create_topics([
        (format!("{id}.events").as_str(), 1),
        (id.as_str(), 1),
        (format!("{id}-dead").as_str(), 1),
    ]);
    kafka.produce([Record::new(&id, "no json"), Record::new(&id, r#"{"n": 1}"#)]);

    let mut env = environment(&moto.url);
    env[2].1 = &environment_secret;
    env.push(("RUST_LOG", "info,connector_runtime=trace,connector_core=trace,connector_aws=trace,sidestream=trace,sink_s3=trace,\
        sink_delta=trace,sink_kinesis=trace,source_rds=trace,transforms=trace"));
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &env);
    wait_until(SOON, "rows are in S3", || {
        s3.keys(&bucket).iter().any(|key| key.starts_with("topics/")).then_some(())
    });
    wait_until(SOON, "a letter is dead", || (kafka.read(&format!("{id}-dead")).len() == 1).then_some(()));
    let mut served = String::new();
    for denied in ["denied", "property", "lake-denied", "delta-denied", "kinesis-denied"] {
        wait_until(SOON, &format!("{denied} says why"), || {
            let name = format!("{id}-{denied}");
            let task = worker.tasks().into_iter().find(|task| task.connector == name)?;
            (!task.reason.is_empty() && task.reason != "starting").then_some(())
        });
    }
    for path in [
        "/health",
        "/health/live",
        "/health/ready",
        "/health/tasks",
        "/metrics",
        "/",
        "/connectors",
        "/nothing",
    ] {
        served += &worker.get(path).1;
    }
    // A reload that changes secrets, one with errors beside them, and commands of all kinds.
    let changed = planted.plant("changed kinesis key");
    worker.rewrite("a.yaml", &yaml.replace(&planted.0["kinesis key"], &changed));
    worker.signal("HUP");
    worker.wait_log("reload: done", SOON);
    let wrong = yaml
        .replace("flush.size: 1\n", "flush.sise: 1\n")
        .replace("ssl.keystore.password", "ssl.keystore.passwort");
    worker.rewrite("a.yaml", &wrong);
    worker.signal("HUP");
    worker.wait_log("nothing changes, because the files have errors", SOON);
    fs::write(worker.dir.path().join("old.txt"), &yaml).unwrap();
    fs::rename(worker.dir.path().join("old.txt"), worker.dir.path().join("old.yaml")).unwrap();
    let mut printed = String::new();
    for arguments in [
        &["validate", "a.yaml"][..],
        &["validate", "old.yaml", "test-worker.yaml", "--output", "json"],
        &["validate", "a.yaml", "--output", "json"],
        &["diff", "old.yaml", "a.yaml", "--with", "test-worker.yaml"],
        &["diff", "old.yaml", "old.yaml", "--with", "test-worker.yaml", "--output", "json"],
        &["describe", "s3-sink", "--output", "json"],
        &["verify", "old.yaml", "test-worker.yaml", "--output", "json"],
        &["plugins"],
    ] {
        let done = sidestream(worker.dir.path(), arguments, &env);
        printed += &format!("{arguments:?}\n");
        printed += &String::from_utf8_lossy(&done.stdout);
        printed += &String::from_utf8_lossy(&done.stderr);
    }
    worker.stop(SOON);
    planted.nowhere_in("the log", &worker.log());
    planted.nowhere_in("HTTP", &served);
    planted.nowhere_in("a command", &printed);
    let mut stored = String::new();
    for topic in [format!("{id}.events"), format!("{id}-dead"), "sidestream-offsets".to_owned()] {
        if kafka.partition_count(&topic) > 0 {
            stored += &kafka
                .read(&topic)
                .iter()
                .map(|record| format!("{:?} {}\n", record, text(record)))
                .collect::<String>();
        }
    }
    for sink in ["lake", "letters"] {
        let topic = if sink == "lake" { format!("{id}.events") } else { id.clone() };
        stored += &kafka.committed_metadata(&format!("connect-{id}-{sink}"), &topic, 0);
    }
    planted.nowhere_in("Kafka", &stored);
    assert!(worker.log().len() > 5000 && served.len() > 500 && printed.len() > 1000 && !stored.is_empty());
    println!(
        "{} secrets in {} bytes of log, {} served, {} printed, {} stored: none",
        planted.0.len(),
        worker.log().len(),
        served.len(),
        printed.len(),
        stored.len()
    );
}

/// Keys, values and headers as text.
fn text(record: &Record) -> String {
    let all = [record.key.as_deref(), record.value.as_deref()].into_iter().flatten();
    let headers = record.headers.iter().filter_map(|(_, value)| value.as_deref());
    all.chain(headers).map(|bytes| String::from_utf8_lossy(bytes).into_owned() + " ").collect()
}
