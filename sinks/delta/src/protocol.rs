//! Which tables can be written here: what their protocol asks of a writer, and what of it is in use.

use connector_core::{ConnectError, Result};
use deltalake::kernel::{ColumnMetadataKey, Metadata, Protocol, StructField, StructType};

/// Features that a writer of whole files has nothing to do for.
const HARMLESS: &[&str] = &[
    "appendOnly",
    // A commit with added and removed files alone says all that its readers need.
    "changeDataFeed",
    "deletionVectors",
    "domainMetadata",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

/// Features that are often named though nothing in the table uses them.
const LATENT: &[&str] = &[
    "allowColumnDefaults",
    "checkConstraints",
    "columnMapping",
    "generatedColumns",
    "identityColumns",
    "invariants",
];

/// Refuses a table whose rules this writer would break.
pub fn check(place: &str, protocol: &Protocol, metadata: &Metadata, schema: &StructType) -> Result<()> {
    let named = protocol.reader_features().into_iter().chain(protocol.writer_features()).flatten();
    let mut missing: Vec<String> = named
        .map(ToString::to_string)
        .filter(|f| !HARMLESS.contains(&&**f) && !LATENT.contains(&&**f))
        .collect();
    missing.extend(in_use(metadata, schema).into_iter().map(str::to_owned));
    if protocol.min_reader_version() > 3 || protocol.min_writer_version() > 7 {
        missing.push(format!(
            "protocol version {}/{}",
            protocol.min_reader_version(),
            protocol.min_writer_version()
        ));
    }
    missing.sort();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let message =
        format!("{place}: the table needs features that this writer does not have: {}", missing.join(", "));
    Err(ConnectError::user("delta.features", message)
        .hint("drop the features with `ALTER TABLE … DROP FEATURE`, or write to another table"))
}

/// Features of [`LATENT`] that the table does use.
fn in_use(metadata: &Metadata, schema: &StructType) -> Vec<&'static str> {
    let property = |name: &str| metadata.configuration().get(name).map(String::as_str);
    let mut found = Vec::new();
    if metadata.configuration().keys().any(|key| key.starts_with("delta.constraints.")) {
        found.push("checkConstraints");
    }
    if property("delta.columnMapping.mode").is_some_and(|mode| mode != "none") {
        found.push("columnMapping");
    }
    for (key, feature) in [
        (ColumnMetadataKey::Invariants, "invariants"),
        (ColumnMetadataKey::GenerationExpression, "generatedColumns"),
        (ColumnMetadataKey::IdentityStart, "identityColumns"),
    ] {
        if schema.fields().any(|field: &StructField| field.metadata().contains_key(key.as_ref())) {
            found.push(feature);
        }
    }
    found
}
