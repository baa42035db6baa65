//! Which of the three file formats a text is in.

use std::path::Path;
use std::sync::Arc;

use super::diagnostic::Report;
use super::node::Node;
use super::{json, properties, yaml};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Yaml,
    Properties,
    Json,
}

impl Format {
    /// By the file's extension, else by the first line that says something.
    pub fn of(file: &str, text: &str) -> Self {
        match Path::new(file).extension().and_then(|e| e.to_str()) {
            Some("yaml" | "yml") => return Self::Yaml,
            Some("properties") => return Self::Properties,
            Some("json") => return Self::Json,
            _ => {}
        }
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let Some(line) = lines.find(|line| !line.is_empty() && !line.starts_with(['#', '!'])) else {
            return Self::Yaml;
        };
        match (line.starts_with('{'), line.find('='), line.find(": ")) {
            (true, ..) => Self::Json,
            (_, Some(equals), colon) if colon.is_none_or(|colon| equals < colon) => Self::Properties,
            _ => Self::Yaml,
        }
    }

    /// Reads a text; `None` when it is malformed, which is then reported.
    pub fn parse(self, file: &Arc<str>, text: &str, report: &mut Report) -> Option<Node> {
        match self {
            Self::Yaml => yaml::parse(file, text, report),
            Self::Properties => Some(properties::parse(file, text, report)),
            Self::Json => json::parse(file, text, report),
        }
    }
}
