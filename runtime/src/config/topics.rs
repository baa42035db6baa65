//! The topics that are created or checked at start.

use connector_core::ConfigMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostic, Report};
use super::flatten::flatten;
use super::node::{Content, Entry};
use super::placeholder::Providers;
use super::settings::Settings;

/// A topic as `topics:` declares it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct TopicSpec {
    #[serde(skip)]
    pub name: String,
    /// Number of partitions; never shrunk.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub partitions: i32,
    /// Number of replicas; -1 leaves it to the broker.
    #[serde(default = "minus_one", rename = "replication.factor")]
    #[schemars(range(min = -1, max = 32767))]
    pub replication_factor: i32,
    /// The topic's own settings, such as `retention.ms`.
    #[serde(default)]
    pub config: ConfigMap,
}

fn one() -> i32 {
    1
}

fn minus_one() -> i32 {
    -1
}

/// What is wrong with a topic's name, if anything.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("is no name that Kafka takes"),
        _ if name.len() > 249 => Some("is longer than 249 characters"),
        _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
            Some("has a character that Kafka does not take")
        }
        _ => None,
    }
}

/// Reads the entries of all `topics:` blocks; placeholders are allowed in the names.
pub(super) fn read(entries: &[Entry], providers: &Providers<'_>, report: &mut Report) -> Vec<TopicSpec> {
    let mut topics: Vec<(TopicSpec, &Entry)> = Vec::new();
    for entry in entries {
        let error =
            |message: String, hint: String| Diagnostic::error(&entry.place, message).key("topics").hint(hint);
        let name = match providers.resolve(&entry.key) {
            Ok(resolved) => resolved,
            Err(problems) => {
                problems.into_iter().for_each(|p| report.add(error(p.message, p.hint)));
                continue;
            }
        };
        if let Some(problem) = name_problem(&name.text) {
            let shown = if !name.secrets.is_empty() { &entry.key } else { &name.text };
            let hint = "letters, digits, `.`, `_` and `-`, at most 249".to_owned();
            report.add(error(format!("the topic name `{shown}` {problem}"), hint));
        }
        if !matches!(entry.node.content, Content::Map(_) | Content::Null) {
            let hint = "write {partitions: 1}, or nothing after the colon".to_owned();
            report.add(error(format!("topic `{}` takes a map", entry.key), hint));
            continue;
        }
        if let Some((_, first)) = topics.iter().find(|(spec, _)| spec.name == name.text) {
            let hint = format!("the first one is at {}; keep one of them", first.place);
            report.add(error(format!("topic `{}` is declared twice", entry.key), hint));
            continue;
        }
        let mut settings =
            Settings::new(None, &entry.place, flatten(entry.node.entries(), report), providers, report);
        let spec = settings.typed::<TopicSpec>(&[], report);
        for key in settings.unknown() {
            let message = format!("`{key}` is no key of a topic");
            let hint =
                "there are `partitions`, `replication.factor` and `config`; Kafka's own go under `config`";
            settings.error(&key, message, hint, report);
        }
        topics.extend(spec.map(|spec| (TopicSpec { name: name.text, ..spec }, entry)));
    }
    topics.into_iter().map(|(spec, _)| spec).collect()
}
