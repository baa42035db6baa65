//! The sink itself: writers by topic-partition, tables by address.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_core::{
    Assignment, Batch, Committable, ConfigProblem, ConnectError, CutSchedule, Delivery, Extent, FlushRange,
    Metric, Needs, Plugin, Result, Resume, Sink, TaskInfo, TopicPartition, Written, async_trait,
};
use tokio::sync::Mutex as AsyncMutex;

use crate::config::{Config, ResumeFrom};
use crate::ddl;
use crate::figures::Figures;
use crate::inventory::{self, Progress};
use crate::publish::{Share, Staged};
use crate::rows;
use crate::segment::{self, Limits, Writer};
use crate::table::Table;
use crate::target::{Open, Settings, Target};

/// Writes records to Delta tables.
pub struct DeltaSink {
    settings: Arc<Settings>,
    limits: Limits,
    targets: Mutex<BTreeMap<String, Arc<Target>>>,
    assigned: Mutex<HashMap<TopicPartition, Assigned>>,
    figures: Figures,
    inventory: Progress,
}

/// A partition that this task writes.
#[derive(Clone)]
struct Assigned {
    assignment: Assignment,
    target: Arc<Target>,
    /// A write and the flush of earlier rows may come at once.
    writer: Arc<AsyncMutex<Writer>>,
}

impl Plugin for DeltaSink {
    type Config = Config;

    const NAME: &'static str = "delta-sink";
    const SUMMARY: &'static str =
        "Writes records as rows of Delta tables, each exactly once: appends, upserts, or de-duplicated";
    const DELIVERY: &'static str =
        "exactly once: offsets are in the table's log, in the commit that has the rows.";

    fn create(config: Config, task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let limits = Limits {
            records: config.flush_size,
            bytes: u64::try_from(config.flush_bytes).ok().map(|n| n.max(1)),
        };
        let settings = Settings {
            layout: segment::layout(&config, task),
            declared: config.schema.as_deref().and_then(|text| ddl::parse(text).ok()),
            task: task.clone(),
            config,
            writers: AtomicUsize::new(0),
        };
        Ok(Self {
            settings: Arc::new(settings),
            limits,
            targets: Mutex::default(),
            assigned: Mutex::default(),
            figures: Figures::default(),
            inventory: Progress::default(),
        })
    }
}

impl DeltaSink {
    fn assigned(&self) -> MutexGuard<'_, HashMap<TopicPartition, Assigned>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, partition: &TopicPartition) -> Result<Assigned> {
        self.assigned().get(partition).cloned().ok_or_else(|| {
            let message = format!("{partition} is not assigned to this task");
            ConnectError::user("delta.not_assigned", message).hint(
                "a transform must not change the topic of records that this sink writes; use `topic.mapping`",
            )
        })
    }

    /// The table of `topic`; topics may share one.
    fn target(&self, topic: &str) -> Arc<Target> {
        let address = self.settings.config.address(topic);
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Target::new(Arc::clone(&self.settings), address.clone()));
        Arc::clone(targets.entry(address.clone()).or_insert_with(made))
    }

    /// The tables that are known to exist.
    fn tables(&self) -> Vec<Arc<Open>> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.values().filter_map(|target| target.known()).collect()
    }

    fn app_id(&self, Assignment { partition, topic_id }: &Assignment) -> String {
        format!("{}/{}/{}/{topic_id}", self.settings.task.connector, partition.topic, partition.partition)
    }

    /// Opens the table of `assignments`, all of which go there; their offsets in it.
    async fn open_target(&self, target: &Arc<Target>, assignments: &[&Assignment]) -> Result<Resume> {
        let app_ids: Vec<String> = assignments.iter().map(|a| self.app_id(a)).collect();
        let (mut versions, mut seen) = (vec![None; assignments.len()], 0);
        if let Some(open) = target.open().await? {
            let head = open.table.head();
            seen = head.version;
            versions = open.table.txn_versions(&head, app_ids.clone()).await?;
        }
        let mut resume = Resume::new();
        for ((assignment, app_id), offset) in assignments.iter().zip(app_ids).zip(versions) {
            let partition = assignment.partition.clone();
            let writer = Arc::new(AsyncMutex::new(Writer::new(partition.clone(), app_id, offset, seen)));
            if let Some(offset) = offset.filter(|_| self.settings.config.resume == ResumeFrom::Table) {
                resume.insert(partition.clone(), offset);
            }
            let assigned = Assigned { assignment: (*assignment).clone(), target: Arc::clone(target), writer };
            self.assigned().insert(partition, assigned);
        }
        self.settings.writers.store(self.assigned().len(), Ordering::Relaxed);
        self.appoint();
        Ok(resume)
    }

    /// Of the tasks that write a table, the one with partition 0 of a topic looks after it.
    fn appoint(&self) {
        let assigned = self.assigned();
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        for target in targets.values() {
            let leads =
                |one: &Assigned| one.assignment.partition.partition == 0 && Arc::ptr_eq(&one.target, target);
            target.leads.store(assigned.values().any(leads), Ordering::Relaxed);
        }
    }
}

