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

mod ddl;
mod error;
mod protocol;
mod reader;
mod stats;
