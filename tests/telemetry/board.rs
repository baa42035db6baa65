//! `deploy/grafana/sidestream.json` asks for what a worker serves.

use std::collections::BTreeSet;
use std::fs;

use regex::Regex;
use serde_json::Value;

use crate::Working;

/// All texts under `expr`.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("expr").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|inner| expressions(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| expressions(inner, found)),
        _ => {}
    }
}

#[test]
fn every_metric_and_label_of_the_board_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/sidestream.json");
    let board: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut found = Vec::new();
    expressions(&board, &mut found);
    assert!(found.len() > 15, "{} expressions", found.len());
    let metrics = Working::start("").worker.metrics();
    let names = Regex::new(r"\b(?:kafka_connect|sidestream|process)_[a-z_]+\b").unwrap();
    let used: BTreeSet<&str> = found.iter().flat_map(|e| names.find_iter(e)).map(|m| m.as_str()).collect();
    for name in &used {
        assert!(metrics.samples.iter().any(|sample| sample.name == *name), "no sample of {name}");
    }
    // Labels in `by (…)` and in selectors.
    let labels = Regex::new(r"(?:by \(|\{|, ?)([a-z_]+)(?:=|\)|,)").unwrap();
    let known: BTreeSet<&str> =
        metrics.samples.iter().flat_map(|s| s.labels.keys()).map(String::as_str).collect();
    for label in found.iter().flat_map(|e| labels.captures_iter(e)).filter_map(|c| c.get(1)) {
        assert!(
            known.contains(label.as_str()) || label.as_str() == "instance",
            "no label {}",
            label.as_str()
        );
    }
    println!("{} expressions, {} metrics", found.len(), used.len());
}
