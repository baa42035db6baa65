//! A direct pipeline that is killed at each of its steps: every row is in the table once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, AsArray, StringArray};
use async_trait::async_trait;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::*;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::budget::MemoryBudget;
use super::direct::{self, DirectOptions};
use super::goal::Goal;
use super::pipeline::Pipeline;
use super::positions::{Positions, Table as Stores};
use super::progress::{Stored, Table};
use super::sink::SinkTask;
use super::status::StatusBoard;
use crate::config::{SecretSet, Tolerance};
use crate::convert;

const SHARDS: [&str; 3] = ["a", "b", "c"];
const ROWS: i64 = 97;
/// Rows after which a range may end.
const EVERY: i64 = 15;

/// Lets a number of steps pass, then breaks: with the step not done, or done and not answered.
#[derive(Default)]
struct Fuse {
    left: Option<usize>,
    after: bool,
    burnt: bool,
}

type Shared<T> = Arc<Mutex<T>>;

/// Runs `step` unless the process is dead.
fn step<T>(fuse: &Shared<Fuse>, step: impl FnOnce() -> T) -> Result<T> {
    let dead = || ConnectError::internal("test.killed", "killed");
    let mut fuse = fuse.lock().unwrap();
    if fuse.burnt {
        return Err(dead());
    }
    let Some(left) = &mut fuse.left else { return Ok(step()) };
    if *left > 0 {
        *left -= 1;
        return Ok(step());
    }
    fuse.burnt = true;
    if fuse.after {
        step();
    }
    Err(dead())
}

/// Rows of shards in an order that differs from run to run.
struct Shuffled {
    next: Mutex<BTreeMap<&'static str, i64>>,
    turn: Mutex<usize>,
    /// The turn at which something is met that is no record.
    broken_at: Option<usize>,
}

#[async_trait]
impl Source for Shuffled {
    async fn plan(&self, _: usize) -> Result<Vec<TaskConfig>> {
        Ok(vec![TaskConfig::new()])
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let mut next = self.next.lock().unwrap();
        for shard in SHARDS {
            let offset = context.offset_of(&partition(shard));
            next.insert(shard, offset.map_or(0, |o| o["row"].as_i64().unwrap()));
        }
        Ok(())
    }

    async fn poll(&self, _: PollBudget) -> Result<Option<SourceBatch>> {
        let (mut next, mut turn) = (self.next.lock().unwrap(), self.turn.lock().unwrap());
        let mut batch = SourceBatch::new(Vec::new(), SourceOffset::default());
        if self.broken_at.is_some_and(|at| *turn >= at) {
            *turn += 1;
            batch.rejected.push(ConnectError::user("test.broken", "b.json line 1: no JSON"));
            let offset = Map::from_iter([("row".to_owned(), Value::from(1))]);
            batch.offset.positions.push(Position { partition: partition("broken"), offset });
            return Ok(Some(batch));
        }
        // One or two shards at a time, each a run of its own; now and then a position without rows.
        for _ in 0..1 + *turn % 2 {
            *turn += 1;
            let Some(shard) = (0..3).map(|n| SHARDS[(*turn * 7 + n) % 3]).find(|s| next[s] < ROWS) else {
                break;
            };
            let from = next[shard];
            let to = (from + 1 + (*turn as i64 * 5) % 11).min(ROWS);
            next.insert(shard, to);
            let rows: Vec<String> = (from..to).map(|row| format!("\"{shard}{row}\"")).collect();
            if *turn % 5 != 0 || to == ROWS {
                let rows: arrow::array::ArrayRef = Arc::new(StringArray::from(rows));
                batch.runs.push(Run::new(EnvelopeBuilder::new().value(Form::Document, rows).build()?));
                let offset = Map::from_iter([("row".to_owned(), Value::from(to))]);
                batch.offset.positions.push(Position { partition: partition(shard), offset });
            } else {
                next.insert(shard, from);
                let offset = Map::from_iter([("row".to_owned(), Value::from(from))]);
                batch.offset.positions.push(Position { partition: partition(shard), offset });
            }
        }
        let ended = SHARDS.iter().all(|shard| next[shard] >= ROWS) && batch.offset.positions.is_empty();
        Ok((!ended).then_some(batch))
    }

