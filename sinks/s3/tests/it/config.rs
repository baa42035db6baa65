//! What a configuration may say.

use connector_core::{ConfigMap, ConfigProblem, testing};

fn problems(keys: &[(&str, &str)]) -> Vec<ConfigProblem> {
    let mut map = testing::config(&[("s3.bucket.name", "b"), ("flush.size", "1")]);
    map.extend(testing::config(keys));
    sink_s3::component().validate(&map).err().unwrap_or_default()
}

#[test]
fn the_configuration_of_msk_connect_is_accepted_unchanged() {
    let text = "\
connector.class=io.confluent.connect.s3.S3SinkConnector
s3.region=us-east-1
flush.size=1
schema.compatibility=NONE
tasks.max=3
topics.regex=12e371d757c1.*
format.class=io.confluent.connect.s3.format.json.JsonFormat
partitioner.class=io.confluent.connect.storage.partitioner.DefaultPartitioner
value.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
storage.class=io.confluent.connect.s3.storage.S3Storage
key.converter=org.apache.kafka.connect.storage.StringConverter
s3.bucket.name=user-12e371d757c1-bucket";
    let map: ConfigMap = text
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let component = sink_s3::component();
    assert!(component.answers_to(&map["connector.class"]));
    component.validate(&map).unwrap();
}

#[test]
fn what_is_required_is_named() {
    let problems = sink_s3::component().validate(&ConfigMap::new()).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["s3.bucket.name", "flush.size"]);
}

#[test]
fn what_would_write_other_objects_is_refused_by_its_key() {
    for (key, value) in [
        ("partitioner.class", "org.example.Mine"),
        ("format.class", "io.confluent.connect.s3.format.avro.AvroFormat"),
        ("parquet.codec", "lzo"),
        ("format.class", "org.example.Mine"),
        ("schema.compatibility", "SIDEWARD"),
        ("behavior.on.null.values", "write"),
        ("timestamp.extractor", "Yesterday"),
        ("s3.acl.canned", "everyone"),
        ("s3.proxy.url", "proxy:3128"),
        ("s3.proxy.user", "me"),
        ("s3.sse.customer.key", "hunter2"),
        ("s3.wan.mode", "true"),
        ("s3.credentials.provider.class", "org.example.Mine"),
        ("s3.ssea.name", "rot13"),
        ("s3.compression.type", "zstd"),
        ("s3.compression.level", "10"),
        ("s3.part.size", "1048576"),
        ("filename.offset.zero.pad.width", "0"),
        ("timezone", "Mars/Base"),
        ("store.url", "localhost:9000"),
        ("topics.dir", "/raw/"),
        ("topics.dir", "a//b"),
        ("aws.secret.access.key", "hunter2"),
        ("s3.sse.kms.key.id", "k"),
    ] {
        let problems = problems(&[(key, value)]);
        let said = format!("{problems:?}");
        assert_eq!(problems.len(), 1, "{key}={value}: {said}");
        assert!(problems[0].key == key || value == "hunter2" || value == "me", "{key}={value}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_schedule_needs_a_time_zone_s3g_006() {
    let found = problems(&[("rotate.schedule.interval.ms", "60000")]);
    assert_eq!(found[0].key, "timezone");
    assert_eq!(problems(&[("rotate.schedule.interval.ms", "60000"), ("timezone", "UTC")]), []);
}

#[test]
fn all_problems_come_at_once() {
    let keys = [
        ("store.kafka.keys", "true"),
        ("store.kafka.headers", "true"),
        ("headers.format.class", "avro"),
        ("timezone", "X"),
        ("s3.object.tagging", "true"),
        ("s3.object.tagging.key.value.pairs", "a:1,b"),
    ];
    let found = problems(&keys);
    let found: Vec<_> = found.iter().map(|problem| problem.key.as_str()).collect();
    let wrong =
        ["keys.format.class", "headers.format.class", "s3.object.tagging.key.value.pairs", "timezone"];
    assert_eq!(found, wrong);
}

const TIME: [(&str, &str); 4] = [
    ("partitioner.class", "io.confluent.connect.storage.partitioner.TimeBasedPartitioner"),
    ("path.format", "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH"),
    ("partition.duration.ms", "3600000"),
    ("timezone", "UTC"),
];

#[test]
fn a_partitioner_says_what_it_needs_s3g_074_104_107_109() {
    let field = ("partitioner.class", "io.confluent.connect.storage.partitioner.FieldPartitioner");
    assert_eq!(problems(&[field])[0].key, "partition.field.name");
    assert_eq!(problems(&[field, ("partition.field.name", "country, a.b")]), []);
    assert_eq!(problems(&TIME), []);
    for (missing, (key, _)) in TIME.iter().enumerate().skip(1) {
        let keys: Vec<_> =
            TIME.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, key)| *key).collect();
        let found = problems(&keys);
        assert_eq!(found.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [*key]);
    }
    for (key, value) in [
        ("path.format", "year=YYYY"),
        ("path.format", "/"),
        ("locale", "tlh"),
        ("timezone", "Mars/Base"),
        ("partition.duration.ms", "0"),
    ] {
        let found = problems(&[&TIME[..], &[(key, value)]].concat());
        assert_eq!(found.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [key], "{value}");
    }
    for class in ["DailyPartitioner", "HourlyPartitioner"] {
        let class = format!("io.confluent.connect.storage.partitioner.{class}");
        assert_eq!(problems(&[("partitioner.class", &class)])[0].key, "timezone");
        assert_eq!(
            problems(&[("partitioner.class", &class), ("timezone", "+05:30"), ("locale", "en-US")]),
            []
        );
    }
    for extractor in ["Wallclock", "Record", "RecordField", "recordfield", "record"] {
        assert_eq!(problems(&[("timestamp.extractor", extractor)]), [], "{extractor}");
    }
}

#[test]
fn what_connect_does_anyway_is_accepted() {
    let keys = [
        ("store.kafka.keys", "false"),
        ("s3.wan.mode", "false"),
        ("s3.acl.canned", ""),
        ("s3.credentials.provider.class", "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"),
        ("rotate.interval.ms", "60000"),
        ("json.decimal.format", "NUMERIC"),
        ("s3.ssea.name", "aws:kms"),
        ("s3.sse.kms.key.id", "k"),
        ("flush.size", "0"),
        ("s3.proxy.url", "http://proxy:3128"),
        ("s3.proxy.user", "me@home"),
        ("s3.proxy.password", "p:/@w"),
        ("s3.part.retries", "0"),
    ];
    assert_eq!(problems(&keys), []);
}
