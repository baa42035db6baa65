//! The plugins of a worker.

pub mod library;
pub mod registry;
