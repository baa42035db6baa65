//! Connect's own keys of a connector, whatever its class.

use connector_core::ConfigMap;
use connector_core::config;
use connector_core::java::Pattern;
use schemars::JsonSchema;
use serde::Deserialize;

use super::connector::{ActionReload, Tolerance, TopicSelection, UnknownKeys};
use super::diagnostic::Report;
use super::exactly_once::{BoundaryKind, Wish};
use super::settings::Settings;
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
    /// Converter of the keys: `JsonConverter`, `StringConverter`, `ByteArrayConverter` (a sink leaves keys alone, which is
    /// the default), `LongConverter` and the others for numbers; its own keys go below it.
    #[serde(default, rename = "key.converter")]
    pub key_converter: Option<String>,
    /// Converter of the values; none named: JSON without schemas (a named JsonConverter has `schemas.enable` on).
    #[serde(default, rename = "value.converter")]
    pub value_converter: Option<String>,
    /// Converter that a sink's headers have to be readable with; none named, or `SimpleHeaderConverter`: any header will
    /// do. Headers stay the bytes that they are.
    #[serde(default, rename = "header.converter")]
    pub header_converter: Option<String>,
    /// `none`: a record that cannot be processed fails the task; `all`: it is skipped and counted.
    #[serde(default, rename = "errors.tolerance")]
    pub errors_tolerance: Tolerance,
    /// Milliseconds for which a failed operation is tried again; -1: for ever. 0: for ever too for calls of Kafka, of the
    /// sink and of the source, and not at all for converters and transforms.
    #[serde(default, rename = "errors.retry.timeout")]
    pub errors_retry_timeout: i64,
    /// The longest pause between two attempts, in milliseconds; the first is 300, and each next one twice as long.
    #[serde(default = "delay_max", rename = "errors.retry.delay.max.ms")]
    pub errors_retry_delay_max_ms: i64,
    /// Whether each record that cannot be processed is logged: stage, class and error.
    #[serde(default, rename = "errors.log.enable")]
    pub errors_log_enable: bool,
    /// Whether that line also says where the record is (topic, partition, offset, timestamp); never what it holds.
    #[serde(default, rename = "errors.log.include.messages")]
    pub errors_log_include_messages: bool,
    /// Topic to which a sink's records go that cannot be processed, as they came; none: there is no such queue.
    #[serde(default, rename = "errors.deadletterqueue.topic.name")]
    pub dead_letter_topic: String,
    /// Replicas of that topic, if it has to be made; -1 leaves it to the broker.
    #[serde(default = "three", rename = "errors.deadletterqueue.topic.replication.factor")]
    pub dead_letter_replication_factor: i16,
    /// Whether records in that topic carry headers that say where they came from and what was wrong.
    #[serde(default, rename = "errors.deadletterqueue.context.headers.enable")]
    pub dead_letter_headers: bool,
    /// How often a failed task is started again by itself within `restart.window.ms`; 0: never, as in Connect.
    #[serde(default = "restarts", rename = "restart.max.attempts")]
    pub restart_max_attempts: u32,
    /// The time, in milliseconds, within which restarts are counted.
    #[serde(default = "restart_window", rename = "restart.window.ms")]
    pub restart_window_ms: u64,
    /// What happens when a secret that a placeholder stands for has another value: `restart`, or `none` to use it at the next
    /// start only.
    #[serde(default, rename = "config.action.reload")]
    pub config_action_reload: ActionReload,
    /// A task that has something to do and gets nothing done for so many milliseconds is called STALLED.
    #[serde(default = "stall_timeout", rename = "task.stall.timeout.ms")]
    pub task_stall_timeout_ms: u64,
    /// Whether a stopping sink publishes what it has instead of dropping the open tail, which is then read again.
    #[serde(default, rename = "flush.on.stop")]
    pub flush_on_stop: bool,
    /// `caught-up`: the connector ends once it has done all that there was when it began. `sidestream run --until
    /// caught-up` says so for all connectors.
    #[serde(default, rename = "run.until")]
    pub run_until: Option<Until>,
    /// Sources: `required` refuses to run one that cannot deliver exactly once; `requested` lets it run at least once.
    #[serde(default, rename = "exactly.once.support")]
    pub exactly_once_support: Wish,
    /// Sources, where the worker has `exactly.once.source.support: enabled`: a transaction is one polled batch (`poll`), or
    /// what was polled in an `interval`.
    #[serde(default, rename = "transaction.boundary")]
    pub transaction_boundary: BoundaryKind,
    /// How long a transaction of `transaction.boundary: interval` takes, in ms; default: the worker's
    /// `offset.flush.interval.ms`. One whose records take 32 MiB ends earlier.
    #[serde(default, rename = "transaction.boundary.interval.ms")]
    #[schemars(range(min = 1))]
    pub transaction_interval_ms: Option<u64>,
    /// Sources: topic for the positions of this connector alone. What it does not hold yet is taken from the worker's.
    #[serde(default, rename = "offsets.storage.topic")]
    pub offsets_topic: Option<String>,
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

fn three() -> i16 {
    3
}

fn delay_max() -> i64 {
    60_000
}

fn restarts() -> u32 {
    3
}

fn restart_window() -> u64 {
    600_000
}

fn stall_timeout() -> u64 {
    60_000
}

/// Keys of every connector, for "did you mean".
pub(super) fn names() -> Vec<String> {
    let schema = schemars::schema_for!(ConnectorKeys).to_value();
    let own: Vec<String> = config::keys(&schema).iter().map(|key| key.name.to_owned()).collect();
    let below = ["key.converter.schemas.enable", "value.converter.schemas.enable"].into_iter();
    let others = below.chain(INERT).chain(JUDGED).chain(["predicates"]).filter(|key| !key.ends_with('.'));
    own.into_iter().chain(others.map(str::to_owned)).collect()
}

/// Connect's keys that need no action here; `.` at the end stands for all keys below.
const INERT: [&str; 2] = ["tasks.max.enforce", "connector.plugin.version"];

/// Keys that would change what happens to records, and so are judged one by one.
const JUDGED: [&str; 1] = ["topic.creation."];

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
                && let Err(error) = Pattern::new(&pattern)
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
pub(super) fn check(settings: &mut Settings, report: &mut Report) {
    for key in settings.unknown() {
        if listed(&JUDGED, &key) {
            settings.know(&key, false, report);
        } else if listed(&INERT, &key) {
            settings.inert(&key, report);
        }
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
