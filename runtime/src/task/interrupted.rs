//! A sink task over a consumer group that is killed at each of its steps, with cuts by the clock and with another
//! configuration at each start: every record is in one file, and no file ever changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{BinaryArray, Int64Array};
use async_trait::async_trait;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::*;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::budget::MemoryBudget;
use super::feed::*;
use super::goal::Goal;
use super::mark::Mark;
use super::pipeline::{Pipeline, SinkConverters};
use super::recipe::Packed;
use super::sink::{Engine, Restore, SinkTask};
use super::status::{AT_LEAST_ONCE, EXACTLY_ONCE, StatusBoard, TaskStatus};
use crate::config::{SecretSet, Tolerance};
use crate::convert::{self, HeaderConverter};

const RECORDS: i64 = 83;

/// Lets a number of steps pass, then breaks: with the step not done, or done and not answered.
#[derive(Default)]
struct Fuse {
    left: Option<usize>,
    after: bool,
    burnt: bool,
}

/// What outlives the process, and the process's fuse.
#[derive(Default)]
struct World {
    /// The group's offset, and what was written beside it.
    committed: Option<(Offset, Mark)>,
    /// Offsets in each visible file, by the first.
    files: BTreeMap<Offset, Vec<Offset>>,
    /// Brokers that drop commit metadata.
    forgetful: bool,
    fuse: Fuse,
}

type Shared = Arc<Mutex<World>>;

fn step<T>(world: &Shared, step: impl FnOnce(&mut World) -> T) -> Result<T> {
    let dead = || ConnectError::internal("test.killed", "killed");
    let mut world = world.lock().unwrap();
    if world.fuse.burnt {
        return Err(dead());
    }
    match &mut world.fuse.left {
        None => Ok(step(&mut world)),
        Some(left) if *left > 0 => {
            *left -= 1;
            Ok(step(&mut world))
        }
        Some(_) => {
            world.fuse.burnt = true;
            if world.fuse.after {
                step(&mut world);
            }
            Err(dead())
        }
    }
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Files of `full` records under their first offset; open ones are cut by the clock.
struct Files {
    world: Shared,
    full: usize,
    open: Mutex<Vec<Offset>>,
    closed: Mutex<Vec<Vec<Offset>>>,
}

impl Files {
    fn new(world: &Shared, full: usize) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), full, open: Mutex::default(), closed: Mutex::default() })
    }
}

#[async_trait]
impl Sink for Files {
    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn delivery(&self) -> Delivery {
        Delivery::StableRange
    }

    fn open_limits(&self) -> OpenLimits {
        OpenLimits { age_ms: Some(0), idle_ms: None }
    }

    async fn open(&self, _: &[Assignment]) -> Result<Resume> {
        Ok(Resume::new())
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        let mut cut = None;
        let (mut open, mut closed) = (self.open.lock().unwrap(), self.closed.lock().unwrap());
        for &offset in Envelope::of(&batch.records)?.offsets().unwrap().values() {
            open.push(offset);
            if open.len() == self.full {
                closed.push(std::mem::take(&mut *open));
                cut = Some(offset + 1);
            }
        }
        Ok(Written { cut, ..Written::default() })
    }

    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        step(&self.world, |_| ())?;
        let end = ranges[0].end;
        let (mut open, mut closed) = (self.open.lock().unwrap(), self.closed.lock().unwrap());
        if open.first().is_some_and(|first| *first < end) {
            assert!(open.iter().all(|offset| *offset < end), "the open file has grown over {end}");
            closed.push(std::mem::take(&mut *open));
        }
        let staged: Vec<_> = closed.iter().filter(|file| file[0] < end).cloned().collect();
        Ok(Committable::new(staged))
    }

    async fn commit(&self, staged: &Committable) -> Result<()> {
        let staged = staged.get::<Vec<Vec<Offset>>>().unwrap().clone();
        // File by file: a crash may leave some of them.
        for file in &staged {
            step(&self.world, |world| {
                if let Some(before) = world.files.insert(file[0], file.clone()) {
                    assert!(before == *file || world.forgetful, "{before:?} became {file:?}");
                }
            })?;
        }
        self.closed.lock().unwrap().retain(|file| !staged.contains(file));
        Ok(())
    }

    async fn close(&self, _: &[TopicPartition]) -> Result<()> {
        self.open.lock().unwrap().clear();
        self.closed.lock().unwrap().clear();
        Ok(())
    }
}

