//! The plugins of a worker.

pub mod discover;
pub mod library;
pub mod registry;
