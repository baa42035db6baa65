//! Posts that the webhook refuses.

use serde_json::{Value, json};

use crate::support::http::{KAFKA_JSON, post, python_json};
use crate::support::process::free_port;
use crate::support::{Services, Sidestream, services, unique, wait_until};
use crate::{SECRET, SOON, keeps_secrets};

#[test]
fn posts_that_are_wrong_are_answered_with_what_is_wrong_and_the_next_right_one_is_taken() {
    let Services { kafka, .. } = services();
    let (id, port) = (unique("posts"), free_port());
    kafka.create_topics([(format!("{id}.geo").as_str(), 1), (format!("{id}-private").as_str(), 1)]);
    let yaml = format!(
        "connectors:
  {id}:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:{port}
    webhook.topics: ['{id}.*']
"
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let address = format!("127.0.0.1:{port}");
    wait_until(SOON, "the webhook listens", || std::net::TcpStream::connect(&address).ok());

    let row = json!({"ind": 41, "timestamp": "2019-02-03T04:05:06", "latitude": -12.25, "longitude": 1.5, "country": SECRET});
    let row = python_json(&row);
    let right = format!(r#"{{"records": [{{"value": {row}}}]}}"#);
    let broken = format!(r#"{{"records": [{{"value": {{"country": "{SECRET}}}}}]}}"#);
    let huge =
        format!(r#"{{"records": [{{"value": "{}"}}]}}"#, SECRET.repeat(11 * 1024 * 1024 / SECRET.len()));
    let (topic, private, none) =
        (format!("/prod/topics/{id}.geo/"), format!("/topics/{id}-private"), format!("/topics/{id}.none"));
    let cases = [
        ("a bare row", &topic, KAFKA_JSON, row.as_str(), 422, 422, "Unrecognized field: ind"),
        ("broken JSON", &topic, KAFKA_JSON, &broken, 422, 42203, "records[0]"),
        (
            "a wrong content type",
            &topic,
            "application/json",
            &right,
            415,
            415,
            "HTTP 415 Unsupported Media Type",
        ),
        ("a forbidden topic", &private, KAFKA_JSON, &right, 403, 40301, "webhook.topics"),
        ("a missing topic", &none, KAFKA_JSON, &right, 404, 40401, "Topic not found"),
        ("11 MB", &topic, KAFKA_JSON, &huge, 413, 413, "webhook.max.body.bytes"),
    ];
    for (what, path, content_type, body, status, code, message) in cases {
        let answer =
            post(&address, path, content_type, body.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(
            answer.head.to_ascii_lowercase().contains("content-type: application/vnd.kafka.v2+json"),
            "{what}"
        );
        assert!(!answer.body.contains(SECRET), "{what}: {}", answer.body);
        let told = answer.json();
        assert_eq!(told["error_code"], code, "{what}: {told}");
        assert!(told["message"].as_str().unwrap().contains(message), "{what}: {told}");

        let answer = post(&address, &topic, KAFKA_JSON, right.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "after {what}: {answer:?}");
    }
    keeps_secrets(&worker);
    assert_eq!(worker.wait_state(&id, "RUNNING", SOON).len(), 1);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let records = kafka.read(&format!("{id}.geo"));
    assert_eq!(records.len(), cases.len(), "only the right ones are there, and all of them");
    let expected: Value = serde_json::from_str(&row).unwrap();
    for record in records {
        assert_eq!(serde_json::from_slice::<Value>(&record.value.unwrap()).unwrap(), expected);
    }
    assert_eq!(kafka.ends(&format!("{id}-private"))[&0], 0);
}