/// A group of one member, and a topic of one partition with a gap.
struct Broker {
    world: Shared,
    seed: usize,
    batches: mpsc::Sender<Fetched>,
}

impl Broker {
    async fn fetch(self: Arc<Self>, from: Offset) {
        let mut next = from;
        let mut turn = self.seed;
        while next < RECORDS {
            turn += 1;
            let to = (next + 1 + (turn as i64 * 5) % 11).min(RECORDS);
            // Compaction took these.
            let offsets: Vec<Offset> = (next..to).filter(|offset| !(30..34).contains(offset)).collect();
            next = to;
            if offsets.is_empty() {
                continue;
            }
            let values = BinaryArray::from_iter_values(offsets.iter().map(|offset| offset.to_string()));
            let last_offset = offsets[offsets.len() - 1];
            let records = EnvelopeBuilder::new()
                .offsets(Int64Array::from(offsets))
                .value(Form::Bytes, Arc::new(values))
                .build()
                .unwrap();
            let what = Piece::Records(Records {
                records,
                permit: MemoryPermit::none(),
                last_offset,
                high_watermark: RECORDS,
                whole: true,
            });
            if self.batches.send(Fetched { epoch: 1, partition: tp(), what }).await.is_err() {
                return;
            }
            if turn.is_multiple_of(3) {
                // Long enough for the clock to be looked at.
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        }
        let _ = self.batches.send(Fetched { epoch: 1, partition: tp(), what: Piece::End }).await;
    }

    fn keep(&self, offset: Offset, end: Option<Offset>, recipe: &Option<Packed>) -> Result<CommitOutcome> {
        let recipe = recipe.as_ref().unwrap();
        let mark = end.map_or_else(|| Mark::settled(None), |end| Mark::intent(None, end, recipe));
        step(&self.world, |world| {
            let forgetful = world.forgetful;
            let mark = if forgetful { Mark::settled(None) } else { mark };
            world.committed = Some((offset, mark));
        })?;
        Ok(CommitOutcome::Committed)
    }
}

struct Member(Arc<Broker>);

#[async_trait]
impl Reader for Member {
    fn subscribe(&self, _: &[String]) -> Result<()> {
        Ok(())
    }

    async fn topic_ids(&self, _: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        Ok(BTreeMap::new())
    }

    async fn standings(
        &self,
        _: &[TopicPartition],
        _: &Resume,
    ) -> Result<BTreeMap<TopicPartition, Standing>> {
        let committed = self.0.world.lock().unwrap().committed.clone();
        let (offset, mark) = committed.unwrap_or((0, Mark::settled(None)));
        let Mark { end, recipe, how, .. } = mark;
        let unfinished = end.map(|end| Unfinished { end, recipe, how });
        Ok(BTreeMap::from([(tp(), Standing { offset, unfinished })]))
    }

    fn keeps_intents(&self) -> Option<bool> {
        Some(!self.0.world.lock().unwrap().forgetful)
    }

    async fn resume(&self, partitions: Vec<(TopicPartition, Option<Offset>)>) -> Result<()> {
        tokio::spawn(self.0.clone().fetch(partitions[0].1.unwrap()));
        Ok(())
    }

    async fn beyond(&self, _: &TopicPartition, _: Offset) -> Result<Offset> {
        unreachable!("nothing expires here")
    }

    fn refuse(&self, _: Offset, _: &ConnectError) -> bool {
        false
    }

    async fn intend(&self, ranges: &[Planned]) -> Result<CommitOutcome> {
        let Planned { range, owed, recipe, .. } = &ranges[0];
        self.0.keep(range.start, Some(owed.unwrap_or(range.end)), recipe)
    }

