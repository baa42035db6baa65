//! Confluent's S3 sink: records of a topic-partition become objects whose key names the first offset.
//!
//! A [`writer::Writer`] appends each record to the open file of its partition ([`body`]); at `flush.size` the file is
//! closed and becomes an [`object::Object`], published at commit. Files larger than `s3.part.size` leave memory in
//! parts while they grow ([`connector_aws::parts`]); rows of [`parquet`] are encoded a row group at a time. [`store`] is S3, a directory, or memory.

mod body;
mod config;
mod error;
mod existing;
mod format;
mod layout;
mod not_yet;
mod object;
mod parquet;
mod place;
mod schedule;
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
