//! Object keys, exactly as Connect names them.

use connector_core::{ConfigProblem, Offset, Result, TopicPartition};
use object_store::path::Path;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Config;
use crate::error;

/// `partitioner.class`: which directory (Connect: encoded partition) a record belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Partitioner {
    /// `partition=<Kafka partition>`.
    #[default]
    #[serde(alias = "io.confluent.connect.storage.partitioner.DefaultPartitioner")]
    Default,
    /// Not yet.
    #[serde(alias = "io.confluent.connect.storage.partitioner.FieldPartitioner")]
    Field,
    /// Not yet.
    #[serde(alias = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner")]
    Time,
    /// Not yet.
    #[serde(alias = "io.confluent.connect.storage.partitioner.DailyPartitioner")]
    Daily,
    /// Not yet.
    #[serde(alias = "io.confluent.connect.storage.partitioner.HourlyPartitioner")]
    Hourly,
}

impl Partitioner {
    /// The directory of the records of `partition`. Only [`Partitioner::Default`] passes `Config::problems`; the
    /// others will need the record too.
    fn encode(self, partition: &TopicPartition) -> String {
        format!("partition={}", partition.partition)
    }
}

/// Makes the key of an object from its topic-partition and first offset.
#[derive(Clone, Debug)]
pub struct Layout {
    partitioner: Partitioner,
    topics_dir: String,
    directory_delim: String,
    file_delim: String,
    pad_width: usize,
    extension: String,
}

impl Layout {
    pub fn new(config: &Config) -> Self {
        Self {
            partitioner: config.partitioner,
            topics_dir: config.topics_dir.clone(),
            directory_delim: config.directory_delim.clone(),
            file_delim: config.file_delim.clone(),
            pad_width: config.pad_width,
            extension: config.extension(),
        }
    }

    fn text(&self, partition: &TopicPartition, start: Offset) -> String {
        let Self { topics_dir, directory_delim: dir, file_delim: file, pad_width, extension, .. } = self;
        let TopicPartition { topic, partition: number } = partition;
        let encoded = self.partitioner.encode(partition);
        let name = format!("{topic}{file}{number}{file}{start:0pad_width$}{extension}");
        let key = format!("{topic}{dir}{encoded}{dir}{name}");
        if topics_dir.trim().is_empty() { key } else { format!("{topics_dir}{dir}{key}") }
    }

    /// `topics/orders/partition=0/orders+0+0000000042.json`.
    pub fn key(&self, partition: &TopicPartition, start: Offset) -> Result<Path> {
        // Not `Path::from`, which percent-encodes.
        let text = self.text(partition, start);
        Path::parse(&text).map_err(|cause| error::bad_key(&text, cause))
    }

    /// Whether keys of this layout can be written as they are.
    pub fn problem(&self) -> Option<ConfigProblem> {
        let text = self.text(&TopicPartition::new("topic", 0), 0);
        let same = Path::parse(&text).is_ok_and(|path| path.as_ref() == text);
        (!same).then(|| {
            ConfigProblem::new(
                "topics.dir",
                "together with `directory.delim`, `file.delim` and the extension makes keys that cannot be written",
                "use no slash at either end, no double slash, no `.` or `..` directory and no control character",
            )
        })
    }
}
