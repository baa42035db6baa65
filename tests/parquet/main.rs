//! Parquet from Kafka to a bucket, read by programs that are not ours. Needs the services of `make test`.

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};

use support::{Record, Services, Sidestream, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// Codec, end of the file names, and the readers that have it.
const CODECS: [(&str, &str, &[&str]); 7] = [
    ("none", ".parquet", &["pyarrow", "duckdb", "polars"]),
    ("snappy", ".snappy.parquet", &["pyarrow", "duckdb", "polars"]),
    ("gzip", ".gz.parquet", &["pyarrow", "duckdb", "polars"]),
    ("zstd", ".zstd.parquet", &["pyarrow", "duckdb", "polars"]),
    ("lz4", ".lz4.parquet", &["pyarrow", "polars"]),
    ("lz4_raw", ".lz4raw.parquet", &["pyarrow", "duckdb", "polars"]),
    ("brotli", ".br.parquet", &["pyarrow", "duckdb", "polars"]),
];

fn field(name: &str, optional: bool, schema: Value) -> Value {
    let mut field = schema.as_object().cloned().unwrap_or_default();
    field.insert("field".into(), name.into());
    field.insert("optional".into(), optional.into());
    field.into()
}

/// Every type that Connect has.
fn schema() -> Value {
    let connect = |kind: &str, name: &str| json!({"type": kind, "name": format!("org.apache.kafka.connect.data.{name}"), "version": 1});
    let mut decimal = connect("bytes", "Decimal");
    decimal["parameters"] = json!({"scale": "2"});
    let text = || json!({"type": "string", "optional": true});
    let fields = [
        field("b", false, json!({"type": "boolean"})),
        field("i8", false, json!({"type": "int8"})),
        field("i16", false, json!({"type": "int16"})),
        field("i32", true, json!({"type": "int32"})),
        field("i64", false, json!({"type": "int64"})),
        field("f", false, json!({"type": "float"})),
        field("d", false, json!({"type": "double"})),
        field("name", true, json!({"type": "string"})),
        field("raw", false, json!({"type": "bytes"})),
        field("price", false, decimal),
        field("day", false, connect("int32", "Date")),
        field("clock", false, connect("int32", "Time")),
        field("at", true, connect("int64", "Timestamp")),
        field("list", false, json!({"type": "array", "items": text()})),
        field("map", false, json!({"type": "map", "keys": {"type": "string"}, "values": {"type": "int64"}})),
        field(
            "inner",
            true,
            json!({"type": "struct", "fields": [field("x", false, json!({"type": "int32"})), field("y", true, json!({"type": "string"}))]}),
        ),
    ];
    json!({"type": "struct", "optional": false, "fields": fields})
}

/// A record's payload, and the row that readers should see.
fn row(n: i64) -> (Value, Value) {
    let odd = n % 2 == 1;
    let inner = if odd { json!({"x": n, "y": null}) } else { Value::Null };
    let payload = json!({
        "b": odd, "i8": -7, "i16": -300, "i32": if odd { json!(n) } else { Value::Null }, "i64": i64::MAX - n,
        "f": 1.5, "d": 0.1, "name": if odd { json!("é\u{1F600}") } else { Value::Null }, "raw": "AP8=",
        "price": "AJY=", "day": 18_262, "clock": 3_600_001, "at": 1_577_836_800_123_i64,
        "list": ["a", null, "c"], "map": {"k": n}, "inner": inner,
    });
    let mut seen = payload.clone();
    seen["raw"] = "00ff".into();
    seen["price"] = "1.50".into();
    seen["day"] = "2020-01-01".into();
    seen["clock"] = "01:00:00.001000".into();
    seen["at"] = "2020-01-01T00:00:00.123+00:00".into();
    (payload, seen)
}

fn read(files: &[&Path]) -> BTreeMap<String, BTreeMap<String, Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/read.py");
    let output = Command::new(support::python()).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Connect's own configuration. The credentials are a profile's: the service checks signatures.
#[test]
fn other_programs_read_the_columns_of_every_type_and_codec() {
    let Services { kafka, s3, .. } = services();
    let (topic, bucket) = (unique("parquet"), unique("parquet"));
    s3.create_bucket(&bucket);
    kafka.create_topic(&topic, 1);
    let rows: Vec<(Value, Value)> = (0..100).map(row).collect();
    kafka.produce(rows.iter().map(|(payload, _)| {
        Record::new(&topic, json!({"schema": schema(), "payload": payload}).to_string())
    }));

    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("credentials");
    let text = format!(
        "[other]\naws_access_key_id = x\naws_secret_access_key = y\n[lake]\naws_access_key_id = {}\n\
         aws_secret_access_key = {}\n",
        s3.access_key, s3.secret_key
    );
    fs::write(&profile, text).unwrap();
    let mut connectors = Map::new();
    for (codec, ..) in CODECS {
        let connector = json!({
            "connector.class": "io.confluent.connect.s3.S3SinkConnector",
            "storage.class": "io.confluent.connect.s3.storage.S3Storage",
            "format.class": "io.confluent.connect.s3.format.parquet.ParquetFormat",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "true",
            "parquet.codec": codec,
            "topics": topic,
            "topics.dir": codec,
            "flush.size": "50",
            "s3.bucket.name": bucket,
            "s3.region": "us-east-1",
            "store.url": s3.url,
            "s3.acl.canned": "bucket-owner-full-control",
        });
        connectors.insert(format!("{topic}-{codec}"), connector);
    }
    let config = json!({"connectors": connectors}).to_string();
    let profile = profile.to_str().unwrap();
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE", profile),
        ("AWS_PROFILE", "lake"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ];
    let mut worker = Sidestream::start(&[("a.yaml", &config)], &environment);
    wait_until(SOON, "all files are in the bucket", || {
        (s3.keys(&bucket).len() == 2 * CODECS.len()).then_some(())
    });
    assert!(worker.stop(SOON).success(), "{}", worker.log());

    let mut files = Vec::new();
    for (codec, extension, readers) in CODECS {
        for (start, rows) in [0, 50].into_iter().zip(rows.chunks(50)) {
            let key = format!("{codec}/{topic}/partition=0/{topic}+0+{start:010}{extension}");
            let file = directory.path().join(format!("{codec}-{start}.parquet"));
            fs::write(&file, s3.get(&bucket, &key)).unwrap();
            files.push((file, codec, readers, rows));
        }
    }
    let seen = read(&files.iter().map(|(file, ..)| file.as_path()).collect::<Vec<_>>());
    for (file, codec, readers, rows) in &files {
        let expected: Value = rows.iter().map(|(_, seen)| seen.clone()).collect();
        for reader in ["pyarrow", "duckdb", "polars"] {
            let found = &seen[file.to_str().unwrap()][reader];
            let knows = readers.contains(&reader);
            assert_eq!(*found == expected, knows, "{codec} by {reader}: {found:#}\nexpected {expected:#}");
        }
    }
}
