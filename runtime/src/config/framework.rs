//! Connect's own keys of a connector, whatever its class.

use connector_core::ConfigMap;
use connector_core::config;
use schemars::JsonSchema;
use serde::Deserialize;

use super::connector::{Tolerance, TopicSelection, UnknownKeys};
use super::diagnostic::Report;
use super::settings::{Settings, whole};
use super::topics::name_problem;
use super::worker::listed;

/// Keys that every connector has.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct ConnectorKeys {
    /// The plugin: its short name, or the JVM class that it replaces.
    #[serde(default, rename = "connector.class")]
    pub class: Option<String>,
    /// The connector's name; the consumer group is `connect-<name>`.
    #[serde(default)]
    pub name: Option<String>,
    /// The most tasks that this connector may have.
    #[serde(default = "one", rename = "tasks.max")]
    #[schemars(range(min = 1))]
    pub tasks_max: usize,
    /// Topics that a sink reads.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Java regular expression of the topics that a sink reads; it has to match whole names.
    #[serde(default, rename = "topics.regex")]
    pub topics_regex: Option<String>,
    /// Transforms in their order; each has `transforms.<name>.type` and the keys of that type. In YAML also a list of
    /// maps with `name` and `type`.
    #[serde(default)]
    pub transforms: Vec<String>,
    /// Converter of the keys: `ByteArrayConverter`, `StringConverter`, `JsonConverter`; its own keys go below it.
    #[serde(default, rename = "key.converter")]
    pub key_converter: Option<String>,
    /// Converter of the values; none named: JSON without schemas (a named JsonConverter has `schemas.enable` on).
    #[serde(default, rename = "value.converter")]
    pub value_converter: Option<String>,
    /// `none`: a record that cannot be processed fails the task; `all`: it is skipped and counted.
    #[serde(default, rename = "errors.tolerance")]
    pub errors_tolerance: Tolerance,
    /// Whether a stopping sink publishes what it has instead of dropping the open tail, which is then read again.
    #[serde(default, rename = "flush.on.stop")]
    pub flush_on_stop: bool,
    /// `caught-up`: the connector ends once it has done all that there was when it began. `sidestream run --until
    /// caught-up` says so for all connectors.
    #[serde(default, rename = "run.until")]
    pub run_until: Option<Until>,
    /// What to do with keys that nothing knows; default: an error in YAML under a short name, else a warning.
    #[serde(default, rename = "config.unknown")]
    pub unknown_keys: Option<UnknownKeys>,
    /// Settings of this connector's consumers: `consumer.override.<client key>`.
    #[serde(default, rename = "consumer.override")]
    pub consumer_override: ConfigMap,
    /// Settings of this connector's producers: `producer.override.<client key>`.
    #[serde(default, rename = "producer.override")]
    pub producer_override: ConfigMap,
    /// Settings of this connector's admin client: `admin.override.<client key>`.
    #[serde(default, rename = "admin.override")]
    pub admin_override: ConfigMap,
}

/// When a connector ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Until {
    /// A source at its end; a sink at the ends that its topics had in the beginning.
    #[serde(rename = "caught-up")]
    CaughtUp,
}

fn one() -> usize {
    1
}

/// Keys of every connector, for "did you mean".
pub(super) fn names() -> Vec<String> {
    let schema = schemars::schema_for!(ConnectorKeys).to_value();
    let own: Vec<String> = config::keys(&schema).iter().map(|key| key.name.to_owned()).collect();
    let below = ["key.converter.schemas.enable", "value.converter.schemas.enable"].into_iter();
    let others = below.chain(INERT).chain(JUDGED).filter(|key| !key.ends_with('.'));
    own.into_iter().chain(others.map(str::to_owned)).collect()
}

/// Connect's keys that need no action here; `.` at the end stands for all keys below.
const INERT: [&str; 13] = [
    "tasks.max.enforce",
    "config.action.reload",
    "connector.plugin.version",
    "header.converter",
    "header.converter.",
    "errors.log.enable",
    "errors.log.include.messages",
    "errors.retry.delay.max.ms",
    "errors.deadletterqueue.topic.replication.factor",
    "errors.deadletterqueue.context.headers.enable",
    "transaction.boundary",
    "transaction.boundary.interval.ms",
    "offsets.storage.topic",
];

/// Keys that would change what happens to records, and so are judged one by one.
const JUDGED: [&str; 6] = [
    "errors.retry.timeout",
    "errors.deadletterqueue.topic.name",
    "exactly.once.support",
    "topic.creation.",
    "predicates",
    "predicates.",
];

