use std::collections::BTreeMap;

use super::{WORKER, right, text};
use crate::config::{ConnectorConfig, Severity, Tolerance, TopicSelection};

const MSK: [(&str, &str); 13] = [
    ("connector.class", "io.confluent.connect.s3.S3SinkConnector"),
    ("s3.region", "us-east-1"),
    ("flush.size", "1"),
    ("schema.compatibility", "NONE"),
    ("tasks.max", "3"),
    ("topics.regex", "12e371d757c1.*"),
    ("format.class", "io.confluent.connect.s3.format.json.JsonFormat"),
    ("partitioner.class", "io.confluent.connect.storage.partitioner.DefaultPartitioner"),
    ("value.converter.schemas.enable", "false"),
    ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ("storage.class", "io.confluent.connect.s3.storage.S3Storage"),
    ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
    ("s3.bucket.name", "user-12e371d757c1-bucket"),
];

/// Everything that a task would be made from, and nothing about the place.
fn essence(c: &ConnectorConfig) -> String {
    let end = |end: &Option<crate::config::PluginUse>| {
        end.as_ref().map(|plugin| (plugin.component.name.clone(), plugin.config.to_string()))
    };
    let transforms: Vec<_> =
        c.transforms.iter().map(|t| (&t.name, &t.component.name, t.config.to_string())).collect();
    format!(
        "{} {:?} {:?} {transforms:?} {} {:?} {:?} {:?} {:?} {}",
        c.name,
        end(&c.source),
        end(&c.sink),
        c.tasks_max,
        c.topics,
        c.key_converter,
        c.value_converter,
        c.errors_tolerance,
        c.flush_on_stop
    )
}

fn one(files: &[(&str, &str)]) -> ConnectorConfig {
    right(files).connectors.remove(0)
}

