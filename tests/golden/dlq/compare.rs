//! What became of a case, beside what Connect did.

use std::fs;

use serde_json::Value;

use super::{Case, Entry, Input, Running, bytes};
use crate::support::{Kafka, Services, Task};

const TRACE: &str = "__connect.errors.exception.stacktrace";

impl Running<'_> {
    pub fn compare(&self, tasks: &[Task], log: &str, services: &Services) -> Result<(), String> {
        let case = self.case;
        if let Some(field) = case.unknown.keys().next() {
            return Err(format!("this runner does not know what `{field}` of the case means"));
        }
        case.compare_state(tasks)?;
        self.compare_queue(&services.kafka)?;
        if let Some(lines) = &case.sink_lines {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            same_lines(lines, &text.lines().collect::<Vec<_>>())?;
        }
        if case.kind == "source" {
            same_records(&case.produced, &services.kafka, case.topic().unwrap_or_default(), false)?;
        }
        case.compare_log(log)
    }

    fn compare_queue(&self, kafka: &Kafka) -> Result<(), String> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let partitions = kafka.partition_count(queue);
        match self.case.dlq_topic_partitions {
            Some(wanted) if wanted != partitions => {
                return Err(format!("{partitions} partitions, Connect's has {wanted}"));
            }
            None if partitions > 0 && self.case.dlq_records.is_empty() => {
                return Err("the queue's topic exists".to_owned());
            }
            _ => {}
        }
        if partitions == 0 && self.case.dlq_records.is_empty() {
            return Ok(());
        }
        same_records(&self.case.dlq_records, kafka, queue, true)
    }

    /// No committed offset and one at the start of the partition mean the same.
    pub fn compare_offset(&self, kafka: &Kafka) -> Result<(), String> {
        let Some(topic) = self.case.topic().filter(|_| self.case.kind == "sink") else { return Ok(()) };
        let found = kafka.committed(&self.case.group(), topic).get(&0).copied().unwrap_or(0);
        let wanted = self.case.committed_offset_after_delete.unwrap_or(0);
        if found == wanted { Ok(()) } else { Err(format!("committed offset {found}, Connect's is {wanted}")) }
    }
}

impl Case {
    fn compare_state(&self, tasks: &[Task]) -> Result<(), String> {
        let name = self.name();
        let task = tasks.iter().find(|task| task.connector == name).ok_or("there is no task")?;
        let states = &self.task_states_after_start_and_each_restart;
        let wanted = states.first().unwrap_or(&self.status.task);
        if task.state == *wanted {
            return Ok(());
        }
        Err(format!("the task is {}: {}; Connect's is {wanted}", task.state, task.reason))
    }

    /// The lines of `errors.log.enable`: as many, with the same stage and class and, of consumed records, the same place.
    fn compare_log(&self, log: &str) -> Result<(), String> {
        let ours = format!("Error encountered in task {}-0. ", self.name());
        let found: Vec<&str> = log.lines().filter_map(|line| Some(&line[line.find(&ours)?..])).collect();
        let recorded: Vec<String> = self
            .log
            .iter()
            .filter_map(|Entry { entry }| {
                let text = &entry[entry.find(&ours)?..];
                let text = text.split(" (org.apache").next().unwrap_or(text);
                // Whether the time is the producer's or the broker's is not kept, and sources show no record.
                let text = text.replace(", timestampType=CreateTime", "");
                Some(
                    text.split(", where source record is")
                        .next()
                        .unwrap_or_default()
                        .trim_end_matches('.')
                        .to_owned(),
                )
            })
            .collect();
        let same = found.len() == recorded.len()
            && recorded.iter().zip(&found).all(|(recorded, found)| found.starts_with(recorded.as_str()));
        if same { Ok(()) } else { Err(format!("logged {found:?}, Connect logs {recorded:?}")) }
    }
}

/// `times`: whether timestamps were given by a test and not by the clock.
fn same_records(recorded: &[Input], kafka: &Kafka, topic: &str, times: bool) -> Result<(), String> {
    let found = kafka.read(topic);
    if found.len() != recorded.len() {
        return Err(format!("{} records in {topic}, Connect has {}", found.len(), recorded.len()));
    }
    for (at, (want, have)) in recorded.iter().zip(&found).enumerate() {
        let same = |what: &str, same: bool| match same {
            true => Ok(()),
            false => Err(format!("the {what} of record {at} of {topic} differs")),
        };
        same("key", bytes(&want.key) == have.key)?;
        same("value", bytes(&want.value) == have.value)?;
        same("timestamp", !times || want.timestamp == have.timestamp)?;
        let wanted: Vec<_> =
            want.headers.iter().map(|(name, value)| (name.clone(), header(name, value))).collect();
        let found: Vec<_> = have
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().map(|value| first_line(name, value))))
            .collect();
        if wanted != found {
            let text = |headers: &[(String, Option<Vec<u8>>)]| {
                let one = |(name, value): &(String, Option<Vec<u8>>)| {
                    format!("{name}={}", value.as_ref().map_or("null".into(), |v| String::from_utf8_lossy(v)))
                };
                headers.iter().map(one).collect::<Vec<_>>().join("; ")
            };
            return Err(format!(
                "headers of record {at} of {topic}: {}; Connect has {}",
                text(&found),
                text(&wanted)
            ));
        }
    }
    Ok(())
}

fn header(name: &str, recorded: &Value) -> Option<Vec<u8>> {
    bytes(recorded).map(|value| first_line(name, value))
}

/// Of a stack trace only what was thrown: frames and causes are Java's.
fn first_line(name: &str, value: Vec<u8>) -> Vec<u8> {
    match name {
        TRACE => value.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec(),
        _ => value,
    }
}

/// Connect's file sink prints Java's `toString` of a value, ours prints JSON.
fn same_lines(recorded: &[String], found: &[&str]) -> Result<(), String> {
    let same = |want: &str, have: &str| match (waits(want), waits(have)) {
        // A wait may be longer on a busy machine, and not shorter.
        (Some(want), Some(have)) => {
            want.len() == have.len() && want.iter().zip(&have).all(|(want, have)| have >= want)
        }
        _ if want.starts_with('{') => {
            serde_json::from_str(have).is_ok_and(|have| parts(want) == parts(&java_text(&have)))
        }
        _ => want == have,
    };
    if recorded.len() == found.len() && recorded.iter().zip(found).all(|(want, have)| same(want, have)) {
        return Ok(());
    }
    Err(format!("the file has {found:?}, Connect's has {recorded:?}"))
}

/// Java's `toString` of a schemaless value.
fn java_text(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Object(fields) => {
            format!("{{{}}}", join(fields.iter().map(|(k, v)| format!("{k}={}", java_text(v))).collect()))
        }
        Value::Array(elements) => format!("[{}]", join(elements.iter().map(java_text).collect())),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A HashMap's order means nothing.
fn parts(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(", ").map(|part| part.trim_matches(['{', '}'])).collect();
    parts.sort_unstable();
    parts
}

/// Milliseconds of `waits_ms_rounded_100=[300, 600]`; a random one (`<RANDOM 0..500> x5`: five of them) may be 0.
fn waits(line: &str) -> Option<Vec<u64>> {
    let list = line.strip_prefix("waits_ms_rounded_100=[")?.strip_suffix(']')?;
    let items = list.split(", ").filter(|item| !item.is_empty());
    let each = |item: &str| match item.parse() {
        Ok(ms) => vec![ms],
        Err(_) => vec![0; item.rsplit_once(" x").and_then(|(_, times)| times.parse().ok()).unwrap_or(1)],
    };
    Some(items.flat_map(each).collect())
}
