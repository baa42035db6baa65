//! Exactly-once sources (KIP-618): what the worker allows, and what one connector asks for.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::connector::PluginUse;
use super::diagnostic::Report;
use super::framework::ConnectorKeys;
use super::settings::Settings;
use super::topics::name_problem;
use super::worker::WorkerConfig;

/// `exactly.once.source.support` of the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceSupport {
    #[default]
    #[serde(alias = "DISABLED")]
    Disabled,
    /// The first of Connect's two rolling steps; records are written as with `disabled`.
    #[serde(alias = "PREPARING")]
    Preparing,
    #[serde(alias = "ENABLED")]
    Enabled,
}

/// `exactly.once.support` of a connector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    #[default]
    #[serde(alias = "REQUESTED")]
    Requested,
    #[serde(alias = "REQUIRED")]
    Required,
}

/// `transaction.boundary`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoundaryKind {
    #[default]
    #[serde(alias = "POLL")]
    Poll,
    #[serde(alias = "INTERVAL")]
    Interval,
    #[serde(alias = "CONNECTOR")]
    Connector,
}

/// Where a transaction of a source task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// One transaction a polled batch.
    Poll,
    /// So long after its first record.
    Interval(Duration),
}

/// How a source connector writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactlyOnce {
    /// Records and positions go into transactions, if the brokers have them.
    pub enabled: bool,
    /// A task that cannot is not to run at all.
    pub required: bool,
    pub boundary: Boundary,
    /// Where this connector stores its positions instead of in the worker's topic.
    pub offsets_topic: Option<String>,
}

const KEYS: [&str; 4] = [
    "exactly.once.support",
    "transaction.boundary",
    "transaction.boundary.interval.ms",
    "offsets.storage.topic",
];

/// Reads the keys of one connector, which mean something where a source writes to Kafka.
pub(super) fn read(
    keys: &ConnectorKeys,
    worker: Option<&WorkerConfig>,
    source: Option<&PluginUse>,
    has_sink: bool,
    settings: &mut Settings,
    report: &mut Report,
) -> ExactlyOnce {
    let interval = keys.transaction_interval_ms.or(worker.map(|w| w.offset_flush_interval_ms));
    let boundary = match keys.transaction_boundary {
        BoundaryKind::Interval => Boundary::Interval(Duration::from_millis(interval.unwrap_or(60_000))),
        BoundaryKind::Poll | BoundaryKind::Connector => Boundary::Poll,
    };
    let enabled = worker.is_some_and(|w| w.exactly_once_source_support == SourceSupport::Enabled);
    let required = keys.exactly_once_support == Wish::Required;
    let offsets_topic = keys.offsets_topic.clone().filter(|topic| !topic.trim().is_empty());
    let read = ExactlyOnce { enabled, required, boundary, offsets_topic };
    // An unusable source was reported; nothing more can be said of it.
    if has_sink {
        KEYS.iter().for_each(|key| settings.inert(key, report));
    }
    let Some(source) = source.filter(|_| !has_sink) else { return read };
    if required && !enabled && worker.is_some() {
        let message = "`exactly.once.support` is `required`, but this worker runs sources at least once";
        let hint = "set `exactly.once.source.support: enabled` in the worker's keys, or leave this key out";
        settings.error("exactly.once.support", message, hint, report);
    } else if required && !is_able(source) {
        let message = format!(
            "`exactly.once.support` is `required`, but {} as it is configured here cannot say exactly what it has read",
            source.component.name
        );
        let hint = "write `requested`: its records then go into transactions too, but some may come twice";
        settings.error("exactly.once.support", message, hint, report);
    }
    if keys.transaction_boundary == BoundaryKind::Connector {
        let message =
            format!("`transaction.boundary`: {} sets no boundaries of its own", source.component.name);
        settings.error("transaction.boundary", message, "write `poll` or `interval`", report);
    }
    if let Some(problem) = read.offsets_topic.as_deref().and_then(name_problem) {
        let message = format!("`offsets.storage.topic`: the name {problem}");
        settings.error(
            "offsets.storage.topic",
            message,
            "letters, digits, `.`, `_` and `-`, at most 249",
            report,
        );
    }
    read
}

fn is_able(source: &PluginUse) -> bool {
    source
        .component
        .create_source(&source.config, &connector_core::TaskInfo::default())
        .is_ok_and(|source| source.exactly_once())
}
