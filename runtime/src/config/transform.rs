//! The chain of transforms of a connector.

use std::collections::BTreeSet;

use connector_core::{Component, Kind};
use serde_json::Value;

use super::connector::{Checker, PluginKeys};
use super::diagnostic::Report;
use super::settings::Settings;

/// One transform of a connector, by the name that the configuration gives it.
#[derive(Clone, Debug)]
pub struct TransformUse {
    pub name: String,
    pub component: Component,
    /// Typed by the component's schema.
    pub config: Value,
}

/// Reads `transforms` and `transforms.<name>.*`; transforms with something wrong are left out and reported.
pub(super) fn read(
    checker: &mut Checker<'_>,
    settings: &mut Settings,
    report: &mut Report,
) -> Vec<TransformUse> {
    let names = settings.list("transforms");
    settings.know("transforms", false, report);
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    for name in &names {
        if !seen.insert(name.clone()) {
            let hint = "give the second one a name of its own";
            settings.error("transforms", format!("the transform `{name}` is named twice"), hint, report);
            continue;
        }
        chain.extend(one(name, checker, settings, report));
    }
    for key in settings.unknown() {
        let Some(rest) = key.strip_prefix("transforms.") else { continue };
        if names.iter().any(|name| rest.strip_prefix(name.as_str()).is_some_and(|r| r.starts_with('.'))) {
            continue;
        }
        settings.know_all(&key, report);
        let name = rest.split('.').next().unwrap_or(rest).to_owned();
        if seen.insert(name.clone()) {
            let message = format!("the transform `{name}` is defined, but `transforms` does not name it");
            settings.error(&key, message, format!("add it: `transforms: {}`", list(&names, &name)), report);
        }
    }
    chain
}

fn list(names: &[String], more: &str) -> String {
    names.iter().map(String::as_str).chain([more]).collect::<Vec<_>>().join(",")
}

fn one(
    name: &str,
    checker: &mut Checker<'_>,
    settings: &mut Settings,
    report: &mut Report,
) -> Option<TransformUse> {
    let prefix = format!("transforms.{name}.");
    let type_key = format!("{prefix}type");
    for word in ["predicate", "negate"] {
        let key = format!("{prefix}{word}");
        if settings.get(&key).is_some() {
            settings.know(&key, false, report);
            let message = format!("`{key}`: predicates are not supported yet");
            let hint = "without it the transform would apply to every record; take both out for now";
            settings.error(&key, message, hint, report);
        }
    }
    settings.inert(&format!("{prefix}plugin.version"), report);
    settings.know(&type_key, false, report);
    let Some(class) = settings.get(&type_key).map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()) else {
        settings.know_all(&prefix, report);
        let hint = format!("write `{type_key}: <transform>`; `sidestream plugins` lists them");
        let message = format!("`{type_key}` is missing: `transforms` names `{name}`");
        let key = if settings.under(&prefix).is_empty() { "transforms" } else { &type_key };
        if settings.is_resolved(&type_key) {
            settings.error(key, message, hint, report);
        }
        return None;
    };
    let keys = PluginKeys {
        class: &class,
        class_key: &type_key,
        prefix: &prefix,
        kinds: &[Kind::Transform],
        direct: false,
    };
    let (component, config) = checker.plugin(&keys, settings, report)?;
    Some(TransformUse { name: name.to_owned(), component, config: config? })
}
