//! The log: lines for people on a terminal, JSON for everybody else; its levels can be changed while the process runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use chrono::Utc;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::repeats::Repeats;
use super::traces;

/// Of the process; `None` before [`init`].
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    /// What the log began with: directives of `RUST_LOG`'s form.
    base: String,
    /// The directive of spans, which are no part of the log.
    spans: String,
    changed: Mutex<BTreeMap<String, Level>>,
    seen: Mutex<BTreeSet<&'static str>>,
    repeats: Repeats,
}

/// A logger as Connect's REST interface shows it (KIP-976, R-28).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    pub level: String,
    /// Milliseconds since 1970; `None`: as it was at the start.
    pub last_modified: Option<i64>,
}

/// Starts the log. `base` are directives to which those of `RUST_LOG` are added: `RUST_LOG=info` must not turn on what
/// repeats whole requests.
pub fn init<W>(base: &str, lines: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let wished = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let traced = traces::are_wanted();
    let spans = format!("{}={}", traces::TARGET, if traced { "info" } else { "off" });
    let base = [base, &wished].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",");
    // The last one for a name counts.
    let (filter, handle) = reload::Layer::new(EnvFilter::new(format!("{base},{spans}")));
    let log = Log {
        filter: handle,
        base,
        spans,
        changed: Mutex::default(),
        seen: Mutex::default(),
        repeats: Repeats::default(),
    };
    let _ = LOG.set(log);
    let output = tracing_subscriber::fmt::layer().with_writer(writer);
    let spans = traced.then(|| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces::tracer());
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_level(false);
        layer.with_filter(filter_fn(|metadata| metadata.target() == traces::TARGET))
    });
    let subscriber = tracing_subscriber::registry().with(filter).with(spans).with(Watch);
    let set = if lines {
        subscriber.with(output.with_target(false)).try_init()
    } else {
        subscriber
            .with(output.json().flatten_event(true).with_current_span(false).with_span_list(false))
            .try_init()
    };
    if let Err(error) = set {
        eprintln!("warning: logging was set up already: {error}");
    }
}

/// Says, from time to time, how many lines were left out because they were the same as others. Does not end.
pub async fn tell_repeats() {
    loop {
        tokio::time::sleep(super::repeats::WINDOW).await;
        let Some(log) = LOG.get() else { return };
        for left_out in log.repeats.take() {
            let super::repeats::LeftOut { connector, message, count } = left_out;
            tracing::warn!(connector, left_out = count, "left out, as they were the same: {message}");
        }
    }
}

/// Sees which loggers there are, and drops lines that repeat.
struct Watch;

impl<S: Subscriber> Layer<S> for Watch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if let Some(log) = LOG.get() {
            log.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(metadata.target());
        }
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        LOG.get().is_none_or(|log| log.repeats.may_pass(event))
    }
}

impl Log {
    /// The level of a logger: the nearest of those above it that has one of its own.
    fn level(&self, logger: &str, changed: &BTreeMap<String, Level>) -> Level {
        let mut levels: BTreeMap<&str, Level> = BTreeMap::new();
        for directive in self.base.split(',').map(str::trim).filter(|d| !d.is_empty()) {
            let (name, level) = directive.split_once('=').unwrap_or((ROOT, directive));
            levels.insert(name, Level { level: spelled(level), last_modified: None });
        }
        levels.extend(changed.iter().map(|(name, level)| (name.as_str(), level.clone())));
        let above = |name: &str| {
            name == ROOT
                || logger == name
                || logger.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"))
        };
        let nearest = levels.iter().filter(|(name, _)| above(name)).max_by_key(|(name, _)| match **name {
            ROOT => 0,
            name => name.len(),
        });
        nearest.map_or(Level { level: "ERROR".to_owned(), last_modified: None }, |(_, level)| level.clone())
    }

    fn names(&self, changed: &BTreeMap<String, Level>) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let named =
            self.base.split(',').filter_map(|d| d.trim().split_once('=')).map(|(name, _)| name.to_owned());
        let seen = seen.iter().map(|target| (*target).to_owned());
        seen.chain(named).chain(changed.keys().cloned()).chain([ROOT.to_owned()]).collect()
    }
}

const ROOT: &str = "root";

/// As Connect spells levels; log4j's FATAL and ALL have no counterparts.
fn spelled(level: &str) -> String {
    level.to_ascii_uppercase()
}

fn parse(level: &str) -> Option<LevelFilter> {
    match level.to_ascii_uppercase().as_str() {
        "OFF" => Some(LevelFilter::OFF),
        "FATAL" | "ERROR" => Some(LevelFilter::ERROR),
        "WARN" => Some(LevelFilter::WARN),
        "INFO" => Some(LevelFilter::INFO),
        "DEBUG" => Some(LevelFilter::DEBUG),
        "TRACE" | "ALL" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

/// All loggers with their levels, by name.
pub fn loggers() -> BTreeMap<String, Level> {
    let Some(log) = LOG.get() else { return BTreeMap::new() };
    let changed = log.changed.lock().unwrap_or_else(PoisonError::into_inner);
    log.names(&changed).into_iter().map(|name| (name.clone(), log.level(&name, &changed))).collect()
}

/// Sets the level of a logger and those below it; gives the loggers whose level is another one now. `None`: there is no
/// such level.
pub fn set_level(logger: &str, level: &str) -> Option<Vec<String>> {
    let parsed = parse(level)?;
    let before = loggers();
    let log = LOG.get()?;
    {
        let mut changed = log.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if logger.eq_ignore_ascii_case(ROOT) { ROOT } else { logger };
        let below = |key: &String| key.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
        changed.retain(|key, _| !below(key));
        let level = Level { level: spelled(level), last_modified: Some(Utc::now().timestamp_millis()) };
        changed.insert(name.to_owned(), level);
        let directives = changed.iter().map(|(name, level)| {
            let filter = parse(&level.level).unwrap_or(parsed);
            if name == ROOT { filter.to_string() } else { format!("{name}={filter}") }
        });
        let all = std::iter::once(log.base.clone()).chain(directives).chain([log.spans.clone()]);
        let all = all.collect::<Vec<_>>().join(",");
        let _ = log.filter.reload(EnvFilter::new(all));
    }
    let after = loggers();
    let differs =
        |(name, level): &(&String, &Level)| before.get(*name).is_none_or(|b| b.level != level.level);
    Some(after.iter().filter(differs).map(|(name, _)| name.clone()).collect())
}
