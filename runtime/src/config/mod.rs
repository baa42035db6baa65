//! From files to a checked deployment: YAML, Java properties and JSON become one flat map a connector, which the
//! plugins' own schemas check. All errors of all files are told at once.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

mod brokers;
mod change;
mod check;
mod connector;
mod converter;
mod diagnostic;
mod documents;
mod errors;
mod exactly_once;
mod flatten;
mod format;
mod framework;
mod json;
mod listen;
mod node;
mod override_policy;
mod placeholder;
mod properties;
mod remote;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod topics;
mod transform;
mod worker;
mod yaml;

pub use change::{Change, Changes, Declaration, KeyChange};
pub use connector::{
    ActionReload, ConnectorConfig, PluginUse, Restarts, Tolerance, TopicSelection, UnknownKeys,
};
pub use converter::ConverterUse;
pub use diagnostic::{Diagnostic, Missing, Severity};
pub use errors::{DeadLetterTopic, ErrorHandling, ErrorLog};
pub use exactly_once::{Boundary, ExactlyOnce};
pub use framework::ConnectorKeys;
pub use node::Place;
pub use remote::SecretCache;
pub use settings::SecretSet;
pub use topics::TopicSpec;
pub use transform::{PredicateUse, TransformUse};
pub use worker::{PluginFile, WorkerConfig};

use diagnostic::Report;
use documents::Documents;
use format::Format;
use placeholder::Env;

use crate::plugin::registry::Registry;

/// What the files declare, checked.
#[derive(Debug)]
pub struct Deployment {
    pub worker: WorkerConfig,
    pub topics: Vec<TopicSpec>,
    pub connectors: Vec<ConnectorConfig>,
    /// Connectors whose plugins or secrets are not there. Without a plugin only [`load_available`] gives any.
    pub unavailable: Vec<Unavailable>,
    /// The worker's own keys lack a secret: nothing can run yet.
    pub waits: bool,
    /// Warnings and notes.
    pub diagnostics: Vec<Diagnostic>,
    /// The plugins that it may use.
    pub registry: Registry,
}

impl Deployment {
    /// Whether everything in it comes to an end.
    pub fn is_bounded(&self) -> bool {
        !self.connectors.is_empty() && self.connectors.iter().all(|c| c.bounded_run)
    }
}

/// A connector that cannot run yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub name: String,
    pub missing: Missing,
    /// What is missing, where it is named, and what to do.
    pub reason: String,
}

/// Reads and checks all files, without network: of secrets that are elsewhere it knows what `secrets` has read. `env`
/// looks up environment variables.
pub fn load(
    files: &[PathBuf],
    registry: &Registry,
    env: Env<'_>,
    secrets: &SecretCache,
) -> Result<Deployment, Vec<Diagnostic>> {
    complete(load_available(files, registry, env, secrets)?)
}

/// As [`load`], but a plugin that is not there costs only the connectors that name it.
pub fn load_available(
    files: &[PathBuf],
    registry: &Registry,
    env: Env<'_>,
    secrets: &SecretCache,
) -> Result<Deployment, Vec<Diagnostic>> {
    let mut report = Report::default();
    let texts = read(files, &mut report);
    deploy(&texts, registry, (env, secrets), report)
}

fn complete(deployment: Deployment) -> Result<Deployment, Vec<Diagnostic>> {
    let lacks_plugin = deployment.unavailable.iter().any(|u| u.missing == Missing::Plugin);
    if lacks_plugin { Err(deployment.diagnostics) } else { Ok(deployment) }
}

/// As [`load`], for texts that have the names of files.
pub fn load_text(
    texts: &[(&str, &str)],
    registry: &Registry,
    env: Env<'_>,
    secrets: &SecretCache,
) -> Result<Deployment, Vec<Diagnostic>> {
    let texts: Vec<_> = texts.iter().map(|&(name, text)| (Arc::from(name), text.to_owned())).collect();
    complete(deploy(&texts, registry, (env, secrets), Report::default())?)
}

