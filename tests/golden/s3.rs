//! `s3_sink_golden.jsonl`: each case is a connector; all run at once in one worker against Kafka and an S3 service.

use std::collections::BTreeMap;
use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::input::{self, Input};
use crate::json;
use crate::recording::Recording;
use crate::support::s3::hex;
use crate::support::{Kafka, Record, S3, Services, Sidestream, Task, services, sidestream, unique};
use crate::tally::Tally;

/// How long nothing new may come right before the worker is taken to have done what it does.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long objects that should not be there have to show up.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Case {
    id: String,
    area: String,
    config: Map<String, Value>,
    input: Vec<Input>,
    /// Says in words which records there are; `input` then shows only the first.
    input_rule: Option<String>,
    #[serde(default)]
    preexisting_objects: Vec<Object>,
    objects: Vec<Object>,
    /// `topic-partition` → offset
    committed_offsets: BTreeMap<String, i64>,
    /// What the dead letter queue got, in order.
    dlq: Option<Vec<Letter>>,
    task_state: String,
    error: Option<String>,
    // Of Connect's own texts, not compared.
    #[serde(rename = "note", default)]
    _note: Value,
    #[serde(rename = "caused_by", default)]
    _caused_by: Value,
    #[serde(rename = "http_status", default)]
    _http_status: Value,
    /// What else is recorded; a case that has any cannot pass.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// A record of the dead letter queue.
#[derive(Deserialize)]
struct Letter {
    key: Option<String>,
    value: Option<String>,
    headers: Vec<Value>,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    body: Option<String>,
    body_b64: Option<String>,
    body_gunzip: Option<String>,
    size: Option<usize>,
    sha256: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

/// A case that the worker runs.
struct Running<'a> {
    whole: &'a Value,
    case: &'a Case,
    bucket: String,
    config: &'a String,
    records: Vec<Record>,
}

pub fn replay(recording: &Recording) {
    let mut tally = Tally::new(&recording.file);
    let mut cases = Vec::new();
    for line in &recording.lines {
        let whole: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file));
        match Case::deserialize(&whole) {
            Ok(case) => cases.push((whole, case)),
            Err(error) => {
                let id = whole["id"].as_str().unwrap_or(line);
                tally.add(id, "unreadable", &whole, Err(error.to_string()));
            }
        }
    }
    let services = services();
    let bucket_of = |case: &Case| {
        let id = case.id.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        format!("{id}-{}", std::process::id())
    };
    let configs: Vec<String> =
        cases.iter().map(|(_, case)| case.connector(&services.moto, &bucket_of(case))).collect();
    let refusals = refusals(&configs);

    let mut running = Vec::new();
    for (index, (whole, case)) in cases.iter().enumerate() {
        let refused = refusals.get(&index).map(|errors| errors.join("; "));
        let result = match (case.task_state.as_str(), refused) {
            ("REJECTED", Some(_)) => Ok(()),
            ("REJECTED", None) => Err(format!("accepted; Connect says: {}", case.said())),
            (_, Some(errors)) => Err(format!("refused: {errors}")),
            (_, None) => match case.records() {
                Ok(records) => {
                    let (bucket, config) = (bucket_of(case), &configs[index]);
                    running.push(Running { whole, case, bucket, config, records });
                    continue;
                }
                Err(error) => Err(format!("its input cannot be produced: {error}")),
            },
        };
        match tally.known(&case.id, whole).map(str::to_owned) {
            // It may be refused for another reason than Connect has: because what it uses is not there.
            Some(reason) if refusals.contains_key(&index) => tally.list(&case.id, &case.area, &reason),
            _ => tally.add(&case.id, &case.area, whole, result),
        }
    }
    prepare(&services, &running);
    let names: Vec<String> = (0..running.len()).map(|n| format!("{n}.json")).collect();
    let configs = running.iter().map(|running| running.config.as_str());
    let mut files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(configs).collect();
    let worker = format!("worker:\n  group.id: {}\n", unique("golden"));
    files.push(("golden.yaml", &worker));
    let mut worker = Sidestream::start(&files, &services.moto.credentials());

    let mut waiting: Vec<&Running> = running.iter().collect();
    let mut since = Instant::now();
    while !waiting.is_empty() && since.elapsed() < PATIENCE {
        sleep(Duration::from_millis(300));
        let (tasks, before) = (worker.tasks(), waiting.len());
        waiting.retain(|running| running.case.compare(&tasks, &running.bucket, &services).is_err());
        if waiting.len() < before {
            since = Instant::now();
        }
    }
    sleep(SETTLE);
    let tasks = worker.tasks();
    for Running { whole, case, bucket, .. } in &running {
        tally.add(&case.id, &case.area, whole, case.compare(&tasks, bucket, &services));
    }
    let ended = worker.stop(Duration::from_secs(60));
    assert!(ended.success(), "the worker ended with {ended}; its log:\n{}", worker.log());
    tally.finish();
}

