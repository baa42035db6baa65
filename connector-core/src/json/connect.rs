//! Field metadata that carries what Connect's schemas say beyond Arrow's types.

/// Key: the name of Connect's schema, such as [`TIMESTAMP`].
pub const NAME: &str = "connect.name";

/// Key, with the value `true`: a nullable field that must nevertheless be present in each record, if only as `null`.
pub const REQUIRED: &str = "connect.required";

/// Name: an exact number; base64 of the unscaled bytes in JSON, unless asked otherwise.
pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";

/// Name: days since 1970-01-01 in JSON.
pub const DATE: &str = "org.apache.kafka.connect.data.Date";

/// Name: milliseconds since midnight in JSON.
pub const TIME: &str = "org.apache.kafka.connect.data.Time";

/// Name: milliseconds since 1970-01-01 UTC in JSON.
pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