    async fn commit(&self, _: &SourceOffset, _: &Acks) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn bounded(&self) -> bool {
        true
    }
}

fn partition(shard: &str) -> Map<String, Value> {
    Map::from_iter([("shard".to_owned(), shard.into())])
}

/// What outlives the process.
#[derive(Default)]
struct World {
    rows: Vec<String>,
    version: Option<Offset>,
    positions: Stores,
    broken_at: Option<usize>,
}

/// A table that keeps its offset with its rows.
struct Rows {
    world: Shared<World>,
    fuse: Shared<Fuse>,
    open: Mutex<Vec<(Offset, String)>>,
}

#[async_trait]
impl Sink for Rows {
    fn needs(&self) -> Needs {
        Needs::Document
    }

    fn delivery(&self) -> Delivery {
        Delivery::SinkOffsets
    }

    async fn open(&self, partitions: &[Assignment]) -> Result<Resume> {
        let version = self.world.lock().unwrap().version;
        Ok(version.map(|v| (partitions[0].partition.clone(), v)).into_iter().collect())
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        let envelope = Envelope::of(&batch.records)?;
        let (values, offsets) = (envelope.value().as_string::<i32>(), envelope.offsets().unwrap());
        let mut open = self.open.lock().unwrap();
        open.extend((0..values.len()).map(|row| (offsets.value(row), values.value(row).to_owned())));
        // Within the batch, as one that fills files has it.
        let last = offsets.values().last().map(|last| (last + 1) / EVERY * EVERY);
        let cut = last.filter(|&cut| cut > offsets.value(0));
        Ok(Written { cut, ..Written::default() })
    }

    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        step(&self.fuse, || ())?;
        let end = ranges[0].end;
        // As one that waits for a lock or a service first.
        tokio::task::yield_now().await;
        let mut open = self.open.lock().unwrap();
        let written = open.last().map(|(offset, _)| offset + 1);
        assert!(end % EVERY == 0 || written == Some(end), "a file may have grown over {end}: it is no cut");
        let rows: Vec<_> = open.extract_if(.., |(offset, _)| *offset < end).map(|(_, row)| row).collect();
        Ok(Committable::new((end, rows)))
    }

    async fn commit(&self, staged: &Committable) -> Result<()> {
        let (end, rows) = staged.get::<(Offset, Vec<String>)>().unwrap();
        step(&self.fuse, || {
            let mut world = self.world.lock().unwrap();
            world.rows.extend(rows.iter().cloned());
            world.version = Some(*end);
        })
    }

    async fn close(&self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }
}

struct Kept {
    world: Shared<World>,
    fuse: Shared<Fuse>,
}

#[async_trait]
impl Positions for Kept {
    async fn load(&self) -> Result<Vec<Position>> {
        Ok(self.world.lock().unwrap().positions.of("c"))
    }

    async fn store(&self, positions: &[Position]) -> Result<()> {
        // Each record by itself: a crash may leave some of them.
        for Position { partition, offset } in positions {
            step(&self.fuse, || {
                let mut world = self.world.lock().unwrap();
                world.positions.put("c", partition.clone(), Some(offset.clone()));
            })?;
        }
        Ok(())
    }
}

