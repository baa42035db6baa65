//! One task of the source, with what the host would keep.

use std::sync::Arc;
use std::time::Duration;

use connector_core::arrow::array::{Array, AsArray};
use connector_core::{
    Acks, ConfigMap, Envelope, Form, NoTopics, PollBudget, Position, Result, Source, SourceBatch,
    SourceContext, TaskConfig, TaskInfo,
};
use serde_json::Value;

use crate::stream::Stream;

pub struct Reader {
    pub source: Arc<dyn Source>,
    pub positions: Vec<Position>,
    /// Partition key and value.
    pub records: Vec<(String, String)>,
    pub timestamps: Vec<i64>,
}

pub fn source(config: &ConfigMap) -> Arc<dyn Source> {
    let component = source_kinesis::component();
    let config = component.check(config).unwrap();
    let task = TaskInfo { connector: "reader".to_owned(), ..TaskInfo::default() };
    component.create_source(&config, &task).unwrap()
}

impl Reader {
    /// The only task.
    pub async fn of(stream: &Stream, more: &[(&str, &str)]) -> Self {
        Self::resume(stream, more, Vec::new()).await
    }

    pub async fn resume(stream: &Stream, more: &[(&str, &str)], positions: Vec<Position>) -> Self {
        let config = stream.config(more);
        let tasks = source(&config).plan(1).await.unwrap();
        Self::open(&config, tasks[0].clone(), positions).await.unwrap()
    }

    pub async fn open(config: &ConfigMap, task: TaskConfig, positions: Vec<Position>) -> Result<Self> {
        let source = source(config);
        let context = SourceContext { task, positions: positions.clone(), topics: Arc::new(NoTopics) };
        source.open(context).await?;
        Ok(Self { source, positions, records: Vec::new(), timestamps: Vec::new() })
    }

    /// One batch, committed; `None` at the end.
    pub async fn poll(&mut self, max_records: usize) -> Result<Option<SourceBatch>> {
        let budget = PollBudget { max_records, max_bytes: 4 << 20 };
        let answer = tokio::time::timeout(Duration::from_secs(20), self.source.poll(budget)).await;
        let Some(batch) = answer.expect("a batch within 20 s")? else { return Ok(None) };
        for run in &batch.runs {
            assert_eq!(run.topic.as_deref(), Some("rows"));
            let envelope = Envelope::of(&run.records).unwrap();
            assert_eq!((envelope.key_form(), envelope.value_form()), (Form::Bytes, Form::Bytes));
            let keys = envelope.key().unwrap().as_binary::<i32>();
            let values = envelope.value().as_binary::<i32>();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            for row in 0..values.len() {
                self.records.push((text(keys.value(row)), text(values.value(row))));
                self.timestamps.push(envelope.timestamps().unwrap().value(row));
            }
        }
        for position in &batch.offset.positions {
            self.positions.retain(|p| p.partition != position.partition);
            self.positions.push(position.clone());
        }
        let delivered = batch.runs.iter().map(|run| run.records.num_rows()).sum();
        self.source.commit(&batch.offset, &Acks { delivered, rows: Vec::new() }).await?;
        Ok(Some(batch))
    }

    /// Polls until there are so many records.
    pub async fn read_to(&mut self, count: usize) {
        while self.records.len() < count {
            self.poll(count - self.records.len()).await.unwrap().expect("no end");
        }
    }

    /// Polls until the source ends.
    pub async fn read_to_end(&mut self) {
        while self.poll(1_000).await.unwrap().is_some() {}
    }

    /// Polls for a while, to see that nothing comes.
    pub async fn read_for(&mut self, time: Duration) {
        let polls = async { while self.poll(1_000).await.unwrap().is_some() {} };
        let _ = tokio::time::timeout(time, polls).await;
    }

    pub fn values(&self) -> Vec<&str> {
        self.records.iter().map(|(_, value)| value.as_str()).collect()
    }

    /// The stored offset of a shard.
    pub fn offset(&self, shard: &str) -> Option<Value> {
        let of_shard = |p: &&Position| p.partition.get("shard").is_some_and(|id| id == shard);
        self.positions.iter().find(of_shard).map(|p| Value::Object(p.offset.clone()))
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.source.metrics();
        metrics.iter().find(|m| m.name == format!("sidestream_kinesis_{name}")).map(|m| m.value)
    }
}

pub const SHARD_0: &str = "shardId-000000000000";
