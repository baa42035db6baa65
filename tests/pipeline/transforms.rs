//! Connect's transforms and predicates between Kafka and both ends, and tried out without either.

use std::fs;

use serde_json::{Value, json};

use crate::SOON;
use crate::support::{Record, Services, Sidestream, services, sidestream, unique, wait_until};

#[test]
fn a_sink_gets_what_transforms_made_of_the_records_that_their_predicates_choose() {
    let Services { kafka, .. } = services();
    let topic = unique("smt-sink");
    kafka.create_topic(&topic, 1);
    let marked = |value: &str| {
        let headers = vec![("hot".to_owned(), Some(b"1".to_vec()))];
        Record { headers, ..Record::new(&topic, value) }
    };
    kafka.produce([
        marked(r#"{"a":1,"b":"2","keep":1.10}"#),
        Record::new(&topic, r#"{"a":1,"b":"x","keep":9007199254740993}"#),
        marked(r#"{"a":1,"b":"bad"}"#),
        Record { value: None, ..Record::new(&topic, "") },
    ]);
    let yaml = format!(
        "connectors:
  {topic}:
    connector.class: file-sink
    topics: {topic}
    file: out.txt
    errors.tolerance: all
    errors.log.enable: true
    transforms:
      - {{name: gone, type: org.apache.kafka.connect.transforms.Filter, predicate: empty}}
      - {{name: from, type: org.apache.kafka.connect.transforms.InsertField$Value, offset.field: at, topic.field: t}}
      - {{name: slim, type: org.apache.kafka.connect.transforms.ReplaceField$Value, exclude: a, renames: 'keep:kept'}}
      - {{name: cast, type: org.apache.kafka.connect.transforms.Cast$Value, spec: 'b:int32', predicate: hot}}
    predicates: hot,empty
    predicates.hot: {{type: org.apache.kafka.connect.transforms.predicates.HasHeaderKey, name: hot}}
    predicates.empty: {{type: RecordIsTombstone}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    // What no transform touches keeps its text; a value that does not fit is refused alone.
    let expected = [
        format!(r#"{{"b":2,"kept":1.10,"at":0,"t":"{topic}"}}"#),
        format!(r#"{{"b":"x","kept":9007199254740993,"at":1,"t":"{topic}"}}"#),
    ];
    let lines = || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let in_order = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap();
        (value["at"].clone().to_string(), value)
    };
    wait_until(SOON, "both records are written", || (lines().len() == 2).then_some(()));
    let mut written: Vec<_> = lines().iter().map(in_order).collect();
    written.sort_by(|a, b| a.0.cmp(&b.0));
    let mut wanted: Vec<_> = expected.iter().map(in_order).collect();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(written, wanted);
    assert!(lines().iter().any(|line| line.contains("1.10")), "{:?}", lines());
    wait_until(SOON, "all four are accounted for", || {
        let [_, delivered, filtered, rejected] = worker.metrics().records(&topic);
        (delivered == 2 && filtered == 1 && rejected == 1).then_some(())
    });
}

#[test]
fn a_source_routes_its_records_and_gives_them_headers() {
    let Services { kafka, .. } = services();
    let topic = unique("smt-source");
    let routed = format!("{topic}-19700101");
    kafka.create_topic(&routed, 1);
    let yaml = format!(
        "connectors:
  {topic}:
    connector.class: FileStreamSource
    file: in.txt
    topic: {topic}
    value.converter: org.apache.kafka.connect.json.JsonConverter
    value.converter.schemas.enable: false
    key.converter: org.apache.kafka.connect.json.JsonConverter
    key.converter.schemas.enable: false
    transforms: hoist,place,header,kind,key,route
    transforms.place.type: org.apache.kafka.connect.transforms.InsertField$Value
    transforms.place.partition.field: p
    transforms.hoist.type: org.apache.kafka.connect.transforms.HoistField$Value
    transforms.hoist.field: line
    transforms.header.type: org.apache.kafka.connect.transforms.HeaderFrom$Value
    transforms.header.fields: line
    transforms.header.headers: text
    transforms.header.operation: copy
    transforms.kind.type: org.apache.kafka.connect.transforms.InsertHeader
    transforms.kind.header: kind
    transforms.kind.value.literal: 1.50
    transforms.key.type: org.apache.kafka.connect.transforms.ValueToKey
    transforms.key.fields: line
    transforms.route.type: org.apache.kafka.connect.transforms.RegexRouter
    transforms.route.regex: (.*)
    transforms.route.replacement: $1-19700101
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    fs::write(worker.dir.path().join("in.txt"), "one\ntwo\n").unwrap();
    let records = wait_until(SOON, "both lines are in the topic", || {
        let records = kafka.read(&routed);
        (records.len() == 2).then_some(records)
    });
    // A record has no partition before it is written; with a schema the field is null: T-07.
    for (record, line) in records.iter().zip(["one", "two"]) {
        let text = |value: serde_json::Value| Some(value.to_string().into_bytes());
        let (key, value) = (text(json!({"line": line})), text(json!({"line": line, "p": null})));
        assert_eq!((&record.key, &record.value), (&key, &value));
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        assert_eq!(record.headers, [header("text", line), header("kind", "1.5")]);
    }
    drop(worker);
}

#[test]
fn records_are_tried_out_without_a_broker_or_a_sink() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "worker: {bootstrap.servers: '127.0.0.1:1'}
connectors:
  pins:
    connector.class: s3-sink
    topics: pins
    s3.bucket.name: b
    flush.size: 1
    transforms: [{name: cast, type: Cast$Value, spec: 'n:int8'}]
";
    fs::write(dir.path().join("a.yaml"), yaml).unwrap();
    let input = r#"{"value":{"n":"12"}}
{"value":{"n":"x"}}
{"value":"no json"}
"#;
    fs::write(dir.path().join("in.jsonl"), input).unwrap();
    let run = |more: &[&str]| {
        let arguments = ["simulate", "a.yaml", "--input", "in.jsonl"];
        sidestream(dir.path(), &[&arguments, more].concat(), &[])
    };
    let out = run(&["--output", "json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let records: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    let outcomes: Vec<_> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["delivered", "rejected", "rejected"]);
    assert_eq!(records[0]["stages"][2]["records"][0]["value"], json!({"n": 12}));
    assert_eq!(records[1]["stage"], "TRANSFORMATION");
    let message = records[1]["message"].as_str().unwrap();
    assert!(message.contains("out of range") && !message.contains("(x)"), "{message}");
    assert_eq!(records[2]["stage"], "VALUE_CONVERTER");
    assert!(String::from_utf8(run(&[]).stdout).unwrap().contains("transform `cast`"));
    let missing = run(&["--connector", "pinz"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("the files have `pins`"));
}

#[test]
fn tests_beside_a_connector_pass_or_say_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "worker: {bootstrap.servers: '127.0.0.1:1'}
connectors:
  pins:
    connector.class: s3-sink
    topics: pins
    s3.bucket.name: b
    flush.size: 1
    transforms:
      - {name: gone, type: Filter, predicate: empty}
      - {name: cast, type: Cast$Value, spec: 'n:int8'}
    predicates: empty
    predicates.empty: {type: RecordIsTombstone}
tests:
  - {name: a number, input: {value: {n: '12'}}, expect: {topic: pins, value: {n: 12}}}
  - {input: {value: {n: x}}, expect: {rejected: out of range}}
  - {input: {value: null}, expect: dropped}
";
    fs::write(dir.path().join("a.yaml"), yaml).unwrap();
    let run = |arguments: &[&str]| sidestream(dir.path(), &[&["test", "a.yaml"], arguments].concat(), &[]);
    let out = run(&[]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.ends_with("3 tests, 0 failed\n"), "{text}");

    // In a file of their own; what differs is shown.
    let more = "tests: [{name: wrong, connector: pins, input: {value: {n: '12'}}, expect: {value: {n: 13}}}]";
    fs::write(dir.path().join("more.yaml"), more).unwrap();
    let out = run(&["more.yaml"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(3), "{text}");
    let shown = "FAIL  wrong\n      expected {\"value\":{\"n\":13}}\n      found    {\"value\":{\"n\":12}}\n";
    assert!(text.contains(shown) && text.ends_with("4 tests, 1 failed\n"), "{text}");
    let out = run(&["more.yaml", "--output", "json"]);
    let results: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(results.iter().filter(|result| result["passed"] == true).count(), 3);

    // Other commands pass over them.
    let out = sidestream(dir.path(), &["validate", "a.yaml"], &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