/// The token of a flush: one commit a table.
struct Token(Vec<Staged>);

#[async_trait]
impl Sink for DeltaSink {
    fn needs(&self) -> Needs {
        // Typed columns where there are any, else JSON texts.
        Needs::Document
    }

    fn delivery(&self) -> Delivery {
        Delivery::SinkOffsets
    }

    fn schedule(&self) -> Option<CutSchedule> {
        let every_ms = self.settings.config.rotate_interval_ms;
        (every_ms > 0).then_some(CutSchedule { every_ms, phase_ms: 0 })
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.figures.metrics();
        for open in self.tables() {
            metrics.extend(open.metrics());
        }
        metrics.extend(self.inventory.metrics());
        metrics
    }

    async fn open(&self, partitions: &[Assignment]) -> Result<Resume> {
        let mut by_table: BTreeMap<String, (Arc<Target>, Vec<&Assignment>)> = BTreeMap::new();
        for assignment in partitions {
            let topic = &assignment.partition.topic;
            let entry = by_table.entry(self.settings.config.address(topic));
            entry.or_insert_with(|| (self.target(topic), Vec::new())).1.push(assignment);
        }
        let mut resume = Resume::new();
        for (target, assignments) in by_table.values() {
            resume.extend(self.open_target(target, assignments).await?);
        }
        Ok(resume)
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        let Assigned { target, writer, .. } = self.get(&batch.partition)?;
        let config = &self.settings.config;
        let taken = rows::take(&batch, &target, config.mode, config.null_values).await?;
        let mut written =
            Written { filtered: taken.filtered, rejected: taken.rejected, ..Written::default() };
        let Some(open) = taken.open else { return Ok(written) };
        let mut writer = writer.lock().await;
        for (rows, offsets) in taken.runs {
            let cut = writer.push(rows, &offsets, &open, self.limits).await?;
            written.cut = cut.or(written.cut);
        }
        written.spilled_bytes = writer.take_spilled();
        Ok(written)
    }

    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        let mut by_table: BTreeMap<String, (Arc<Target>, Vec<Share>)> = BTreeMap::new();
        for range in ranges {
            let Assigned { assignment, target, writer } = self.get(&range.partition)?;
            // Without a table there was nothing to write, and there is nothing to note.
            let Some(open) = target.get().await else { continue };
            let mut writer = writer.lock().await;
            writer.catch_up(&open.table).await?;
            let segments = writer.cut(range.end, &open).await?;
            let (app_id, seen) = (writer.app_id.clone(), writer.seen);
            let share = Share { assignment, app_id, seen, range: range.clone(), segments };
            let address = self.settings.config.address(&range.partition.topic);
            by_table.entry(address).or_insert((target, Vec::new())).1.push(share);
        }
        let mut staged = Vec::with_capacity(by_table.len());
        for (target, shares) in by_table.into_values() {
            if let Some(open) = target.get().await {
                staged.push(Staged::new(open, shares).await?);
            }
        }
        Ok(Committable::new(Token(staged)))
    }

    async fn commit(&self, staged: &Committable) -> Result<()> {
        let Token(staged) =
            staged.get().ok_or_else(|| ConnectError::internal("delta.token", "a token of another sink"))?;
        for staged in staged {
            let version = staged.commit(&self.settings.task.connector, &self.figures).await?;
            let interval = self.settings.config.checkpoint_interval;
            staged.open.checkpoints.after(&staged.open.table, version, interval);
            for share in &staged.shares {
                // Revoked meanwhile: there is nothing left to tell.
                let Ok(assigned) = self.get(&share.range.partition) else { continue };
                assigned.writer.lock().await.committed(share.range.end, version);
            }
        }
        Ok(())
    }

    async fn close(&self, revoked: &[TopicPartition]) -> Result<()> {
        let dropped: Vec<Assigned> = {
            let mut assigned = self.assigned();
            let dropped = revoked.iter().filter_map(|partition| assigned.remove(partition)).collect();
            self.settings.writers.store(assigned.len(), Ordering::Relaxed);
            dropped
        };
        self.appoint();
        for Assigned { target, writer, .. } in dropped {
            // A commit that still runs keeps its files.
            let Some(writer) = Arc::into_inner(writer) else { continue };
            if let Some(open) = target.get().await {
                writer.into_inner().discard(&open.table).await;
            }
        }
        if self.assigned().is_empty() {
            for open in self.tables() {
                open.checkpoints.finish().await;
            }
        }
        Ok(())
    }

    async fn inventory(&self, topics: &[Arc<str>]) -> Result<Vec<Extent>> {
        let mut by_table: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
        for topic in topics {
            by_table.entry(self.settings.config.address(topic)).or_default().push(Arc::clone(topic));
        }
        let mut extents = Vec::new();
        for (address, topics) in by_table {
            let target = Target::new(Arc::clone(&self.settings), address);
            // A table that is not there holds nothing; it is not made for that.
            let Some(table) = Table::load(target.location().await?).await? else { continue };
            let connector = &self.settings.task.connector;
            extents.extend(inventory::inventory(&table, connector, &topics, &self.inventory).await?);
        }
        Ok(extents)
    }
}
