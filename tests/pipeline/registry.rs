//! Avro with a Confluent-compatible schema registry (Apicurio): rows to Kafka and back, and what may go wrong with it.

use std::fs;

use serde_json::Value;

use crate::SOON;
use crate::support::{
    Record, Service, Services, Sidestream, block_on, services, sidestream, unique, wait_until,
};

/// Rows of the generator, as Avro, in `<name>.pin`.
fn source(name: &str, url: &str, more: &str) -> String {
    format!(
        "connectors:
  {name}:
    connector.class: datagen-source
    datagen: {{rows: 300, tables: pin}}
    topic.prefix: '{name}.'
    value.converter: io.confluent.connect.avro.AvroConverter
    value.converter.schema.registry.url: {url}
{more}"
    )
}

fn sink(name: &str, topic: &str, url: &str) -> String {
    format!(
        "connectors:
  {name}:
    connector.class: file-sink
    topics: {topic}
    file: out.txt
    errors.tolerance: all
    value.converter: io.confluent.connect.avro.AvroConverter
    value.converter.schema.registry.url: {url}
"
    )
}

#[test]
fn rows_go_through_avro_and_a_registry_that_is_down_is_waited_for() {
    let Services { kafka, .. } = services();
    let mut registry = Service::start("registry");
    let url = registry.variable("URL").to_owned();
    let name = unique("avro");
    let topic = format!("{name}.pin");
    kafka.create_topic(&topic, 1);

    // The first registration has to wait for the registry.
    registry.stop();
    let worker = Sidestream::start(&[("a.yaml", &source(&name, &url, ""))], &[]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(kafka.read(&topic).is_empty());
    assert_ne!(worker.tasks()[0].state, "FAILED");
    registry.start_again();
    wait_until(SOON, "all rows are in Kafka", || (kafka.read(&topic).len() >= 300).then_some(()));
    drop(worker);

    let records = kafka.read(&topic);
    let first = records[0].value.clone().unwrap();
    assert_eq!(first[0], 0);
    let id = u32::from_be_bytes(first[1..5].try_into().unwrap());
    let (status, schema) = ask(&url, "GET", &format!("/schemas/ids/{id}"), "");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let schema: Value = serde_json::from_str(schema["schema"].as_str().unwrap()).unwrap();
    assert_eq!((status, &schema["type"]), (200, &Value::from("record")));
    let (_, subjects) = ask(&url, "GET", "/subjects", "");
    assert!(subjects.contains(&format!("{topic}-value")), "{subjects}");

    // No Avro, an id that nobody has: refused alone.
    kafka.produce([
        Record::new(&topic, "{}"),
        Record::new(&topic, vec![0, 0x7f, 0, 0, 0, 2]),
        Record::new(&topic, first.clone()),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("worker: {{bootstrap.servers: '{}'}}\n{}", kafka.brokers, sink(&name, &topic, &url));
    fs::write(dir.path().join("a.yaml"), yaml).unwrap();
    let out = sidestream(
        dir.path(),
        &["simulate", "a.yaml", "--from-topic", &topic, "--count", "3", "--output", "json"],
        &[],
    );
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let tried: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    let outcomes: Vec<_> = tried.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["rejected", "rejected", "delivered"]);
    let worker = Sidestream::start(&[("a.yaml", &sink(&format!("{name}-sink"), &topic, &url))], &[]);
    let lines = || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until(SOON, "all rows are in the file", || (lines().len() == records.len() + 1).then_some(()));
    for line in lines() {
        let row: Value = serde_json::from_str(&line).unwrap();
        assert!(row["index"].is_i64() && row["title"].is_string(), "no row of the generator");
    }
    assert_eq!(lines().first(), lines().last());
    let [.., rejected] = worker.metrics().records(&format!("{name}-sink"));
    assert_eq!(rejected, 2);
}

#[test]
fn an_incompatible_schema_is_refused_with_the_registrys_words() {
    let Services { kafka, .. } = services();
    let registry = Service::start("registry");
    let url = registry.variable("URL").to_owned();
    let name = unique("avro-conflict");
    let topic = format!("{name}.pin");
    kafka.create_topic(&topic, 1);
    let former = r#"{"schema":"{\"type\":\"record\",\"name\":\"Other\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"}]}"}"#;
    _ = ask(&url, "POST", &format!("/subjects/{topic}-value/versions"), former);
    _ = ask(&url, "PUT", &format!("/config/{topic}-value"), r#"{"compatibility":"BACKWARD"}"#);
    let worker = Sidestream::start(&[("a.yaml", &source(&name, &url, ""))], &[]);
    worker.wait_state(&name, "FAILED", SOON);
    let reason = format!("{:?}", worker.tasks()[0]);
    assert!(reason.contains("409") && reason.contains("compatib"), "{reason}");

    // Only what somebody else registered may be written.
    let strict = unique("avro-strict");
    kafka.create_topic(&format!("{strict}.pin"), 1);
    let more = "    value.converter.auto.register.schemas: false\n";
    let worker = Sidestream::start(&[("a.yaml", &source(&strict, &url, more))], &[]);
    worker.wait_state(&strict, "FAILED", SOON);
    let reason = format!("{:?}", worker.tasks()[0]);
    assert!(reason.contains("auto.register.schemas"), "{reason}");
}

/// The status and the text of the answer.
fn ask(url: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = reqwest::Client::new()
        .request(method.parse().unwrap(), format!("{url}{path}"))
        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
        .body(body.to_owned());
    block_on(async {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}
