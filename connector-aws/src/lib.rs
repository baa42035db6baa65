//! What talks to AWS shares: credentials, endpoints, object stores, Kinesis, secrets.
//!
//! Plugins import it beside `connector-core`; it knows nothing of Kafka, tasks, or any plugin.

pub mod access;
mod credentials;
pub mod error;
pub mod identity;
pub mod kinesis;
pub mod kpl;
pub mod parts;
pub mod s3;
pub mod secrets;
pub mod store;
