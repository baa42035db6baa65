//! Plugins that only have keys: what they would do with records is another test's matter.

use std::collections::BTreeMap;

use connector_core::*;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::plugin::registry::Registry;

#[derive(Deserialize, JsonSchema)]
pub struct SinkConfig {
    /// The bucket. Must exist.
    #[serde(rename = "s3.bucket.name")]
    bucket: String,
    /// Region of the bucket.
    #[serde(default, rename = "s3.region")]
    _region: String,
    /// Records per object.
    #[serde(rename = "flush.size")]
    #[schemars(range(min = 1))]
    _flush_size: u32,
    /// How records are written.
    #[serde(default, rename = "format.class")]
    _format: Format,
    #[serde(default, rename = "topics.dir")]
    _topics_dir: String,
    #[serde(default, rename = "partitioner.class")]
    _partitioner: Partitioner,
    #[serde(default, rename = "store.url")]
    _url: String,
    /// The secret half of the credentials.
    #[serde(default, rename = "aws.secret.access.key")]
    _secret: Secret,
}

#[derive(Default, Deserialize, JsonSchema)]
enum Format {
    #[default]
    #[serde(rename = "json", alias = "io.confluent.connect.s3.format.json.JsonFormat")]
    Json,
    #[serde(rename = "bytes")]
    Bytes,
}

#[derive(Default, Deserialize, JsonSchema)]
enum Partitioner {
    #[default]
    #[serde(rename = "default", alias = "io.confluent.connect.storage.partitioner.DefaultPartitioner")]
    Default,
}

struct ObjectSink;

impl Plugin for ObjectSink {
    type Config = SinkConfig;
    const NAME: &'static str = "s3-sink";
    const ALIASES: &'static [&'static str] = &["io.confluent.connect.s3.S3SinkConnector"];
    const INERT_KEYS: &'static [&'static str] = &["storage.class", "schema.compatibility"];
    const SUMMARY: &'static str = "Writes objects.";

    fn create(config: SinkConfig, _: &TaskInfo) -> std::result::Result<Self, Vec<ConfigProblem>> {
        if config.bucket.contains('_') {
            let hint = "buckets have letters, digits, `.` and `-`";
            return Err(vec![ConfigProblem::new("s3.bucket.name", "holds an underscore", hint)]);
        }
        Ok(Self)
    }
}

#[async_trait]
impl Sink for ObjectSink {
    fn needs(&self) -> Needs {
        Needs::Bytes
    }
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }
    async fn open(&self, _: &[Assignment]) -> Result<Resume> {
        Ok(Resume::new())
    }
    async fn write(&self, _: Batch) -> Result<Written> {
        Ok(Written::default())
    }
    async fn flush(&self, _: &[FlushRange]) -> Result<Committable> {
        Ok(Committable::new(()))
    }
    async fn commit(&self, _: &Committable) -> Result<()> {
        Ok(())
    }
    async fn close(&self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct WebhookConfig {
    /// Address, `host:port`.
    #[serde(default = "listen", rename = "webhook.listen")]
    _listen: String,
    /// Topics that may be written.
    #[serde(default, rename = "webhook.topics")]
    _topics: Vec<String>,
    /// Table to topic.
    #[serde(default, rename = "topic.mapping")]
    _mapping: BTreeMap<String, String>,
    /// Password of the database.
    #[serde(default, rename = "connection.password")]
    _password: Secret,
}

fn listen() -> String {
    "127.0.0.1:8082".to_owned()
}

struct Webhook;

impl Plugin for Webhook {
    type Config = WebhookConfig;
    const NAME: &'static str = "webhook-source";
    const SUMMARY: &'static str = "Takes posts.";

    fn create(_: WebhookConfig, _: &TaskInfo) -> std::result::Result<Self, Vec<ConfigProblem>> {
        Ok(Self)
    }
}

#[async_trait]
impl Source for Webhook {
    async fn plan(&self, _: usize) -> Result<Vec<TaskConfig>> {
        Ok(vec![TaskConfig::new()])
    }
    async fn open(&self, _: SourceContext) -> Result<()> {
        Ok(())
    }
    async fn poll(&self, _: PollBudget) -> Result<Option<SourceBatch>> {
        Ok(None)
    }
    async fn commit(&self, _: &SourceOffset, _: &Acks) -> Result<()> {
        Ok(())
    }
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CleanerConfig {
    /// Fields to drop.
    #[serde(default, rename = "drop")]
    _drop: Vec<String>,
}

struct Cleaner;

impl Plugin for Cleaner {
    type Config = CleanerConfig;
    const NAME: &'static str = "pin-cleaner";
    const SUMMARY: &'static str = "Cleans.";

    fn create(_: CleanerConfig, _: &TaskInfo) -> std::result::Result<Self, Vec<ConfigProblem>> {
        Ok(Self)
    }
}

impl Transform for Cleaner {
    fn needs(&self) -> Needs {
        Needs::Bytes
    }
    fn apply(&self, records: arrow::array::RecordBatch, _: &Meta) -> Result<Transformed> {
        Ok(Transformed::one(records))
    }
}

pub fn registry() -> Registry {
    let (registry, duplicates) = Registry::built_in([
        Component::sink::<ObjectSink>("0.1.0"),
        Component::source::<Webhook>("0.1.0"),
        Component::transform::<Cleaner>("0.1.0"),
    ]);
    assert!(duplicates.is_empty(), "{duplicates:?}");
    registry
}

#[test]
fn a_second_plugin_of_a_taken_name_is_reported_and_left_out() {
    let twice = || Component::transform::<Cleaner>("0.1.0");
    let (registry, duplicates) = Registry::built_in([twice(), twice()]);
    assert_eq!(registry.entries().len(), 1);
    assert_eq!(
        duplicates[0].to_string(),
        "plugin `pin-cleaner` (built in) is left out: `pin-cleaner` already names `pin-cleaner` (built in)"
    );
}

#[test]
fn a_plugin_is_found_by_its_short_name_its_class_and_the_class_without_package_or_connector() {
    let registry = registry();
    for class in ["s3-sink", "io.confluent.connect.s3.S3SinkConnector", "S3SinkConnector", "S3Sink"] {
        assert_eq!(registry.get(class).unwrap().component.name, "s3-sink", "{class}");
    }
    assert!(registry.get("S3").is_none());
}
