//! Object keys, exactly as Connect names them.

use connector_core::{ConfigProblem, ConnectError, Offset, Result, TopicPartition};
use object_store::path::Path;

use crate::config::Config;

/// Bytes that S3 takes in a key.
const LONGEST: usize = 1024;

/// Makes the key of an object from its topic-partition, directory and first offset.
#[derive(Clone, Debug)]
pub struct Layout {
    topics_dir: String,
    directory_delim: String,
    file_delim: String,
    pad_width: usize,
}

impl Layout {
    pub fn new(config: &Config) -> Self {
        Self {
            topics_dir: config.topics_dir.clone(),
            directory_delim: config.directory_delim.clone(),
            file_delim: config.file_delim.clone(),
            pad_width: config.pad_width,
        }
    }

    fn text(&self, partition: &TopicPartition, directory: &str, start: Offset, end: &str) -> String {
        let Self { topics_dir, directory_delim: dir, file_delim: file, pad_width } = self;
        let TopicPartition { topic, partition: number } = partition;
        let name = format!("{topic}{file}{number}{file}{start:0pad_width$}{end}");
        let key = format!("{topic}{dir}{directory}{dir}{name}");
        if topics_dir.trim().is_empty() { key } else { format!("{topics_dir}{dir}{key}") }
    }

    /// `topics/orders/partition=0/orders+0+0000000042.json`, where `end` is `.json`.
    pub fn key(&self, partition: &TopicPartition, directory: &str, start: Offset, end: &str) -> Result<Path> {
        // Not `Path::from`, which percent-encodes.
        let text = self.text(partition, directory, start, end);
        if text.len() > LONGEST {
            let message =
                format!("the key of the record's object would have {} bytes, S3 takes {LONGEST}", text.len());
            return Err(
                ConnectError::user("s3.key", message).hint("choose another field for `partition.field.name`")
            );
        }
        Path::parse(&text).map_err(|_| {
            // Without the key, which may hold a value of the record.
            ConnectError::user("s3.key", "the record names a directory that no object can be in").hint(
                "values of `partition.field.name` and what `path.format` makes must not be empty, `.` or `..` between two \
                 slashes, nor hold control characters",
            )
        })
    }

    /// Whether keys of this layout, in a directory that the configuration names and with this end, can be written as they
    /// are.
    pub fn problem(&self, directory: &str, end: &str) -> Option<ConfigProblem> {
        let text = self.text(&TopicPartition::new("topic", 0), directory, 0, end);
        let same = Path::parse(&text).is_ok_and(|path| path.as_ref() == text);
        (!same).then(|| {
            ConfigProblem::new(
                "topics.dir",
                "together with `directory.delim`, `file.delim`, the directories and the extension makes keys that cannot \
                 be written",
                "use no slash at either end, no double slash, no `.` or `..` directory and no control character",
            )
        })
    }
}
