//! The sink itself: writers by topic-partition, one store.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use connector_aws::parts::Store;
use connector_core::{
    Assignment, Batch, Committable, ConfigProblem, ConnectError, CutSchedule, Delivery, Extent, FlushRange,
    Metric, Needs, OpenLimits, Plugin, Result, Resume, Sink, TaskInfo, TopicPartition, Written, async_trait,
};
use tokio::sync::{OnceCell, Semaphore};

use crate::config::Config;
use crate::inert::INERT_KEYS;
use crate::inventory::{self, Progress};
use crate::object::{Publishing, Staging};
use crate::partition::Zone;
use crate::schedule;
use crate::store;
use crate::writer::{Ready, Settings, Writer};

/// Parts in flight while files grow, over all files of the task.
const BACKGROUND_PARTS: usize = 4;

/// Writes records to S3 as Confluent's sink does.
pub struct S3Sink {
    config: Config,
    settings: Settings,
    zone: Zone,
    store: OnceCell<Store>,
    writers: Mutex<HashMap<TopicPartition, Writer>>,
    background: Arc<Semaphore>,
    inventory: Progress,
}

impl Plugin for S3Sink {
    type Config = Config;

    const NAME: &'static str = "s3-sink";
    const ALIASES: &'static [&'static str] = &["io.confluent.connect.s3.S3SinkConnector"];
    const INERT_KEYS: &'static [&'static str] = INERT_KEYS;
    const SUMMARY: &'static str =
        "Writes records to S3 (or a directory) as JSON lines or bytes, as Confluent's S3 sink does";
    const DELIVERY: &'static str = "exactly once: a range of records is published under the same keys whatever happens. At least once with \
         `timestamp.extractor: Wallclock`, a transform that does not always make the same of a record, a broker that keeps no \
         commit metadata, and a source in the same connector.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = config.problems();
        let settings = Settings::new(&config).map_err(|more| problems.extend(more));
        let Ok(settings) = settings else { return Err(problems) };
        problems.extend(settings.key_problem());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            settings,
            zone: Zone::parse(&config.timezone).unwrap_or(Zone::UTC),
            config,
            store: OnceCell::new(),
            writers: Mutex::default(),
            background: Arc::new(Semaphore::new(BACKGROUND_PARTS)),
            inventory: Progress::default(),
        })
    }
}

impl S3Sink {
    fn writers(&self) -> MutexGuard<'_, HashMap<TopicPartition, Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Result<&Store> {
        self.store
            .get()
            .ok_or_else(|| ConnectError::internal("s3.not_open", "the sink is used before it was opened"))
    }

    /// Sends parts in the background; waits while too many are under way.
    async fn start(&self, ready: Vec<Ready>) -> Result<()> {
        for (upload, part) in ready {
            let permit = Arc::clone(&self.background).acquire_owned().await;
            let permit = permit.map_err(|e| ConnectError::internal("s3.semaphore", e.to_string()))?;
            upload.start(part, self.store()?.clone(), permit);
        }
        Ok(())
    }
}

fn not_assigned(partition: &TopicPartition) -> ConnectError {
    let message = format!("No writer found for topic partition {partition}: it is not assigned to this task");
    ConnectError::user("s3.not_assigned", message).hint(
        "a transform must not change the topic of records that this sink writes; use `topics.dir` to rename",
    )
}

#[async_trait]
impl Sink for S3Sink {
    fn needs(&self) -> Needs {
        // Bytes too come from the converter that is configured: what is not bytes is refused, as Connect does (S3G-034).
        Needs::Document
    }

    /// At least once where the clock names directories: a record that is read again may go to another one.
    fn delivery(&self) -> Delivery {
        if self.settings.partitioning.is_deterministic() {
            Delivery::StableRange
        } else {
            Delivery::AtLeastOnce
        }
    }

    fn open_limits(&self) -> OpenLimits {
        let limit = Some(self.config.rotate_interval_ms).filter(|&ms| ms > 0 && self.config.rotate_idle);
        match self.settings.partitioning.is_by_time() {
            // Records that come rotate by their own time.
            true => OpenLimits { idle_ms: limit, age_ms: None },
            false => OpenLimits { age_ms: limit, idle_ms: None },
        }
    }

    fn schedule(&self) -> Option<CutSchedule> {
        let every_ms = self.config.rotate_schedule_interval_ms;
        (every_ms > 0).then(|| schedule::cuts(every_ms, self.zone, Utc::now()))
    }

    async fn open(&self, partitions: &[Assignment]) -> Result<Resume> {
        self.store.get_or_try_init(|| store::open(&self.config)).await?;
        let mut writers = self.writers();
        for Assignment { partition, .. } in partitions {
            writers.entry(partition.clone()).or_default();
        }
        Ok(Resume::new())
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        let mut ready = Vec::new();
        let mut written = {
            let mut writers = self.writers();
            let writer = writers.get_mut(&batch.partition).ok_or_else(|| not_assigned(&batch.partition))?;
            writer.write(&batch, &self.settings, &mut ready)?
        };
        self.start(ready).await?;
        written.spilled_bytes = self.settings.shapes.spilled.swap(0, Ordering::Relaxed);
        Ok(written)
    }

    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        // What becomes ready here is not started in the background: `stage` sends it.
        let (mut objects, mut ready) = (Vec::new(), Vec::new());
        {
            let mut writers = self.writers();
            for FlushRange { partition, end, .. } in ranges {
                let writer = writers.get_mut(partition).ok_or_else(|| not_assigned(partition))?;
                objects.extend(writer.cut(partition, *end, &self.settings, &mut ready)?);
            }
        }
        let staging = Staging(objects);
        staging.stage(self.store()?).await?;
        Ok(Committable::new(staging))
    }

    async fn commit(&self, staged: &Committable) -> Result<()> {
        let staging: &Staging =
            staged.get().ok_or_else(|| ConnectError::internal("s3.token", "a token of another sink"))?;
        let how = Publishing {
            create: self.config.creates_only(),
            tags_may_fail: self.config.place.tags_may_fail(),
        };
        staging.publish(self.store()?, how).await?;
        for writer in self.writers().values_mut() {
            writer.forget_visible();
        }
        Ok(())
    }

    async fn close(&self, revoked: &[TopicPartition]) -> Result<()> {
        let dropped: Vec<Writer> = {
            let mut writers = self.writers();
            revoked.iter().filter_map(|partition| writers.remove(partition)).collect()
        };
        let Some(store) = self.store.get() else { return Ok(()) };
        for writer in dropped {
            let (uploads, objects) = writer.into_unfinished();
            for upload in uploads {
                upload.abort(store).await;
            }
            for object in objects {
                object.discard(store).await;
            }
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<Metric> {
        self.inventory.metrics()
    }

    async fn inventory(&self, topics: &[Arc<str>]) -> Result<Vec<Extent>> {
        let store = self.store.get_or_try_init(|| store::open(&self.config)).await?;
        inventory::inventory(&self.config, store, topics, &self.inventory).await
    }
}
