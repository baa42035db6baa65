//! What a task counts beside the host's own figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connector_core::Metric;
use deltalake::kernel::{Add, Version};

#[derive(Debug, Default)]
pub struct Figures {
    commits: AtomicU64,
    conflicts: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    version: AtomicU64,
    commit_micros: AtomicU64,
}

impl Figures {
    pub fn committed(&self, version: Version, took: Duration, adds: &[Add]) {
        let bytes: u64 = adds.iter().map(|add| u64::try_from(add.size).unwrap_or(0)).sum();
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.files.fetch_add(adds.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.version.store(version, Ordering::Relaxed);
        self.commit_micros.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn conflict(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    pub fn metrics(&self) -> Vec<Metric> {
        let value = |figure: &AtomicU64| figure.load(Ordering::Relaxed) as f64;
        vec![
            Metric::counter(
                "sidestream_delta_commits_total",
                "Versions that were committed.",
                value(&self.commits),
            ),
            Metric::counter(
                "sidestream_delta_conflicts_total",
                "Commits that were made again because others changed the table first.",
                value(&self.conflicts),
            ),
            Metric::counter(
                "sidestream_delta_files_total",
                "Data files that were appended.",
                value(&self.files),
            ),
            Metric::counter(
                "sidestream_delta_bytes_total",
                "Bytes of the appended data files.",
                value(&self.bytes),
            ),
            Metric::gauge(
                "sidestream_delta_version",
                "The last version that was committed.",
                value(&self.version),
            ),
            Metric::gauge(
                "sidestream_delta_commit_seconds",
                "How long the last commit took, without its files.",
                value(&self.commit_micros) / 1e6,
            ),
        ]
    }
}
