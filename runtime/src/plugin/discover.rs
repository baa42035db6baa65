//! The libraries that a worker's keys name: `plugin.path`, as Connect has it, and the stricter `plugins:`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use connector_core::ConnectError;

use super::library::{self, Loaded};
use super::registry::{Entry, Origin, Registry};
use crate::config::WorkerConfig;

/// What did not load.
#[derive(Debug, Default)]
pub struct Problems {
    /// Of libraries that `plugins:` names.
    pub errors: Vec<ConnectError>,
    /// Of what `plugin.path` happens to hold; the rest of it is there.
    pub warnings: Vec<ConnectError>,
}

/// Adds the plugins of all libraries to the registry; libraries that it has stay as they are.
pub fn discover(registry: &mut Registry, worker: &WorkerConfig) -> Problems {
    let library = |entry: &Entry| match &entry.from {
        Origin::Library(path) => Some(path.clone()),
        Origin::BuiltIn => None,
    };
    let known: BTreeSet<PathBuf> = registry.entries().iter().filter_map(library).collect();
    let mut add = |loaded: Vec<Result<Loaded, ConnectError>>| -> Vec<ConnectError> {
        loaded.into_iter().filter_map(|library| library.and_then(|l| register(registry, l)).err()).collect()
    };
    Problems {
        warnings: add(library::load_all(&worker.plugin_path, &[], &known)),
        errors: add(library::load_all(&[], &worker.plugins, &known)),
    }
}

fn register(registry: &mut Registry, library: Loaded) -> Result<(), ConnectError> {
    for component in library.components {
        registry.add(component, Origin::Library(library.path.clone())).map_err(|duplicate| {
            ConnectError::user("plugin.duplicate", duplicate.to_string())
                .hint("rename the plugin, or remove the library")
        })?;
    }
    Ok(())
}