/// Only the worker's keys, which say where plugins are: they are needed before connectors can be checked.
/// `None` when something is wrong with them; [`load`] tells what.
pub fn load_worker(files: &[PathBuf], env: Env<'_>, secrets: &SecretCache) -> Option<WorkerConfig> {
    let mut report = Report::default();
    let texts = read(files, &mut report);
    let documents = parse(&texts, &mut report);
    worker::read(&documents.workers, env, secrets, &mut report).0
}

fn read(files: &[PathBuf], report: &mut Report) -> Vec<(Arc<str>, String)> {
    let mut texts = Vec::new();
    for path in files {
        let name: Arc<str> = Arc::from(path.to_string_lossy());
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push((name, text)),
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
                let place = Place::new(&name, line, 1);
                report.add(Diagnostic::error(&place, "this file is not UTF-8 text").hint("save it as UTF-8"));
            }
            Err(error) => {
                let message = format!("cannot read `{name}`: {}", placeholder::reason(error.kind()));
                let hint = "check the path and who may read it";
                report.add(Diagnostic::placeless(Severity::Error, message).hint(hint));
            }
        }
    }
    texts
}

fn parse(texts: &[(Arc<str>, String)], report: &mut Report) -> Documents {
    let mut documents = Documents::default();
    for (name, text) in texts {
        report.file(name);
        let format = Format::of(name, text);
        if let Some(node) = format.parse(name, text, report) {
            report.hide(&node);
            report.text(name, text);
            documents.add(node, format, report);
        }
    }
    documents
}

fn deploy(
    texts: &[(Arc<str>, String)],
    registry: &Registry,
    (env, secrets): (Env<'_>, &SecretCache),
    mut report: Report,
) -> Result<Deployment, Vec<Diagnostic>> {
    let documents = parse(texts, &mut report);
    let (worker, providers) = worker::read(&documents.workers, env, secrets, &mut report);
    let topics = topics::read(&documents.topics, &providers, &mut report);
    let mut connectors: Vec<ConnectorConfig> = Vec::new();
    for (index, declared) in documents.connectors.iter().enumerate() {
        if let Some(first) = documents.connectors[..index].iter().find(|other| other.name == declared.name) {
            report.add(
                Diagnostic::error(
                    &declared.place,
                    format!("there are two connectors named `{}`", declared.name),
                )
                .connector(Some(&declared.name))
                .hint(format!("the first one is at {}; rename one of them", first.place)),
            );
        }
        connectors.extend(connector::read(declared, worker.as_ref(), registry, &providers, &mut report));
    }
    listen::check(worker.as_ref(), &connectors, &mut report);
    if let Some(worker) = &worker {
        brokers::check(worker, documents.workers.first(), &documents.connectors, &connectors, &mut report);
    }
    let failed = report.failed();
    let (waits, unavailable) = unavailable(&report, &documents);
    connectors.retain(|c| !unavailable.iter().any(|u| u.name == c.name));
    let diagnostics = report.finish();
    match worker.filter(|_| !failed) {
        Some(worker) => Ok(Deployment {
            worker,
            topics,
            connectors,
            unavailable,
            waits,
            diagnostics,
            registry: registry.clone(),
        }),
        None => Err(diagnostics),
    }
}

/// Whether the worker's own keys lack something, and the connectors that cannot run: then all of them.
fn unavailable(report: &Report, documents: &Documents) -> (bool, Vec<Unavailable>) {
    let mut all: Vec<Unavailable> = Vec::new();
    let mut add = |name: &str, missing, reason: String| match all.iter_mut().find(|u| u.name == name) {
        Some(known) => known.reason = format!("{}; {reason}", known.reason),
        None => all.push(Unavailable { name: name.to_owned(), missing, reason }),
    };
    let mut waits = false;
    for (missing, diagnostic) in report.missing() {
        match &diagnostic.connector {
            Some(name) => add(name, missing, diagnostic.to_string()),
            None => {
                waits = true;
                documents.connectors.iter().for_each(|c| add(&c.name, missing, diagnostic.to_string()));
            }
        }
    }
    (waits, all)
}
