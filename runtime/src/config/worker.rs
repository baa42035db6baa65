//! The worker's own keys.

use std::fmt;
use std::path::PathBuf;

use connector_core::ConfigMap;
use connector_core::config::nearest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::Declaration;
use super::connector::UnknownKeys;
use super::converter::{self, ConverterUse, Side};
use super::diagnostic::{Diagnostic, Report};
use super::exactly_once::SourceSupport;
use super::flatten::{Flat, flatten};
use super::node::{Content, Entry, Node, Place};
use super::override_policy::OverridePolicy;
use super::placeholder::{Env, Providers};
use super::remote::SecretCache;
use super::settings::{SecretSet, Settings};
use crate::kafka::client::JAVA_ONLY;

/// Connect's worker keys.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct WorkerConfig {
    /// Kafka brokers to begin with, `host:port,host:port`.
    #[serde(default, rename = "bootstrap.servers")]
    pub bootstrap_servers: Option<String>,
    /// Name of the workers that work together.
    #[serde(default = "sidestream", rename = "group.id")]
    pub group_id: String,
    /// Name of this worker, the same after a restart. Default: the host name.
    #[serde(default = "host_name", rename = "worker.id")]
    #[schemars(extend("default" = null))]
    pub worker_id: String,
    /// Addresses on which `/health` and `/metrics` are served.
    #[serde(default = "loopback")]
    pub listeners: Vec<String>,
    /// Directories and files in which plugin libraries (`.so`) are looked for.
    #[serde(default, rename = "plugin.path")]
    pub plugin_path: Vec<PathBuf>,
    /// Plugin libraries by name, each with an optional checksum.
    #[serde(skip)]
    pub plugins: Vec<PluginFile>,
    /// Topic in which sources store their positions. Default: `<group.id>-offsets`.
    #[serde(default, rename = "offset.storage.topic")]
    pub offset_storage_topic: String,
    /// Partitions with which the offsets topic is created.
    #[serde(default = "twenty_five", rename = "offset.storage.partitions")]
    #[schemars(range(min = 1))]
    pub offset_storage_partitions: i32,
    /// Replicas with which the offsets topic is created; -1 leaves it to the broker.
    #[serde(default = "minus_one", rename = "offset.storage.replication.factor")]
    #[schemars(range(min = -1, max = 32767))]
    pub offset_storage_replication_factor: i32,
    /// File in which sources store their positions when there is no Kafka (only direct pipelines).
    #[serde(default, rename = "offset.storage.file.filename")]
    pub offset_storage_file: Option<PathBuf>,
    /// `enabled`: source tasks write their records and positions in transactions, and only one task of its name can.
    #[serde(default, rename = "exactly.once.source.support")]
    pub exactly_once_source_support: SourceSupport,
    /// Default of a connector's `transaction.boundary.interval.ms`, in ms. Nothing else waits for it here.
    #[serde(default = "a_minute", rename = "offset.flush.interval.ms")]
    #[schemars(range(min = 1))]
    pub offset_flush_interval_ms: u64,
    /// How long tasks may take to stop, in ms.
    #[serde(default = "five_seconds", rename = "task.shutdown.graceful.timeout.ms")]
    pub task_shutdown_graceful_timeout_ms: u64,
    /// Bytes of records that the process may hold; default: what the machine allows.
    #[serde(default, rename = "memory.budget.bytes")]
    #[schemars(range(min = 1))]
    pub memory_budget_bytes: Option<u64>,
    /// After how many ms without a sign of life a task's partitions go to another worker.
    #[serde(default = "forty_five_seconds", rename = "session.timeout.ms")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub session_timeout_ms: u32,
    /// Namespace of CloudWatch under which metrics are printed to the standard output, in its embedded metric format and
    /// with the names of MSK Connect's; without it none are.
    #[serde(default, rename = "metrics.emf.namespace")]
    pub metrics_emf_namespace: Option<String>,
    /// How often, in ms.
    #[serde(default = "a_minute", rename = "metrics.emf.interval.ms")]
    #[schemars(range(min = 100))]
    pub metrics_emf_interval_ms: u64,
    /// How often tasks show that they are alive, in ms.
    #[serde(default = "three_seconds", rename = "heartbeat.interval.ms")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub heartbeat_interval_ms: u32,
    /// Which client keys a connector may set for itself (`consumer.override.`, `producer.override.`): `All`, `None` or
    /// `Principal` (only `security.protocol`, `sasl.mechanism`, `sasl.jaas.config`).
    #[serde(default, rename = "connector.client.config.override.policy")]
    pub override_policy: OverridePolicy,
    /// What to do with keys that nothing knows; default: an error in YAML under a short name, else a warning.
    #[serde(default, rename = "config.unknown")]
    pub unknown_keys: Option<UnknownKeys>,
    /// Settings of all producers: `producer.<client key>`.
    #[serde(default)]
    pub producer: ConfigMap,
    /// Settings of all consumers: `consumer.<client key>`.
    #[serde(default)]
    pub consumer: ConfigMap,
    /// Settings of the admin client: `admin.<client key>`.
    #[serde(default)]
    pub admin: ConfigMap,
    /// Settings of all clients, as they stand at the worker's level: `security.protocol`, `sasl.*`, `ssl.*`, …
    #[serde(skip)]
    pub client: ConfigMap,
    /// Key converter of connectors that name none; its own keys go below it.
    #[serde(default, rename = "key.converter")]
    pub key_converter_class: Option<String>,
    /// Value converter of connectors that name none; its own keys go below it.
    #[serde(default, rename = "value.converter")]
    pub value_converter_class: Option<String>,
    #[serde(skip)]
    pub key_converter: Option<ConverterUse>,
    #[serde(skip)]
    pub value_converter: Option<ConverterUse>,
    #[serde(skip)]
    pub secrets: SecretSet,
    /// All keys of the files, for comparison with those of later ones.
    #[serde(skip)]
    pub declaration: Declaration,
    /// Whether the files name brokers, also by a placeholder that has no value now.
    #[serde(skip)]
    pub(super) names_brokers: bool,
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client maps hold passwords.
        f.debug_struct("WorkerConfig").field("group_id", &self.group_id).finish_non_exhaustive()
    }
}

