//! What a record costs in the Delta sink, on one core: typed rows or documents to the files of a committed version; how
//! long a commit takes behind a thousand others; and the memory of a gigabyte that goes through.
//!
//! `cargo bench -p sink-delta --bench delta`

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, FlushRange, Form, Offset, Sink, TaskInfo, TopicPartition, testing};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

/// Records a batch, and batches a version.
const ROWS: usize = 2_000;
const BATCHES: usize = 25;

/// Versions that are there before the commits whose time is taken.
const PRIOR_COMMITS: usize = 1_000;
const MEASURED_COMMITS: usize = 200;

/// Bytes of pins that go through in the memory figure.
const MUCH: usize = 1 << 30;

fn partition() -> TopicPartition {
    TopicPartition::new("id.pin", 0)
}

/// Letters that no codec can foresee, as in the names and addresses of real pins.
fn noise(seed: usize, letters: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut text = String::with_capacity(letters);
    while text.len() < letters {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x}", state >> 32));
    }
    text.truncate(letters);
    text
}

/// The texts of a cleaned pin: with its numbers and names 766 bytes of JSON or so.
fn texts(index: usize) -> [(&'static str, String); 9] {
    let words = ["balcony", "garden", "lantern", "soup", "quilt", "river", "poster", "violin"];
    let word = |n: usize| words[(index * 7 + n * n) % words.len()];
    let tags: Vec<_> = (0..9).map(|n| format!("{} {} Ideas", word(n), word(n + index % 5))).collect();
    let description = format!(
        "Make a {} of your own \u{2014} it needs no tools but a {}, an hour and patience \u{1f33f}. {} We show what \
         goes wrong with the {}, and how a {} saves the day when it rains\u{2026}\u{a0}",
        word(0),
        word(1),
        noise(index, 60),
        word(2),
        word(4)
    );
    let id = noise(index, 32);
    [
        ("unique_id", format!("{}-{}-4{}-{}", &id[..8], &id[8..12], &id[12..15], &id[15..31])),
        ("title", format!("Twelve {} projects for a small {} {index}", word(5), word(6))),
        ("description", description),
        ("poster_name", format!("The {} Diary {}", word(7), index % 700)),
        ("tag_list", tags.join(",")),
        ("is_image_or_video", "image".to_owned()),
        (
            "image_src",
            format!("https://i.pinimg.example/originals/{}/{}.jpg", &id[..6], noise(index + 1, 32)),
        ),
        ("save_location", format!("/data/{}", word(0))),
        ("category", word(0).to_owned()),
    ]
}

fn indices(batch: usize) -> std::ops::Range<usize> {
    batch * ROWS..(batch + 1) * ROWS
}

fn envelope(batch: usize, form: Form, values: ArrayRef) -> Batch {
    let offsets = Int64Array::from_iter_values(indices(batch).map(|n| n as Offset));
    let records = EnvelopeBuilder::new().offsets(offsets).value(form, values).build().expect("a batch");
    Batch::new(partition(), records)
}

/// As the pin cleaner hands them on.
fn typed(batch: usize) -> Batch {
    let rows: Vec<_> = indices(batch).map(texts).collect();
    let mut columns: Vec<(Arc<Field>, ArrayRef)> = vec![(
        Arc::new(Field::new("ind", DataType::Int64, false)),
        Arc::new(Int64Array::from_iter_values(indices(batch).map(|n| n as i64))),
    )];
    for at in 0..9 {
        let texts = StringArray::from_iter_values(rows.iter().map(|row| &row[at].1));
        columns.push((Arc::new(Field::new(rows[0][at].0, DataType::Utf8, true)), Arc::new(texts)));
    }
    columns.push((
        Arc::new(Field::new("follower_count", DataType::Int32, true)),
        Arc::new(Int32Array::from_iter_values(indices(batch).map(|n| (n % 900 * 1_000) as i32))),
    ));
    envelope(batch, Form::Columns, Arc::new(StructArray::from(columns)))
}

fn documents(batch: usize) -> Batch {
    let document = |index: usize| {
        let mut object = serde_json::Map::new();
        object.insert("ind".to_owned(), index.into());
        object.extend(texts(index).map(|(name, text)| (name.to_owned(), text.into())));
        object.insert("follower_count".to_owned(), (index % 900 * 1_000).into());
        serde_json::Value::Object(object).to_string()
    };
    let texts = StringArray::from_iter_values(indices(batch).map(document));
    envelope(batch, Form::Document, Arc::new(texts))
}

fn again(batch: &Batch) -> Batch {
    Batch::new(batch.partition.clone(), batch.records.clone())
}

/// A sink on a table in a new directory.
fn sink(runtime: &Runtime, keys: &[(&str, &str)]) -> (tempfile::TempDir, Arc<dyn Sink>) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = format!("file://{}/pins", directory.path().display());
    let mut config = testing::config(&[("delta.table.path", &path), ("flush.size", "1000000000")]);
    config.extend(testing::config(keys));
    let component = sink_delta::component();
    let config = component.check(&config).expect("a configuration");
    let sink = component.create_sink(&config, &TaskInfo::default()).expect("a sink");
    runtime.block_on(sink.open(&[partition().into()])).expect("opens");
    (directory, sink)
}

