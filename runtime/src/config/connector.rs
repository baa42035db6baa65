//! A connector: Connect's own keys, its plugins, its transforms.

use std::fmt;
use std::time::Duration;

use connector_core::config::{self, nearest};
use connector_core::java::Pattern;
use connector_core::{Component, ConfigMap, Kind, TaskInfo};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::change::Declaration;
use super::check;
use super::converter::{self, ConverterUse, Side};
use super::diagnostic::{Diagnostic, Report};
use super::documents::Declared;
use super::errors::{self, ErrorHandling};
use super::exactly_once::{self, ExactlyOnce};
use super::flatten::flatten;
use super::framework;
use super::node::Place;
use super::placeholder::Providers;
use super::settings::{SecretSet, Settings, owner};
use super::transform::{self, TransformUse};
use super::worker::{WorkerConfig, java_only, listed};
use crate::plugin::registry::Registry;

/// A connector, checked: its task can be made.
#[derive(Clone)]
pub struct ConnectorConfig {
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    pub source: Option<PluginUse>,
    pub sink: Option<PluginUse>,
    pub transforms: Vec<TransformUse>,
    pub tasks_max: usize,
    /// It ends once it is caught up.
    pub bounded_run: bool,
    /// Its source, if it has one, comes to an end.
    pub bounded_source: bool,
    /// What a sink reads; an empty list for a source.
    pub topics: TopicSelection,
    pub key_converter: ConverterUse,
    pub value_converter: ConverterUse,
    /// Of a sink that reads from Kafka.
    pub header_converter: ConverterUse,
    pub errors_tolerance: Tolerance,
    pub errors: ErrorHandling,
    pub restarts: Restarts,
    /// How long a task may rest with work to do before it is called stalled.
    pub stall_timeout: Duration,
    pub flush_on_stop: bool,
    pub exactly_once: ExactlyOnce,
    pub action_reload: ActionReload,
    pub consumer_overrides: ConfigMap,
    pub producer_overrides: ConfigMap,
    pub admin_overrides: ConfigMap,
    /// For redaction of what leaves the process.
    pub secrets: SecretSet,
    /// All its keys, for comparison with those of later files.
    pub declaration: Declaration,
}

/// How often a failed task is started again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// At most so many within `window`; 0: never, as in Connect.
    pub attempts: u32,
    pub window: Duration,
}

impl fmt::Debug for ConnectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A source or a sink with its typed configuration.
#[derive(Clone)]
pub struct PluginUse {
    pub component: Component,
    /// Typed by the component's schema; may hold secrets.
    pub config: Value,
}

impl fmt::Debug for PluginUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginUse").field("component", &self.component).finish_non_exhaustive()
    }
}

/// The topics that a sink reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSelection {
    List(Vec<String>),
    /// A Java regular expression that matches whole names.
    Pattern(String),
}

impl TopicSelection {
    /// Which of `names` are selected.
    pub fn select<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let regex = match self {
            Self::List(list) => {
                return names.into_iter().filter(|name| list.iter().any(|topic| topic == name)).collect();
            }
            Self::Pattern(pattern) => Pattern::new(pattern).ok(),
        };
        let matches = |name: &&str| regex.as_ref().is_some_and(|regex| regex.matches(name));
        names.into_iter().filter(matches).collect()
    }
}

/// What to do with a record that cannot be processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tolerance {
    /// The task fails.
    #[default]
    None,
    /// The record is skipped and counted.
    All,
}

/// What happens to a running connector when a secret of its has another value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionReload {
    /// It starts again with the new value.
    #[default]
    Restart,
    /// It goes on; the new value is used at its next start.
    None,
}

/// What to do with keys that nothing knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownKeys {
    Error,
    Warn,
}

impl UnknownKeys {
    /// Reports an unknown key as the configuration wishes; `lenient` decides when it says nothing.
    pub(super) fn report(
        wish: Option<Self>,
        lenient: bool,
        settings: &Settings,
        key: &str,
        message: String,
        hint: String,
        report: &mut Report,
    ) {
        match wish.unwrap_or(if lenient { Self::Warn } else { Self::Error }) {
            Self::Error => settings.error(key, message, hint, report),
            Self::Warn => settings.warning(key, message, hint, report),
        }
    }
}

