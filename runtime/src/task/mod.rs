//! Connectors and their tasks: one that fails never stops the others.

pub mod background;
pub mod budget;
mod connector;
#[cfg(test)]
mod crashes;
pub mod direct;
mod direct_connector;
pub mod errors;
pub mod exceptions;
pub mod feed;
pub mod flush;
pub mod goal;
pub mod host;
#[cfg(test)]
mod interrupted;
pub mod mark;
pub mod memory_limit;
#[cfg(test)]
mod origins;
pub mod pipeline;
#[cfg(test)]
mod planner;
pub mod position_file;
pub mod positions;
pub mod progress;
mod pulse;
pub mod recipe;
mod restart;
pub mod retry;
pub mod samples;
pub mod simulation;
pub mod sink;
pub mod source;
mod source_connector;
pub mod status;
pub mod worker;
