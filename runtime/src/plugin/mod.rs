//! The plugins of a worker.

pub mod registry;
