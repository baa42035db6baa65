//! What keys cost in the Delta sink beside a table of a million rows: upserts of rows from everywhere and of the newest
//! rows, and de-duplication, each with the keys of the table's files remembered and not.
//!
//! `cargo bench -p sink-delta --bench delta_keys`

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, FlushRange, Form, Offset, Sink, TaskInfo, TopicPartition, testing};
use tokio::runtime::Runtime;

/// Rows of the table, in files of so many with ascending keys.
const ROWS: i64 = 1_000_000;
const ROWS_A_FILE: i64 = 100_000;

/// Rows of a commit whose time is taken.
const CHANGED: i64 = 10_000;

/// Commits of each kind.
const COMMITS: usize = 5;

fn partition() -> TopicPartition {
    TopicPartition::new("rows", 0)
}

/// Each row has about 140 bytes.
fn batch(start: Offset, ids: Vec<i64>) -> Batch {
    let offsets = Int64Array::from_iter_values(start..start + ids.len() as Offset);
    let texts = StringArray::from_iter_values(ids.iter().map(|id| {
        let hash = (*id as u64 ^ start as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{hash:016x} a text that takes the place of a title, a description and the address of a picture, {id}")
    }));
    let columns: Vec<(Arc<Field>, ArrayRef)> = vec![
        (Arc::new(Field::new("id", DataType::Int64, false)), Arc::new(Int64Array::from(ids))),
        (Arc::new(Field::new("text", DataType::Utf8, true)), Arc::new(texts)),
    ];
    let values: ArrayRef = Arc::new(StructArray::from(columns));
    let records =
        EnvelopeBuilder::new().offsets(offsets).value(Form::Columns, values).build().expect("a batch");
    Batch::new(partition(), records)
}

/// A task of its own: it remembers nothing of earlier ones.
struct Task {
    sink: Arc<dyn Sink>,
    next: Offset,
}

impl Task {
    async fn open(table: &Path, keys: &[(&str, &str)]) -> Self {
        let path = format!("file://{}", table.display());
        let mut config = testing::config(&[("delta.table.path", &path), ("flush.size", "1000000000")]);
        config.extend(testing::config(keys));
        let component = sink_delta::component();
        let config = component.check(&config).expect("a configuration");
        let sink = component.create_sink(&config, &TaskInfo::default()).expect("a sink");
        let resume = sink.open(&[partition().into()]).await.expect("opens");
        Self { sink, next: resume.get(&partition()).copied().unwrap_or(0) }
    }

    /// How long write, flush and commit took together.
    async fn publish(&mut self, ids: Vec<i64>) -> Duration {
        let (start, end) = (self.next, self.next + ids.len() as Offset);
        let batch = batch(start, ids);
        self.next = end;
        let started = Instant::now();
        self.sink.write(batch).await.expect("writes");
        let staged = self.sink.flush(&[FlushRange::new(partition(), start..end)]).await.expect("flushes");
        self.sink.commit(&staged).await.expect("commits");
        started.elapsed()
    }
}

async fn measure(table: &Path, what: &str, keys: &[(&str, &str)], ids: impl Fn(usize) -> Vec<i64>) {
    let mut task = Task::open(table, keys).await;
    let rows = ids(0).len();
    let mut times = Vec::new();
    for commit in 0..COMMITS {
        times.push(task.publish(ids(commit)).await);
    }
    let first = times.remove(0);
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let rate = rows as f64 / mean.as_secs_f64();
    println!("{what}: {rows} rows in {first:.1?} at first, then in {mean:.1?} ({rate:.0} records/s)");
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::new().expect("a runtime");
    let upsert = [("delta.mode", "upsert"), ("delta.key.columns", "id")];
    let dedup = [("delta.dedup.keys", "id")];
    runtime.block_on(async {
        for table in ["upserted", "distinct"] {
            let mut task = Task::open(&directory.path().join(table), &[]).await;
            for start in (0..ROWS).step_by(ROWS_A_FILE as usize) {
                task.publish((start..start + ROWS_A_FILE).collect()).await;
            }
        }
        let table = directory.path().join("upserted");
        let newest =
            |commit: usize| (ROWS - CHANGED - commit as i64..ROWS - commit as i64).collect::<Vec<_>>();
        measure(&table, "upsert of the newest rows", &upsert, newest).await;
        let step = ROWS / CHANGED;
        let everywhere = |commit: usize| (0..CHANGED).map(|n| n * step + commit as i64).collect::<Vec<_>>();
        measure(&table, "upsert of rows in every file", &upsert, everywhere).await;
        let table = directory.path().join("distinct");
        measure(&table, "de-duplication of rows in every file", &dedup, everywhere).await;
        let new = |commit: usize| {
            let start = ROWS + commit as i64 * CHANGED;
            (start..start + CHANGED).collect::<Vec<_>>()
        };
        measure(&table, "de-duplication of new rows", &dedup, new).await;
    });
}