/// Where a plugin's class and keys are written.
pub(super) struct PluginKeys<'a> {
    pub class: &'a str,
    pub class_key: &'a str,
    /// In front of the plugin's own keys.
    pub prefix: &'a str,
    pub kinds: &'a [Kind],
    /// The connector has both ends.
    pub direct: bool,
}

/// Checks the plugins of one connector and remembers what unknown keys may have meant.
pub(super) struct Checker<'a> {
    registry: &'a Registry,
    yaml: bool,
    wish: Option<UnknownKeys>,
    /// Per prefix: the class, the names of its keys, whether unknown ones are only warnings.
    schemas: Vec<(String, String, Vec<String>, bool)>,
}

impl Checker<'_> {
    /// Finds a plugin and checks its keys; problems are reported.
    pub fn plugin(
        &mut self,
        keys: &PluginKeys<'_>,
        settings: &mut Settings,
        report: &mut Report,
    ) -> Option<(Component, Option<Value>)> {
        let prefix = keys.prefix;
        let found = match self.registry.find(keys.class, keys.kinds) {
            Ok(component) => component.clone(),
            Err(error) => {
                settings.know_all(prefix, report);
                if settings.is_resolved(keys.class_key) {
                    let (class, shown) = (keys.class, settings.shown(keys.class_key, keys.class));
                    let message = error.message.replace(&format!("`{class}`"), &format!("`{shown}`"));
                    settings.no_plugin(keys.class_key, message, error.hint, report);
                }
                return None;
            }
        };
        settings.know_schema(&found.schema, prefix, report);
        let inert: Vec<&str> = found.inert_keys.iter().map(String::as_str).collect();
        let own = config::keys(&found.schema);
        for key in settings.under(prefix).into_keys() {
            if listed(&inert, &key) && owner(&own, &key).is_none() {
                settings.inert(&format!("{prefix}{key}"), report);
            }
        }
        let names = own.iter().map(|key| key.name.to_owned()).collect();
        let lenient = !self.yaml || keys.class != found.name;
        self.schemas.push((prefix.to_owned(), found.name.clone(), names, lenient));

        let map = settings.under(prefix);
        let task = TaskInfo { direct: keys.direct, ..TaskInfo::default() };
        let skip = |key: &str| !settings.is_resolved(&format!("{prefix}{key}"));
        let checked = check::all(&found.schema, &map, skip, |value| match found.kind() {
            Kind::Source => found.create_source(value, &task).map(drop),
            Kind::Transform => found.create_transform(value, &task).map(drop),
            Kind::Predicate => found.create_predicate(value, &task).map(drop),
            Kind::Sink => found.create_sink(value, &task).map(drop),
        });
        match checked {
            Ok((value, ())) => Some((found, Some(value))),
            Err(problems) => {
                settings.problems(prefix, problems, report);
                Some((found, None))
            }
        }
    }

    /// A key beside the `source:` and `sink:` blocks.
    fn unknown_in_pipeline(&self, settings: &Settings, key: &str, report: &mut Report) {
        if self.schemas.is_empty() {
            return;
        }
        let framework = framework::names();
        let inside = self.schemas.iter().find(|(prefix, _, names, _)| {
            matches!(prefix.as_str(), "source." | "sink.") && names.iter().any(|name| name == key)
        });
        let hint = match (key, inside, nearest(key, framework.iter().map(String::as_str))) {
            ("topics" | "topics.regex", ..) => "records do not pass through topics here".to_owned(),
            (_, Some((prefix, ..)), _) => format!("it belongs below `{}:`", prefix.trim_end_matches('.')),
            (_, _, Some(near)) => format!("did you mean `{near}`?"),
            _ => "a plugin's own keys go below `source:` or `sink:`".to_owned(),
        };
        let message = format!("`{key}` is no key of a connector with `source:` and `sink:`");
        UnknownKeys::report(self.wish, !self.yaml, settings, key, message, hint, report);
    }

    fn unknown(&self, settings: &Settings, source: bool, report: &mut Report) {
        let framework = framework::names();
        for key in settings.unknown() {
            let (prefix, class, names, lenient) =
                match self.schemas.iter().rev().find(|s| key.starts_with(&s.0)) {
                    Some(schema) => schema,
                    None => {
                        self.unknown_in_pipeline(settings, &key, report);
                        continue;
                    }
                };
            let name = key.strip_prefix(prefix.as_str()).unwrap_or(&key);
            let framework = framework.iter().filter(|_| !prefix.starts_with("transforms."));
            let own = names.iter().chain(framework).map(String::as_str);
            let hint = match (name, nearest(name, own)) {
                ("topics" | "topics.regex", _) if source => {
                    "a source's own keys say where it writes".to_owned()
                }
                (_, Some(near)) => format!("did you mean `{prefix}{near}`?"),
                _ => format!("`sidestream describe {class}` lists its keys"),
            };
            let message = format!("`{key}` is no key of {class}");
            UnknownKeys::report(self.wish, *lenient, settings, &key, message, hint, report);
        }
    }
}

