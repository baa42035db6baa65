//! What is wrong is told: what, where, and what to do. No record is lost by it, and no value or secret gets out.

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::forward::Forward;
use support::http::{KAFKA_JSON, post, python_json};
use support::layout::objects;
use support::process::free_port;
use support::{Database, Record, Services, Sidestream, Task, services, sidestream, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// In record values, passwords and keys of these tests: must never be seen.
const SECRET: &str = "hunter2";

/// Checks that everything the worker has said is free of values and secrets.
#[track_caller]
fn keeps_secrets(worker: &Sidestream) {
    let said =
        [worker.log(), worker.get("/health/tasks").1, worker.get("/metrics").1, worker.get("/health").1];
    for text in said {
        assert!(!text.contains(SECRET), "a value or a secret got out:\n{text}");
    }
}

/// The log line at `level` that has all of `parts`.
#[track_caller]
fn logged(worker: &Sidestream, level: &str, parts: &[&str]) {
    let fits = |line: &str| line.contains(level) && parts.iter().all(|part| line.contains(part));
    wait_until(SOON, &format!("the log says {parts:?}"), || worker.log().lines().any(fits).then_some(()));
}

/// The reason of the connector's failed task, which has all of `parts` and is in the log too.
#[track_caller]
fn failed(worker: &Sidestream, connector: &str, parts: &[&str]) -> Task {
    let task = worker.wait_state(connector, "FAILED", SOON).remove(0);
    for part in parts {
        assert!(task.reason.contains(part), "no `{part}` in: {}", task.reason);
    }
    logged(worker, "ERROR", &[connector]);
    keeps_secrets(worker);
    assert_eq!(worker.get("/health").0, 200, "the worker itself is well");
    task
}

fn lines(worker: &Sidestream, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(worker.dir.path().join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

// ---- configuration -------------------------------------------------------------------------------------------------

/// Both `validate` and `run` refuse the file with exit code 1 and the same findings, and touch no network.
#[track_caller]
fn refused(text: &str, parts: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.yaml"), text).unwrap();
    // Nothing listens there.
    let worker = format!("worker: {{bootstrap.servers: '127.0.0.1:{}'}}\n", free_port());
    fs::write(dir.path().join("worker.yaml"), worker).unwrap();
    let run = |command: &str| {
        let Output { status, stdout, stderr } =
            sidestream(dir.path(), &[command, "worker.yaml", "bad.yaml"], &[("PASSWORD", SECRET)]);
        let text = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{command}: {text}");
        assert!(!text.contains(SECRET) && !String::from_utf8(stdout).unwrap().contains(SECRET), "{text}");
        for part in parts {
            assert!(text.contains(part), "{command}: no `{part}` in:\n{text}");
        }
        text
    };
    let began = Instant::now();
    let told = run("validate");
    run("run");
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for something");
    told
}

#[test]
fn malformed_yaml_is_told_with_file_line_and_column() {
    let told = refused(
        "connectors:\n  a:\n    connector.class: [file-sink\n    topics: t\n  b: {connector.class: file-sink}\n",
        &["bad.yaml:", "error"],
    );
    let place =
        told.lines().find_map(|line| line.strip_prefix("bad.yaml:")).unwrap_or_else(|| panic!("{told}"));
    let mut numbers = place.split(':').map(|number| number.trim().parse::<usize>());
    let (line, column) = (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap());
    assert!((3..=4).contains(&line) && column >= 1, "{told}");
}

#[test]
fn an_unknown_key_is_told_with_the_key_that_was_meant() {
    refused(
        "connectors:
  pins:
    connector.class: s3-sink
    topics: t
    flush.size: 1
    s3.bucket.name: b
    aws.access.key.id: ${env:PASSWORD}
    aws.secret.access.key: ${env:PASSWORD}
    topics.dirr: raw
",
        &["bad.yaml:9:5: error", "\"pins\"", "`topics.dirr`", "did you mean `topics.dir`?"],
    );
}

#[test]
fn a_missing_key_is_named_with_what_it_is() {
    refused(
        "connectors:\n  pins:\n    connector.class: s3-sink\n    topics: t\n    flush.size: 1\n",
        &["bad.yaml:", "\"pins\"", "`s3.bucket.name` is required"],
    );
}

#[test]
fn an_unknown_class_is_told_with_the_one_that_was_meant() {
    refused(
        "connectors:\n  pins: {connector.class: s3-sinc, topics: t}\n",
        &["bad.yaml:2:", "\"pins\"", "s3-sinc", "did you mean `s3-sink`"],
    );
}

#[test]
fn two_webhooks_with_one_port_are_both_named() {
    refused(
        "connectors:
  first: {connector.class: webhook-source, webhook.topics: a, webhook.listen: '127.0.0.1:8999'}
  second: {connector.class: webhook-source, webhook.topics: b, webhook.listen: '0.0.0.0:8999'}
",
        &["bad.yaml:3:", "first", "second", "8999"],
    );
}

#[test]
fn a_topics_regex_that_is_none_is_told() {
    refused(
        "connectors:\n  pins: {connector.class: file-sink, topics.regex: 'a(b'}\n",
        &["bad.yaml:2:", "\"pins\"", "`topics.regex`", "Java's syntax", "whole topic names"],
    );
}

#[test]
fn everything_that_is_wrong_in_a_file_is_told_at_once() {
    refused(
        "connectors:
  a: {connector.class: s3-sinc, topics: t}
  b: {connector.class: file-sink, topics: t, tasks.max: many}
  c: {connector.class: s3-sink, topics: t, s3.bucket.name: b, flush.size: 1, flush.sise: 1}
topics:
  t: {partitions: 0}
",
        &[
            "bad.yaml:2:",
            "bad.yaml:3:",
            "`tasks.max`",
            "bad.yaml:4:",
            "`flush.sise`",
            "bad.yaml:6:",
            "`partitions`",
        ],
    );
}

#[test]
fn a_port_that_is_taken_ends_the_worker_with_its_name() {
    let Services { kafka, .. } = services();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = format!(
        "worker: {{bootstrap.servers: '{}', listeners: 'http://{address}'}}\n\
         connectors: {{a: {{connector.class: file-sink, topics: t}}}}\n",
        kafka.brokers
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), text).unwrap();
    let ended = sidestream(dir.path(), &["run", "a.yaml"], &[]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{told}");
    assert!(told.contains(&address) && told.contains("choose another port"), "{told}");
}

// ---- Kafka ---------------------------------------------------------------------------------------------------------

#[test]
fn a_broker_that_is_away_is_waited_for_and_said_so() {
    let Services { kafka, .. } = services();
    let id = unique("away");
    kafka.create_topic(&id, 1);
    kafka.produce((0..20).map(|n| Record::new(&id, json!({"n": n, "secret": SECRET}).to_string())));
    let forward = Forward::closed(&kafka.brokers);
    let yaml = format!(
        "worker: {{bootstrap.servers: '{}'}}
connectors: {{{id}: {{connector.class: file-sink, topics: {id}, file: out.txt}}}}
",
        forward.address
    );
    let mut worker = Sidestream::spawn(&[("a.yaml", &yaml)], &[]);
    worker.wait_listening();

    let asked = Instant::now();
    let (status, body) = worker.get("/health");
    assert_eq!(status, 503, "{body}");
    assert!(asked.elapsed() >= Duration::from_secs(9), "Connect answers this only after 10 s");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["status"], "starting");
    let message = body["message"].as_str().unwrap();
    let began = message
        .strip_prefix(
            "Worker is still starting up. The worker is currently initializing and reading to the end of internal \
             topics, which began at ",
        )
        .and_then(|rest| rest.strip_suffix('.'))
        .unwrap_or_else(|| panic!("{message}"));
    assert!(chrono::DateTime::parse_from_rfc3339(began).is_ok(), "{began}");
    logged(&worker, "WARN", &["trying again", "bootstrap.servers"]);
    let task = worker.tasks().remove(0);
    assert_eq!(task.state, "UNASSIGNED");
    assert!(task.reason.contains("trying again") && task.reason.contains("bootstrap.servers"), "{task:?}");
    assert!(worker.log().lines().filter(|l| l.contains("trying again")).count() < 60, "it says so too often");

    // It ends when it is told to, and only then.
    let told = Instant::now();
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());

    // The same worker goes on when the broker comes.
    let worker = Sidestream::spawn(&[("a.yaml", &yaml)], &[]);
    worker.wait_listening();
    logged(&worker, "WARN", &["trying again", "bootstrap.servers"]);
    forward.open();
    wait_until(SOON, "all records arrive", || (lines(&worker, "out.txt").len() == 20).then_some(()));
    assert_eq!(worker.get("/health").0, 200);
    keeps_secrets(&worker);
}

#[test]
fn a_topic_that_is_missing_is_named_and_read_when_it_comes() {
    let Services { kafka, .. } = services();
    let id = unique("missing");
    let yaml = format!(
        "worker: {{consumer.metadata.max.age.ms: 1000}}
connectors: {{{id}: {{connector.class: file-sink, topics: {id}, file: out.txt}}}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    logged(&worker, "WARN", &[&format!("`{id}`"), "does not exist", "declare it under `topics:`"]);
    kafka.create_topic(&id, 2);
    kafka.produce(
        (0..20).map(|n| Record::new(&id, json!({"n": n, "s": SECRET}).to_string()).partition(n % 2)),
    );
    wait_until(SOON, "the topic is read", || (lines(&worker, "out.txt").len() == 20).then_some(()));
    keeps_secrets(&worker);
}

// ---- databases -----------------------------------------------------------------------------------------------------

/// A connector that reads the tables of one database.
fn reader(id: &str, url: &str, more: &str) -> String {
    format!(
        "topics: {{{id}.orders: {{}}}}
connectors:
  {id}:
    connector.class: rds-source
    connection.url: {url}
    mode: incrementing
    topic.prefix: {id}.
    poll.interval.ms: 50
    connection.attempts: 2
    connection.backoff.ms: 100
{more}"
    )
}

fn orders(url: &str) -> Database {
    let database = Database::create(url);
    database.run("CREATE TABLE orders (id BIGINT PRIMARY KEY, what VARCHAR(40))");
    database.run(&format!("INSERT INTO orders VALUES (1, '{SECRET}'), (2, '{SECRET}')"));
    database
}

#[track_caller]
fn wait_orders(kafka: &support::Kafka, id: &str, ids: &[i64]) {
    let topic = format!("{id}.orders");
    wait_until(SOON, "the rows are in the topic", || {
        (kafka.ends(&topic)[&0] >= ids.len() as i64).then_some(())
    });
    let found: Vec<_> = kafka
        .read(&topic)
        .into_iter()
        .map(|record| {
            serde_json::from_slice::<Value>(&record.value.unwrap()).unwrap()["id"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(found, ids);
}

#[test]
fn a_database_that_is_down_is_waited_for_and_named() {
    let Services { kafka, mysql, postgres, .. } = services();
    for (server, kind) in [(mysql, "mysql"), (postgres, "postgres")] {
        let (id, database) = (unique(&format!("down-{kind}")), orders(&server));
        let forward = Forward::closed(database.address());
        let yaml = reader(&id, &database.url_at(&forward.address), "");
        let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
        logged(&worker, "WARN", &["trying again", &forward.address, "connection.url"]);
        let task = wait_until(SOON, "the task says what it waits for", || {
            Some(worker.tasks().remove(0)).filter(|task| task.reason.contains(&forward.address))
        });
        assert_ne!(task.state, "FAILED", "{task:?}");
        forward.open();
        wait_orders(&kafka, &id, &[1, 2]);
        worker.wait_state(&id, "RUNNING", SOON);
        keeps_secrets(&worker);
    }
}

#[test]
fn a_wrong_password_is_refused_by_name_and_never_shown() {
    let Services { kafka, mysql, postgres, .. } = services();
    for (server, kind) in [(mysql, "mysql"), (postgres, "postgres")] {
        let (id, database) = (unique(&format!("password-{kind}")), orders(&server));
        let yaml = reader(&id, &database.url_with_password(&format!("{SECRET}-wrong")), "");
        let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
        failed(&worker, &id, &[database.address(), "check connection.user and connection.password"]);
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

        worker.rewrite("a.yaml", &reader(&id, &database.url, ""));
        let worker = worker.restart(&[]);
        wait_orders(&kafka, &id, &[1, 2]);
        keeps_secrets(&worker);
    }
}

#[test]
fn a_table_that_is_missing_is_named_with_the_one_that_was_meant() {
    let Services { kafka, mysql, .. } = services();
    let (id, database) = (unique("table"), orders(&mysql));
    let yaml = reader(&id, &database.url, "    table.whitelist: order\n");
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let parts = [database.name.as_str(), "table.whitelist names `order`", "did you mean `orders`?"];
    failed(&worker, &id, &parts);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    worker.rewrite("a.yaml", &reader(&id, &database.url, "    table.whitelist: orders\n"));
    let worker = worker.restart(&[]);
    wait_orders(&kafka, &id, &[1, 2]);
    keeps_secrets(&worker);
}

#[test]
fn a_type_without_a_mapping_is_named_with_table_and_column() {
    let Services { kafka, mysql, .. } = services();
    let (id, database) = (unique("type"), orders(&mysql));
    database.run("ALTER TABLE orders ADD COLUMN place POINT");
    let mut worker = Sidestream::start(&[("a.yaml", &reader(&id, &database.url, ""))], &[]);
    let table = format!("{}.orders", database.name);
    failed(&worker, &id, &[&table, "column `place`", "point", "column.exclude.list: orders.place"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    // What the message says to do.
    worker.rewrite("a.yaml", &reader(&id, &database.url, "    column.exclude.list: orders.place\n"));
    let worker = worker.restart(&[]);
    wait_orders(&kafka, &id, &[1, 2]);
    keeps_secrets(&worker);
}

// ---- posts ---------------------------------------------------------------------------------------------------------

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

// ---- the S3 sink ---------------------------------------------------------------------------------------------------

fn s3_sink(id: &str, bucket: &str, store: &str, more: &str) -> String {
    format!(
        "connectors:
  {id}:
    connector.class: s3-sink
    topics: {id}
    flush.size: 1
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
{more}"
    )
}

/// Nine records in partition 1 of a topic, the one with offset 5 is `bad`.
fn nine(kafka: &support::Kafka, id: &str, bad: Option<&str>) {
    kafka.create_topic(id, 2);
    kafka.produce((0..9).map(|n| {
        let value = match (n, bad) {
            (5, None) => None,
            (5, Some(text)) => Some(text.as_bytes().to_vec()),
            _ => Some(json!({"n": n, "secret": SECRET}).to_string().into_bytes()),
        };
        Record { value, ..Record::new(id, "") }.partition(1)
    }));
}

/// All records of `nine` but the bad one are in the bucket, once.
#[track_caller]
fn all_but_the_bad_one(s3: &support::S3, bucket: &str, id: &str) {
    let starts = || {
        let found = objects(s3, bucket, "topics");
        found
            .get(&(id.to_owned(), 1))
            .map(|all| all.iter().map(|o| (o.start, o.lines.len())).collect::<Vec<_>>())
    };
    let expected: Vec<_> = [0, 1, 2, 3, 4, 6, 7, 8].map(|offset| (offset, 1)).to_vec();
    wait_until(SOON, "all other records are in the bucket", || (starts()? == expected).then_some(()));
}

#[test]
fn a_tombstone_fails_the_task_with_its_place_and_can_be_gone_past() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("tombstone"), unique("tombstone-bucket"));
    s3.create_bucket(&bucket);
    nine(&kafka, &id, None);
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, ""))], &s3.credentials());
    failed(&worker, &id, &[&format!("{id}-1 offset 5"), "behavior.on.null.values"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let more = "    behavior.on.null.values: ignore\n";
    worker.rewrite("a.yaml", &s3_sink(&id, &bucket, &s3.url, more));
    let worker = worker.restart(&s3.credentials());
    all_but_the_bad_one(&s3, &bucket, &id);
    keeps_secrets(&worker);
}

#[test]
fn a_value_that_is_not_json_fails_the_task_with_its_place_and_can_be_gone_past() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("syntax"), unique("syntax-bucket"));
    s3.create_bucket(&bucket);
    nine(&kafka, &id, Some(&format!("{{\"n\": {SECRET}")));
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, ""))], &s3.credentials());
    failed(&worker, &id, &[&format!("{id}-1 offset 5"), "at byte", "errors.tolerance"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    worker.rewrite("a.yaml", &s3_sink(&id, &bucket, &s3.url, "    errors.tolerance: all\n"));
    let worker = worker.restart(&s3.credentials());
    all_but_the_bad_one(&s3, &bucket, &id);
    wait_until(SOON, "the record is counted", || {
        (worker.metrics().records(&id).last() == Some(&1)).then_some(())
    });
    keeps_secrets(&worker);
}

#[test]
fn a_bucket_that_is_missing_is_named() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("bucket"), unique("bucket-none"));
    nine(&kafka, &id, Some("5"));
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, ""))], &s3.credentials());
    failed(&worker, &id, &[&bucket, "does not exist", "create it, or correct `s3.bucket.name`"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    assert!(kafka.committed(&format!("connect-{id}"), &id).is_empty(), "nothing may be committed");

    s3.create_bucket(&bucket);
    let worker = worker.restart(&s3.credentials());
    wait_until(SOON, "all records are in the bucket", || (s3.keys(&bucket).len() == 9).then_some(()));
    keeps_secrets(&worker);
}

#[test]
fn a_bucket_that_may_not_be_written_is_named_with_what_to_allow() {
    let Services { kafka, s3, s3_reader, .. } = services();
    let (id, bucket) = (unique("denied"), unique("denied-bucket"));
    s3.create_bucket(&bucket);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": [s3_reader.access_key],
        "Action": ["s3:ListBucket", "s3:GetObject"],
        "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
    }]});
    s3.put_policy(&bucket, &policy.to_string());
    nine(&kafka, &id, Some("5"));
    let files = [("a.yaml", s3_sink(&id, &bucket, &s3.url, ""))];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut worker = Sidestream::start(&files, &s3_reader.credentials());
    let task = failed(&worker, &id, &[&bucket, "access denied", "s3:PutObject"]);
    assert!(!task.reason.contains(&s3_reader.secret_key), "{task:?}");
    assert!(!worker.log().contains(&s3_reader.secret_key));
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    assert_eq!(s3.keys(&bucket), [""; 0]);
    assert!(kafka.committed(&format!("connect-{id}"), &id).is_empty(), "nothing may be committed");

    // With an account that may write.
    let worker = worker.restart(&s3.credentials());
    wait_until(SOON, "all records are in the bucket", || (s3.keys(&bucket).len() == 9).then_some(()));
    keeps_secrets(&worker);
}

#[test]
fn a_wrong_secret_key_is_told_and_not_shown() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket) = (unique("key"), unique("key-bucket"));
    s3.create_bucket(&bucket);
    nine(&kafka, &id, Some("5"));
    let login = format!("    aws.access.key.id: {}\n    aws.secret.access.key: {SECRET}\n", s3.access_key);
    let mut worker = Sidestream::start(&[("a.yaml", &s3_sink(&id, &bucket, &s3.url, &login))], &[]);
    failed(&worker, &id, &[&bucket, "credentials are refused", "aws.secret.access.key"]);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    fs::write(worker.dir.path().join("secret"), &s3.secret_key).unwrap();
    let login = format!(
        "    aws.access.key.id: {}\n    aws.secret.access.key: ${{directory:{}:secret}}\n",
        s3.access_key,
        Path::new(worker.dir.path()).display()
    );
    worker.rewrite("a.yaml", &s3_sink(&id, &bucket, &s3.url, &login));
    let worker = worker.restart(&[]);
    wait_until(SOON, "all records are in the bucket", || (s3.keys(&bucket).len() == 9).then_some(()));
    assert!(!worker.log().contains(&s3.secret_key));
    keeps_secrets(&worker);
}
