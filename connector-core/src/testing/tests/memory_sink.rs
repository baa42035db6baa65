use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::testing::{self, SinkCase};
use crate::{
    Assignment, Batch, Committable, Component, ConfigProblem, ConnectError, Delivery, Envelope, FlushRange,
    Needs, Offset, Plugin, Result, Resume, Sink, TaskInfo, TopicPartition, Written,
};

/// What the outside holds, by the name of the store: objects keyed by partition and first offset, and stored offsets.
#[derive(Default)]
struct Store {
    objects: BTreeMap<(TopicPartition, Offset), Vec<Offset>>,
    loose: Vec<(TopicPartition, Offset)>,
    offsets: Resume,
}

static STORES: Mutex<BTreeMap<String, Store>> = Mutex::new(BTreeMap::new());

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// Name of the store.
    store: String,
    /// Records per object.
    #[serde(rename = "flush.size")]
    flush_size: i64,
    /// How it delivers.
    delivery: Mode,
    /// What it does wrong.
    #[serde(default)]
    wrong: String,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Stable,
    Offsets,
    Loose,
}

struct MemorySink {
    config: Config,
    open: Mutex<BTreeMap<TopicPartition, Vec<Offset>>>,
    batches: AtomicUsize,
}

impl Plugin for MemorySink {
    type Config = Config;
    const NAME: &'static str = "memory-sink";
    const SUMMARY: &'static str = "Keeps offsets in memory.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { config, open: Mutex::default(), batches: AtomicUsize::new(0) })
    }
}

struct Staged(Vec<(FlushRange, Vec<Offset>)>);

#[async_trait]
impl Sink for MemorySink {
    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn delivery(&self) -> Delivery {
        match self.config.delivery {
            Mode::Stable => Delivery::StableRange,
            Mode::Offsets => Delivery::SinkOffsets,
            Mode::Loose => Delivery::AtLeastOnce,
        }
    }

    async fn open(&self, partitions: &[Assignment]) -> Result<Resume> {
        let stores = STORES.lock().unwrap();
        let stored = stores.get(&self.config.store).map(|s| s.offsets.clone()).unwrap_or_default();
        if self.config.delivery != Mode::Offsets {
            return Ok(Resume::new());
        }
        Ok(stored.into_iter().filter(|(p, _)| partitions.iter().any(|a| a.partition == *p)).collect())
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        let envelope = Envelope::of(&batch.records)?;
        let (value, offsets) = (envelope.value().as_binary::<i32>(), envelope.offsets().unwrap());
        let mut open = self.open.lock().unwrap();
        let rows = open.entry(batch.partition.clone()).or_default();
        let mut filtered = 0;
        for row in 0..value.len() {
            match (value.is_null(row), self.config.wrong.as_str()) {
                (true, "lose-neighbours") => rows.clear(),
                (true, _) => filtered += 1,
                (false, _) => rows.push(offsets.value(row)),
            }
        }
        let last = offsets.values().last().map(|last| last + 1);
        let cut = match self.config.wrong.as_str() {
            "cut-by-batch" => {
                let batches = self.batches.fetch_add(1, Ordering::Relaxed);
                last.filter(|_| batches % 2 == 1)
            }
            "cut-past-end" => last.map(|last| last + 1),
            _ => last.map(|last| last / self.config.flush_size * self.config.flush_size),
        };
        Ok(Written { cut, filtered, ..Written::default() })
    }

    async fn flush(&self, ranges: &[FlushRange]) -> Result<Committable> {
        let open = self.open.lock().unwrap();
        let staged = ranges.iter().map(|range| {
            let all = open.get(&range.partition).cloned().unwrap_or_default();
            let beyond = self.config.wrong == "flush-beyond";
            let rows = all.into_iter().filter(|o| (range.start..range.end).contains(o) || beyond).collect();
            (range.clone(), rows)
        });
        Ok(Committable::new(Staged(staged.collect())))
    }

    async fn commit(&self, staged: &Committable) -> Result<()> {
        let Staged(staged) = staged.get().ok_or_else(|| ConnectError::internal("memory", "not my token"))?;
        let mut stores = STORES.lock().unwrap();
        let store = stores.entry(self.config.store.clone()).or_default();
        for (range, rows) in staged {
            if self.config.delivery == Mode::Loose || self.config.wrong == "append" {
                store.loose.extend(rows.iter().map(|o| (range.partition.clone(), *o)));
            } else {
                store.objects.insert((range.partition.clone(), range.start), rows.clone());
            }
            if self.config.wrong != "forget-offsets" {
                store.offsets.insert(range.partition.clone(), range.end);
            }
            if let Some(open) = self.open.lock().unwrap().get_mut(&range.partition) {
                open.retain(|offset| *offset >= range.end);
            }
        }
        Ok(())
    }

    async fn close(&self, revoked: &[TopicPartition]) -> Result<()> {
        let mut open = self.open.lock().unwrap();
        if self.config.wrong == "publish-on-close" {
            let mut stores = STORES.lock().unwrap();
            let store = stores.entry(self.config.store.clone()).or_default();
            for partition in revoked {
                let rows = open.get(partition).cloned().unwrap_or_default();
                store.loose.extend(rows.into_iter().map(|o| (partition.clone(), o)));
            }
        }
        open.retain(|partition, _| !revoked.contains(partition));
        Ok(())
    }
}

async fn read_back(store: String) -> Vec<(TopicPartition, Offset)> {
    let stores = STORES.lock().unwrap();
    let Some(store) = stores.get(&store) else { return Vec::new() };
    let objects = store.objects.iter().flat_map(|((p, _), rows)| rows.iter().map(|o| (p.clone(), *o)));
    objects.chain(store.loose.iter().cloned()).collect()
}

fn case(delivery: &str, wrong: &str) -> SinkCase {
    let store = format!("{delivery}/{wrong}");
    let config = [("store", &*store), ("flush.size", "3"), ("delivery", delivery), ("wrong", wrong)];
    let component = Component::sink::<MemorySink>("1.0.0");
    let config = testing::config(&config);
    SinkCase::new(component, config, move || read_back(store.clone()))
}

#[tokio::test]
async fn sinks_of_each_delivery_conform() {
    for delivery in ["stable", "offsets", "loose"] {
        testing::sink::run_both(&case(delivery, "")).await;
    }
}

macro_rules! caught {
    ($($test:ident: $delivery:literal $wrong:literal => $message:literal)*) => { $(
        #[tokio::test]
        #[should_panic(expected = $message)]
        async fn $test() {
            testing::sink::run(&case($delivery, $wrong)).await;
        }
    )* };
}

caught! {
    a_cut_that_depends_on_batches_is_caught: "stable" "cut-by-batch" => "end at different cuts"
    a_cut_past_the_end_is_caught: "stable" "cut-past-end" => "lies past the last record"
    a_commit_that_appends_is_caught: "stable" "append" => "exactly once"
    a_flush_beyond_its_range_is_caught: "stable" "flush-beyond" => "exactly once"
    a_tail_published_by_close_is_caught: "stable" "publish-on-close" => "what was not flushed"
    lost_offsets_are_caught: "offsets" "forget-offsets" => "resumes at the wrong offset"
    rows_lost_beside_a_null_are_caught: "stable" "lose-neighbours" => "beside null ones were lost"
}
