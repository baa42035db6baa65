//! The plugin: plans slices, opens one, hands over what is read.

use std::sync::Arc;

use async_trait::async_trait;
use connector_aws::kinesis;
use connector_core::{
    Acks, ConfigProblem, ConnectError, Metric, Places, Plugin, PollBudget, Result, Source, SourceBatch,
    SourceContext, SourceOffset, TaskConfig, TaskInfo,
};
use tokio::sync::Mutex;

use crate::config::{Config, Settings};
use crate::figures::Figures;
use crate::handover::Handover;
use crate::origin::Origin;
use crate::position;
use crate::reading::Reading;
use crate::shard;
use crate::slice::{self, Slice};

/// The source waits as long as its own keys say, so the client does not try again by itself.
const ATTEMPTS: u32 = 1;

/// `kinesis-source`: records of a Kinesis stream.
pub struct KinesisSource {
    settings: Arc<Settings>,
    figures: Arc<Figures>,
    reading: Mutex<Option<Reading>>,
    places: Arc<Places<Vec<Origin>>>,
}

impl Plugin for KinesisSource {
    type Config = Config;

    const NAME: &'static str = "kinesis-source";
    const ALIASES: &'static [&'static str] = &["io.confluent.connect.kinesis.KinesisSourceConnector"];
    const INERT_KEYS: &'static [&'static str] = &[
        "confluent.license",
        "confluent.topic",
        "confluent.topic.bootstrap.servers",
        "confluent.topic.replication.factor",
    ];
    const SUMMARY: &'static str =
        "Reads a Kinesis stream, in order for each partition key, through splits and merges of its shards";
    const DELIVERY: &'static str = "exactly once for readers of committed records with `exactly.once.source.support: enabled`; otherwise at least once, without \
         repetition after a stop.";

    fn create(config: Config, task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let settings = Arc::new(Settings::new(config, task)?);
        Ok(Self { settings, figures: Arc::default(), reading: Mutex::default(), places: Arc::default() })
    }
}

#[async_trait]
impl Source for KinesisSource {
    fn exactly_once(&self) -> bool {
        true
    }

    fn bounded(&self) -> bool {
        self.settings.bounded
    }

    fn metrics(&self) -> Vec<Metric> {
        self.figures.metrics(&self.settings.stream)
    }

    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>> {
        let client = kinesis::client(&self.settings.access, ATTEMPTS).await;
        let shards = shard::list(&client, &self.settings.stream).await?;
        Ok(slice::plan(&shards, max_tasks).into_iter().map(Slice::to_task).collect())
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let slice = Slice::of_task(&context.task)?;
        let stored = position::stored(&context.positions, &self.settings.stream)?;
        let client = kinesis::client(&self.settings.access, ATTEMPTS).await;
        let shards = shard::list(&client, &self.settings.stream).await?;
        self.places.clear();
        let told = (self.figures.clone(), self.places.clone());
        let reading = Reading::new(self.settings.clone(), client, told, slice, shards, stored)?;
        *self.reading.lock().await = Some(reading);
        Ok(())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        match &mut *self.reading.lock().await {
            Some(reading) => reading.next(budget).await,
            None => Err(ConnectError::internal("kinesis.closed", "the source is not open")),
        }
    }

    fn place(&self, token: u64, row: usize) -> Option<String> {
        self.places.find(token, |origins| Some(origins.get(row)?.place(&self.settings.stream)))
    }

    /// Without the lock of `poll`, which may be waiting for records.
    async fn commit(&self, offset: &SourceOffset, _: &Acks) -> Result<()> {
        self.places.committed(offset.token);
        for shard in position::finished(&offset.positions, &self.settings.stream) {
            Handover::of(&self.settings.connector, &self.settings.stream).finish(shard);
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        *self.reading.lock().await = None;
        self.figures.stop();
        Ok(())
    }
}