#[test]
fn the_thirteen_line_msk_configuration_is_the_same_as_properties_json_and_yaml() {
    let properties: String = MSK.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    let flat = serde_json::to_string_pretty(&MSK.into_iter().collect::<BTreeMap<_, _>>()).unwrap();
    let document = format!("{{\"name\": \"pins\", \"config\": {flat}}}");
    let pasted: String = MSK.iter().map(|(k, v)| format!("    {k}: {v}\n")).collect();
    let nested = "connectors:\n  pins:\n    connector.class: io.confluent.connect.s3.S3SinkConnector\n    \
        s3: {region: us-east-1, bucket: {name: user-12e371d757c1-bucket}}\n    flush.size: 1\n    tasks.max: 3\n    \
        topics: {regex: \"12e371d757c1.*\"}\n    format.class: io.confluent.connect.s3.format.json.JsonFormat\n    \
        partitioner.class: io.confluent.connect.storage.partitioner.DefaultPartitioner\n    \
        value.converter: org.apache.kafka.connect.json.JsonConverter\n    value.converter.schemas.enable: false\n    \
        key.converter: org.apache.kafka.connect.storage.StringConverter\n";
    let yaml = format!("connectors:\n  pins:\n{pasted}");
    let forms = [
        one(&[("w.yaml", WORKER), ("pins.properties", &properties)]),
        one(&[("w.yaml", WORKER), ("pins.json", &flat)]),
        one(&[("w.yaml", WORKER), ("other.json", &document)]),
        one(&[("w.yaml", WORKER), ("a.yaml", &yaml)]),
        one(&[("w.yaml", WORKER), ("a.yaml", nested)]),
    ];
    for form in &forms[1..] {
        assert_eq!(essence(form), essence(&forms[0]));
    }
    insta::assert_snapshot!(essence(&forms[0]), @r#"pins None Some(("s3-sink", "{\"s3.bucket.name\":\"user-12e371d757c1-bucket\",\"s3.region\":\"us-east-1\",\"flush.size\":1,\"format.class\":\"io.confluent.connect.s3.format.json.JsonFormat\",\"partitioner.class\":\"io.confluent.connect.storage.partitioner.DefaultPartitioner\"}")) [] 3 Pattern("12e371d757c1.*") ConverterUse { class: "org.apache.kafka.connect.storage.StringConverter", config: {} } ConverterUse { class: "org.apache.kafka.connect.json.JsonConverter", config: {"schemas.enable": "false"} } None false"#);
}

#[test]
fn keys_that_need_no_action_are_listed() {
    let properties: String = MSK.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    let deployment = right(&[("w.yaml", WORKER), ("pins.properties", &properties)]);
    insta::assert_snapshot!(text(&deployment.diagnostics), @r#"pins.properties:1:1: note: connector "pins": accepted, needs no action here: `schema.compatibility`, `storage.class`"#);
}

const PIPELINE: &str = "
worker:
  bootstrap.servers: localhost:9092
topics:
  ${env:USER_ID}.pin: {partitions: 3, config: {retention.ms: 604800000}}
  ${env:USER_ID}.geo:
connectors:
  gateway:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:8081
    webhook.topics: [\"${env:USER_ID}.*\", other]
  pins-clean:
    connector.class: s3-sink
    topics: ${env:USER_ID}.pin
    transforms: [{name: clean, type: pin-cleaner, drop: [a, b]}]
    s3: {bucket.name: my-bucket, region: us-east-1}
    flush.size: 1000
    errors.tolerance: all
    errors.deadletterqueue.topic.name: ${env:USER_ID}.pin.dead
";

#[test]
fn the_form_of_the_readme_is_understood() {
    let deployment = right(&[("connectors.yaml", PIPELINE)]);
    assert_eq!(text(&deployment.diagnostics), "");
    let [gateway, pins] = deployment.connectors.as_slice() else { panic!() };
    assert_eq!(
        gateway.source.as_ref().unwrap().config,
        serde_json::json!({"webhook.listen": "127.0.0.1:8081", "webhook.topics": ["12e371d757c1.*", "other"]})
    );
    assert_eq!(pins.topics, TopicSelection::List(vec!["12e371d757c1.pin".to_owned()]));
    assert_eq!(pins.transforms[0].config, serde_json::json!({"drop": ["a", "b"]}));
    assert_eq!(pins.errors_tolerance, Tolerance::All);
    assert_eq!(pins.errors.dead_letters.as_ref().unwrap().name, "12e371d757c1.pin.dead");
    assert_eq!((pins.tasks_max, pins.flush_on_stop), (1, false));
    let [geo, pin] = deployment.topics.as_slice() else { panic!() };
    let (geo, pin) = if geo.name.ends_with("geo") { (geo, pin) } else { (pin, geo) };
    assert_eq!((pin.name.as_str(), pin.partitions, pin.replication_factor), ("12e371d757c1.pin", 3, -1));
    assert_eq!(pin.config["retention.ms"], "604800000");
    assert_eq!((geo.partitions, geo.config.len()), (1, 0));
}

#[test]
fn without_converters_keys_are_bytes_and_values_json_without_schemas() {
    let deployment = right(&[("connectors.yaml", PIPELINE)]);
    let pins = &deployment.connectors[1];
    assert_eq!(pins.key_converter.class, "ByteArrayConverter");
    assert_eq!(pins.value_converter.class, "JsonConverter");
    assert_eq!(pins.value_converter.config["schemas.enable"], "false");
}

#[test]
fn a_connector_s_converter_wins_over_the_worker_s_and_does_not_inherit_its_keys() {
    let worker = "worker:\n  bootstrap.servers: a:1\n  value.converter: JsonConverter\n  \
        value.converter.schemas.enable: false\n  key.converter: org.apache.kafka.connect.storage.StringConverter\n";
    let sink = "connector.class=s3-sink\ntopics=a\ns3.bucket.name=b\nflush.size=1\n";
    let inherits = one(&[("w.yaml", worker), ("a.properties", sink)]);
    assert_eq!(inherits.value_converter.config["schemas.enable"], "false");
    assert!(inherits.key_converter.class.ends_with("StringConverter"));
    let own = format!("{sink}value.converter=org.apache.kafka.connect.json.JsonConverter\n");
    let own = one(&[("w.yaml", worker), ("a.properties", &own)]);
    assert!(own.value_converter.config.is_empty(), "Connect's own default applies: schemas on");
}

#[test]
fn client_overrides_are_told_apart() {
    let sink = "connector.class=s3-sink\ntopics=a\ns3.bucket.name=b\nflush.size=1\n\
        consumer.override.max.poll.records=7\nproducer.override.linger.ms=5\nadmin.override.retries=2\n";
    let sink = one(&[("w.yaml", WORKER), ("a.properties", sink)]);
    assert_eq!(sink.consumer_overrides["max.poll.records"], "7");
    assert_eq!(sink.producer_overrides["linger.ms"], "5");
    assert_eq!(sink.admin_overrides["retries"], "2");
}

#[test]
fn a_source_block_is_a_connector_class() {
    let blocks = "connectors:\n  a:\n    source: {class: webhook-source, webhook.listen: \"127.0.0.1:1\"}\n  b:\n    \
        sink: {class: s3-sink, s3: {bucket.name: b}, flush.size: 2}\n    topics: [x, y]\n";
    let deployment = right(&[("w.yaml", WORKER), ("a.yaml", blocks)]);
    assert_eq!(deployment.connectors[0].source.as_ref().unwrap().config["webhook.listen"], "127.0.0.1:1");
    let sink = &deployment.connectors[1];
    assert_eq!(sink.sink.as_ref().unwrap().config["flush.size"], 2);
    assert_eq!(sink.topics, TopicSelection::List(vec!["x".to_owned(), "y".to_owned()]));
}

#[test]
fn unknown_keys_only_warn_in_properties_json_and_under_a_jvm_class() {
    let properties = "connector.class=s3-sink\ntopics=a\ns3.bucket.name=b\nflush.size=1\ns3.regoin=x\n";
    let yaml = "connectors:\n  a:\n    connector.class: S3SinkConnector\n    topics: a\n    s3.bucket.name: b\n    \
        flush.size: 1\n    s3.regoin: x\n";
    for (name, content) in [("a.properties", properties), ("a.yaml", yaml)] {
        let deployment = right(&[("w.yaml", WORKER), (name, content)]);
        let warning = deployment.diagnostics.iter().find(|d| d.severity == Severity::Warning).unwrap();
        assert_eq!(warning.key.as_deref(), Some("s3.regoin"));
        assert_eq!(warning.hint, "did you mean `s3.region`?");
    }
}

#[test]
fn config_unknown_decides_what_unknown_keys_are() {
    let lenient = "connectors:\n  a: {connector.class: s3-sink, topics: a, s3.bucket.name: b, flush.size: 1, \
        s3.regoin: x, config.unknown: warn}\n";
    assert_eq!(right(&[("w.yaml", WORKER), ("a.yaml", lenient)]).connectors.len(), 1);
    let strict = "connector.class=s3-sink\ntopics=a\ns3.bucket.name=b\nflush.size=1\ns3.regoin=x\nconfig.unknown=error\n";
    assert!(
        super::wrong(&[("w.yaml", WORKER), ("a.properties", strict)]).contains("did you mean `s3.region`?")
    );
}

#[test]
fn a_java_pattern_selects_whole_names() {
    let pattern = TopicSelection::Pattern("(?!b)[a-z]\\.\\Qx.y\\E|c".to_owned());
    assert_eq!(pattern.select(["a.x.y", "a.xzy", "b.x.y", "c", "cc"]), ["a.x.y", "c"]);
}
