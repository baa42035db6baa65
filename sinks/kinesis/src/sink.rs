//! The sink itself: rows in, everything of a range stored before `flush` returns.

use std::sync::Arc;

use connector_core::{
    Assignment, Batch, Committable, ConfigProblem, ConnectError, Delivery, FlushRange, Metric, Needs, Plugin,
    Result, Resume, Sink, TaskInfo, TopicPartition, Written, async_trait,
};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::config::{Config, INERT_KEYS};
use crate::queue::{Limits, Queue};
use crate::state::{Shared, State};
use crate::stream::Stream;
use crate::{pump, rows};

/// Bytes that may wait: more would not make requests fuller, and is sent again after a crash.
const QUEUED: usize = 32 << 20;

/// Writes records to a Kinesis stream.
pub struct KinesisSink {
    config: Config,
    running: OnceCell<Running>,
}

struct Running {
    shared: Arc<Shared>,
    pump: JoinHandle<()>,
    limits: Limits,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Plugin for KinesisSink {
    type Config = Config;

    const NAME: &'static str = "kinesis-sink";
    const ALIASES: &'static [&'static str] = &["com.amazon.kinesis.kafka.AmazonKinesisSinkConnector"];
    const INERT_KEYS: &'static [&'static str] = INERT_KEYS;
    const SUMMARY: &'static str =
        "Writes records to a Kinesis stream, in order for each partition key, at least once";
    const DELIVERY: &'static str = "at least once; first copies are in order for each partition key.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let problems = config.problems();
        if problems.is_empty() { Ok(Self { config, running: OnceCell::new() }) } else { Err(problems) }
    }
}

impl KinesisSink {
    async fn start(&self) -> Result<Running> {
        let stream = Stream::of(&self.config).await;
        let limits = stream.limits().await?;
        let queue = Queue::new(limits, self.config.aggregation, stream.shards().await?);
        let shared = Arc::new(Shared::new(queue));
        let pump = tokio::spawn(pump::run(stream, Arc::clone(&shared), self.config.max_requests));
        Ok(Running { shared, pump, limits })
    }

    fn running(&self) -> Result<&Running> {
        let running = self.running.get();
        running.ok_or_else(|| {
            ConnectError::internal("kinesis.not_open", "the sink is used before it was opened")
        })
    }
}

#[async_trait]
impl Sink for KinesisSink {
    fn needs(&self) -> Needs {
        // Bytes too come from the converter that is configured.
        Needs::Document
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn metrics(&self) -> Vec<Metric> {
        self.running
            .get()
            .map(|running| running.shared.lock().metrics(&self.config.stream))
            .unwrap_or_default()
    }

    async fn open(&self, _: &[Assignment]) -> Result<Resume> {
        self.running.get_or_try_init(|| self.start()).await?;
        Ok(Resume::new())
    }

    /// Sends in the background. A stream has no ranges: each record may be the last of one.
    async fn write(&self, batch: Batch) -> Result<Written> {
        let Running { shared, limits, .. } = self.running()?;
        // Before anything is queued, so that the call may be repeated.
        shared.until(|state| !state.is_fatal() && state.queue.bytes() <= QUEUED).await?;
        let (entries, mut written) = rows::entries(&batch, &self.config, *limits)?;
        let mut state = shared.lock();
        state.push(&batch.partition, entries);
        written.spilled_bytes = std::mem::take(&mut state.queue.counters.bytes_gone);
        shared.pushed.notify_one();
        Ok(written)
    }

    /// Waits until everything in `ranges` is stored.
    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        let stored = |state: &State| ranges.iter().all(|range| state.is_stored(&range.partition, range.end));
        self.running()?.shared.until(stored).await?;
        Ok(Committable::new(()))
    }

    async fn commit(&self, _: &Committable) -> Result<()> {
        Ok(())
    }

    async fn close(&self, revoked: &[TopicPartition]) -> Result<()> {
        if let Some(running) = self.running.get() {
            let mut state = running.shared.lock();
            revoked.iter().for_each(|partition| state.drop_rest(partition));
        }
        Ok(())
    }
}
