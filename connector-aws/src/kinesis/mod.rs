//! Kinesis: the keys of plugins that talk to it, a client, and what its errors mean.

mod error;
mod keys;

use std::time::Duration;

use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{Builder, Region};
use md5::{Digest, Md5};

pub use aws_sdk_kinesis::Client;
pub use error::{Trouble, explain};
pub use keys::Keys;

use crate::access::Access;

/// An answer takes milliseconds; a call that has none after this long is given up.
const ATTEMPT: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);

/// A client; nothing is asked of the service yet. The SDK makes up to `attempts` attempts of a call that may be
/// repeated: 1 for a caller that has a patience of its own.
pub async fn client(access: &Access, attempts: u32) -> Client {
    let config = access.config().await;
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
    let mut builder = Builder::from(&config)
        .retry_config(RetryConfig::standard().with_max_attempts(attempts.max(1)))
        .timeout_config(timeouts);
    if access.endpoint.is_some() && config.region().is_none() {
        // A service of one's own has no regions, but a signature needs one.
        builder = builder.region(Region::from_static("us-east-1"));
    }
    Client::from_conf(builder.build())
}

/// Where a record with this partition key belongs in the range of all shards, unless it has a hash key of its own.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}
