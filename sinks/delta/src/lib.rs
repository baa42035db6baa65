//! `delta-sink`: records become rows of Delta tables, each exactly once.
//!
//! A [`table::Table`] knows the newest version of one table. Rows become data files ([`files`]) that one commit
//! ([`commit`]) makes part of the table together with the offsets that they came from.

pub mod commit;
pub mod config;
pub mod files;
pub mod partition;
pub mod read;
pub mod table;

mod adapt;
mod checkpoint;
mod ddl;
mod document;
mod error;
mod figures;
mod inventory;
mod keyed;
mod maintenance;
mod protocol;
mod publish;
mod reader;
mod rows;
mod schema;
mod segment;
mod sink;
mod size;
mod stats;
mod target;

pub use config::Config;
pub use sink::DeltaSink;

use connector_core::Component;

/// The plugin `delta-sink`.
pub fn component() -> Component {
    Component::sink::<DeltaSink>(env!("CARGO_PKG_VERSION"))
}