/// Reads one connector; `None` when something is wrong, which is then reported.
pub(super) fn read(
    declared: &Declared,
    worker: Option<&WorkerConfig>,
    registry: &Registry,
    providers: &Providers<'_>,
    report: &mut Report,
) -> Option<ConnectorConfig> {
    let name = declared.name.as_str();
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        let message = "a connector's name is empty or holds control characters";
        report.add(Diagnostic::error(&declared.place, message).hint("give it a name of visible characters"));
    }
    let before = report.len();
    let flat = flatten(declared.node.entries(), report);
    report.assign(before, name);
    let mut settings = Settings::new(Some(name), &declared.place, flat, providers, report);
    errors::check_types(&mut settings, report);
    let common = settings.typed::<framework::ConnectorKeys>(&["topics", "topics.regex"], report);
    let wish = common.as_ref().and_then(|c| c.unknown_keys).or(worker.and_then(|w| w.unknown_keys));
    let mut checker = Checker { registry, yaml: declared.yaml, wish, schemas: Vec::new() };
    framework::check_name(&settings, report);

    let (source, sink) = ends(&mut checker, &mut settings, report);
    let is_sink = sink.is_some();
    let topics = framework::topics(is_sink && source.is_none(), &mut settings, report);
    let transforms = transform::read(&mut checker, &mut settings, report);
    let mut converter = |side| converter::at_connector(side, &mut settings, worker, !is_sink, report);
    let (key_converter, value_converter) = (converter(Side::Key), converter(Side::Value));
    let header_converter = converter(Side::Header);
    java_only(&["producer.override.", "consumer.override.", "admin.override."], &mut settings, report);
    let direct = is_sink && source.is_some();
    let errors = common
        .as_ref()
        .map(|keys| errors::read(keys, (is_sink, direct), &topics, worker, &mut settings, report));
    let writes_letters = errors.as_ref().is_some_and(|errors| errors.dead_letters.is_some());
    let clients: &[&str] = match (source.is_some(), writes_letters) {
        (true, _) => &["producer"],
        (false, true) => &["consumer", "producer"],
        (false, false) => &["consumer"],
    };
    worker.map(|w| w.override_policy).unwrap_or_default().check(clients, &settings, report);
    framework::check(&mut settings, report);
    checker.unknown(&settings, source.is_some() && !is_sink, report);
    let unusable = |end: &Option<(Component, Option<Value>)>| matches!(end, Some((_, None)));
    let incomplete = unusable(&source) || unusable(&sink) || (source.is_none() && sink.is_none());
    let plugin = |end: Option<(Component, Option<Value>)>| {
        end.and_then(|(component, config)| Some(PluginUse { component, config: config? }))
    };
    let (source, sink) = (plugin(source), plugin(sink));
    let bounded_source = source.as_ref().is_some_and(|source| is_bounded(source, sink.is_some()));
    let bounded_run = common.as_ref().is_some_and(|c| c.run_until.is_some());
    if bounded_run && source.is_some() && !bounded_source {
        settings.error("run.until", ENDLESS.0, ENDLESS.1, report);
    }
    let writes = source.as_ref().filter(|_| sink.is_none());
    let exactly_once =
        common.as_ref().map(|keys| exactly_once::read(keys, worker, writes, is_sink, &mut settings, report));
    let declaration = settings.declaration();
    let secrets = settings.finish(report);
    let common = common.filter(|_| !incomplete)?;
    Some(ConnectorConfig {
        name: name.to_owned(),
        place: declared.place.clone(),
        source,
        sink,
        transforms,
        tasks_max: common.tasks_max,
        bounded_run,
        bounded_source,
        topics,
        key_converter,
        value_converter,
        header_converter,
        errors_tolerance: common.errors_tolerance,
        errors: errors.unwrap_or_default(),
        restarts: Restarts {
            attempts: common.restart_max_attempts,
            window: Duration::from_millis(common.restart_window_ms),
        },
        stall_timeout: Duration::from_millis(common.task_stall_timeout_ms),
        flush_on_stop: common.flush_on_stop,
        exactly_once: exactly_once?,
        action_reload: common.config_action_reload,
        consumer_overrides: common.consumer_override,
        producer_overrides: common.producer_override,
        admin_overrides: common.admin_override,
        secrets,
        declaration,
    })
}