/// A plugin library that is named by its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PluginFile {
    /// The library.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal; another file is refused.
    pub sha256: Option<String>,
}

fn sidestream() -> String {
    "sidestream".to_owned()
}

fn host_name() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    Some(name.trim()).filter(|n| !n.is_empty()).unwrap_or("localhost").to_owned()
}

fn loopback() -> Vec<String> {
    vec!["http://127.0.0.1:8083".to_owned()]
}

fn twenty_five() -> i32 {
    25
}

fn minus_one() -> i32 {
    -1
}

fn three_seconds() -> u32 {
    3000
}

fn five_seconds() -> u64 {
    5000
}

fn a_minute() -> u64 {
    60_000
}

fn forty_five_seconds() -> u32 {
    45_000
}

/// Beginnings of keys that every Kafka client has.
const CLIENT: [&str; 14] = [
    "security.",
    "sasl.",
    "ssl.",
    "client.",
    "metadata.",
    "reconnect.",
    "retry.backoff.",
    "request.timeout.ms",
    "connections.max.idle.ms",
    "receive.buffer.bytes",
    "send.buffer.bytes",
    "socket.",
    "broker.",
    "enable.ssl.",
];

/// Connect's worker keys that need no action here; `.` at the end stands for all keys below.
const INERT: [&str; 33] = [
    "access.control.",
    "admin.listeners",
    "config.storage.",
    "connect.protocol",
    "connections.max.reauth.ms",
    "default.api.timeout.ms",
    "header.converter",
    "header.converter.",
    "inter.worker.",
    "internal.key.converter",
    "internal.key.converter.",
    "internal.value.converter",
    "internal.value.converter.",
    "listeners.https.",
    "metric.reporters",
    "metrics.",
    "auto.include.jmx.reporter",
    "offset.flush.timeout.ms",
    "plugin.discovery",
    "rebalance.timeout.ms",
    "response.http.headers.config",
    "rest.",
    "scheduled.rebalance.max.delay.ms",
    "status.storage.",
    "task.shutdown.",
    "topic.creation.enable",
    "topic.tracking.",
    "worker.sync.timeout.ms",
    "worker.unsync.backoff.ms",
    "group.protocol",
    "exclude.internal.topics",
    "log4j.",
    "tasks.max.enforce",
];

