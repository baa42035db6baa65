//! Differences that are known: `tests/known_differences.jsonl`, one a line, each with a reason.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One line: the cases of a file that it is about, and why they differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    file: String,
    /// A single case.
    id: Option<String>,
    /// All cases in which each JSON pointer has a value that its regular expression matches as a whole. A value that
    /// is no text is matched as JSON; what is not there as the empty text.
    #[serde(default)]
    when: BTreeMap<String, String>,
    reason: String,
}

/// The known differences of one file.
pub struct Known {
    lines: Vec<(Line, Vec<(String, Regex)>)>,
}

impl Known {
    pub fn of(file: &str) -> Self {
        let text = include_str!("../known_differences.jsonl");
        let lines = text.lines().map(|line| {
            serde_json::from_str::<Line>(line)
                .unwrap_or_else(|e| panic!("known_differences.jsonl: {e}: {line}"))
        });
        let compile = |line: Line| {
            let one = line.id.is_some() == line.when.is_empty();
            assert!(
                one && !line.reason.is_empty(),
                "known_differences.jsonl: {}: id or when, and a reason",
                line.file
            );
            let whole = |text: &str| Regex::new(&format!("^(?s:{text})$")).unwrap();
            let conditions = line.when.iter().map(|(pointer, text)| (pointer.clone(), whole(text))).collect();
            (line, conditions)
        };
        Self { lines: lines.map(compile).filter(|(line, _)| line.file == file).collect() }
    }

    /// Why a case is known to differ.
    pub fn reason(&self, id: &str, case: &Value) -> Option<&str> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let holds = |(pointer, regex): &(String, Regex)| {
            regex.is_match(&case.pointer(pointer).map(text).unwrap_or_default())
        };
        let about = |line: &Line, conditions: &[(String, Regex)]| match &line.id {
            Some(known) => known == id,
            None => conditions.iter().all(holds),
        };
        self.lines
            .iter()
            .find(|(line, conditions)| about(line, conditions))
            .map(|(line, _)| line.reason.as_str())
    }

    /// Whether a line is about this case alone.
    pub fn is_single(&self, id: &str) -> bool {
        self.lines.iter().any(|(line, _)| line.id.as_deref() == Some(id))
    }
}
