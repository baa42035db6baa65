//! `dlq_golden.jsonl`: what becomes of records that cannot be processed. Each worker run is a connector; all of them run at
//! once in one worker against Kafka, with the test classes that the recording was made with. What was recorded of
//! `…/config/validate` is compared with `sidestream validate`.

mod compare;
mod config;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::recording::Recording;
use crate::support::{Record, Services, Sidestream, services, unique};
use crate::tally::Tally;
use crate::{libraries, validate};

/// How long nothing new may come right before the worker is taken to have done what it does.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long records that should not be there have to show up.
const SETTLE: Duration = Duration::from_secs(2);
/// Connect's worker had these converters.
const CONVERTERS: &str = "  key.converter: org.apache.kafka.connect.storage.StringConverter\n  \
                          value.converter: org.apache.kafka.connect.storage.StringConverter\n";
const QUEUE: &str = "errors.deadletterqueue.topic.name";

/// A recorded run of a worker.
#[derive(Deserialize)]
struct Case {
    id: String,
    kind: String,
    #[serde(rename = "what")]
    _what: String,
    #[serde(rename = "connector_config")]
    config: Map<String, Value>,
    /// Of a sink: what was in partition 0 of its topic.
    #[serde(default)]
    records_in: Vec<Input>,
    /// Of a source: what was in its file.
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    produced: Vec<Input>,
    #[serde(default)]
    dlq_records: Vec<Input>,
    dlq_topic_partitions: Option<usize>,
    sink_lines: Option<Vec<String>>,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    log: Vec<Entry>,
    committed_offset_after_delete: Option<i64>,
    // Java's own causes, and what a restart through REST would do.
    #[serde(rename = "stacktrace_causes", default)]
    _causes: Value,
    #[serde(default)]
    task_states_after_start_and_each_restart: Vec<String>,
    /// What else is recorded; a case that has any cannot pass.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// A record as it is recorded: bytes as `{"text": …}`, `{"$bytes": base64}` or null.
#[derive(Deserialize)]
struct Input {
    key: Value,
    value: Value,
    #[serde(default)]
    headers: Vec<(String, Value)>,
    timestamp: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Status {
    task: String,
}

#[derive(Deserialize)]
struct Entry {
    entry: String,
}

/// A case that the worker runs.
struct Running<'a> {
    whole: &'a Value,
    case: &'a Case,
    /// The configuration with this run's file and queue.
    config: String,
    file: PathBuf,
    queue: Option<String>,
}

pub fn replay(recording: &Recording) {
    let mut tally = Tally::new(&recording.file);
    let (mut cases, mut validated) = (Vec::new(), Vec::new());
    for line in &recording.lines {
        let whole: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", recording.file));
        if whole["kind"] == "validate" {
            validated.push(whole);
            continue;
        }
        match Case::deserialize(&whole) {
            Ok(case) => cases.push((whole, case)),
            Err(error) => {
                let id = whole["id"].as_str().unwrap_or(line);
                tally.add(id, "unreadable", &whole, Err(error.to_string()));
            }
        }
    }
    let library = libraries::file(&libraries::build("plugin-harness"), "plugin_harness");
    let worker = format!("worker:\n{CONVERTERS}  plugin.path: {}\n", library.display());
    config::replay(&worker, &validated, &mut tally);
    run(&worker, &cases, &mut tally);
    tally.finish();
}

fn run(worker: &str, cases: &[(Value, Case)], tally: &mut Tally) {
    let files = tempfile::tempdir().unwrap();
    let all: Vec<Running<'_>> = cases.iter().map(|(whole, case)| case.running(whole, files.path())).collect();
    let configs: Vec<String> = all.iter().map(|running| running.config.clone()).collect();
    let refusals = validate::errors(&format!("{worker}  bootstrap.servers: localhost:9092\n"), &configs);
    let mut running = Vec::new();
    for (index, one) in all.into_iter().enumerate() {
        let Running { whole, case, .. } = one;
        match (refusals.get(&index), tally.known(&case.id, whole).map(str::to_owned)) {
            (None, _) => running.push(one),
            // It may be refused because what it uses is not there.
            (Some(_), Some(reason)) => tally.list(&case.id, &case.kind, &reason),
            (Some(errors), None) => {
                tally.add(&case.id, &case.kind, whole, Err(format!("refused: {errors:?}")))
            }
        }
    }
    let services = services();
    prepare(&services, &running);

    let names: Vec<String> = (0..running.len()).map(|n| format!("{n}.json")).collect();
    let configs = running.iter().map(|running| running.config.as_str());
    let mut files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(configs).collect();
    let worker = format!("{worker}  group.id: {}\n", unique("golden-dlq"));
    files.push(("golden.yaml", &worker));
    let mut worker = Sidestream::start(&files, &[]);

    let mut waiting: Vec<&Running> = running.iter().collect();
    let mut since = Instant::now();
    while !waiting.is_empty() && since.elapsed() < PATIENCE {
        sleep(Duration::from_millis(300));
        let (tasks, log, before) = (worker.tasks(), worker.log(), waiting.len());
        waiting.retain(|running| running.compare(&tasks, &log, &services).is_err());
        if waiting.len() < before {
            since = Instant::now();
        }
    }
    sleep(SETTLE);
    let (tasks, log) = (worker.tasks(), worker.log());
    let outcomes: Vec<_> = running.iter().map(|one| one.compare(&tasks, &log, &services)).collect();
    // What is open is committed when the worker stops, as it is in Connect when a connector is deleted.
    let ended = worker.stop(Duration::from_secs(60));
    assert!(ended.success(), "the worker ended with {ended}; its log:\n{}", worker.log());
    for (one, outcome) in running.iter().zip(outcomes) {
        let outcome = outcome.and_then(|()| one.compare_offset(&services.kafka));
        tally.add(&one.case.id, &one.case.kind, one.whole, outcome);
    }
}

/// Topics with the records of all cases, files with the lines of sources.
fn prepare(services: &Services, all: &[Running<'_>]) {
    let topics: BTreeMap<String, i32> =
        all.iter().filter_map(|one| one.case.topic()).map(|topic| (topic.to_owned(), 1)).collect();
    let groups: Vec<String> = all.iter().map(|one| one.case.group()).collect();
    services.kafka.fresh_topics(&topics, &groups);
    services.kafka.produce(all.iter().flat_map(|one| {
        one.case.records_in.iter().map(|input| input.record(one.case.topic().unwrap_or_default()))
    }));
    for one in all.iter().filter(|one| one.case.kind == "source") {
        fs::write(&one.file, one.case.lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    }
}

impl Case {
    /// As the recording names its connectors, which dead letters say.
    fn name(&self) -> String {
        format!("smtg-{}", self.id.to_lowercase())
    }

    fn group(&self) -> String {
        format!("connect-{}", self.name())
    }

    fn key(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    fn topic(&self) -> Option<&str> {
        self.key("topics").or(self.key("topic"))
    }

    fn running<'a>(&'a self, whole: &'a Value, files: &Path) -> Running<'a> {
        let mut config = self.config.clone();
        let file = files.join(self.key("file").unwrap_or(&self.id));
        if config.contains_key("file") {
            config.insert("file".to_owned(), file.to_string_lossy().into());
        }
        let queue = self.key(QUEUE).map(unique);
        if let Some(queue) = &queue {
            config.insert(QUEUE.to_owned(), queue.as_str().into());
        }
        // As Connect, which never starts a failed task again by itself.
        config.insert("restart.max.attempts".to_owned(), "0".into());
        let config = json!({"name": self.name(), "config": config}).to_string();
        Running { whole, case: self, config, file, queue }
    }
}

impl Input {
    fn record(&self, topic: &str) -> Record {
        Record {
            topic: topic.to_owned(),
            partition: Some(0),
            timestamp: self.timestamp,
            key: bytes(&self.key),
            value: bytes(&self.value),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), bytes(value))).collect(),
            ..Record::default()
        }
    }
}

fn bytes(recorded: &Value) -> Option<Vec<u8>> {
    match (recorded["text"].as_str(), recorded["$bytes"].as_str()) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(base64)) => Some(BASE64.decode(base64).unwrap()),
        (None, None) => None,
    }
}
