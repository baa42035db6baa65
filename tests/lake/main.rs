//! The main example, `connectors.yaml`, on real services: rows from a database and rows posted to either half are in S3 and
//! in six Delta tables, and the pipeline's eight queries have the right answers on both halves.

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::http::{KAFKA_JSON, post, python_json, request};
use support::process::free_port;
use support::{Database, Services, Sidestream, block_on, rows, services, sidestream, unique, wait_until};

const LONG: Duration = Duration::from_secs(150);
const TABLES: [&str; 3] = ["pin", "geo", "user"];
const DATABASE_ROWS: usize = 300;
/// Rows posted to the topics and to the streams, of each table.
const POSTED: usize = 40;

fn create_streams(endpoint: &str, id: &str) {
    block_on(async {
        let key = || connector_core::Secret::new("test");
        let access = connector_aws::access::Access {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(endpoint.to_owned()),
            key: Some((key(), key())),
            ..Default::default()
        };
        let client = connector_aws::kinesis::client(&access, 3).await;
        for table in TABLES {
            let name = format!("streaming-{id}-{table}");
            client.create_stream().stream_name(&name).shard_count(2).send().await.unwrap();
        }
    });
}

/// The example, with what a test must change: addresses, a password's place, and patience.
fn example(secrets: &Path, webhook: u16, worker: u16) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors.yaml")).unwrap();
    let mut changed = text;
    for (from, to) in [
        (
            "  security.protocol: SASL_SSL\n  sasl.mechanism: AWS_MSK_IAM\n",
            "  task.shutdown.graceful.timeout.ms: 30000\n".to_owned(),
        ),
        ("/run/secrets", secrets.display().to_string()),
        ("127.0.0.1:8082", format!("127.0.0.1:{webhook}")),
        ("127.0.0.1:8083", format!("127.0.0.1:{worker}")),
        (
            "class: kinesis-source,",
            "class: kinesis-source, kinesis.empty.records.backoff.ms: 200,".to_owned(),
        ),
        ("dedup.keys: ind}", "dedup.keys: ind}\n    rotate.interval.ms: 1000".to_owned()),
    ] {
        assert!(changed.contains(from), "the example has no `{from}`");
        changed = changed.replace(from, &to);
    }
    // The direct pipelines' key goes into their sink.
    changed.replace(
        "delta.dedup.keys: ind}\n    rotate.interval.ms: 1000",
        "delta.dedup.keys: ind, rotate.interval.ms: 1000}",
    )
}