/// Whether `key` is one of `patterns`, or below one that ends in a dot.
pub(super) fn listed(patterns: &[&str], key: &str) -> bool {
    patterns.iter().any(|p| *p == key || (p.ends_with('.') && key.starts_with(p)))
}

/// The `plugins:` list, which is no Connect key and so may hold maps.
fn plugin_files(entry: &Entry, providers: &Providers<'_>, report: &mut Report) -> Vec<PluginFile> {
    let items = match &entry.node.content {
        Content::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.node),
    };
    let mut files = Vec::new();
    for item in items {
        let path = item.scalar().or_else(|| item.get("path")?.node.scalar());
        let sha256 = item.get("sha256").and_then(|e| e.node.scalar()).map(str::to_ascii_lowercase);
        let right = |sum: &str| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        let Some(path) = path else {
            let message = "a plugin library has no `path`";
            report.add(
                Diagnostic::error(&item.place, message).key("plugins").hint("write {path: /plugins/x.so}"),
            );
            continue;
        };
        if !sha256.as_deref().is_none_or(right) {
            let message = "`sha256` of a plugin library is not 64 hexadecimal digits";
            report.add(Diagnostic::error(&item.place, message).key("plugins").hint("sha256sum prints it"));
        }
        for other in item.entries().iter().filter(|e| e.key != "path" && e.key != "sha256") {
            let message = format!("`{}` is no key of a plugin library", other.key);
            report.add(
                Diagnostic::error(&other.place, message).key("plugins").hint("there are `path` and `sha256`"),
            );
        }
        match providers.resolve(path) {
            Ok(path) => files.push(PluginFile { path: PathBuf::from(path.text), sha256 }),
            Err(all) => all.into_iter().for_each(|p| {
                report.add(Diagnostic::error(&item.place, p.message).key("plugins").hint(p.hint));
            }),
        }
    }
    files
}

/// Providers that `config.providers` declares, beside those that are always there.
fn declared_providers<'a>(
    flat: &Flat,
    env: Env<'a>,
    secrets: &SecretCache,
    report: &mut Report,
) -> Providers<'a> {
    let mut providers = Providers::new(env, secrets);
    let Some(names) = flat.get("config.providers") else { return providers };
    for name in names.text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let key = |rest: &str| format!("config.providers.{name}.{rest}");
        let text = |rest: &str| flat.get(&key(rest)).map(|s| s.text.as_str());
        let Some(class) = text("class") else {
            let message = format!("`{}` is missing", key("class"));
            report.add(Diagnostic::error(&names.place, message).key("config.providers"));
            continue;
        };
        let param = |rest: &str| text(&format!("param.{rest}")).map(str::to_owned);
        if let Err(problem) = providers.declare(name, class, &param) {
            let place = flat.get(&key("class")).map_or(&names.place, |s| &s.place);
            report.add(Diagnostic::error(place, problem.message).key(&key("class")).hint(problem.hint));
        }
    }
    providers
}

/// A `worker:` block, or a worker's file.
pub(super) struct Section {
    pub node: Node,
    pub place: Place,
    /// Unknown keys are warnings.
    pub lenient: bool,
}