async fn publish(sink: &dyn Sink, offsets: std::ops::Range<Offset>) {
    let staged = sink.flush(&[FlushRange::new(partition(), offsets)]).await.expect("flushes");
    sink.commit(&staged).await.expect("commits");
}

fn records(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("records");
    group.sample_size(10).throughput(Throughput::Elements((ROWS * BATCHES) as u64));
    for (name, make) in [("typed", typed as fn(usize) -> Batch), ("documents", documents)] {
        let batches: Vec<Batch> = (0..BATCHES).map(make).collect();
        for codec in ["zstd", "snappy"] {
            group.bench_function(format!("{name} to a committed version, {codec}"), |b| {
                b.iter_batched(
                    || sink(&runtime, &[("parquet.codec", codec)]),
                    |(directory, sink)| {
                        runtime.block_on(async {
                            for batch in &batches {
                                sink.write(again(batch)).await.expect("writes");
                            }
                            publish(&*sink, 0..(ROWS * BATCHES) as Offset).await;
                        });
                        directory
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// Not a mean but the slow ones matter here, so the times are taken and told as they are.
fn commits(_: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (_directory, sink) = sink(&runtime, &[]);
    let batch = typed(0);
    let mut times: Vec<Duration> = runtime.block_on(async {
        let mut times = Vec::with_capacity(MEASURED_COMMITS);
        for commit in 0..PRIOR_COMMITS + MEASURED_COMMITS {
            let row = Batch::new(partition(), batch.records.slice(commit, 1));
            sink.write(row).await.expect("writes");
            let started = Instant::now();
            publish(&*sink, commit as Offset..commit as Offset + 1).await;
            if commit >= PRIOR_COMMITS {
                times.push(started.elapsed());
            }
        }
        times
    });
    times.sort_unstable();
    runtime.block_on(sink.close(&[partition()])).expect("closes");
    let at = |percent: usize| times[times.len() * percent / 100 - 1];
    println!(
        "flush and commit behind {PRIOR_COMMITS} commits: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        at(50),
        at(99),
        at(100)
    );
}

/// `VmHWM` or `VmRSS` of this process in MiB.
fn memory(figure: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    line.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<usize>().ok()).unwrap_or_default() / 1024
}

fn gigabyte(_: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (_directory, sink) = sink(&runtime, &[]);
    // Resets the high water mark.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (before, started) = (memory("VmRSS"), Instant::now());
    let mut bytes = 0;
    let mut batches = 0;
    runtime.block_on(async {
        while bytes < MUCH {
            let batch = typed(batches);
            bytes += ROWS * 766;
            batches += 1;
            black_box(sink.write(batch).await.expect("writes").spilled_bytes);
        }
        publish(&*sink, 0..(batches * ROWS) as Offset).await;
    });
    println!(
        "{} MiB of pins into one version: {:.1?}, resident memory {before} MiB before, {} MiB at most",
        MUCH >> 20,
        started.elapsed(),
        memory("VmHWM")
    );
}

criterion_group!(benches, records, commits, gigabyte);
criterion_main!(benches);
