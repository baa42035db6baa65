#![doc = include_str!("../TYPES.md")]

pub mod address;
mod cells;
pub mod column;
mod config;
pub mod database;
mod layout;
mod moment;
mod mysql;
mod pages;
mod postgres;
mod reader;
mod source;
mod sql;
mod tables;
mod tls;

pub use address::{Address, Dialect};
pub use config::Config;
pub use database::{Database, connect};
pub use source::RdsSource;

use connector_core::Component;

/// The plugin: `rds-source`.
pub fn component() -> Component {
    Component::source::<RdsSource>(env!("CARGO_PKG_VERSION"))
}