/// What is wrong with a bounded run of an endless source.
const ENDLESS: (&str, &str) = (
    "the source never comes to an end, so there is no time at which it is caught up",
    "use a source that ends (`objects-source` without `objects.follow`, `file-source` with `file.stop.at.end`, …), or run \
     this connector without a bound, in a file of its own",
);

fn is_bounded(source: &PluginUse, direct: bool) -> bool {
    let task = TaskInfo { direct, ..TaskInfo::default() };
    source.component.create_source(&source.config, &task).is_ok_and(|source| source.bounded())
}

impl ConnectorConfig {
    /// It has both ends, and no Kafka in between.
    pub fn is_direct(&self) -> bool {
        self.source.is_some() && self.sink.is_some()
    }

    /// It writes to Kafka until its source has no more.
    pub fn is_bounded_source(&self) -> bool {
        self.bounded_run && self.sink.is_none()
    }

    /// Makes the connector end once it is caught up, or says why it cannot.
    pub fn bound(&mut self) -> Option<Diagnostic> {
        self.bounded_run = true;
        if self.source.is_none() || self.bounded_source {
            return None;
        }
        let error = Diagnostic::error(&self.place, ENDLESS.0).connector(Some(&self.name));
        Some(error.hint(ENDLESS.1))
    }
}

type End = Option<(Component, Option<Value>)>;

/// The source and the sink: `connector.class`, or `source:` and `sink:` blocks.
fn ends(checker: &mut Checker<'_>, settings: &mut Settings, report: &mut Report) -> (End, End) {
    let class = |settings: &Settings, key: &str| settings.get(key).map(|class| class.trim().to_owned());
    let blocks = [("source.", "source.class", Kind::Source), ("sink.", "sink.class", Kind::Sink)];
    let has_block = blocks.iter().any(|(_, key, _)| settings.get(key).is_some());
    match class(settings, "connector.class") {
        Some(_) if has_block => {
            let hint = "keep `connector.class`, or the `source:` and `sink:` blocks";
            let message = "`connector.class` stands beside a `source:` or `sink:` block";
            settings.error("connector.class", message, hint, report);
        }
        Some(class) => {
            let kinds = [Kind::Source, Kind::Sink];
            let keys = PluginKeys {
                class: &class,
                class_key: "connector.class",
                prefix: "",
                kinds: &kinds,
                direct: false,
            };
            let end = checker.plugin(&keys, settings, report);
            return match end.as_ref().map(|(component, _)| component.kind()) {
                Some(Kind::Source) => (end, None),
                _ => (None, end),
            };
        }
        None if !has_block => {
            let hint = "write `connector.class: s3-sink`; `sidestream plugins` lists what there is";
            settings.error("connector.class", "`connector.class` is missing", hint, report);
        }
        None => {}
    }
    let direct = blocks.iter().all(|(_, key, _)| settings.get(key).is_some());
    let [source, sink] = blocks.map(|(prefix, class_key, kind)| {
        let class = class(settings, class_key)?;
        settings.know(class_key, false, report);
        let keys = PluginKeys { class: &class, class_key, prefix, kinds: &[kind], direct };
        checker.plugin(&keys, settings, report)
    });
    (source, sink)
}
