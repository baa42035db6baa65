//! Pipelines into Delta tables that are killed at random moments while rows flow: afterwards each row is there once.

mod direct;
mod from_kafka;
mod killing;
mod log;
mod offsets;
mod rows;
#[allow(dead_code)]
#[path = "../../sources/kinesis/tests/it/stream.rs"]
mod stream;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A directory with one table.
struct Lake(TempDir);

impl Lake {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn table(&self) -> PathBuf {
        self.0.path().join("users")
    }

    /// Many small commits, so that kills fall into each step of them.
    fn keys(&self) -> String {
        format!(
            "delta.table.path: file://{}, flush.size: 20, rotate.interval.ms: 300",
            self.table().display()
        )
    }
}

/// The rows that Python's `deltalake`, Polars and DuckDB see, in the order of their keys.
#[track_caller]
fn read(table: &Path) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = std::env::var_os("SIDESTREAM_WORK").map_or_else(|| root.join(".work"), PathBuf::from);
    let mut python = Command::new(work.join("venv/bin/python"));
    let output = python.arg(root.join("tests/delta/read.py")).arg(table).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [rows, polars, duckdb] = ["deltalake", "polars", "duckdb"].map(|reader| {
        let mut rows: Vec<Value> = serde_json::from_value(seen["rows"][reader].take()).unwrap();
        rows.sort_by_key(|row| row["ind"].as_i64());
        rows
    });
    assert!(rows == polars && rows == duckdb, "the readers differ");
    rows
}

fn keys(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["ind"].as_i64().unwrap()).collect()
}

/// The table has the cleaned rows 0 to `count` once each, and nothing else.
#[track_caller]
fn assert_each_row_once(table: &Path, count: usize) {
    let rows = read(table);
    let keys = keys(&rows);
    let doubled: Vec<_> = keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    let missing: Vec<_> = (0..count as i64).filter(|key| keys.binary_search(key).is_err()).collect();
    assert!(doubled.is_empty() && missing.is_empty(), "doubled: {doubled:?}, missing: {missing:?}");
    assert_eq!(rows.len(), count, "rows");
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row, &rows::cleaned(n));
    }
}
