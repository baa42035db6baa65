//! The source on folders, `memory://` stores and real S3 services.

mod bad_input;
mod config;
mod conformance;
mod follow;
mod outage;
mod reading;
mod restart;
mod service;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connector_core::arrow::array::{Array, AsArray};
use connector_core::{
    ConfigMap, ConnectError, Envelope, Form, NoTopics, PollBudget, Position, Source, SourceBatch,
    SourceContext, TaskConfig, TaskInfo, testing,
};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// `objects.path` and the topic `rows`, with further keys.
pub fn keys(path: &str, more: &[(&str, &str)]) -> ConfigMap {
    let mut map = testing::config(&[("objects.path", path), ("topic", "rows")]);
    map.extend(testing::config(more));
    map
}

/// One open task.
pub struct Task {
    pub source: Arc<dyn Source>,
    /// What a host has stored.
    pub positions: Vec<Position>,
}

impl Task {
    pub async fn open(keys: &ConfigMap, positions: Vec<Position>) -> Self {
        Self::open_one(keys, positions, 1, 0).await
    }

    /// Task `task` of `tasks`.
    pub async fn open_one(keys: &ConfigMap, positions: Vec<Position>, tasks: usize, task: usize) -> Self {
        let component = source_objects::component();
        let config = component.check(keys).unwrap();
        let source = component.create_source(&config, &TaskInfo::default()).unwrap();
        let plan: Vec<TaskConfig> = source.plan(tasks).await.unwrap();
        let context = SourceContext {
            task: plan[task].clone(),
            positions: positions.clone(),
            topics: Arc::new(NoTopics),
        };
        source.open(context).await.unwrap();
        Self { source, positions }
    }

    /// The next batch; its positions are stored.
    pub async fn poll(&mut self, max_records: usize) -> Result<Option<SourceBatch>, ConnectError> {
        let budget = PollBudget { max_records, max_bytes: 1 << 20 };
        let polled = tokio::time::timeout(PATIENCE, self.source.poll(budget)).await.expect("a poll hangs");
        let batch = polled?;
        for position in batch.iter().flat_map(|batch| &batch.offset.positions) {
            self.positions.retain(|old| old.partition != position.partition);
            self.positions.push(position.clone());
        }
        Ok(batch)
    }

    /// Everything to the end.
    pub async fn read(&mut self) -> Read {
        let mut read = Read::default();
        while let Some(batch) = self.poll(1000).await.unwrap() {
            read.add(batch);
        }
        read
    }
}

/// What came.
#[derive(Debug, Default)]
pub struct Read {
    pub rows: Vec<String>,
    pub topics: Vec<String>,
    pub rejected: Vec<ConnectError>,
    pub batches: usize,
}

impl Read {
    pub fn add(&mut self, batch: SourceBatch) {
        self.batches += 1;
        self.rejected.extend(batch.rejected);
        for run in batch.runs {
            let envelope = Envelope::of(&run.records).unwrap();
            assert_eq!(envelope.value_form(), Form::Document);
            let values = envelope.value().as_string::<i32>();
            let text = |row| if values.is_null(row) { "(null)" } else { values.value(row) };
            self.rows.extend((0..values.len()).map(|row| text(row).to_owned()));
            self.topics.extend((0..values.len()).map(|_| run.topic.as_deref().unwrap().to_owned()));
        }
    }

    /// Codes and messages.
    pub fn refusals(&self) -> Vec<(&str, &str)> {
        self.rejected.iter().map(|error| (error.code.as_str(), error.message.as_str())).collect()
    }
}

pub fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// `{"n":7}`, one a line.
pub fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

pub fn rows(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("{{\"n\":{n}}}")).collect()
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
