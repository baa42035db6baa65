//! Checkpoints of the log, beside the commits: readers then need not read every entry.

use std::sync::{Arc, Mutex, PoisonError};

use connector_core::{ConnectError, Result};
use delta_kernel::Snapshot as KernelSnapshot;
use deltalake::kernel::Version;
use deltalake::protocol::checkpoints::cleanup_expired_logs_for;
use tokio::task::JoinHandle;

use crate::error;
use crate::table::{Head, Table};

/// Commits between checkpoints where neither the configuration nor the table says.
const INTERVAL: u64 = 10;

/// Entries of the log are kept for 30 days where the table does not say.
const LOG_RETENTION_MS: i64 = 30 * 24 * 3_600_000;

/// Makes a table's checkpoints, one at a time.
#[derive(Debug, Default)]
pub struct Checkpoints {
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpoints {
    /// Whether a checkpoint follows `version`; `interval` is the configuration's.
    fn is_due(head: &Head, version: Version, interval: Option<u64>) -> bool {
        let own =
            || head.property("delta.checkpointInterval").and_then(|n| n.parse().ok()).filter(|&n| n > 0);
        (version + 1).is_multiple_of(interval.or_else(own).unwrap_or(INTERVAL))
    }

    /// Looks whether a checkpoint is due after `version` and starts it in the background. A failure is only told: the
    /// log is complete without it.
    pub fn after(&self, table: &Arc<Table>, version: Version, interval: Option<u64>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = running.as_ref().is_some_and(|work| !work.is_finished());
        if busy || !Self::is_due(&table.head(), version, interval) {
            return;
        }
        let table = Arc::clone(table);
        *running = Some(tokio::spawn(async move {
            if let Err(error) = checkpoint(&table, version).await {
                tracing::warn!(table = table.place(), version, %error, "a checkpoint failed; the next one is tried later");
            }
        }));
    }

    /// Waits for the one that is being made: it should not be torn off when the process ends.
    pub async fn finish(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = running {
            // How it went is told already.
            let _ = work.await;
        }
    }
}

/// Writes the checkpoint of `version`, then removes log entries that are past their retention.
pub async fn checkpoint(table: &Table, version: Version) -> Result<()> {
    let (engine, root) = (table.log().engine(None), table.root());
    let properties = tokio::task::spawn_blocking(move || {
        let snapshot = KernelSnapshot::builder_for(root).at_version(version).build(&*engine)?;
        snapshot.checkpoint(&*engine, None)?;
        Ok(snapshot.table_properties().clone())
    })
    .await
    .map_err(|_| ConnectError::internal("delta.log", "writing a checkpoint panicked"))?;
    let properties = properties
        .map_err(|e: delta_kernel::Error| error::log(table.place(), "writing a checkpoint of", e))?;
    if properties.enable_expired_log_cleanup == Some(false) {
        return Ok(());
    }
    let retention = properties.log_retention_duration.and_then(|d| i64::try_from(d.as_millis()).ok());
    let cutoff = chrono::Utc::now().timestamp_millis() - retention.unwrap_or(LOG_RETENTION_MS);
    cleanup_expired_logs_for(version, &**table.log(), cutoff, None)
        .await
        .map_err(|cause| error::log(table.place(), "cleaning up the log of", cause))?;
    Ok(())
}
