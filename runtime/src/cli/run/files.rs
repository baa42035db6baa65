//! The files of a run, which can be read again.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::super::environment;
use crate::config::{self, Deployment, Diagnostic, Missing, SecretCache, Severity, Unavailable};
use crate::plugin::discover;
use crate::plugin::registry::Registry;

/// Configuration files, and the plugins that they may name beside those that they bring.
#[derive(Clone)]
pub struct Files {
    paths: Vec<PathBuf>,
    built_in: Registry,
    /// Of these files, whenever they are read.
    pub secrets: SecretCache,
}

/// What all files held; equal when nothing has changed.
pub type Print = Vec<Option<[u8; 32]>>;

impl Files {
    pub fn new(paths: Vec<PathBuf>, built_in: Registry) -> Self {
        Self { paths, built_in, secrets: SecretCache::default() }
    }

    /// Reads and checks them, and loads the plugins that they name. A plugin that does not load costs only the
    /// connectors that need it, unless nothing would be left.
    pub fn load(&self) -> Result<Deployment, Vec<Diagnostic>> {
        self.load_with(self.built_in.clone())
    }

    fn load_with(&self, mut registry: Registry) -> Result<Deployment, Vec<Diagnostic>> {
        if let Some(worker) = config::load_worker(&self.paths, &environment, &self.secrets) {
            let problems = discover::discover(&mut registry, &worker);
            problems.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            problems.errors.iter().for_each(|error| tracing::error!("{error}"));
        }
        let deployment = config::load_available(&self.paths, &registry, &environment, &self.secrets)?;
        let gone = |u: &Unavailable| u.missing == Missing::Plugin;
        let nothing_left = deployment.connectors.is_empty() && deployment.unavailable.iter().any(gone);
        if nothing_left { Err(deployment.diagnostics) } else { Ok(deployment) }
    }

    /// As [`Self::load`], with all secrets: for who does not wait for any. It needs the network for them.
    pub fn load_whole(&self) -> Result<Deployment, Vec<Diagnostic>> {
        read_secrets(&self.secrets, || self.load())
    }

    /// As [`Self::load`], of files that a worker runs: one that is empty all of a sudden is being written, and libraries
    /// that are loaded stay, even if their directory is gone.
    pub fn reload(&self, running: Registry) -> Result<Deployment, Vec<Diagnostic>> {
        let is_empty = |path: &&PathBuf| fs::read_to_string(path).is_ok_and(|text| text.trim().is_empty());
        let empty: Vec<_> = self.paths.iter().filter(is_empty).map(|path| {
            let message = format!("`{}` is empty", path.display());
            Diagnostic::placeless(Severity::Error, message)
                .hint("replace it as a whole: write another file and rename it; to stop all connectors stop the process")
        }).collect();
        if empty.is_empty() { self.load_with(running) } else { Err(empty) }
    }

    pub fn print(&self) -> Print {
        let digest = |bytes: Vec<u8>| <[u8; 32]>::from(Sha256::digest(bytes));
        self.paths.iter().map(|path| fs::read(path).ok().map(digest)).collect()
    }
}

/// Loads, and again when secrets that it asked for have been read.
pub fn read_secrets<T>(secrets: &SecretCache, load: impl Fn() -> T) -> T {
    let first = load();
    if secrets.is_tried() {
        return first;
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(secrets.read_due());
            load()
        }
        Err(_) => first,
    }
}