/// One life of the process.
async fn live(world: &Shared<World>, fuse: Fuse, seed: usize) -> Result<()> {
    let broken_at = world.lock().unwrap().broken_at;
    let fuse = Arc::new(Mutex::new(fuse));
    let kept = Arc::new(Kept { world: world.clone(), fuse: fuse.clone() });
    let sink = Arc::new(Rows { world: world.clone(), fuse: fuse.clone(), open: Mutex::default() });
    let tp = TopicPartition::new("c", 0);
    let mut stored = Stored::read(kept.load().await?)?;
    let resume = sink.open(&[tp.clone().into()]).await?;
    let counter = stored.settle(&tp, 0, Table::Has(resume.get(&tp).copied()))?;
    kept.store(&stored.positions).await?;
    kept.store(&[stored.tasks[&0].records(0).1]).await?;

    let class = |class: &str| convert::converter(class, &ConfigMap::new(), false).unwrap();
    let (key, value) = (class("StringConverter"), class("StringConverter"));
    let status = StatusBoard::default().register("c", 0, (Kind::Sink, "rows"), &SecretSet::default());
    let (budget, stop) = (MemoryBudget::new(64 << 20), CancellationToken::new());
    let topics = Arc::new(NoTopics);
    let feed = direct::start(DirectOptions {
        source: Arc::new(Shuffled { next: Mutex::default(), turn: Mutex::new(seed), broken_at }),
        context: SourceContext { task: TaskConfig::new(), positions: stored.positions, topics },
        partition: tp.clone(),
        counter,
        positions: kept,
        tolerance: Tolerance::None,
        budget: budget.clone(),
        status: status.clone(),
        stop: stop.clone(),
    });
    let (_topics, topics) = watch::channel(Vec::new());
    let task = SinkTask {
        pipeline: Pipeline::direct(key, value, Vec::new(), &sink.needs()),
        sink,
        tolerance: Tolerance::None,
        flush_on_stop: false,
        status,
        budget,
        stop,
        drain_timeout: Duration::from_secs(5),
        topics,
        goal: Some(Arc::new(Goal::new([(tp, None)]))),
        direct: true,
        dead_letters: None,
        recipe: None,
        restore: None,
    };
    task.run(feed).await
}

fn all() -> Vec<String> {
    let mut all: Vec<String> =
        SHARDS.iter().flat_map(|shard| (0..ROWS).map(move |row| format!("\"{shard}{row}\""))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn killed_at_each_step_and_again_no_row_is_lost_or_doubled() {
    let mut deaths = 0;
    for left in 0..60 {
        for after in [false, true] {
            let world = Shared::<World>::default();
            let fuse = |left| Fuse { left: Some(left), after, burnt: false };
            // Twice, so that what a restart leaves behind is broken too.
            for (seed, left) in [(left, left), (left + 1, (left * 3) % 17)] {
                if let Err(error) = live(&world, fuse(left), seed).await {
                    assert_eq!(error.code, "test.killed", "{error}");
                    deaths += 1;
                }
            }
            live(&world, Fuse::default(), left + 2).await.unwrap();
            let mut rows = std::mem::take(&mut world.lock().unwrap().rows);
            rows.sort();
            assert_eq!(rows, all(), "killed after {left} steps, the last one done: {after}");
        }
    }
    assert!(deaths > 150, "only {deaths} of 240 lives ended early");
}

#[tokio::test]
async fn what_fails_the_task_is_met_again_after_a_restart() {
    for at in 0..30 {
        let world = Arc::new(Mutex::new(World { broken_at: Some(at), ..World::default() }));
        for _ in 0..2 {
            let error = live(&world, Fuse::default(), 0).await.unwrap_err();
            assert_eq!(error.code, "test.broken");
            let stored = Stored::read(world.lock().unwrap().positions.of("c")).unwrap();
            let moved = |p: &Position| p.partition == partition("broken");
            assert!(!stored.positions.iter().any(moved), "skipped, broken at turn {at}");
        }
        world.lock().unwrap().broken_at = None;
        live(&world, Fuse::default(), 0).await.unwrap();
        let mut rows = std::mem::take(&mut world.lock().unwrap().rows);
        rows.sort();
        assert_eq!(rows, all());
    }
}
