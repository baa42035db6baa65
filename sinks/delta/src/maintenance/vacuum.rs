//! Vacuum: deletes files that the table has not had for a while, and what writers that died have left behind.

use std::time::Duration;

use connector_core::Result;
use deltalake::DeltaTable;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::table::config::TablePropertiesExt as _;

use crate::error;
use crate::table::Table;

/// Files that no commit knows are left alone for so long: somebody may be about to commit them.
const STAGED: Duration = Duration::from_hours(24);

/// Number of deleted files. What the table removed less than `retention` ago stays; the table's own
/// `delta.deletedFileRetentionDuration` holds too unless `retention_unsafe`.
pub async fn vacuum(table: &Table, retention: Duration, retention_unsafe: bool) -> Result<u64> {
    let failed = |cause| error::log(table.place(), "vacuuming", cause);
    let mut loaded = DeltaTable::new(table.log().clone());
    loaded.load().await.map_err(failed)?;
    let own = loaded.snapshot().map_err(failed)?.table_config().deleted_file_retention_duration();
    let retention = if retention_unsafe { retention } else { retention.max(own) };
    let mode = if retention >= STAGED { VacuumMode::Full } else { VacuumMode::Lite };
    let vacuum = loaded
        .vacuum()
        .with_retention_period(chrono::Duration::from_std(retention).unwrap_or(chrono::Duration::MAX))
        .with_enforce_retention_duration(!retention_unsafe)
        .with_mode(mode);
    let (_, metrics) = vacuum.await.map_err(failed)?;
    Ok(metrics.files_deleted.len() as u64)
}
