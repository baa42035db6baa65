//! Keys of Confluent's S3 sink that this one refuses, because ignoring them would write other objects, or less
//! protected ones, than the configuration asks for; and those that need no action.

use connector_core::ConfigProblem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Known keys without support; each may be set to what Connect does without it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct NotYet {
    /// Not yet: writes the records' keys into objects of their own.
    #[serde(rename = "store.kafka.keys", default)]
    store_keys: Option<bool>,
    /// Not yet: writes the records' headers into objects of their own.
    #[serde(rename = "store.kafka.headers", default)]
    store_headers: Option<bool>,
    /// Not yet: tags each object with its offsets and record count.
    #[serde(rename = "s3.object.tagging", default)]
    tagging: Option<bool>,
    /// Not yet: further tags of each object.
    #[serde(rename = "s3.object.tagging.key.value.pairs", default)]
    tags: Option<String>,
    /// Not yet: a schema's name in the directories.
    #[serde(rename = "s3.schema.partition.affix.type", default)]
    schema_affix: Option<String>,
}

impl NotYet {
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let set = |text: &Option<String>| text.as_deref().is_some_and(|t| !t.trim().is_empty());
        let on = |flag: Option<bool>| flag == Some(true);
        let affix = self.schema_affix.as_deref().is_some_and(|t| !t.eq_ignore_ascii_case("none"));
        [
            ("store.kafka.keys", on(self.store_keys), "leave it out, or set it to false"),
            ("store.kafka.headers", on(self.store_headers), "leave it out, or set it to false"),
            ("s3.object.tagging", on(self.tagging), "leave it out, or set it to false"),
            ("s3.object.tagging.key.value.pairs", set(&self.tags), "leave it out"),
            ("s3.schema.partition.affix.type", affix, "leave it out, or set it to NONE"),
        ]
        .into_iter()
        .filter(|(_, asked, _)| *asked)
        .map(|(key, _, hint)| ConfigProblem::new(key, "is not supported yet", hint))
        .collect()
    }
}

/// Tuning of a client that this is not, and keys of partitioners and formats that are refused by their own key.
pub const INERT_KEYS: &[&str] = &[
    "allow.optional.map.keys",
    "avro.codec",
    "connect.meta.data",
    "enhanced.avro.schema.support",
    "headers.format.class",
    "keys.format.class",
    "locale",
    "max.files.scan.limit",
    "max.write.duration.ms",
    "partition.duration.ms",
    "partition.field.name",
    "partitioner.max.open.files",
    "path.format",
    "report.null.values.to.dlq",
    "retry.backoff.ms",
    "rotate.file.on.partition.change",
    "s3.elastic.buffer.enable",
    "s3.elastic.buffer.init.capacity",
    "s3.http.send.expect.continue",
    "s3.send.digest",
    "schemas.cache.config",
    "shutdown.timeout.ms",
    "timestamp.extractor",
    "timestamp.field",
    "tombstone.encoded.partition",
];
