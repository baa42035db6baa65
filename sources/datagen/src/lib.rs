//! `datagen-source`: rows of a pin board's three tables (pins, places, users), made up but shaped like real ones.
//!
//! The same seed gives the same rows, in any order and at any position. The texts hold what breaks pipelines:
//! placeholders, four-byte emoji, right-to-left scripts, line breaks, quotes, blanks at both ends, no-break spaces.

mod columns;
mod config;
mod random;
mod rows;
mod source;
mod text;

pub use columns::columns;
pub use config::{Config, Table};
pub use rows::{Geo, Pin, Row, User, is_missent, row_of_step, rows};
pub use source::DatagenSource;

use connector_core::Component;

/// The plugin: `datagen-source`.
pub fn component() -> Component {
    Component::source::<DatagenSource>(env!("CARGO_PKG_VERSION"))
}
