//! The chain of transforms of a connector, and the predicates that say of which records they are.

use std::collections::{BTreeMap, BTreeSet};

use connector_core::{Component, Kind};
use serde_json::Value;

use super::connector::{Checker, PluginKeys};
use super::diagnostic::Report;
use super::settings::Settings;

/// A predicate of a transform.
#[derive(Clone, Debug)]
pub struct PredicateUse {
    pub component: Component,
    /// Typed by the component's schema.
    pub config: Value,
    /// The transform is applied to the records of which the predicate is not true.
    pub negate: bool,
}

/// One transform of a connector, by the name that the configuration gives it.
#[derive(Clone, Debug)]
pub struct TransformUse {
    pub name: String,
    pub component: Component,
    /// Typed by the component's schema.
    pub config: Value,
    /// `None`: it is applied to every record.
    pub predicate: Option<PredicateUse>,
}

/// The declared predicates by name; `None` for one with something wrong, which is reported.
type Predicates = BTreeMap<String, Option<(Component, Value)>>;

/// Reads `predicates` and `predicates.<name>.*`.
fn predicates(checker: &mut Checker<'_>, settings: &mut Settings, report: &mut Report) -> Predicates {
    let names = settings.list("predicates");
    settings.know("predicates", false, report);
    let mut declared = Predicates::new();
    for name in names {
        if declared.contains_key(&name) {
            let hint = "give the second one a name of its own";
            settings.error("predicates", format!("the predicate `{name}` is named twice"), hint, report);
            continue;
        }
        let prefix = format!("predicates.{name}.");
        let type_key = format!("{prefix}type");
        settings.inert(&format!("{prefix}plugin.version"), report);
        settings.know(&type_key, false, report);
        let class = settings.get(&type_key).map(|class| class.trim().to_owned()).filter(|c| !c.is_empty());
        let found = match class {
            Some(class) => {
                let kinds = &[Kind::Predicate];
                let keys =
                    PluginKeys { class: &class, class_key: &type_key, prefix: &prefix, kinds, direct: false };
                checker
                    .plugin(&keys, settings, report)
                    .and_then(|(component, config)| Some((component, config?)))
            }
            None => {
                if settings.is_resolved(&type_key) {
                    let message = format!("`{type_key}` is missing: `predicates` names `{name}`");
                    let hint = format!("write `{type_key}: <predicate>`; `sidestream plugins` lists them");
                    settings.error("predicates", message, hint, report);
                }
                None
            }
        };
        declared.insert(name, found);
    }
    declared
}

/// Reads `transforms` and `transforms.<name>.*`; transforms with something wrong are left out and reported.
pub(super) fn read(
    checker: &mut Checker<'_>,
    settings: &mut Settings,
    report: &mut Report,
) -> Vec<TransformUse> {
    let names = settings.list("transforms");
    settings.know("transforms", false, report);
    let predicates = predicates(checker, settings, report);
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    for name in &names {
        if !seen.insert(name.clone()) {
            let hint = "give the second one a name of its own";
            settings.error("transforms", format!("the transform `{name}` is named twice"), hint, report);
            continue;
        }
        chain.extend(one(name, &predicates, checker, settings, report));
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
    predicates: &Predicates,
    checker: &mut Checker<'_>,
    settings: &mut Settings,
    report: &mut Report,
) -> Option<TransformUse> {
    let prefix = format!("transforms.{name}.");
    let type_key = format!("{prefix}type");
    let predicate = predicate(&prefix, predicates, settings, report);
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
    Some(TransformUse { name: name.to_owned(), component, config: config?, predicate: predicate.ok()? })
}

/// The predicate that `transforms.<name>.predicate` names; `Err`: something is wrong with it, and reported.
fn predicate(
    prefix: &str,
    declared: &Predicates,
    settings: &mut Settings,
    report: &mut Report,
) -> Result<Option<PredicateUse>, ()> {
    let (key, negate_key) = (format!("{prefix}predicate"), format!("{prefix}negate"));
    settings.know(&key, false, report);
    settings.know(&negate_key, false, report);
    let negate = match settings.get(&negate_key).map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            let message = format!("`{negate_key}` is neither true nor false");
            settings.error(&negate_key, message, "write true or false", report);
            return Err(());
        }
    };
    let Some(name) = settings.get(&key).map(|name| name.trim().to_owned()) else {
        if settings.get(&negate_key).is_some() {
            // Connect's text.
            let message = format!(
                "Config '{negate_key}' was provided but there is no config '{key}' defining a predicate to be negated."
            );
            settings.error(&negate_key, message, "name the predicate, or take `negate` out", report);
            return Err(());
        }
        return Ok(None);
    };
    match declared.get(&name) {
        Some(Some((component, config))) => {
            Ok(Some(PredicateUse { component: component.clone(), config: config.clone(), negate }))
        }
        // Reported where it is declared.
        Some(None) => Err(()),
        None => {
            if settings.is_resolved(&key) {
                let shown = settings.shown(&key, &name).to_owned();
                let hint = match declared.keys().next() {
                    None => format!("declare it: `predicates: {shown}` and `predicates.{shown}.type: …`"),
                    Some(_) => {
                        let names: Vec<_> = declared.keys().map(|name| format!("`{name}`")).collect();
                        format!("`predicates` declares {}", names.join(", "))
                    }
                };
                settings.error(&key, format!("there is no predicate named `{shown}`"), hint, report);
            }
            Err(())
        }
    }
}