/// Reads the worker's keys from all sections; `None` when something is wrong, which is then reported.
pub(super) fn read<'a>(
    sections: &[Section],
    env: Env<'a>,
    secrets: &SecretCache,
    report: &mut Report,
) -> (Option<WorkerConfig>, Providers<'a>) {
    let plugins_key = |entry: &&Entry| entry.key == "plugins";
    let all: Vec<Entry> = sections.iter().flat_map(|s| s.node.entries()).cloned().collect();
    let (lists, entries): (Vec<Entry>, Vec<Entry>) = all.into_iter().partition(|e| plugins_key(&e));
    let flat = flatten(&entries, report);
    let providers = declared_providers(&flat, env, secrets, report);
    let plugins = lists.iter().flat_map(|list| plugin_files(list, &providers, report)).collect();

    let nowhere = Place::start_of(&"".into());
    let place = sections.first().map_or(&nowhere, |s| &s.place);
    let mut settings = Settings::new(None, place, flat, &providers, report);
    let typed = settings.typed::<WorkerConfig>(&[], report);
    let key_converter = converter::at_worker(Side::Key, &mut settings, report);
    let value_converter = converter::at_worker(Side::Value, &mut settings, report);
    settings.know_all("config.providers", report);
    java_only(&["", "producer.", "consumer.", "admin."], &mut settings, report);
    let client = client_keys(&mut settings, report);
    let lenient = sections.iter().all(|s| s.lenient);
    unknown(&mut settings, lenient, typed.as_ref().and_then(|w| w.unknown_keys), report);
    let names_brokers = settings.get("bootstrap.servers").is_some_and(|b| !b.trim().is_empty())
        || !settings.is_resolved("bootstrap.servers");
    let declaration = settings.declaration();
    let secrets = settings.finish(report);
    let config = typed.map(|mut worker| {
        worker.bootstrap_servers = worker.bootstrap_servers.filter(|servers| !servers.trim().is_empty());
        if worker.offset_storage_topic.is_empty() {
            worker.offset_storage_topic = format!("{}-offsets", worker.group_id);
        }
        WorkerConfig {
            plugins,
            client,
            key_converter,
            value_converter,
            secrets,
            declaration,
            names_brokers,
            ..worker
        }
    });
    (config, providers)
}

/// Lists the keys below `prefixes` that only Java's clients have.
pub(super) fn java_only(prefixes: &[&str], settings: &mut Settings, report: &mut Report) {
    for prefix in prefixes {
        JAVA_ONLY.iter().for_each(|key| settings.inert(&format!("{prefix}{key}"), report));
    }
}

fn client_keys(settings: &mut Settings, report: &mut Report) -> ConfigMap {
    let client = |key: &&String| CLIENT.iter().any(|p| key.starts_with(p)) && !listed(&INERT, key);
    let keys: Vec<String> = settings.unknown().into_iter().filter(|key| client(&key)).collect();
    let mut map = ConfigMap::new();
    for key in keys {
        settings.know_all(&key, report);
        map.extend(settings.get(&key).map(|text| (key.clone(), text.to_owned())));
    }
    map
}

fn unknown(settings: &mut Settings, lenient: bool, wish: Option<UnknownKeys>, report: &mut Report) {
    let schema = schemars::schema_for!(WorkerConfig).to_value();
    let keys = connector_core::config::keys(&schema);
    for key in settings.unknown() {
        if listed(&INERT, &key) {
            settings.inert(&key, report);
            continue;
        }
        let own = keys.iter().map(|k| k.name).chain(["plugins"]);
        let known = own.chain(INERT).chain(["security.protocol", "sasl.mechanism", "sasl.jaas.config"]);
        let hint = match nearest(&key, known.filter(|k| !k.ends_with('.'))) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "`producer.`, `consumer.` or `admin.` in front make it a client's key".to_owned(),
        };
        UnknownKeys::report(
            wish,
            lenient,
            settings,
            &key,
            format!("`{key}` is no key of the worker"),
            hint,
            report,
        );
    }
}
