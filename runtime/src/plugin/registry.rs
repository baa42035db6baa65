//! The plugins that this worker has, by the names that a configuration may use.

use std::fmt;
use std::path::PathBuf;

use connector_core::config::nearest;
use connector_core::{Component, Kind};

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    /// A shared library.
    Library(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Library(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One plugin.
#[derive(Clone, Debug)]
pub struct Entry {
    pub component: Component,
    pub from: Origin,
}

/// A plugin whose name or alias another one has already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{name}` ({from}) is left out: `{taken}` already names `{by}` ({by_from})")]
pub struct Duplicate {
    pub name: String,
    pub from: Origin,
    /// The name that both want.
    pub taken: String,
    pub by: String,
    pub by_from: Origin,
}

/// All plugins; names and aliases are unique.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    components: Vec<Entry>,
}

/// Why a class cannot be used, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    pub message: String,
    pub hint: String,
}

impl Registry {
    /// A registry of the plugins that are linked in, and those left out because of a taken name.
    pub fn built_in(components: impl IntoIterator<Item = Component>) -> (Self, Vec<Duplicate>) {
        let mut registry = Self::default();
        let add = |component| registry.add(component, Origin::BuiltIn).err();
        let duplicates = components.into_iter().filter_map(add).collect();
        (registry, duplicates)
    }

    /// Adds a plugin unless its name or one of its aliases is taken.
    pub fn add(&mut self, component: Component, from: Origin) -> Result<(), Duplicate> {
        let names =
            |c: &Component| -> Vec<String> { [&c.name].into_iter().chain(&c.aliases).cloned().collect() };
        let wanted = names(&component);
        for other in &self.components {
            if let Some(taken) = names(&other.component).into_iter().find(|name| wanted.contains(name)) {
                return Err(Duplicate {
                    name: component.name,
                    from,
                    taken,
                    by: other.component.name.clone(),
                    by_from: other.from.clone(),
                });
            }
        }
        self.components.push(Entry { component, from });
        Ok(())
    }

    pub fn entries(&self) -> &[Entry] {
        &self.components
    }

    /// The plugin that `class` names, of whatever kind.
    pub fn get(&self, class: &str) -> Option<&Entry> {
        let exact = |e: &&Entry| e.component.name == class || e.component.aliases.iter().any(|a| a == class);
        let answers = |e: &&Entry| e.component.answers_to(class);
        self.components.iter().find(exact).or_else(|| self.components.iter().find(answers))
    }

    /// The plugin of one of `kinds` that `class` names.
    pub fn find(&self, class: &str, kinds: &[Kind]) -> Result<&Component, NotFound> {
        let wanted: Vec<_> = kinds.iter().map(Kind::to_string).collect();
        let wanted = wanted.join(" or ");
        let found = self.get(class);
        if let Some(entry) = found.filter(|e| kinds.contains(&e.component.kind())) {
            return Ok(&entry.component);
        }
        let message = match found {
            Some(entry) => format!("`{class}` is a {}, not a {wanted}", entry.component.kind()),
            None => format!("there is no {wanted} named `{class}`"),
        };
        let candidates: Vec<_> =
            self.components.iter().filter(|e| kinds.contains(&e.component.kind())).collect();
        let list: Vec<_> = candidates.iter().map(|e| format!("`{}`", e.component.name)).collect();
        let have = if list.is_empty() {
            format!("this worker has no {wanted}; see `plugin.path`")
        } else {
            format!("there are {}", list.join(", "))
        };
        let hint = match nearest(class, candidates.iter().flat_map(|e| names_of(&e.component))) {
            Some(name) => format!("did you mean `{name}`? {have}"),
            None if list.is_empty() => have,
            None => format!("{have}; the library of another one belongs into a directory of `plugin.path`"),
        };
        Err(NotFound { message, hint })
    }
}

/// Each name that a configuration may use: the short one, the aliases, and their last parts.
fn names_of(component: &Component) -> impl Iterator<Item = &str> {
    let aliases = component.aliases.iter().map(String::as_str);
    let simple = component.aliases.iter().filter_map(|alias| Some(alias.rsplit_once('.')?.1));
    std::iter::once(component.name.as_str()).chain(aliases).chain(simple)
}
