//! What `read.py` sees.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{sorted, support};

#[derive(Debug, Deserialize)]
pub struct Seen {
    pub version: u64,
    /// Delta's own names of the columns' types.
    pub types: Map<String, Value>,
    pub nullable: Map<String, Value>,
    pub partition_columns: Vec<String>,
    /// The log's live files: `path`, `size_bytes`, `num_records`, `min.…`, `max.…`, `null_count.…`, `partition.…`.
    pub files: Vec<Map<String, Value>>,
    /// Newest first.
    pub operations: Vec<Option<String>>,
    rows: Map<String, Value>,
    /// How many minima were compared with their file.
    statistics: usize,
    wrong_statistics: Vec<String>,
}

/// The tests' folder for downloads.
pub fn work() -> PathBuf {
    std::env::var_os("SIDESTREAM_WORK")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".work"), PathBuf::from)
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/delta").join(name)
}

fn python(name: &str, table: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new(support::python()).arg(script(name)).arg(table).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Another program writes to the table: see `foreign.py`.
pub fn foreign(table: &Path, arguments: &[&str]) {
    python("foreign.py", table, arguments);
}

/// The table as it is now; panics if the readers do not agree or the statistics are not those of the files.
#[track_caller]
pub fn read(table: &Path) -> Seen {
    read_with(table, &[])
}

/// The table as it was at a version.
#[track_caller]
pub fn read_version(table: &Path, version: u64) -> Seen {
    read_with(table, &[&version.to_string()])
}

#[track_caller]
fn read_with(table: &Path, arguments: &[&str]) -> Seen {
    let seen: Seen = serde_json::from_slice(&python("read.py", table, arguments)).unwrap();
    assert!(seen.wrong_statistics.is_empty(), "{:#?}", seen.wrong_statistics);
    assert_eq!(seen.by("deltalake"), seen.by("polars"), "deltalake and Polars differ");
    assert_eq!(seen.by("deltalake"), seen.by("duckdb"), "deltalake and DuckDB differ");
    seen
}

impl Seen {
    fn by(&self, reader: &str) -> Vec<Value> {
        sorted(self.rows.get(reader).and_then(Value::as_array).unwrap().clone())
    }

    /// What all readers see, sorted by text.
    pub fn rows(&self) -> Vec<Value> {
        self.by("deltalake")
    }

    /// One column, ascending.
    pub fn numbers(&self, column: &str) -> Vec<i64> {
        let mut numbers: Vec<_> = self.rows().iter().map(|row| row[column].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// That so many minima and maxima were there to be compared.
    #[track_caller]
    pub fn has_statistics(&self, at_least: usize) {
        assert!(self.statistics >= at_least, "only {} minima in the log", self.statistics);
    }
}
