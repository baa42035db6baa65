//! The host: reads configurations, owns Kafka, runs connectors.

pub mod cli;
pub mod config;
pub mod convert;
pub mod http;
pub mod kafka;
pub mod plugin;
pub mod task;
pub mod telemetry;