/// What `sidestream validate` has against each configuration, by its number.
fn refusals(configs: &[String]) -> BTreeMap<usize, Vec<String>> {
    #[derive(Deserialize)]
    struct Answer {
        diagnostics: Vec<Diagnostic>,
    }
    #[derive(Deserialize)]
    struct Diagnostic {
        severity: String,
        file: Option<String>,
        key: Option<String>,
        message: String,
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("worker.yaml"), "worker: {bootstrap.servers: localhost:9092}\n").unwrap();
    let names: Vec<String> = (0..configs.len()).map(|n| format!("{n}.json")).collect();
    for (name, config) in names.iter().zip(configs) {
        std::fs::write(dir.path().join(name), config).unwrap();
    }
    let arguments = ["validate", "--output", "json", "worker.yaml"].into_iter();
    let arguments: Vec<&str> = arguments.chain(names.iter().map(String::as_str)).collect();
    let output = sidestream(dir.path(), &arguments, &[]);
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("validate: {e}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut refusals = BTreeMap::<usize, Vec<String>>::new();
    for error in answer.diagnostics.into_iter().filter(|d| d.severity == "error") {
        let number = error.file.as_deref().and_then(|file| file.strip_suffix(".json")?.parse().ok());
        let number = number.unwrap_or_else(|| panic!("validate: {}", error.message));
        let key = error.key.unwrap_or_default();
        refusals.entry(number).or_default().push(format!("{key}: {}", error.message));
    }
    refusals
}

/// Topics with the records of all cases, buckets with the objects that were there before.
fn prepare(services: &Services, all: &[Running<'_>]) {
    let (mut topics, mut groups) = (BTreeMap::new(), Vec::new());
    for Running { case, bucket, .. } in all {
        for (topic, partition) in case.partitions() {
            let partitions = topics.entry(topic).or_insert(0);
            *partitions = (*partitions).max(partition + 1);
        }
        groups.push(format!("connect-{}", case.name()));
        services.moto.create_bucket(bucket);
        for Object { key, body, .. } in &case.preexisting_objects {
            let body = body.as_ref().unwrap_or_else(|| panic!("{}: an object without a body", case.id));
            services.moto.put(bucket, key, body.as_bytes());
        }
    }
    services.kafka.fresh_topics(&topics, &groups);
    services.kafka.produce(all.iter().flat_map(|running| running.records.clone()));
}

impl Case {
    fn name(&self) -> &str {
        self.config.get("name").and_then(Value::as_str).unwrap_or(&self.id)
    }

    fn key(&self, key: &str) -> &str {
        self.config.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn said(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }

    /// The connector's document: the recorded configuration, with this run's bucket and S3 service.
    fn connector(&self, s3: &S3, bucket: &str) -> String {
        let mut config = self.config.clone();
        if let Some(recorded) = config.get_mut("s3.bucket.name") {
            *recorded = bucket.into();
        }
        config.insert("store.url".to_owned(), s3.url.clone().into());
        if self.key("partitioner.class").ends_with("BasedPartitioner") {
            // Here open files are also closed when no record comes any more, which nothing recorded waits for.
            config.insert("rotate.idle".to_owned(), "false".into());
        }
        json!({"name": self.name(), "config": config}).to_string()
    }

    /// Every partition that the case speaks of.
    fn partitions(&self) -> Vec<(String, i32)> {
        let of_input = self.input.iter().map(|record| (record.topic.clone(), record.partition));
        let committed = self.committed_offsets.keys().filter_map(|key| {
            let (topic, partition) = key.rsplit_once('-')?;
            Some((topic.to_owned(), partition.parse().ok()?))
        });
        let letters = self.key("errors.deadletterqueue.topic.name");
        let named = self.key("topics").split(',').chain([letters]).map(str::trim);
        let named = named.filter(|topic| !topic.is_empty());
        of_input.chain(committed).chain(named.map(|topic| (topic.to_owned(), 0))).collect()
    }

    fn records(&self) -> Result<Vec<Record>, String> {
        input::records(&self.input, self.input_rule.as_deref())
    }

    fn compare(&self, tasks: &[Task], bucket: &str, services: &Services) -> Result<(), String> {
        if let Some(field) = self.unknown.keys().next() {
            return Err(format!("this runner does not know what `{field}` of the case means"));
        }
        let failed = tasks.iter().find(|task| task.connector == self.name() && task.state == "FAILED");
        match (self.task_state.as_str(), failed) {
            ("RUNNING", Some(task)) => return Err(format!("the task is FAILED: {}", task.reason)),
            ("FAILED", None) => {
                return Err(format!("the task is not FAILED; Connect's says: {:.200}", self.said()));
            }
            ("RUNNING" | "FAILED", _) => {}
            (other, _) => return Err(format!("this runner does not know the task state {other}")),
        }
        self.compare_objects(bucket, &services.moto)?;
        self.compare_letters(&services.kafka)?;
        self.compare_offsets(&services.kafka)
    }

    fn compare_letters(&self, kafka: &Kafka) -> Result<(), String> {
        let Some(expected) = &self.dlq else { return Ok(()) };
        let found = kafka.read(self.key("errors.deadletterqueue.topic.name"));
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let same = |(letter, found): (&Letter, &Record)| {
            (bytes(&letter.key), bytes(&letter.value)) == (found.key.clone(), found.value.clone())
                && letter.headers.len() == found.headers.len()
        };
        if found.len() == expected.len() && expected.iter().zip(&found).all(same) {
            return Ok(());
        }
        Err(format!("{} dead letters, Connect has {}, or others", found.len(), expected.len()))
    }

    fn compare_objects(&self, bucket: &str, s3: &S3) -> Result<(), String> {
        let keys = s3.keys(bucket);
        let wanted: Vec<&str> = self.objects.iter().map(|object| object.key.as_str()).collect();
        let missing: Vec<&str> =
            wanted.iter().copied().filter(|key| !keys.iter().any(|k| k == key)).collect();
        let surplus: Vec<&String> = keys.iter().filter(|key| !wanted.contains(&key.as_str())).collect();
        if !missing.is_empty() || !surplus.is_empty() {
            return Err(format!(
                "objects that are missing: {missing:?}; that Connect does not write: {surplus:?}"
            ));
        }
        for object in &self.objects {
            let at = |error: String| format!("{}: {error}", object.key);
            self.compare_body(object, &s3.get(bucket, &object.key)).map_err(at)?;
            if let Some(tags) = &object.tags {
                let found = s3.tags(bucket, &object.key);
                if found != *tags {
                    return Err(at(format!("tags {found:?}, Connect's are {tags:?}")));
                }
            }
        }
        Ok(())
    }

    fn compare_body(&self, object: &Object, body: &[u8]) -> Result<(), String> {
        let format = match &object.key {
            key if key.contains(".keys.") => self.key("keys.format.class"),
            key if key.contains(".headers.") => self.key("headers.format.class"),
            _ => self.key("format.class"),
        };
        let is_json = format.ends_with("JsonFormat");
        let text = || std::str::from_utf8(body).map_err(|e| e.to_string());
        if let Some(expected) = &object.body_gunzip {
            let mut unzipped = String::new();
            flate2::read::MultiGzDecoder::new(body)
                .read_to_string(&mut unzipped)
                .map_err(|e| e.to_string())?;
            same_text(is_json, expected, &unzipped)
        } else if let Some(expected) = &object.body {
            same_text(is_json, expected, text()?)
        } else if let Some(expected) = &object.body_b64 {
            let expected = BASE64.decode(expected).map_err(|e| e.to_string())?;
            if body == expected { Ok(()) } else { Err("the bytes differ".to_owned()) }
        } else {
            let digest = object.sha256.as_deref().ok_or("the case says nothing about its body")?;
            let rewritten = if is_json { lines_in_java_order(text()?)? } else { text()?.to_owned() };
            if object.size.is_some_and(|size| size != rewritten.len()) {
                return Err(format!("{} bytes, Connect has {:?}", rewritten.len(), object.size));
            }
            let found = hex(&Sha256::digest(rewritten));
            if found == digest { Ok(()) } else { Err("the body's sha256 differs".to_owned()) }
        }
    }

    /// No committed offset and one at the start of the partition mean the same.
    fn compare_offsets(&self, kafka: &Kafka) -> Result<(), String> {
        let group = format!("connect-{}", self.name());
        let mut found = BTreeMap::new();
        let topics: std::collections::BTreeSet<String> =
            self.partitions().into_iter().map(|(topic, _)| topic).collect();
        for topic in topics {
            for (partition, offset) in kafka.committed(&group, &topic) {
                found.insert(format!("{topic}-{partition}"), offset);
            }
        }
        let mut expected = self.committed_offsets.clone();
        found.retain(|_, offset| *offset != 0);
        expected.retain(|_, offset| *offset != 0);
        if found == expected {
            return Ok(());
        }
        Err(format!("committed offsets {found:?}, Connect's are {expected:?}"))
    }
}

/// JSON formats are compared line by line as JSON, others as they are.
fn same_text(is_json: bool, expected: &str, actual: &str) -> Result<(), String> {
    if !is_json {
        return if expected == actual {
            Ok(())
        } else {
            Err(format!("the text is {actual:?}, not {expected:?}"))
        };
    }
    let (want, have): (Vec<_>, Vec<_>) = (expected.split('\n').collect(), actual.split('\n').collect());
    if want.len() != have.len() {
        return Err(format!("{} lines, Connect writes {}", have.len() - 1, want.len() - 1));
    }
    for (at, (want, have)) in want.iter().zip(have).enumerate().filter(|(_, (want, have))| **want != *have) {
        json::same(want, have).map_err(|error| format!("line {}: {error}", at + 1))?;
    }
    Ok(())
}

fn lines_in_java_order(text: &str) -> Result<String, String> {
    text.split('\n')
        .map(|line| if line.is_empty() { Ok(String::new()) } else { json::in_java_order(line) })
        .collect::<Result<Vec<_>, _>>()
        .map(|lines| lines.join("\n"))
}
