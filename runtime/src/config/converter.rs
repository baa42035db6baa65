//! Which converter reads or writes a connector's keys and values.

use std::fmt;

use connector_core::{ConfigMap, ConfigProblem};

use super::diagnostic::Report;
use super::settings::Settings;
use super::worker::WorkerConfig;
use crate::convert;

/// A converter by class name, with its keys (`schemas.enable`, without `key.converter.` in front).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConverterUse {
    pub class: String,
    pub config: ConfigMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Key,
    Value,
    Header,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key.converter",
            Self::Value => "value.converter",
            Self::Header => "header.converter",
        })
    }
}

/// What a connector gets for which nothing is named. A named JsonConverter has Connect's own default, schemas on.
/// Keys are bytes that a sink leaves alone, and text where a source makes them (bytes of a source stay bytes).
fn fallback(side: Side, is_source: bool) -> ConverterUse {
    let plain = |class: &str| ConverterUse { class: class.to_owned(), config: ConfigMap::new() };
    match side {
        Side::Key if is_source => plain("StringConverter"),
        Side::Key => plain("ByteArrayConverter"),
        // Connect's default.
        Side::Header => plain("SimpleHeaderConverter"),
        Side::Value => ConverterUse {
            class: "JsonConverter".to_owned(),
            config: ConfigMap::from([("schemas.enable".to_owned(), "false".to_owned())]),
        },
    }
}

pub(super) fn at_worker(side: Side, settings: &mut Settings, report: &mut Report) -> Option<ConverterUse> {
    let (class, config) = named(side, settings, report);
    let Some(class) = class else {
        if !config.is_empty() {
            let message = format!("`{side}.…` is set, but no `{side}`");
            settings.warning(&format!("{side}."), message, format!("name the converter in `{side}`"), report);
        }
        return None;
    };
    let converter = ConverterUse { class, config };
    check(side, &converter, settings, report);
    Some(converter)
}

/// The connector's converter; else the worker's, else the fallback, with the connector's `….converter.` keys on top.
pub(super) fn at_connector(
    side: Side,
    settings: &mut Settings,
    worker: Option<&WorkerConfig>,
    is_source: bool,
    report: &mut Report,
) -> ConverterUse {
    let (class, config) = named(side, settings, report);
    let converter = match class {
        Some(class) => ConverterUse { class, config },
        None => {
            let of_worker = worker.and_then(|w| match side {
                Side::Key => w.key_converter.clone(),
                Side::Value => w.value_converter.clone(),
                Side::Header => None,
            });
            let mut converter = of_worker.unwrap_or_else(|| fallback(side, is_source));
            converter.config.extend(config);
            converter
        }
    };
    check(side, &converter, settings, report);
    converter
}

fn named(side: Side, settings: &mut Settings, report: &mut Report) -> (Option<String>, ConfigMap) {
    let (key, prefix) = (side.to_string(), format!("{side}."));
    settings.know(&key, false, report);
    settings.know_all(&prefix, report);
    settings.inert(&format!("{prefix}plugin.version"), report);
    let mut config = settings.under(&prefix);
    config.remove("plugin.version");
    let class = settings.get(&key).map(str::trim).filter(|class| !class.is_empty());
    (class.map(str::to_owned), config)
}

fn check(side: Side, converter: &ConverterUse, settings: &Settings, report: &mut Report) {
    if !settings.is_resolved(&side.to_string()) {
        return;
    }
    for problem in problems(converter, side) {
        if problem.key.is_empty() {
            settings.error(&side.to_string(), problem.message, problem.hint, report);
        } else {
            settings.problems(&format!("{side}."), vec![problem], report);
        }
    }
}

/// What the converter itself says about its keys.
fn problems(ConverterUse { class, config }: &ConverterUse, side: Side) -> Vec<ConfigProblem> {
    let problems = match side {
        Side::Header => convert::header_converter(class, config).err(),
        Side::Key | Side::Value => convert::converter(class, config, side == Side::Key).err(),
    };
    problems.unwrap_or_default()
}
