//! The stream half of the emulator: rows put into streams, in front of Kinesis and of Kafka topics that stand in for them.

use serde_json::{Value, json};

use crate::support::http::{python_json, request};
use crate::support::process::free_port;
use crate::support::{Services, Sidestream, block_on, rows, services, unique, wait_until};
use crate::{SOON, TABLES};

const STEPS: usize = 40;
const KEY: &str = "partition-1";

/// A call of the Kinesis that stands in for AWS's.
fn kinesis(endpoint: &str, action: &str, body: &Value) -> Value {
    let call = reqwest::Client::new()
        .post(endpoint)
        .header("x-amz-target", format!("Kinesis_20131202.{action}"))
        .header("content-type", "application/x-amz-json-1.1")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AK/20200101/us-east-1/kinesis/aws4_request")
        .body(body.to_string());
    let text =
        block_on(async { call.send().await.unwrap().error_for_status().unwrap().text().await.unwrap() });
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}

/// Partition key, sequence number and data of each record of a stream of one shard.
fn read_stream(endpoint: &str, stream: &str) -> Vec<(String, String, Vec<u8>)> {
    use base64::Engine;
    let shard = json!({
        "StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"
    });
    let iterator = kinesis(endpoint, "GetShardIterator", &shard)["ShardIterator"].take();
    let records = kinesis(endpoint, "GetRecords", &json!({"ShardIterator": iterator}))["Records"].take();
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let record = |record: &Value| {
        let data = base64::engine::general_purpose::STANDARD.decode(text(record, "Data")).unwrap();
        (text(record, "PartitionKey"), text(record, "SequenceNumber"), data)
    };
    records.as_array().unwrap().iter().map(record).collect()
}

/// What a row is on the wire without blanks: `python_json` puts one after each `:` and `,` between values only.
fn compact(row: &Value) -> String {
    let fields = row.as_object().unwrap().iter();
    let fields: Vec<_> = fields
        .map(|(key, value)| format!("{}:{}", python_json(&key.as_str().into()), python_json(value)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn rows_put_into_streams_are_in_kinesis_and_in_kafka_byte_for_byte_with_the_numbers_that_were_answered() {
    let Services { kafka, moto, .. } = services();
    let (id, ports) = (unique("streams"), [free_port(), free_port()]);
    let yaml = format!(
        "topics:
  {id}.pin: {{partitions: 1}}
  {id}.geo: {{partitions: 1}}
  {id}.user: {{partitions: 1}}

connectors:
  {id}-kafka:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:{}
    webhook.streams: [\"streaming-{id}-*\"]
    webhook.streams.backend: kafka
    webhook.streams.topic.mapping:
      streaming-{id}-pin: {id}.pin
      streaming-{id}-geo: {id}.geo
      streaming-{id}-user: {id}.user

  {id}-kinesis:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:{}
    webhook.streams: [\"streaming-{id}-*\"]
    kinesis.endpoint: {}
    kinesis.region: us-east-1
",
        ports[0], ports[1], moto.url
    );
    let mut worker = Sidestream::start(&[("streams.yaml", &yaml)], &moto.credentials());
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    for address in &addresses {
        wait_until(SOON, "the webhooks listen", || std::net::TcpStream::connect(address).ok());
    }
    let [on_kafka, on_kinesis] = &addresses;
    for table in TABLES {
        let line = format!("POST /prod/streams/streaming-{id}-{table}");
        let made = request(on_kinesis, &line, "application/json", br#"{"ShardCount": 1}"#).unwrap();
        assert_eq!(made.status, 200, "{made:?}");
    }
    let rows = rows(STEPS, 12);
    let mut numbers = [[(); 3], [(); 3]].map(|half| half.map(|()| Vec::new()));
    for step in 0..STEPS {
        for (table, name) in TABLES.into_iter().enumerate() {
            let (stage, slash) = (["", "/prod"][step % 2], ["", "/"][step / 2 % 2]);
            let line = format!("PUT {stage}/streams/streaming-{id}-{name}/record{slash}");
            let row = python_json(&rows[table][step]);
            // The body's stream name is what some clients get wrong.
            let body =
                format!(r#"{{"StreamName": "streaming-{id}", "Data": {row}, "PartitionKey": "{KEY}"}}"#);
            for (address, numbers) in addresses.iter().zip(&mut numbers) {
                let answer = request(address, &line, "application/json", body.as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                let answer = answer.json();
                assert_eq!(answer["ShardId"], "shardId-000000000000", "{answer}");
                numbers[table].push(answer["SequenceNumber"].as_str().unwrap().to_owned());
            }
        }
    }
    for (table, name) in TABLES.into_iter().enumerate() {
        let expected = |numbers: &[String]| -> Vec<_> {
            let values = rows[table].iter().map(compact).map(String::into_bytes);
            numbers
                .iter()
                .zip(values)
                .map(|(number, value)| (KEY.to_owned(), number.clone(), value))
                .collect()
        };
        let records = kafka.read(&format!("{id}.{name}"));
        let text = |key: Option<Vec<u8>>| String::from_utf8(key.unwrap()).unwrap();
        let in_kafka: Vec<_> =
            records.into_iter().map(|r| (text(r.key), r.offset.to_string(), r.value.unwrap())).collect();
        assert_eq!(in_kafka, expected(&numbers[0][table]), "{name} in Kafka");
        let in_kinesis = read_stream(&moto.url, &format!("streaming-{id}-{name}"));
        assert_eq!(in_kinesis, expected(&numbers[1][table]), "{name} in Kinesis");
    }

    let names = ["geo", "pin", "user"].map(|table| json!(format!("streaming-{id}-{table}")));
    for address in [on_kafka, on_kinesis] {
        let answer = request(address, "GET /streams", "application/json", b"").unwrap().json();
        let mut listed = answer["StreamNames"].as_array().unwrap().clone();
        // moto lists them as they were made.
        listed.sort_unstable_by_key(ToString::to_string);
        assert_eq!(listed, names, "{answer}");
    }
    let puts = (3 * STEPS) as i64;
    let metrics = worker.metrics();
    for connector in ["kafka", "kinesis"] {
        let connector = format!("{id}-{connector}");
        let labels =
            [("connector", connector.as_str()), ("route", "PUT /streams/{name}/record"), ("status", "200")];
        assert_eq!(metrics.sum("sidestream_webhook_requests_total", &labels), puts, "{connector}");
    }
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}
