//! Parquet files and Delta tables, read by a reader that is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::python;

/// The column `n` of each of these files, by its key.
pub fn numbers(files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<i64>> {
    read("parquet", directory(files).path())
}

/// The column `n` of the Delta table below `table`, of which these are all files.
pub fn numbers_of_table(files: BTreeMap<String, Vec<u8>>, table: &str) -> Vec<i64> {
    read("delta", &directory(files).path().join(table)).remove("").unwrap()
}

fn directory(files: BTreeMap<String, Vec<u8>>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (key, body) in files {
        let path = directory.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }
    directory
}

fn read(what: &str, path: &Path) -> BTreeMap<String, Vec<i64>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/pipelines/column.py");
    let output = Command::new(python()).arg(script).arg(what).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
