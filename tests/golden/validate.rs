//! What `sidestream validate` has against configurations.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::support::sidestream;

#[derive(Deserialize)]
struct Answer {
    diagnostics: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    severity: String,
    file: Option<String>,
    key: Option<String>,
    message: String,
}

/// Key and text of each error, by the number of its configuration. `worker`: the worker's file.
pub fn errors(worker: &str, configs: &[String]) -> BTreeMap<usize, Vec<(String, String)>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("worker.yaml"), worker).unwrap();
    let names: Vec<String> = (0..configs.len()).map(|n| format!("{n}.json")).collect();
    for (name, config) in names.iter().zip(configs) {
        std::fs::write(dir.path().join(name), config).unwrap();
    }
    let arguments = ["validate", "--output", "json", "worker.yaml"].into_iter();
    let arguments: Vec<&str> = arguments.chain(names.iter().map(String::as_str)).collect();
    let output = sidestream(dir.path(), &arguments, &[]);
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("validate: {e}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut errors = BTreeMap::<usize, Vec<_>>::new();
    for error in answer.diagnostics.into_iter().filter(|d| d.severity == "error") {
        let number = error.file.as_deref().and_then(|file| file.strip_suffix(".json")?.parse().ok());
        let number = number.unwrap_or_else(|| panic!("validate: {}", error.message));
        errors.entry(number).or_default().push((error.key.unwrap_or_default(), error.message));
    }
    errors
}
