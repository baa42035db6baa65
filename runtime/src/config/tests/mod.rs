//! Whole files against plugins with the keys of real ones.

mod bad_input;
mod change;
mod errors;
mod exactly_once;
mod good_input;
mod override_policy;
mod parsing;
pub(crate) mod plugins;
mod secrets;
mod worker_keys;

use super::{Deployment, Diagnostic, SecretCache, load_text};

pub(super) const WORKER: &str = "worker: {bootstrap.servers: localhost:9092}\n";

fn env(name: &str) -> Option<String> {
    [("USER_ID", "12e371d757c1"), ("PASSWORD", "from-env-hunter2")]
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
}

pub(super) fn load(files: &[(&str, &str)]) -> Result<Deployment, Vec<Diagnostic>> {
    load_text(files, &plugins::registry(), &env, &SecretCache::default())
}

/// Loads what has to be right.
pub(super) fn right(files: &[(&str, &str)]) -> Deployment {
    load(files).unwrap_or_else(|diagnostics| panic!("{}", text(&diagnostics)))
}

/// All findings of files that have to be wrong, as a person sees them.
pub(super) fn wrong(files: &[(&str, &str)]) -> String {
    text(&load(files).expect_err("this has to be refused"))
}

/// Findings of one YAML file that has to be wrong, with a worker in front that is right.
pub(super) fn wrong_yaml(text: &str) -> String {
    wrong(&[("worker.yaml", WORKER), ("a.yaml", text)])
}

pub(super) fn text(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}
