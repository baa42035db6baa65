//! Confluent's S3 sink: records of a topic-partition become objects whose key names the first offset.
//!
//! A [`writer::Writer`] finds each record's directory ([`partition`]) and appends it to the open [`file`] there, in the
//! form of its [`format`](format::Rows) ([`body`]); at a cut all files are closed and become [`object::Object`]s, published
//! at commit. Files larger than `s3.part.size` leave memory in parts while they grow ([`connector_aws::parts`]); rows of
//! [`parquet`] are encoded a row group at a time. [`store`] is S3, a directory, or memory.

mod body;
mod choices;
mod config;
mod error;
mod existing;
mod file;
mod format;
mod headers;
mod inert;
mod input;
mod inventory;
mod layout;
mod object;
mod parquet;
mod partition;
mod place;
mod schedule;
mod schema;
mod sink;
mod store;
mod writer;

pub use config::Config;
pub use sink::S3Sink;
pub use store::memory_store;

use connector_core::Component;

/// The plugin `s3-sink`.
pub fn component() -> Component {
    Component::sink::<S3Sink>(env!("CARGO_PKG_VERSION"))
}
