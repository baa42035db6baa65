//! `errors.*`: what a connector does with records that cannot be processed (KIP-298).

use std::time::Duration;

use super::connector::TopicSelection;
use super::diagnostic::Report;
use super::framework::ConnectorKeys;
use super::settings::Settings;
use super::topics::name_problem;
use super::worker::WorkerConfig;
use crate::task::retry::RetryPolicy;
use connector_core::java::Pattern;

const TOPIC: &str = "errors.deadletterqueue.topic.name";

/// What a connector does with records that cannot be processed, beside skipping them or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorHandling {
    pub retries: RetryPolicy,
    pub log: ErrorLog,
    /// Of sinks only.
    pub dead_letters: Option<DeadLetterTopic>,
}

/// Whether each record that cannot be processed is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorLog {
    pub enabled: bool,
    /// With where the record is; never with what it holds.
    pub with_place: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterTopic {
    pub name: String,
    /// -1: the broker's default.
    pub replication_factor: i32,
    pub context_headers: bool,
}

/// The keys and what Connect says of a value that it cannot read as their type.
const TYPES: [(&str, Type); 7] = [
    ("errors.tolerance", Type::Tolerance),
    ("errors.retry.timeout", Type::Long),
    ("errors.retry.delay.max.ms", Type::Long),
    ("errors.log.enable", Type::Boolean),
    ("errors.log.include.messages", Type::Boolean),
    ("errors.deadletterqueue.topic.replication.factor", Type::Short),
    ("errors.deadletterqueue.context.headers.enable", Type::Boolean),
];

enum Type {
    Tolerance,
    Long,
    Short,
    Boolean,
}

impl Type {
    /// What is wrong with a value, in Connect's words, and what to write.
    fn problem(&self, text: &str) -> Option<(&'static str, &'static str)> {
        let (fits, problem, hint) = match self {
            Self::Tolerance => (
                ["none", "all"].contains(&text),
                "String must be one of: none, all",
                "`none` fails the task at a record that cannot be processed, `all` skips such records",
            ),
            Self::Long => {
                (text.parse::<i64>().is_ok(), "Not a number of type LONG", "write milliseconds: 60000")
            }
            Self::Short => {
                (text.parse::<i16>().is_ok(), "Not a number of type SHORT", "write a number of replicas: 3")
            }
            Self::Boolean => (
                ["true", "false"].contains(&text.to_ascii_lowercase().as_str()),
                "Expected value to be either true or false",
                "write true or false",
            ),
        };
        (!fits).then_some((problem, hint))
    }
}

/// Says in Connect's words which of these keys have values that nobody can read; it is the first to look at them.
pub(super) fn check_types(settings: &mut Settings, report: &mut Report) {
    for (key, kind) in TYPES {
        let Some(text) = settings.get(key).map(str::trim).filter(|text| !text.is_empty()) else { continue };
        let Some((problem, hint)) = kind.problem(text).filter(|_| settings.is_resolved(key)) else {
            continue;
        };
        let text = settings.shown(key, text);
        let message = format!("Invalid value {text} for configuration {key}: {problem}");
        settings.error(key, message, hint, report);
        settings.reported(key);
    }
}

/// What the keys of a connector say together; problems are reported.
pub(super) fn read(
    keys: &ConnectorKeys,
    (sink, direct): (bool, bool),
    topics: &TopicSelection,
    worker: Option<&WorkerConfig>,
    settings: &mut Settings,
    report: &mut Report,
) -> ErrorHandling {
    if !sink {
        let queue: Vec<String> = settings
            .keys()
            .filter(|key| key.starts_with("errors.deadletterqueue."))
            .map(str::to_owned)
            .collect();
        queue.iter().for_each(|key| settings.inert(key, report));
    }
    let name = keys.dead_letter_topic.trim();
    let dead_letters = (sink && !name.is_empty()).then(|| DeadLetterTopic {
        name: name.to_owned(),
        replication_factor: i32::from(keys.dead_letter_replication_factor),
        context_headers: keys.dead_letter_headers,
    });
    match &dead_letters {
        Some(queue) => check_topic(&queue.name, topics, (direct, worker), settings, report),
        None if sink && keys.errors_tolerance == super::Tolerance::All && !settings_has_queue(settings) => {
            let message = "`errors.tolerance: all` without a dead letter queue: records that cannot be processed are only \
                           counted and logged, and then gone";
            let hint = format!("name a topic for them: `{TOPIC}: <topic>`");
            settings.warning("errors.tolerance", message, hint, report);
        }
        None => {}
    }
    ErrorHandling {
        retries: RetryPolicy {
            timeout_ms: keys.errors_retry_timeout,
            delay_max: Duration::from_millis(u64::try_from(keys.errors_retry_delay_max_ms).unwrap_or(0)),
        },
        log: ErrorLog { enabled: keys.errors_log_enable, with_place: keys.errors_log_include_messages },
        dead_letters,
    }
}

/// A name whose placeholder was reported is a queue too.
fn settings_has_queue(settings: &Settings) -> bool {
    settings.get(TOPIC).is_some() && !settings.is_resolved(TOPIC)
}

fn check_topic(
    name: &str,
    topics: &TopicSelection,
    (direct, worker): (bool, Option<&WorkerConfig>),
    settings: &Settings,
    report: &mut Report,
) {
    if !settings.is_resolved(TOPIC) {
        return;
    }
    let shown = settings.shown(TOPIC, name);
    if let Some(problem) = name_problem(name) {
        let hint = "letters, digits, `.`, `_` and `-`, at most 249";
        settings.error(TOPIC, format!("`{TOPIC}`: the name `{shown}` {problem}"), hint, report);
    }
    if direct && worker.is_some_and(|worker| !worker.names_brokers) {
        let message = format!("`{TOPIC}` needs Kafka, and the worker has none");
        let hint = "name `bootstrap.servers` in the worker's keys, or leave the queue out";
        settings.error(TOPIC, message, hint, report);
    }
    let hint = "a sink that reads its own dead letters would never come to an end: give the queue a topic of its own";
    match topics {
        TopicSelection::List(list) if list.iter().any(|topic| topic == name) => {
            let written = settings.list("topics").join(", ");
            let message = format!(
                "The DLQ topic '{shown}' may not be included in the list of topics ('topics=[{}]') consumed by the \
                 connector",
                settings.shown("topics", &written)
            );
            settings.error("topics", message, hint, report);
        }
        TopicSelection::Pattern(pattern) if Pattern::new(pattern).is_ok_and(|regex| regex.matches(name)) => {
            let message = format!(
                "The DLQ topic '{shown}' may not be matched by the regex for the topics ('topics.regex={}') consumed by the \
                 connector",
                settings.shown("topics.regex", pattern)
            );
            settings.error("topics.regex", message, hint, report);
        }
        _ => {}
    }
}
