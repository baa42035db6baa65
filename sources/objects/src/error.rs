//! What goes wrong with objects, named by their address; never by what is in them.

use connector_aws::error::Keys;
use connector_core::{ConnectError, Domain, Retry};
use object_store::Error;
use object_store::path::Path;

use crate::split::Problem;

const KEYS: Keys = Keys { location: "objects.path", region: "s3.region", endpoint: "store.url" };

/// `error` while `doing` (`reading`) something to the object `key` of `store` (`s3://bucket`).
pub fn explain(store: &str, doing: &str, key: Option<&Path>, error: &Error) -> ConnectError {
    connector_aws::error::explain(&KEYS, store, doing, key, error)
}

/// A text of an object that is not JSON, or too long.
pub fn bad_text(address: &str, line: u64, problem: Problem) -> ConnectError {
    let (code, hint) = match problem {
        Problem::Syntax(_) => ("objects.json", "correct the object and store it under another name"),
        Problem::TooLong => ("objects.too_long", "raise `max.line.bytes`, or correct the object"),
    };
    ConnectError::user(code, format!("{address} line {line}: {problem}")).hint(hint)
}

pub fn corrupt_gzip(address: &str, line: u64) -> ConnectError {
    let message = format!("{address} line {line}: the gzip data is corrupt or ends too early");
    ConnectError::user("objects.gzip", message)
        .hint("the rows in front of it were read; store the whole object under another name")
}

/// An object that was listed and is not there any more.
pub fn gone(address: &str) -> ConnectError {
    let message = format!("{address}: the object was deleted after it had been listed");
    ConnectError::new(Domain::External, Retry::NoRetry, "objects.gone", message)
        .hint("delete objects only after they have been read")
}

/// `objects.path` means nothing that is there.
pub fn nothing(path: &str) -> ConnectError {
    ConnectError::user("objects.none", format!("{path}: no object matches"))
        .hint("check `objects.path` (names that begin with `.` or `_` do not count), or set `objects.follow: true` to wait")
}
