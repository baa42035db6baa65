//! Connect's FileStreamSource: the lines of one text file, followed as it grows.

mod lines;
mod source;

pub use source::{Config, FileSource};

use connector_core::Component;

/// The plugin `file-source`.
pub fn component() -> Component {
    Component::source::<FileSource>(env!("CARGO_PKG_VERSION"))
}
