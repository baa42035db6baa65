//! `objects-source`: the rows of JSON objects in S3 or a folder, each object once.
//!
//! A pass ([`pass`]) lists and fetches objects beside the polls; the source unpacks ([`input`]) and splits ([`split`])
//! them into rows, and remembers in a few bytes each which are finished ([`finished`]).

mod config;
mod error;
mod finished;
mod input;
mod lines;
mod list;
mod pass;
mod pattern;
mod rows;
mod source;
mod split;

use connector_core::Component;

pub use config::Config;
pub use source::ObjectsSource;

/// The plugin of this library.
pub fn component() -> Component {
    Component::source::<ObjectsSource>(env!("CARGO_PKG_VERSION"))
}
