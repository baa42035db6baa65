#![doc = include_str!("../SHARDS.md")]

mod config;
mod fetch;
mod figures;
mod handover;
mod origin;
mod position;
mod reading;
mod rows;
mod shard;
mod slice;
mod source;

pub use config::Config;
pub use source::KinesisSource;

use connector_core::Component;

/// The plugin: `kinesis-source`.
pub fn component() -> Component {
    Component::source::<KinesisSource>(env!("CARGO_PKG_VERSION"))
}
