//! Connect's FileStreamSink: one line a record, appended to a file or to the standard output.
//!
//! Connect prints Java's `toString` of a value (`{a=1}`, `Struct{a=1}`); here documents and strings are written as
//! they are, bytes as they are, and typed values as JSON. A record without a value is `null` in both.

mod line;
mod sink;

pub use sink::{Config, FileSink};

use connector_core::Component;

/// The plugin `file-sink`.
pub fn component() -> Component {
    Component::sink::<FileSink>(env!("CARGO_PKG_VERSION"))
}