    async fn commit(&self, ranges: &[Planned]) -> Result<CommitOutcome> {
        let Planned { range, owed, recipe, .. } = &ranges[0];
        self.0.keep(range.end, *owed, recipe)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn engine(world: &Shared, full: usize) -> Engine {
    let sink: Arc<dyn Sink> = Files::new(world, full);
    let value = convert::converter("ByteArrayConverter", &ConfigMap::new(), false).unwrap();
    let converters = SinkConverters { key: None, value, header: HeaderConverter::default() };
    Engine { pipeline: Pipeline::to_sink(converters, Vec::new(), &sink.needs()), sink }
}

/// One life of the process, with files of `full` records.
async fn live(world: &Shared, fuse: Fuse, full: usize, seed: usize) -> (Result<()>, Arc<TaskStatus>) {
    world.lock().unwrap().fuse = fuse;
    let text: Arc<str> = full.to_string().into();
    let recipe = Some(Packed { fingerprint: text.clone(), text });
    let (batch_sender, batches) = mpsc::channel(2);
    let (membership_sender, membership) = mpsc::unbounded_channel();
    let broker = Broker { world: world.clone(), seed, batches: batch_sender };
    membership_sender.send(Membership::Assigned { partitions: vec![tp()], epoch: 1 }).unwrap();
    let status = StatusBoard::default().register("c", 0, (Kind::Sink, "files"), &SecretSet::default());
    let (_topics, topics) = watch::channel(Vec::new());
    let Engine { sink, pipeline } = engine(world, full);
    let of = world.clone();
    let restore: Restore = Arc::new(move |how| Ok(engine(&of, how.parse().unwrap())));
    let task = SinkTask {
        sink,
        pipeline,
        tolerance: Tolerance::None,
        flush_on_stop: false,
        status: status.clone(),
        budget: MemoryBudget::new(64 << 20),
        stop: CancellationToken::new(),
        drain_timeout: Duration::from_secs(5),
        topics,
        goal: Some(Arc::new(Goal::new([(tp(), Some(RECORDS))]))),
        direct: false,
        dead_letters: None,
        recipe,
        restore: Some(restore),
    };
    let reader = Arc::new(Member(Arc::new(broker)));
    (task.run(Feed { membership, batches, reader }).await, status)
}

fn whole(world: &Shared, what: &str) {
    let world = world.lock().unwrap();
    let found: Vec<Offset> = world.files.values().flatten().copied().collect();
    let all: Vec<Offset> = (0..RECORDS).filter(|offset| !(30..34).contains(offset)).collect();
    assert_eq!(found, all, "{what}: {:?}", world.files);
    let (offset, mark) = world.committed.clone().unwrap();
    assert_eq!((offset, mark.end), (RECORDS, None), "{what}");
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_step_under_other_settings_every_record_is_in_one_file_that_never_changes() {
    let (mut deaths, mut clock) = (0, 0);
    for left in 0..70 {
        for after in [false, true] {
            let world = Shared::default();
            let fuse = |left| Fuse { left: Some(left), after, burnt: false };
            // Twice, so that what a restart has begun is broken too.
            for (full, seed, left) in [(7, left, left), (5, left + 1, (left * 3) % 17)] {
                if let (Err(error), _) = live(&world, fuse(left), full, seed).await {
                    assert_eq!(error.code, "test.killed", "{error}");
                    deaths += 1;
                }
            }
            let (done, status) = live(&world, Fuse::default(), 9, left + 2).await;
            done.unwrap();
            assert_eq!(status.promise().delivery, EXACTLY_ONCE);
            whole(&world, &format!("killed after {left} steps, the last one done: {after}"));
            let lengths: Vec<usize> = world.lock().unwrap().files.values().map(Vec::len).collect();
            clock += lengths.iter().filter(|length| ![7, 5, 9].contains(length)).count();
        }
    }
    assert!(deaths > 150, "only {deaths} of 280 lives ended early");
    assert!(clock > 280, "only {clock} files were cut by the clock");
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_commit_metadata_is_at_least_once_and_said_so() {
    let world = Arc::new(Mutex::new(World { forgetful: true, ..World::default() }));
    let (done, status) = live(&world, Fuse::default(), 7, 0).await;
    done.unwrap();
    let promise = status.promise();
    assert_eq!(promise.delivery, AT_LEAST_ONCE);
    assert_eq!(promise.reason, "the brokers keep no commit metadata");
}
