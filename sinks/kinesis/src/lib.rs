//! Records into a Kinesis stream, in order for each partition key also when single entries of a request fail (K-02).
//!
//! `write` turns rows into [`entry::Entry`]s ([`rows`]) and queues them; [`queue::Queue`] decides what may be
//! sent (pure, no I/O), [`pump`] sends it, several requests at a time; `flush` waits until all of a range is stored.
//!
//! PutRecords is not atomic, so a request never holds two records of one key, and no record is sent before the one
//! ahead of it in its key is stored. Records without a key of their own have random ones and wait for nobody.

mod column;
mod config;
mod entry;
mod key;
mod pump;
mod queue;
mod rows;
mod shard;
mod sink;
mod state;
mod stream;

pub use config::Config;
pub use sink::KinesisSink;

use connector_core::Component;

/// The plugin `kinesis-sink`.
pub fn component() -> Component {
    Component::sink::<KinesisSink>(env!("CARGO_PKG_VERSION"))
}
