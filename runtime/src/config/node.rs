//! What every file format becomes: scalars, lists and maps, each with its place.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::diagnostic::{Diagnostic, Report};

/// Where something is written; line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub fn new(file: &Arc<str>, line: usize, column: usize) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { file: file.clone(), line: small(line), column: small(column) }
    }

    /// The first character of a file.
    pub fn start_of(file: &Arc<str>) -> Self {
        Self::new(file, 1, 1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub content: Content,
    pub place: Place,
}

/// Scalars are source text: nothing has been read into a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map, where the key is written, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    pub fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Makes a map of entries; a repeated key is reported and left out.
    pub fn map(entries: Vec<Entry>, place: Place, report: &mut Report) -> Self {
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        // Keys are few; large maps (a schema's worth) stay fast enough through the index.
        let mut index = std::collections::HashMap::new();
        for entry in entries {
            match index.get(&entry.key) {
                Some(&first) => {
                    let first: &Entry = &kept[first];
                    report.hide(&entry.node);
                    report.add(
                        Diagnostic::error(&entry.place, format!("`{}` is written twice", entry.key))
                            .key(&entry.key)
                            .hint(format!("the first one is at {}; keep one of them", first.place)),
                    );
                }
                None => {
                    index.insert(entry.key.clone(), kept.len());
                    kept.push(entry);
                }
            }
        }
        Self { content: Content::Map(kept), place }
    }
}
