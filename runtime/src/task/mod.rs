//! Connectors and their tasks: one that fails never stops the others.

pub mod background;
pub mod budget;
mod connector;
pub mod flush;
pub mod pipeline;
pub mod retry;
pub mod sink;
pub mod source;
pub mod status;
pub mod worker;
