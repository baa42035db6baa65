//! The suites on plugins in memory: right ones pass, natively and through the boundary; each wrong one is caught.

mod memory_sink;
mod memory_source;
mod upper;
