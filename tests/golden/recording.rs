//! The files of the directory that is replayed.

use std::fs;
use std::path::PathBuf;

/// One file: a case a line.
pub struct Recording {
    /// Its name, without directory.
    pub file: String,
    pub lines: Vec<String>,
}

impl Recording {
    /// The files whose names end like this, by name. When there is none, it says so.
    pub fn found(end: &str) -> Vec<Self> {
        let directory = directory();
        let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut files: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        files.retain(|file| file.ends_with(end));
        files.sort();
        if files.is_empty() {
            println!("golden: no file named *{end} in {}", directory.display());
        }
        files.into_iter().map(|file| Self::read(&directory, file)).collect()
    }

    fn read(directory: &std::path::Path, file: String) -> Self {
        let text = fs::read_to_string(directory.join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let lines = text.split('\n').filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        Self { file, lines }
    }
}

fn directory() -> PathBuf {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match std::env::var_os("SIDESTREAM_GOLDEN").filter(|directory| !directory.is_empty()) {
        Some(directory) => ours.join(directory),
        None => ours.join("tests/golden"),
    }
}
