//! The main job on real services: rows from a database and rows posted over HTTP go through Kafka and land in S3.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::http::{KAFKA_JSON, post, python_json};
use support::layout::{Coverage, coverage, objects};
use support::process::free_port;
use support::{
    Database, Kafka, Metrics, Record, S3, Services, Sidestream, services, sidestream, unique, wait_until,
};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(150);
const TABLES: [&str; 3] = ["pin", "geo", "user"];

/// The configuration that these pipelines have on MSK Connect (13 lines), with the id filled in, and below it what
/// another endpoint than AWS needs.
fn msk_connect(name: &str, id: &str, bucket: &str, s3: &S3) -> String {
    format!(
        "connector.class=io.confluent.connect.s3.S3SinkConnector
s3.region=us-east-1
flush.size=1
schema.compatibility=NONE
tasks.max=3
topics.regex={id}.*
format.class=io.confluent.connect.s3.format.json.JsonFormat
partitioner.class=io.confluent.connect.storage.partitioner.DefaultPartitioner
value.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
storage.class=io.confluent.connect.s3.storage.S3Storage
key.converter=org.apache.kafka.connect.storage.StringConverter
s3.bucket.name={bucket}
name={name}
store.url={}
",
        s3.url
    )
}

/// Rows of the three tables, made by the program itself: `[pin, geo, user]`.
fn rows(count: usize, seed: u32) -> [Vec<Value>; 3] {
    let dir = tempfile::tempdir().unwrap();
    let (count, seed) = (count.to_string(), seed.to_string());
    let into = format!("file://{}", dir.path().display());
    let made = sidestream(dir.path(), &["datagen", "--into", &into, "--rows", &count, "--seed", &seed], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    ["pinterest_data", "geolocation_data", "user_data"].map(|table| {
        let text = fs::read_to_string(dir.path().join(format!("{table}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    })
}

#[test]
fn the_13_lines_of_msk_connect_write_one_object_a_record_under_connects_keys() {
    let Services { kafka, s3, .. } = services();
    let (id, bucket, name) = (unique("id"), unique("user-bucket"), unique("msk"));
    s3.create_bucket(&bucket);
    let topics = TABLES.map(|table| format!("{id}.{table}"));
    kafka.create_topics(topics.iter().map(|topic| (topic.as_str(), 1)));
    let rows = rows(100, 7);
    for (topic, rows) in topics.iter().zip(&rows) {
        // As the REST Proxy stores them: compact, non-ASCII as the client escaped it.
        kafka.produce(rows.iter().map(|row| Record::new(topic, python_json(row).into_bytes())));
    }

    let properties = msk_connect(&name, &id, &bucket, &s3);
    let mut worker = Sidestream::start(&[("msk.properties", &properties)], &s3.credentials());
    let group = format!("connect-{name}");
    for topic in &topics {
        wait_committed(&kafka, &group, topic, &[(0, 100)]);
    }
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let found = s3.objects(&bucket);
    let mut expected = BTreeMap::new();
    for (topic, rows) in topics.iter().zip(&rows) {
        for (offset, row) in rows.iter().enumerate() {
            expected.insert(format!("topics/{topic}/partition=0/{topic}+0+{offset:010}.json"), row);
        }
    }
    assert_eq!(found.len(), 300);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, body) in &found {
        let line = body.strip_suffix(b"\n").unwrap_or_else(|| panic!("{key}: the line has no end"));
        assert!(!line.contains(&b'\n'), "{key}: more than one line");
        assert_eq!(&serde_json::from_slice::<Value>(line).unwrap(), expected[key], "{key}");
    }
}

#[track_caller]
fn wait_committed(kafka: &Kafka, group: &str, topic: &str, expected: &[(i32, i64)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    let end = Instant::now() + LONG;
    loop {
        let committed = kafka.committed(group, topic);
        if committed == expected {
            return;
        }
        assert!(Instant::now() < end, "{group} has committed {committed:?} of {topic}, and not {expected:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

// ---- the whole pipeline --------------------------------------------------------------------------------------------

const DATABASE_ROWS: usize = 10_000;
const POSTED_STEPS: usize = 700;
/// Numbers of posted rows begin here, so that they differ from the database's.
const POSTED_FROM: i64 = 1_000_000;

fn pipeline_yaml(id: &str, bucket: &str, s3: &S3, database: &Database, webhook: u16) -> String {
    let store = &s3.url;
    let clean = |name: &str, table: &str| {
        format!(
            "  {id}-{table}-clean:
    connector.class: s3-sink
    topics: {id}.{table}
    transforms: [{{name: clean, type: {name}-cleaner}}]
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {store}
    topics.dir: clean
    flush.size: 1000
    flush.on.stop: true
"
        )
    };
    let (pins, geos, users) = (clean("pin", "pin"), clean("geo", "geo"), clean("user", "user"));
    let url = &database.url;
    format!(
        "worker:
  group.id: {id}
  task.shutdown.graceful.timeout.ms: 30000

topics:
  {id}.pin: {{partitions: 1}}
  {id}.geo: {{partitions: 1}}
  {id}.user: {{partitions: 1}}

connectors:
  {id}-gateway:
    connector.class: webhook-source
    webhook.listen: 127.0.0.1:{webhook}
    webhook.topics: [\"{id}.*\"]

  {id}-database:
    connector.class: rds-source
    connection.url: {url}
    mode: incrementing
    tasks.max: 3
    poll.interval.ms: 200
    batch.max.rows: 500
    topic.mapping: {{pinterest_data: {id}.pin, geolocation_data: {id}.geo, user_data: {id}.user}}
    incrementing.column.mapping: {{pinterest_data: index, geolocation_data: ind, user_data: ind}}

  {id}-raw:
    connector.class: io.confluent.connect.s3.S3SinkConnector
    s3.region: us-east-1
    flush.size: 1000
    schema.compatibility: NONE
    tasks.max: 3
    topics.regex: {id}\\..*
    format.class: io.confluent.connect.s3.format.json.JsonFormat
    partitioner.class: io.confluent.connect.storage.partitioner.DefaultPartitioner
    value.converter.schemas.enable: false
    value.converter: org.apache.kafka.connect.json.JsonConverter
    storage.class: io.confluent.connect.s3.storage.S3Storage
    key.converter: org.apache.kafka.connect.storage.StringConverter
    s3.bucket.name: {bucket}
    store.url: {store}

{pins}
{geos}
{users}"
    )
}

#[test]
fn rows_of_a_database_and_of_a_posting_client_are_in_s3_exactly_once_raw_and_cleaned_over_a_restart() {
    let Services { kafka, s3, mysql, .. } = services();
    let (id, bucket, webhook) = (unique("pipe"), unique("pipe-bucket"), free_port());
    s3.create_bucket(&bucket);
    let database = Database::create(&mysql);
    // The other half of the rows comes after the restart.
    fill(&database, DATABASE_ROWS / 2);
    let mut posted = rows(POSTED_STEPS, 11);
    for (table, rows) in posted.iter_mut().enumerate() {
        let key = if table == 0 { "index" } else { "ind" };
        for (step, row) in rows.iter_mut().enumerate() {
            row[key] = (row[key].as_i64().unwrap() + POSTED_FROM).into();
            // Clients send either form of a time.
            for time in ["timestamp", "date_joined"] {
                if let Some(text) = row.get(time).and_then(Value::as_str).filter(|_| step % 2 == 1) {
                    row[time] = text.replace('T', " ").into();
                }
            }
        }
    }

    let yaml = pipeline_yaml(&id, &bucket, &s3, &database, webhook);
    let mut worker = Sidestream::start(&[("pipeline.yaml", &yaml)], &s3.credentials());
    let topics = TABLES.map(|table| format!("{id}.{table}"));
    let mut cleaned_before = [0; 3];
    let client = Client { address: format!("127.0.0.1:{webhook}"), id: id.clone(), ..Client::default() };
    let mut worker = std::thread::scope(|scope| {
        // When the test fails, the client ends too, and the failure is seen.
        let _end = EndOnDrop(&client.give_up);
        let posting = scope.spawn(|| client.run(&posted));

        // In the middle: the database is being read, the client posts, objects were written.
        let raw = format!("{id}-raw");
        wait_until(SOON, "records come from both sides and go to S3", || {
            let metrics = worker.metrics();
            let [read, ..] = metrics.records(&format!("{id}-database"));
            let [_, delivered, ..] = metrics.records(&raw);
            (read >= 1000 && delivered >= 1000 && client.answered() >= 30).then_some(())
        });
        let (status, answered) = (worker.stop(SOON), client.answered());
        assert_eq!(status.code(), Some(0), "{}", worker.log());
        assert!(answered < 3 * POSTED_STEPS, "the restart came too late to be in the middle");
        let ends = topics.each_ref().map(|topic| kafka.ends(topic)[&0]);
        println!("stopped after {ends:?} records (pin, geo, user) and {answered} answered posts");
        for ((before, table), topic) in cleaned_before.iter_mut().zip(TABLES).zip(&topics) {
            let committed = kafka.committed(&format!("connect-{id}-{table}-clean"), topic);
            *before = committed.get(&0).copied().unwrap_or(0);
        }
        let worker = worker.restart(&s3.credentials());
        let filling = scope.spawn(|| fill(&database, DATABASE_ROWS));
        posting.join().unwrap();
        filling.join().unwrap();
        worker
    });

    let records: Vec<Vec<Record>> = {
        wait_until(LONG, "all rows are in Kafka", || {
            let done = |topic: &String| kafka.ends(topic)[&0] >= (DATABASE_ROWS + POSTED_STEPS) as i64;
            topics.iter().all(done).then_some(())
        });
        topics.iter().map(|topic| kafka.read(topic)).collect()
    };
    check_topics(&records, &posted, &client);

    // What is not a full object stays open in `raw`; the cleaned tails are written at the stop.
    let raw_group = format!("connect-{id}-raw");
    for (topic, records) in topics.iter().zip(&records) {
        let full = records.len() as i64 / 1000 * 1000;
        wait_committed(&kafka, &raw_group, topic, &[(0, full)]);
    }
    wait_until(LONG, "the cleaners have read everything", || {
        let metrics = worker.metrics();
        let done = |table: usize| {
            let [read, ..] = metrics.records(&format!("{id}-{}-clean", TABLES[table]));
            cleaned_before[table] + read == records[table].len() as i64
        };
        (0..3).all(done).then_some(())
    });
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let (raw, clean) = (objects(&s3, &bucket, "topics"), objects(&s3, &bucket, "clean"));
    let partitions: BTreeSet<_> = topics.iter().map(|topic| (topic.clone(), 0)).collect();
    assert_eq!(raw.keys().cloned().collect::<BTreeSet<_>>(), partitions);
    assert_eq!(clean.keys().cloned().collect::<BTreeSet<_>>(), partitions);
    for (table, (topic, records)) in TABLES.into_iter().zip(topics.iter().zip(&records)) {
        let (raw, clean) = (&raw[&(topic.clone(), 0)], &clean[&(topic.clone(), 0)]);
        let all = records.len();
        let full = all / 1000 * 1000;
        let values: Vec<Value> =
            records.iter().map(|r| serde_json::from_slice(r.value.as_ref().unwrap()).unwrap()).collect();

        let expected =
            Coverage { objects: full / 1000, covered: full, end: full as i64, ..Coverage::default() };
        assert_eq!(coverage(raw, full as i64), expected, "{topic}, raw");
        for object in raw {
            assert_eq!((object.start % 1000, object.lines.len()), (0, 1000), "{topic}+0+{}", object.start);
            for (offset, line) in (object.start..).zip(&object.lines) {
                assert_eq!(line, &values[offset as usize], "{topic} offset {offset}");
            }
        }
        let covered = coverage(clean, all as i64);
        let expected =
            Coverage { objects: covered.objects, covered: all, end: all as i64, ..Coverage::default() };
        assert_eq!(covered, expected, "{topic}, cleaned");
        for object in clean {
            assert!(object.lines.len() <= 1000, "{topic}+0+{}", object.start);
            for (offset, line) in (object.start..).zip(&object.lines) {
                check_cleaned(table, &values[offset as usize], line);
            }
        }
        println!(
            "{topic}: {all} records in Kafka; raw: {} objects, {full} offsets, duplicates 0, missing 0 \
             (open tail {}); cleaned: {} objects, {} offsets, duplicates {}, missing {}",
            raw.len(),
            all - full,
            covered.objects,
            covered.covered,
            covered.duplicates,
            covered.missing
        );
    }
}

fn fill(database: &Database, rows: usize) {
    let count = rows.to_string();
    let filled = sidestream(Path::new("/"), &["datagen", "--into", &database.url, "--rows", &count], &[]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
}

/// Each row of the database once, each answered post at the offset of its answer.
fn check_topics(records: &[Vec<Record>], posted: &[Vec<Value>; 3], client: &Client) {
    let answers = client.answers.lock().unwrap();
    for (table, records) in records.iter().enumerate() {
        let key = if table == 0 { "index" } else { "ind" };
        let mut times: BTreeMap<i64, usize> = BTreeMap::new();
        for record in records {
            assert_eq!(record.key, None);
            let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            *times.entry(value[key].as_i64().unwrap()).or_default() += 1;
        }
        for number in 0..DATABASE_ROWS as i64 {
            assert_eq!(times.get(&number), Some(&1), "{} row {number} of the database", TABLES[table]);
        }
        let mut answered = 0;
        for (_, number, offset) in answers.iter().filter(|(of, ..)| *of == table) {
            let value: Value =
                serde_json::from_slice(records[*offset as usize].value.as_ref().unwrap()).unwrap();
            assert_eq!(value, posted[table][*number], "{} step {number}, offset {offset}", TABLES[table]);
            answered += 1;
        }
        assert_eq!(answered, POSTED_STEPS, "every post was answered in the end");
        let doubled = records.len() - DATABASE_ROWS - POSTED_STEPS;
        assert!(doubled <= client.repeated.load(Ordering::Relaxed), "{doubled} records that nobody sent");
    }
}

/// What the cleaned row of `raw` has to be, by the rules of the pipeline's notebooks.
fn check_cleaned(table: &str, raw: &Value, cleaned: &Value) {
    let time = |text: &Value| json!(format!("{}Z", text.as_str().unwrap().replace(' ', "T")));
    let expected = match table {
        "pin" => {
            let unless = |key: &str, placeholders: &[&str]| {
                let text = raw[key].as_str().unwrap();
                if placeholders.contains(&text) { Value::Null } else { text.into() }
            };
            let followers = raw["follower_count"].as_str().unwrap();
            let followers = match followers.strip_suffix('k').map(|n| (n, 1000)) {
                Some((n, times)) => json!(n.parse::<i64>().unwrap() * times),
                None => match followers.strip_suffix('M') {
                    Some(n) => json!(n.parse::<i64>().unwrap() * 1_000_000),
                    None => followers.parse::<i64>().map_or(Value::Null, Value::from),
                },
            };
            let place = raw["save_location"].as_str().unwrap().strip_prefix("Local save in ").unwrap();
            json!({
                "ind": raw["index"],
                "unique_id": raw["unique_id"],
                "title": unless("title", &["No Title Data Available"]),
                "description": unless(
                    "description",
                    &["No description available Story format", "No description available"]
                ),
                "follower_count": followers,
                "poster_name": unless("poster_name", &["User Info Error"]),
                "tag_list": unless("tag_list", &["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"]),
                "is_image_or_video": raw["is_image_or_video"],
                "image_src": unless("image_src", &["Image src error."]),
                "save_location": place,
                "category": raw["category"],
                "downloaded": raw["downloaded"],
            })
        }
        "geo" => json!({
            "ind": raw["ind"],
            "country": raw["country"],
            "coordinates": [raw["latitude"], raw["longitude"]],
            "timestamp": time(&raw["timestamp"]),
        }),
        _ => json!({
            "ind": raw["ind"],
            "user_name": format!("{} {}", raw["first_name"].as_str().unwrap(), raw["last_name"].as_str().unwrap()),
            "age": raw["age"],
            "date_joined": time(&raw["date_joined"]),
        }),
    };
    // Field by field: 6.0 and 6 are the same latitude, and a null field may be left out of a JSON line.
    let (expected, cleaned) = (expected.as_object().unwrap(), cleaned.as_object().unwrap());
    let order: Vec<_> = expected.keys().filter(|key| cleaned.contains_key(*key)).collect();
    assert_eq!(cleaned.keys().collect::<Vec<_>>(), order, "{table}: columns and their order");
    for (key, value) in expected {
        let found = cleaned.get(key).unwrap_or(&Value::Null);
        let numbers =
            |value: &Value| value.as_array().map(|all| all.iter().map(Value::as_f64).collect::<Vec<_>>());
        let same = if value.is_array() { numbers(found) == numbers(value) } else { found == value };
        assert!(same, "{table} {}, {key}: {found}, and not {value}", expected["ind"]);
    }
}

/// Sets a flag at the end of a scope, however it ends.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The pipeline's emulator: one post for each table and step, again until it is answered with 200.
#[derive(Default)]
struct Client {
    address: String,
    id: String,
    /// Table, step and offset of each answered post.
    answers: Mutex<Vec<(usize, usize, i64)>>,
    /// Posts that were sent once more because nobody said what became of them.
    repeated: AtomicUsize,
    give_up: AtomicBool,
}

impl Client {
    fn answered(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    fn run(&self, posted: &[Vec<Value>; 3]) {
        for step in 0..POSTED_STEPS {
            for (table, name) in TABLES.into_iter().enumerate() {
                // With and without a stage prefix and a trailing slash, as such clients have them.
                let (stage, slash) = (["", "/prod"][step % 2], ["", "/"][step / 2 % 2]);
                let path = format!("{stage}/topics/{}.{name}{slash}", self.id);
                let body = format!(r#"{{"records": [{{"value": {}}}]}}"#, python_json(&posted[table][step]));
                if let Some(offset) = self.post(&path, &body) {
                    self.answers.lock().unwrap().push((table, step, offset));
                }
            }
        }
    }

    fn post(&self, path: &str, body: &str) -> Option<i64> {
        let end = Instant::now() + LONG;
        while !self.give_up.load(Ordering::Relaxed) {
            match post(&self.address, path, KAFKA_JSON, body.as_bytes()) {
                Ok(answer) if answer.status == 200 => {
                    let answer = answer.json();
                    let offset =
                        answer["offsets"][0]["offset"].as_i64().unwrap_or_else(|| panic!("{answer}"));
                    let sent = json!({"partition": 0, "offset": offset, "error_code": null, "error": null});
                    assert_eq!(
                        answer,
                        json!({"offsets": [sent], "key_schema_id": null, "value_schema_id": null})
                    );
                    return Some(offset);
                }
                // Nothing was sent.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Ok(answer) if answer.status == 503 => {}
                // It may have been written: such a client sends it again.
                Err(_) => drop(self.repeated.fetch_add(1, Ordering::Relaxed)),
                Ok(answer) if matches!(answer.status, 500 | 504) => {
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) => panic!("{path}: {answer:?}"),
            }
            assert!(Instant::now() < end, "{path} was not answered within {LONG:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

// ---- health and metrics --------------------------------------------------------------------------------------------

#[test]
fn health_is_connects_and_metrics_account_for_every_record() {
    let Services { kafka, .. } = services();
    let topic = unique("metrics");
    kafka.create_topic(&topic, 2);
    let good = |n: i64| json!({"ind": n, "first_name": "Ada", "last_name": "Map", "age": 36, "date_joined": "2016-07-08T09:10:11"});
    // Two of ten are pins that somebody posted to the users' topic.
    let bad = |n: i64| json!({"index": n, "title": "mis-sent"});
    kafka.produce((0..100).map(|n| {
        let value = if n % 10 < 2 { bad(n) } else { good(n) };
        Record::new(&topic, value.to_string()).partition((n % 2) as i32)
    }));
    let yaml = format!(
        "connectors:
  {topic}:
    connector.class: s3-sink
    topics: {topic}
    transforms: [{{name: clean, type: user-cleaner}}]
    errors.tolerance: all
    store.url: memory://{topic}
    s3.bucket.name: b
    flush.size: 10
  {topic}-lines:
    connector.class: file-source
    file: lines.txt
    topic: {topic}-lines
topics:
  {topic}-lines:
"
    );
    let before = chrono::Utc::now().timestamp();
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    worker.rewrite("lines.txt", "one\ntwo\nthree\n");

    let (status, body) = worker.get("/health");
    assert_eq!(status, 200);
    assert_eq!(
        body,
        r#"{"status":"healthy","message":"Worker has completed startup and is ready to handle requests."}"#
    );
    let tasks = worker.wait_state(&topic, "RUNNING", SOON);
    assert_eq!((tasks.len(), tasks[0].kind.as_str(), tasks[0].plugin.as_str()), (1, "sink", "s3-sink"));
    let all: Value = serde_json::from_str(&worker.get("/health/tasks").1).unwrap();
    for task in all.as_array().unwrap() {
        let since = task["since"].as_str().unwrap();
        let since = chrono::DateTime::parse_from_rfc3339(since).unwrap_or_else(|e| panic!("{since}: {e}"));
        assert!((before..=before + 120).contains(&since.timestamp()), "{task}");
    }

    // 40 users in each partition: four objects of ten.
    let metrics = wait_until(SOON, "100 records are read, 80 delivered, 20 rejected", || {
        let metrics = worker.metrics();
        (metrics.records(&topic) == [100, 80, 0, 20]).then_some(metrics)
    });
    let labels = [("connector", topic.as_str()), ("task", "0")];
    let of_sink = |name: &str| metrics.sum(&format!("kafka_connect_sink_task_metrics_{name}"), &labels);
    assert_eq!(of_sink("sink_record_read_total"), 100);
    assert_eq!(of_sink("sink_record_send_total"), 80);
    assert_eq!(of_sink("partition_count"), 2);
    assert_eq!(of_sink("sink_record_lag_max"), 0);
    assert!(of_sink("offset_commit_completion_total") >= 1);
    assert_eq!(metrics.sum("kafka_connect_task_error_metrics_total_records_skipped", &labels), 20);
    assert_eq!(metrics.sum("sidestream_task_lag_records", &labels), 0);
    let flushed = metrics.sum("sidestream_task_last_flush_timestamp_seconds", &labels);
    assert!((before..=before + 120).contains(&flushed), "{flushed}");
    assert_eq!(metrics.sum("kafka_connect_connect_worker_metrics_connector_count", &[]), 2);
    assert_eq!(metrics.sum("kafka_connect_connect_worker_metrics_task_count", &[]), 2);
    let running = [("connector", topic.as_str()), ("task", "0"), ("status", "running")];
    assert_eq!(metrics.sum("kafka_connect_connector_task_metrics_status", &running), 1);

    let source = format!("{topic}-lines");
    let metrics = wait_until(SOON, "three lines are written", || {
        let metrics = worker.metrics();
        (metrics.records(&source) == [3, 3, 0, 0]).then_some(metrics)
    });
    let of_source = |name: &str| {
        metrics.sum(&format!("kafka_connect_source_task_metrics_{name}"), &[("connector", &source)])
    };
    assert_eq!((of_source("source_record_poll_total"), of_source("source_record_write_total")), (3, 3));
    assert!(metrics.types.values().any(|kind| kind == "counter"));
    balanced(&metrics, &[&topic, &source]);
}

/// Every record that was read is delivered, filtered or rejected.
#[track_caller]
fn balanced(metrics: &Metrics, connectors: &[&str]) {
    for connector in connectors {
        let [read, delivered, filtered, rejected] = metrics.records(connector);
        assert_eq!(read, delivered + filtered + rejected, "{connector}");
    }
}

// ---- topics --------------------------------------------------------------------------------------------------------

#[test]
fn declared_topics_are_created_and_grown_and_never_shrunk() {
    let Services { kafka, .. } = services();
    let id = unique("topics");
    let [wide, narrow, fresh, plain] =
        ["wide", "narrow", "fresh", "plain"].map(|name| format!("{id}.{name}"));
    kafka.create_topics([(wide.as_str(), 3), (narrow.as_str(), 1)]);
    kafka.produce([Record::new(&wide, "1").partition(2)]);
    let yaml = "topics:
  ${env:ID}.wide: {partitions: 1}
  ${env:ID}.narrow: {partitions: 3}
  ${env:ID}.fresh: {partitions: 2, replication.factor: 1, config: {retention.ms: 604800000, cleanup.policy: compact}}
  ${env:ID}.plain:
connectors:
  ${env:ID}: {connector.class: file-source, file: none.txt, topic: \"${env:ID}.plain\"}
"
    .replace("  ${env:ID}: {connector", &format!("  {id}: {{connector"));
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[("ID", &id)]);
    let counts = [&wide, &narrow, &fresh, &plain].map(|topic| kafka.partition_count(topic));
    assert_eq!(counts, [3, 3, 2, 1]);
    assert_eq!(kafka.topic_setting(&fresh, "retention.ms").as_deref(), Some("604800000"));
    assert_eq!(kafka.topic_setting(&fresh, "cleanup.policy").as_deref(), Some("compact"));
    let log = worker.log();
    let warned = log.lines().find(|line| line.contains(&wide) && line.contains("WARN"));
    let warned = warned.unwrap_or_else(|| panic!("no warning about {wide}:\n{log}"));
    assert!(warned.contains("3 partitions") && warned.contains("1 are declared"), "{warned}");
    assert_eq!(kafka.read(&wide).len(), 1, "its record is still there");
}

#[test]
fn topics_regex_is_javas_and_matches_whole_names_and_topics_that_come_later() {
    let Services { kafka, .. } = services();
    let id = unique("regex");
    // A possessive quantifier, a quotation and a look-ahead, which only Java's syntax has together.
    let regex = format!(r"\Q{id}.\E(?!skip)[a-z]++(_\d)?");
    let fits = ["pin", "geo_1"].map(|end| format!("{id}.{end}"));
    let others = [format!("{id}.skip"), format!("{id}.pin_12"), format!("x{id}.pin"), format!("{id}xpin")];
    kafka.create_topics(fits.iter().chain(&others).map(|topic| (topic.as_str(), 1)));
    kafka.produce(fits.iter().chain(&others).map(|topic| Record::new(topic, json!(topic).to_string())));
    let yaml = format!(
        "worker: {{consumer.metadata.max.age.ms: 500}}
connectors:
  {id}: {{connector.class: file-sink, topics.regex: '{regex}', file: out.txt, tasks.max: 2}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let out = || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        let mut topics: Vec<String> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        topics.sort();
        topics
    };
    let mut expected = fits.to_vec();
    expected.sort();
    wait_until(SOON, "the topics that match are read", || (out() == expected).then_some(()));

    let later = format!("{id}.user");
    kafka.create_topic(&later, 1);
    kafka.produce([Record::new(&later, json!(later).to_string())]);
    expected.push(later);
    expected.sort();
    wait_until(SOON, "a topic that came later is read", || (out() == expected).then_some(()));
}

// ---- connectors and tasks ------------------------------------------------------------------------------------------

#[test]
fn a_connector_that_fails_stops_no_other() {
    let Services { kafka, s3, .. } = services();
    let id = unique("fail");
    kafka.create_topic(&id, 1);
    kafka.produce((0..50).map(|n| Record::new(&id, n.to_string())));
    let yaml = format!(
        "connectors:
  {id}-no-bucket:
    {{connector.class: s3-sink, topics: {id}, flush.size: 1, s3.bucket.name: {id}-none, store.url: {}}}
  {id}-no-dir: {{connector.class: file-sink, topics: {id}, file: nowhere/out.txt}}
  {id}-good: {{connector.class: file-sink, topics: {id}, file: out.txt}}
",
        s3.url
    );
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &s3.credentials());
    let no_bucket = worker.wait_state(&format!("{id}-no-bucket"), "FAILED", SOON);
    assert!(no_bucket[0].reason.contains(&format!("{id}-none")), "{no_bucket:?}");
    let no_dir = worker.wait_state(&format!("{id}-no-dir"), "FAILED", SOON);
    assert!(no_dir[0].reason.contains("nowhere/out.txt"), "{no_dir:?}");

    // Records that come after the failures still go through.
    kafka.produce((50..100).map(|n| Record::new(&id, n.to_string())));
    let out = worker.dir.path().join("out.txt");
    let expected: String = (0..100).map(|n| format!("{n}\n")).collect();
    wait_until(SOON, "the good connector writes everything", || {
        (fs::read_to_string(&out).unwrap_or_default() == expected).then_some(())
    });
    assert_eq!(worker.wait_state(&format!("{id}-good"), "RUNNING", SOON)[0].reason, "");
    let failed = worker.metrics().sum("kafka_connect_connector_task_metrics_status", &[("status", "failed")]);
    assert_eq!(failed, 2);
    assert_eq!(worker.get("/health").0, 200);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}

#[test]
fn tasks_share_partitions_and_connectors_share_nothing() {
    let Services { kafka, .. } = services();
    let id = unique("tasks");
    kafka.create_topic(&id, 3);
    let records = |from: i64| {
        (from..from + 300)
            .map(|n| Record::new(&id, n.to_string()).partition((n % 3) as i32))
            .collect::<Vec<_>>()
    };
    kafka.produce(records(0));
    let yaml = format!(
        "connectors:
  {id}-a: {{connector.class: file-sink, topics: {id}, file: a.txt, tasks.max: 3}}
  {id}-b: {{connector.class: file-sink, topics: {id}, file: b.txt, tasks.max: 1}}
"
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let (a, b) = (format!("{id}-a"), format!("{id}-b"));
    assert_eq!(worker.wait_state(&a, "RUNNING", SOON).len(), 3);
    // Members join one after the other; a partition that moved meanwhile may leave lines that are written twice.
    let per_task = |metrics: &Metrics, connector: &str, task: &str| {
        let labels = [("connector", connector), ("task", task)];
        metrics.sum("kafka_connect_sink_task_metrics_partition_count", &labels)
    };
    let mut round = 0;
    wait_until(SOON, "each task has one partition", || {
        round += 1;
        kafka.produce(records(300 * round));
        let metrics = worker.metrics();
        ["0", "1", "2"].iter().all(|task| per_task(&metrics, &a, task) == 1).then_some(())
    });
    let total = 300 * (round + 1);
    let numbers = |name: &str| {
        let text = fs::read_to_string(worker.dir.path().join(name)).unwrap_or_default();
        text.lines().map(|line| line.parse::<i64>().unwrap()).collect::<BTreeSet<_>>()
    };
    for (connector, file) in [(&a, "a.txt"), (&b, "b.txt")] {
        let ends: Vec<_> = (0..3).map(|partition| (partition, total / 3)).collect();
        wait_committed(&kafka, &format!("connect-{connector}"), &id, &ends);
        assert_eq!(numbers(file), (0..total).collect(), "{connector}");
    }
    let metrics = worker.metrics();
    let read: Vec<_> = ["0", "1", "2"]
        .iter()
        .map(|task| metrics.sum("sidestream_task_records_read_total", &[("connector", &a), ("task", task)]))
        .collect();
    assert!(read.iter().all(|n| *n > 0), "each task has read: {read:?}");
    assert_eq!(per_task(&metrics, &b, "0"), 3);
}

#[test]
fn lines_of_a_file_go_through_a_topic_to_another_file_by_the_jvm_class_names() {
    let Services { kafka, .. } = services();
    let id = unique("file");
    let source = format!(
        "name={id}-source
connector.class=org.apache.kafka.connect.file.FileStreamSourceConnector
tasks.max=1
file=test.txt
topic={id}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
"
    );
    let sink = json!({"name": format!("{id}-sink"), "config": {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": "1",
        "file": "test.sink.txt",
        "topics": id,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    }})
    .to_string();
    let topics = format!("topics:\n  {id}: {{partitions: 1}}\n");
    let files = [("topics.yaml", topics.as_str()), ("source.properties", &source), ("sink.json", &sink)];
    let mut worker = Sidestream::start(&files, &[]);
    let out = worker.dir.path().join("test.sink.txt");
    let wait_out = |expected: &str| {
        wait_until(SOON, "the lines arrive", || {
            (fs::read_to_string(&out).unwrap_or_default() == expected).then_some(())
        });
    };
    worker.rewrite("test.txt", "foo\nbär \"x\" 🗺\n");
    wait_out("foo\nbär \"x\" 🗺\n");
    // The last line has no end yet, so it is none.
    worker.rewrite("test.txt", "foo\nbär \"x\" 🗺\nthird\nfour");
    wait_out("foo\nbär \"x\" 🗺\nthird\n");
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    // Both go on where they were.
    worker.rewrite("test.txt", "foo\nbär \"x\" 🗺\nthird\nfourth\n");
    let mut worker = worker.restart(&[]);
    wait_out("foo\nbär \"x\" 🗺\nthird\nfourth\n");
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    let values: Vec<_> =
        kafka.read(&id).into_iter().map(|r| String::from_utf8(r.value.unwrap()).unwrap()).collect();
    assert_eq!(values, ["foo", "bär \"x\" 🗺", "third", "fourth"]);
}
