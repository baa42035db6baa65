//! What one set of files would change of another: what a reload does, said before it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use connector_core::ConfigMap;
use serde::Serialize;

use super::settings::is_secret_name;
use super::{Deployment, TopicSpec};

/// All keys of a connector, or of the worker, with the values that are in effect.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Declaration {
    values: ConfigMap,
    /// Keys whose values must not be shown.
    secret: BTreeSet<String>,
}

impl Declaration {
    pub(super) fn new(values: ConfigMap, secret: BTreeSet<String>) -> Self {
        Self { values, secret }
    }

    fn shown(&self, key: &str) -> Option<String> {
        let value = self.values.get(key)?;
        let address_with_password = value.contains("://") && value.contains('@');
        let hidden = self.secret.contains(key) || is_secret_name(key) || address_with_password;
        Some(if hidden { "[hidden]".to_owned() } else { value.clone() })
    }

    fn changes(&self, new: &Self) -> Vec<KeyChange> {
        let keys: BTreeSet<&String> = self.values.keys().chain(new.values.keys()).collect();
        let changed = keys.into_iter().filter(|key| self.values.get(*key) != new.values.get(*key));
        changed
            .map(|key| KeyChange { key: key.clone(), before: self.shown(key), after: new.shown(key) })
            .collect()
    }
}

impl fmt::Debug for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.values.len())
    }
}

/// A key with another value; `None` where it is not set. Secrets are `[hidden]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    pub key: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.key),
            (None, Some(after)) => write!(f, "{}: {after} (new)", self.key),
            (Some(before), None) => write!(f, "{}: {before} (no longer set)", self.key),
            (None, None) => f.write_str(&self.key),
        }
    }
}

/// What becomes of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", content = "keys", rename_all = "lowercase")]
pub enum Change {
    /// It starts.
    Start,
    /// It ends.
    Stop,
    /// It ends, and starts with other values.
    Restart(Vec<KeyChange>),
}

/// Worker keys that a running process cannot change.
const OF_THE_PROCESS: [&str; 4] =
    ["listeners", "memory.budget.bytes", "metrics.emf.namespace", "metrics.emf.interval.ms"];

/// The differences between two deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What only a new process can change.
    pub process: Vec<KeyChange>,
    /// Any of them restarts all connectors.
    pub worker: Vec<KeyChange>,
    /// Topics that are created, or brought up to what is declared.
    pub topics: Vec<String>,
    pub connectors: BTreeMap<String, Change>,
    /// Connectors that go on untouched.
    pub unchanged: Vec<String>,
}

impl Changes {
    pub fn between(old: &Deployment, new: &Deployment) -> Self {
        let (process, mut worker): (Vec<_>, Vec<_>) = old
            .worker
            .declaration
            .changes(&new.worker.declaration)
            .into_iter()
            .partition(|change| OF_THE_PROCESS.contains(&change.key.as_str()));
        if old.worker.plugins != new.worker.plugins {
            let shown = |d: &Deployment| {
                let paths = d.worker.plugins.iter().map(|file| file.path.display().to_string());
                Some(paths.collect::<Vec<_>>().join(",")).filter(|paths| !paths.is_empty())
            };
            worker.push(KeyChange { key: "plugins".to_owned(), before: shown(old), after: shown(new) });
        }
        let changed = |topic: &&TopicSpec| !old.topics.contains(topic);
        let topics = new.topics.iter().filter(changed).map(|topic| topic.name.clone()).collect();
        let was: BTreeMap<_, _> = old.connectors.iter().map(|c| (&c.name, c)).collect();
        let is: BTreeMap<_, _> = new.connectors.iter().map(|c| (&c.name, c)).collect();
        let (mut connectors, mut unchanged) = (BTreeMap::new(), Vec::new());
        for name in was.keys().chain(is.keys()).copied().collect::<BTreeSet<_>>() {
            let change = match (was.get(name), is.get(name)) {
                (Some(_), None) => Change::Stop,
                (None, _) => Change::Start,
                (Some(was), Some(is)) => {
                    let keys = was.declaration.changes(&is.declaration);
                    if keys.is_empty() && worker.is_empty() {
                        unchanged.push(name.clone());
                        continue;
                    }
                    Change::Restart(keys)
                }
            };
            connectors.insert(name.clone(), change);
        }
        Self { process, worker, topics, connectors, unchanged }
    }

    /// Lets connectors that would restart go on as they are.
    pub fn leave(&mut self, stays: impl Fn(&str) -> bool) {
        let left = self
            .connectors
            .extract_if(.., |name, change| matches!(change, Change::Restart(_)) && stays(name));
        self.unchanged.extend(left.map(|(name, _)| name));
    }

    pub fn is_empty(&self) -> bool {
        self.process.is_empty()
            && self.worker.is_empty()
            && self.topics.is_empty()
            && self.connectors.is_empty()
    }

    /// One line for the worker, each topic and each connector.
    pub fn lines(&self) -> Vec<String> {
        let keys = |keys: &[KeyChange]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let mut lines = Vec::new();
        lines.extend(self.process.iter().map(|key| format!("worker: takes a new process: {key}")));
        if !self.worker.is_empty() {
            lines.push(format!("worker: all connectors restart: {}", keys(&self.worker)));
        }
        lines.extend(self.topics.iter().map(|topic| format!("topic {topic}: created or brought up to date")));
        lines.extend(self.connectors.iter().map(|(name, change)| match change {
            Change::Start => format!("connector {name}: starts"),
            Change::Stop => format!("connector {name}: stops"),
            Change::Restart(changed) if changed.is_empty() => {
                format!("connector {name}: restarts with the worker")
            }
            Change::Restart(changed) => format!("connector {name}: restarts: {}", keys(changed)),
        }));
        lines
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changes");
        }
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        match self.unchanged.as_slice() {
            [] => Ok(()),
            names => write!(f, "unchanged: {}", names.join(", ")),
        }
    }
}
