//! Keys of Confluent's S3 sink that need no action here.

/// Tuning of a client that this is not, and of formats that are refused by their own key.
pub const INERT_KEYS: &[&str] = &[
    "allow.optional.map.keys",
    "avro.codec",
    "connect.meta.data",
    "enhanced.avro.schema.support",
    "max.files.scan.limit",
    "max.write.duration.ms",
    "report.null.values.to.dlq",
    "retry.backoff.ms",
    "s3.elastic.buffer.enable",
    "s3.elastic.buffer.init.capacity",
    "s3.http.send.expect.continue",
    "s3.send.digest",
    "schemas.cache.config",
    "shutdown.timeout.ms",
];
