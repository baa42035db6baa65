//! What a store's errors mean, with this sink's own keys in the hints.

use connector_aws::error::Keys;
use connector_core::ConnectError;
use object_store::path;

/// For hints.
pub const KEYS: Keys = Keys { location: "s3.bucket.name", region: "s3.region", endpoint: "store.url" };

/// A key that no store takes.
pub fn bad_key(key: &str, cause: path::Error) -> ConnectError {
    ConnectError::user("s3.key", format!("`{key}` cannot be an object key"))
        .caused_by(cause)
        .hint("check `topics.dir`, `directory.delim` and `file.delim`")
}
