//! What plugins that talk to AWS share: credentials, endpoints, object stores, Kinesis.
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
pub mod store;
