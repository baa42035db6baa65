//! The files of a table's newest version, followed from commit to commit instead of being listed anew.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use connector_core::Result;
use deltalake::kernel::{Action, Add, Version};

use crate::table::{Head, Table};

/// By path.
pub type Files = BTreeMap<String, Add>;

#[derive(Debug, Default)]
pub struct LiveFiles {
    /// That `files` are of.
    version: Option<Version>,
    files: Files,
}

impl LiveFiles {
    pub async fn at(&mut self, table: &Table, head: &Head) -> Result<&Files> {
        // Forgotten until done: an error in between leaves half a step.
        let known = self.version.take();
        let followed = match known {
            Some(version) if version <= head.version => {
                self.follow(table, version + 1..=head.version).await?
            }
            _ => false,
        };
        if !followed {
            let files = table.files(head).await?;
            self.files = files.into_iter().map(|file| (file.path.clone(), file)).collect();
        }
        self.version = Some(head.version);
        Ok(&self.files)
    }

    /// False if the log no longer has these versions.
    async fn follow(&mut self, table: &Table, versions: RangeInclusive<Version>) -> Result<bool> {
        for version in versions {
            let Some(actions) = table.entry(version).await? else { return Ok(false) };
            self.apply(actions);
        }
        Ok(true)
    }

    fn apply(&mut self, actions: Vec<Action>) {
        // An action that removes a path and one that adds it again may be in the same commit, in any order.
        let mut added = Vec::new();
        for action in actions {
            match action {
                Action::Remove(remove) => drop(self.files.remove(&remove.path)),
                Action::Add(add) => added.push(add),
                _ => {}
            }
        }
        self.files.extend(added.into_iter().map(|add| (add.path.clone(), add)));
    }
}

#[cfg(test)]
mod tests {
    use deltalake::kernel::Remove;

    use super::*;

    fn add(path: &str) -> Action {
        Action::Add(Add { path: path.to_owned(), ..Add::default() })
    }

    fn remove(path: &str) -> Action {
        Action::Remove(Remove { path: path.to_owned(), ..Remove::default() })
    }

    #[test]
    fn what_a_commit_removes_and_adds_again_stays() {
        let mut live = LiveFiles::default();
        live.apply(vec![add("a"), add("b")]);
        live.apply(vec![add("a"), remove("a"), remove("b"), add("c")]);
        assert_eq!(live.files.into_keys().collect::<Vec<_>>(), ["a", "c"]);
    }
}
