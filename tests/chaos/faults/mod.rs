//! Services that fail for a while, beside a worker that goes on: nothing is lost, and what is exactly once stays so.

mod broker;
mod database;
mod disk;
mod overload;
mod plugin;
mod store;
