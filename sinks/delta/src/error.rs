//! What errors of the store and of the log mean, with this sink's keys in the hints.

use std::error::Error as _;

use connector_aws::error::Keys;
use connector_core::ConnectError;
use delta_kernel::Error as KernelError;
use deltalake::DeltaTableError;
use object_store::path::Path;

pub const KEYS: Keys = Keys { location: "delta.table.path", region: "s3.region", endpoint: "store.url" };

/// An error of the store while `doing` (`putting`) something to `key` of the table at `place`.
pub fn store(place: &str, doing: &str, key: Option<&Path>, error: &object_store::Error) -> ConnectError {
    connector_aws::error::explain(&KEYS, place, doing, key, error)
}

/// An error of the log while `doing` (`reading the log of`) something to the table at `place`.
pub fn log(place: &str, doing: &str, error: impl Into<DeltaTableError>) -> ConnectError {
    let error = error.into();
    let kernel = match &error {
        DeltaTableError::KernelError(kernel) => Some(innermost(kernel)),
        _ => None,
    };
    match kernel {
        // Its own text repeats the request with its signature.
        Some(KernelError::ObjectStore(cause)) => return store(place, doing, None, cause),
        Some(KernelError::FileNotFound(_)) => {
            let message = format!("{doing} {place}: a file of the log is gone");
            return ConnectError::external("delta.log_gone", message).caused_by(error).hint(
                "the log was cleaned up meanwhile, which the next try sees, or files of it were deleted",
            );
        }
        _ => {}
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<object_store::Error>() {
            return store(place, doing, None, inner);
        }
        cause = inner.source();
    }
    let message = format!("{doing} {place} failed");
    ConnectError::user("delta.log", message).caused_by(error).hint(
        "the table's log is damaged or uses something that is not supported; `delta.table.path` may be wrong",
    )
}

fn innermost(error: &KernelError) -> &KernelError {
    match error {
        KernelError::Backtraced { source, .. } => innermost(source),
        other => other,
    }
}

/// An error of the parquet crate while writing or reading a data file.
pub fn parquet(place: &str, doing: &str, error: parquet::errors::ParquetError) -> ConnectError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<object_store::Error>() {
            return store(place, doing, None, inner);
        }
        cause = inner.source();
    }
    ConnectError::internal("delta.parquet", format!("{doing} a data file of {place} failed")).caused_by(error)
}
