//! What keeps a table small and quick to read, beside the writing: compaction and vacuum, by the clock.

mod bins;
pub(crate) mod compact;
#[cfg(test)]
mod tests;
pub(crate) mod vacuum;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use connector_core::{Metric, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::config::Config;
use crate::files::Layout;
use crate::table::Table;

#[derive(Clone, Debug)]
pub struct Settings {
    pub interval: Duration,
    /// How long vacuum keeps what the table no longer has.
    pub retention: Duration,
    /// A retention that is shorter than the table's own is meant.
    pub retention_unsafe: bool,
    pub layout: Layout,
}

impl Settings {
    /// `None` if maintenance is off.
    pub fn of(config: &Config, layout: Layout) -> Option<Self> {
        let interval = u64::try_from(config.optimize_interval_ms).ok().map(Duration::from_millis)?;
        let retention = Duration::from_millis(u64::try_from(config.vacuum_retention_ms).unwrap_or(u64::MAX));
        Some(Self { interval, retention, retention_unsafe: config.vacuum_unsafe, layout })
    }
}

/// Looks after one table until it is dropped.
#[derive(Debug)]
pub struct Maintenance {
    work: JoinHandle<()>,
    done: Arc<Done>,
}

#[derive(Debug, Default)]
struct Done {
    /// Small files that became part of larger ones.
    compacted: AtomicU64,
    vacuumed: AtomicU64,
    failures: AtomicU64,
}

impl Maintenance {
    /// Does something only while this task `leads`: one does it for all that write the table. Needs a tokio runtime.
    pub fn start(table: Arc<Table>, settings: Settings, leads: Arc<AtomicBool>) -> Self {
        let done = Arc::new(Done::default());
        Self { work: tokio::spawn(run(table, settings, leads, Arc::clone(&done))), done }
    }

    pub fn metrics(&self) -> Vec<Metric> {
        let counter = |name: &str, help: &str, value: &AtomicU64| {
            Metric::counter(name, help, value.load(Ordering::Relaxed) as f64)
        };
        vec![
            counter(
                "sidestream_delta_compacted_files_total",
                "Small files that compaction put into larger ones.",
                &self.done.compacted,
            ),
            counter(
                "sidestream_delta_vacuumed_files_total",
                "Files that vacuum deleted from the store.",
                &self.done.vacuumed,
            ),
            counter(
                "sidestream_delta_maintenance_failures_total",
                "Runs of compaction or vacuum that failed; the next one tries again.",
                &self.done.failures,
            ),
        ]
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        // What is half done is no part of the table: files that vacuum will find.
        self.work.abort();
    }
}

async fn run(table: Arc<Table>, settings: Settings, leads: Arc<AtomicBool>, done: Arc<Done>) {
    let mut ticks =
        interval_at(Instant::now() + settings.interval, settings.interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !leads.load(Ordering::Relaxed) {
            continue;
        }
        done.count(&table, "compaction", &done.compacted, compact::compact(&table, &settings.layout).await);
        let vacuumed = vacuum::vacuum(&table, settings.retention, settings.retention_unsafe).await;
        done.count(&table, "vacuum", &done.vacuumed, vacuumed);
    }
}

impl Done {
    /// Writing does not depend on it, so an error is only told.
    fn count(&self, table: &Table, what: &str, counter: &AtomicU64, files: Result<u64>) {
        match files {
            Ok(0) => {}
            Ok(files) => {
                counter.fetch_add(files, Ordering::Relaxed);
                tracing::info!(table = table.place(), files, "{what} is done");
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(table = table.place(), %error, "{what} failed; it is tried again at the next interval");
            }
        }
    }
}