/// A `name` beside the one that the file gives has to be the same.
pub(super) fn check_name(settings: &Settings, report: &mut Report) {
    let Some(written) = settings.get("name").map(str::trim) else { return };
    if settings.is_resolved("name") && settings.name.as_deref().map(str::trim) != Some(written) {
        let name = settings.name.as_deref().unwrap_or_default();
        let message = format!(
            "`name` says `{}`, but the connector is declared as `{name}`",
            settings.shown("name", written)
        );
        settings.error("name", message, "leave `name` out, or make both the same", report);
    }
}

/// What a sink reads: exactly one of `topics` and `topics.regex`.
pub(super) fn topics(sink: bool, settings: &mut Settings, report: &mut Report) -> TopicSelection {
    let nothing = TopicSelection::List(Vec::new());
    if !sink {
        return nothing;
    }
    settings.know("topics", false, report);
    settings.know("topics.regex", false, report);
    let filled = |key: &str| {
        settings.get(key).is_some_and(|text| !text.trim().is_empty() || !settings.is_resolved(key))
    };
    match (filled("topics"), filled("topics.regex")) {
        (true, true) => {
            let message = "`topics` and `topics.regex` are both set, and they exclude each other";
            settings.error("topics.regex", message, "keep one of them", report);
        }
        (false, false) => {
            let hint = "write `topics: a,b` or `topics.regex: prefix.*`";
            settings.error("topics", "a sink needs `topics` or `topics.regex`", hint, report);
        }
        (true, false) => return list(settings, report),
        (false, true) => {
            let pattern = settings.get("topics.regex").unwrap_or_default().trim().to_owned();
            if settings.is_resolved("topics.regex")
                && let Err(error) = whole(&pattern)
            {
                let message = format!("`topics.regex` is no regular expression: {error}");
                settings.error(
                    "topics.regex",
                    message,
                    "Java's syntax; it has to match whole topic names",
                    report,
                );
            }
            return TopicSelection::Pattern(pattern);
        }
    }
    nothing
}

fn list(settings: &Settings, report: &mut Report) -> TopicSelection {
    let mut topics = settings.list("topics");
    topics.sort();
    topics.dedup();
    let wrong = topics.iter().find_map(|topic| Some((topic, name_problem(topic)?)));
    if let Some((topic, problem)) = wrong.filter(|_| settings.is_resolved("topics")) {
        let hint = "for a pattern write `topics.regex`";
        settings.error(
            "topics",
            format!("`topics`: the name `{}` {problem}", settings.shown("topics", topic)),
            hint,
            report,
        );
    }
    TopicSelection::List(topics)
}

/// Keys that would change what happens to records and are not supported yet, and keys without effect.
pub(super) fn check(sink: bool, settings: &mut Settings, report: &mut Report) {
    for key in settings.unknown() {
        if listed(&JUDGED, &key) {
            settings.know(&key, false, report);
        } else if listed(&INERT, &key) {
            settings.inert(&key, report);
        }
    }
    if settings.get("predicates").is_some() {
        let hint = "without them a transform would apply to every record; take them out for now";
        settings.error("predicates", "`predicates` are not supported yet", hint, report);
    }
    let set = |key: &str| settings.get(key).map(str::trim).filter(|text| !text.is_empty());
    if sink && set("errors.deadletterqueue.topic.name").is_some() {
        let message = "`errors.deadletterqueue.topic.name`: dead letters are not supported yet";
        let hint = "without them rejected records would be lost; take the key out and leave `errors.tolerance: none`";
        settings.error("errors.deadletterqueue.topic.name", message, hint, report);
    }
    if set("errors.retry.timeout").is_some_and(|timeout| timeout != "0") {
        let message = "`errors.retry.timeout` has no effect yet";
        let hint = "what can be retried is retried until it succeeds; other errors fail the task at once";
        settings.warning("errors.retry.timeout", message, hint, report);
    }
    if set("exactly.once.support").is_some_and(|support| support.eq_ignore_ascii_case("required")) {
        let message = "`exactly.once.support: required`: sources deliver at least once so far";
        settings.error("exactly.once.support", message, "write `requested`, or leave the key out", report);
    }
    if let Some(key) = settings.keys().find(|key| key.starts_with("topic.creation.")).map(str::to_owned) {
        let message = "`topic.creation.*` has no effect yet";
        settings.warning(
            &key,
            message,
            "declare the topics under `topics:`, or let the broker create them",
            report,
        );
    }
}
