//! A directory or bucket with tables, and the sink as a host drives it.

use std::path::PathBuf;
use std::sync::Arc;

use connector_core::arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{
    Assignment, Batch, Committable, ConnectError, FlushRange, Form, Offset, Rejection, Result, Resume, Sink,
    TaskInfo, TopicPartition, testing,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::S3;

pub struct Lake {
    directory: TempDir,
    /// `s3://bucket` and the keys to get there, for a lake that is not in the directory.
    s3: Option<(String, Vec<(&'static str, String)>)>,
}

impl Lake {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), s3: None }
    }

    pub fn on_s3(s3: &S3, bucket: &str) -> Self {
        let keys = vec![
            ("store.url", s3.url.clone()),
            ("s3.region", "us-east-1".to_owned()),
            ("aws.access.key.id", s3.access_key.clone()),
            ("aws.secret.access.key", s3.secret_key.clone()),
        ];
        Self { s3: Some((format!("s3://{bucket}"), keys)), ..Self::new() }
    }

    pub fn path(&self, table: &str) -> PathBuf {
        self.directory.path().join(table)
    }

    /// The task of a connector of this name, which has been given partition 0 of the topic `rows`.
    pub async fn open(&self, connector: &str, table: &str, keys: &[(&str, &str)]) -> Task {
        self.try_open(connector, table, keys).await.unwrap()
    }

    pub async fn try_open(&self, connector: &str, table: &str, keys: &[(&str, &str)]) -> Result<Task> {
        let path = match &self.s3 {
            Some((bucket, _)) => format!("{bucket}/{table}"),
            None => format!("file://{}", self.path(table).display()),
        };
        let mut map = testing::config(&[("delta.table.path", &path)]);
        map.extend(testing::config(keys));
        for (key, value) in self.s3.iter().flat_map(|(_, keys)| keys) {
            map.extend(testing::config(&[(key, value)]));
        }
        let component = sink_delta::component();
        let config = component.check(&map).unwrap_or_else(|problems| panic!("{problems:?}"));
        let task = TaskInfo { connector: connector.to_owned(), task: 0, direct: false };
        let sink = component.create_sink(&config, &task).unwrap_or_else(|problems| panic!("{problems:?}"));
        let partition = TopicPartition::new("rows", 0);
        let assigned = Assignment { partition: partition.clone(), topic_id: "topic-id".into() };
        let resume = sink.open(&[assigned]).await?;
        let next = resume.get(&partition).copied().unwrap_or(0);
        Ok(Task { sink, partition, resume, flushed: next, next })
    }
}

/// Records go in, in order; ranges are published when a test says so.
pub struct Task {
    pub sink: Arc<dyn Sink>,
    pub partition: TopicPartition,
    pub resume: Resume,
    flushed: Offset,
    next: Offset,
}

impl Task {
    /// Rows as JSON without a schema and without a record key.
    pub async fn write(&mut self, rows: &[Value]) -> Vec<Rejection> {
        let rows: Vec<_> = rows.iter().map(|row| (None, Some(row.clone()))).collect();
        self.write_keyed(&rows).await
    }

    /// Pairs of record key (JSON) and row; a row that is missing is a tombstone. What the sink refuses.
    pub async fn write_keyed(&mut self, records: &[(Option<Value>, Option<Value>)]) -> Vec<Rejection> {
        self.try_write(records).await.unwrap()
    }

    pub async fn try_write(&mut self, records: &[(Option<Value>, Option<Value>)]) -> Result<Vec<Rejection>> {
        let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
        let keys: Vec<_> = records.iter().map(|(key, _)| text(key)).collect();
        let values: StringArray = records.iter().map(|(_, row)| text(row)).collect();
        let keys: BinaryArray = keys.iter().map(|key| key.as_deref().map(str::as_bytes)).collect();
        let count = records.len() as i64;
        let records = EnvelopeBuilder::new()
            .offsets(Int64Array::from_iter_values(self.next..self.next + count))
            .key(Form::Bytes, Arc::new(keys))
            .value(Form::Document, Arc::new(values) as ArrayRef)
            .build()
            .unwrap();
        self.next += count;
        Ok(self.sink.write(Batch::new(self.partition.clone(), records)).await?.rejected)
    }

    /// Stages what was written since the last time.
    pub async fn flush(&mut self) -> Committable {
        let range = FlushRange::new(self.partition.clone(), self.flushed..self.next);
        self.flushed = self.next;
        self.sink.flush(&[range]).await.unwrap()
    }

    /// Stages and makes visible.
    pub async fn publish(&mut self) {
        self.try_publish().await.unwrap();
    }

    pub async fn try_publish(&mut self) -> Result<(), ConnectError> {
        let staged = self.flush().await;
        self.sink.commit(&staged).await
    }

    pub async fn close(self) {
        self.sink.close(&[self.partition]).await.unwrap();
    }
}