#[test]
fn the_whole_pipeline_answers_the_eight_queries_from_either_half() {
    let Services { kafka, moto, mysql, .. } = services();
    let (id, bucket) = (unique("u"), unique("lake"));
    moto.create_bucket(&bucket);
    create_streams(&moto.url, &id);
    let database = Database::create(&mysql);
    let count = DATABASE_ROWS.to_string();
    let filled = sidestream(
        Path::new("/"),
        &["datagen", "--into", &database.url, "--rows", &count, "--seed", "1"],
        &[],
    );
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    // The keys of the posted rows begin after the database's.
    let rows = rows(DATABASE_ROWS + 2 * POSTED, 1);

    let secrets = tempfile::tempdir().unwrap();
    let (login, place) = database.url.strip_prefix("mysql://").unwrap().split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    fs::write(secrets.path().join("rds-password"), password).unwrap();
    let (webhook, port) = (free_port(), free_port());
    let url = format!("jdbc:mysql://{place}");
    let env = [
        ("BOOTSTRAP", kafka.brokers.as_str()),
        ("USER_ID", &id),
        ("RDS_URL", &url),
        ("RDS_USER", user),
        ("BUCKET", &bucket),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", &moto.url),
    ];
    let mut worker = Sidestream::start(&[("connectors.yaml", &example(secrets.path(), webhook, port))], &env);

    let gateway = format!("127.0.0.1:{webhook}");
    wait_until(LONG, "the gateway listens", || std::net::TcpStream::connect(&gateway).ok());
    let mut missent = 0;
    for step in 0..POSTED {
        for (table, name) in TABLES.into_iter().enumerate() {
            let row = &rows[table][DATABASE_ROWS + step];
            let body = format!(r#"{{"records": [{{"value": {}}}]}}"#, python_json(row));
            // A client that was started again sends its first rows once more.
            for _ in 0..if step < 5 { 2 } else { 1 } {
                let answer =
                    post(&gateway, &format!("/topics/{id}.{name}"), KAFKA_JSON, body.as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
            let row = &rows[table][DATABASE_ROWS + POSTED + step];
            let stream = format!("streaming-{id}-{name}");
            let body = format!(
                r#"{{"StreamName": "{stream}", "Data": {}, "PartitionKey": "partition-1"}}"#,
                python_json(row)
            );
            let line = format!("PUT /streams/{stream}/record");
            let answer = request(&gateway, &line, "application/json", body.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        if step % 20 == 7 {
            let body = format!(r#"{{"records": [{{"value": {}}}]}}"#, python_json(&rows[0][step]));
            assert_eq!(
                post(&gateway, &format!("/topics/{id}.user"), KAFKA_JSON, body.as_bytes()).unwrap().status,
                200
            );
            missent += 1;
        }
    }

    let in_topic = |table: usize| (DATABASE_ROWS + POSTED + 5 + if table == 2 { missent } else { 0 }) as i64;
    wait_until(LONG, "every row is in its topic", || {
        (0..3)
            .all(|table| kafka.ends(&format!("{id}.{}", TABLES[table]))[&0] == in_topic(table))
            .then_some(())
    });
    let mut wanted = vec![("raw", (0..3).map(in_topic).sum::<i64>())];
    for (table, [name, direct]) in
        [["pins", "pins-stream"], ["geo", "geo-stream"], ["users", "users-stream"]].iter().enumerate()
    {
        wanted.extend([(*name, in_topic(table)), (*direct, in_topic(table) + POSTED as i64)]);
    }
    let end = std::time::Instant::now() + LONG;
    loop {
        let metrics = worker.metrics();
        let done: Vec<_> = wanted.iter().map(|(name, n)| (name, metrics.records(name), n)).collect();
        if done.iter().all(|(_, counts, wanted)| counts[1..].iter().sum::<i64>() >= **wanted) {
            break;
        }
        assert!(std::time::Instant::now() < end, "read, delivered, filtered, rejected, wanted: {done:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let skipped: Vec<i64> =
        ["users", "users-stream"].iter().map(|c| worker.metrics().records(c)[3]).collect();
    assert_eq!(skipped, [missent as i64; 2], "the pins among the users");
    assert_eq!(worker.stop(LONG).code(), Some(0), "{}", worker.log());

    let objects = moto.keys(&bucket).into_iter().filter(|key| key.starts_with("topics/")).count();
    assert_eq!(objects as i64, (0..3).map(in_topic).sum::<i64>(), "an object for each record");

    let posted_to_topics: BTreeMap<&str, &[Value]> =
        TABLES.iter().enumerate().map(|(t, name)| (*name, &rows[t][..DATABASE_ROWS + POSTED])).collect();
    let all: BTreeMap<&str, &[Value]> =
        TABLES.iter().enumerate().map(|(t, name)| (*name, rows[t].as_slice())).collect();
    let batch = TABLES.map(|table| format!("s3://{bucket}/tables/{table}"));
    let stream = TABLES.map(|table| format!("s3://{bucket}/{id}_{table}_table"));
    for (half, rows, tables) in [("batch", posted_to_topics, batch), ("stream", all, stream)] {
        let file = worker.dir.path().join(format!("{half}.rows"));
        fs::write(&file, json!(rows).to_string()).unwrap();
        let counts = queries(&file, &tables, &moto.url);
        println!("{half} half: answers of the eight queries: {counts}");
        assert!(counts.as_array().unwrap().iter().all(|n| n.as_i64() > Some(0)), "{counts}");
    }
}

fn queries(rows: &Path, tables: &[String; 3], endpoint: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let answer = Command::new(support::python())
        .arg(root.join("tests/lake/queries.py"))
        .arg(rows)
        .args(tables)
        .envs([("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
        .output()
        .unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).unwrap()
}
