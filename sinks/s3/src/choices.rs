//! The choices that keys of the configuration offer.

use schemars::JsonSchema;
use serde::Deserialize;

/// `format.class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON text a line.
    #[default]
    #[serde(alias = "io.confluent.connect.s3.format.json.JsonFormat")]
    Json,
    /// The value's bytes and a separator.
    #[serde(alias = "io.confluent.connect.s3.format.bytearray.ByteArrayFormat")]
    ByteArray,
    /// Not yet.
    #[serde(alias = "io.confluent.connect.s3.format.avro.AvroFormat")]
    Avro,
    /// Columns, for values with a schema.
    #[serde(alias = "io.confluent.connect.s3.format.parquet.ParquetFormat")]
    Parquet,
}

/// `storage.class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    #[default]
    #[serde(alias = "io.confluent.connect.s3.storage.S3Storage")]
    S3,
}

/// `schema.compatibility`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchemaCompatibility {
    /// Any other schema begins a file.
    #[default]
    #[serde(alias = "none")]
    None,
    /// An older version of the schema is written as the file's; a newer one begins a file.
    #[serde(alias = "backward")]
    Backward,
    /// As BACKWARD.
    #[serde(alias = "backward_transitive")]
    BackwardTransitive,
    /// A newer version of the schema is written as the file's; an older one begins a file.
    #[serde(alias = "forward")]
    Forward,
    /// As FORWARD.
    #[serde(alias = "forward_transitive")]
    ForwardTransitive,
    /// As BACKWARD.
    #[serde(alias = "full")]
    Full,
    /// As BACKWARD.
    #[serde(alias = "full_transitive")]
    FullTransitive,
}

/// `s3.compression.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionType {
    #[default]
    None,
    Gzip,
}

/// `behavior.on.null.values`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NullValues {
    /// The record is refused.
    #[default]
    #[serde(alias = "FAIL")]
    Fail,
    /// The record is skipped.
    #[serde(alias = "IGNORE")]
    Ignore,
    /// Its key is written, below `tombstone.encoded.partition`; needs `store.kafka.keys`.
    #[serde(alias = "WRITE")]
    Write,
}

/// `header.converter`, as far as it shows in objects of headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum HeaderConverter {
    /// Texts are read as numbers, booleans, dates, lists and maps where they look like them, and written again: `1.50`
    /// becomes `1.5`.
    #[default]
    #[serde(
        rename = "SimpleHeaderConverter",
        alias = "org.apache.kafka.connect.storage.SimpleHeaderConverter"
    )]
    Simple,
    /// Texts are left as they are.
    #[serde(rename = "StringConverter", alias = "org.apache.kafka.connect.storage.StringConverter")]
    String,
    /// Bytes, in base64.
    #[serde(rename = "ByteArrayConverter", alias = "org.apache.kafka.connect.converters.ByteArrayConverter")]
    ByteArray,
}
