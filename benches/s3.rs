//! What a record costs in the S3 sink, on one core, with a store in memory: documents and typed rows to JSON lines, plain
//! and with gzip, and to parquet.
//!
//! `cargo bench -p sink-s3 --bench s3`

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::{Batch, FlushRange, Form, Offset, Sink, TaskInfo, TopicPartition, testing};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

/// Records a batch, and batches an object.
const ROWS: usize = 2_000;
const BATCHES: usize = 25;

/// Keys of a configuration.
type Keys<'a> = &'a [(&'a str, &'a str)];

fn partition() -> TopicPartition {
    TopicPartition::new("id.pin", 0)
}

fn noise(seed: usize, letters: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut text = String::with_capacity(letters + 8);
    while text.len() < letters {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x}", state >> 32));
    }
    text.truncate(letters);
    text
}

/// About 700 bytes of JSON: a number, ids that no codec can foresee, text of few words, a column of few values.
fn typed(batch: usize) -> ArrayRef {
    let words = ["balcony", "garden", "lantern", "soup", "quilt", "river", "poster", "violin"];
    let indices = || batch * ROWS..(batch + 1) * ROWS;
    let text = |make: &dyn Fn(usize) -> String| {
        Arc::new(StringArray::from_iter_values(indices().map(make))) as ArrayRef
    };
    let sentence = |n: usize, count: usize| {
        (0..count).map(|i| words[(n * 7 + i * i) % words.len()]).collect::<Vec<_>>().join(" ")
    };
    let column = |name: &str, data_type, array| -> (FieldRef, ArrayRef) {
        (Arc::new(Field::new(name, data_type, true)), array)
    };
    Arc::new(StructArray::from(vec![
        column(
            "ind",
            DataType::Int64,
            Arc::new(Int64Array::from_iter_values(indices().map(|n| n as i64))) as ArrayRef,
        ),
        column("unique_id", DataType::Utf8, text(&|n| noise(n, 36))),
        column("title", DataType::Utf8, text(&|n| sentence(n, 8))),
        column("description", DataType::Utf8, text(&|n| format!("{} {}", sentence(n, 40), noise(n, 60)))),
        column("tag_list", DataType::Utf8, text(&|n| sentence(n + 1, 16))),
        column("category", DataType::Utf8, text(&|n| words[n % 8].to_owned())),
    ]))
}

/// The same rows as JSON texts.
fn documents(values: &ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("value", values.data_type().clone(), true));
    let mut encoder = Encoder::new(&field, values, DecimalFormat::Base64).expect("an encoder");
    let texts = (0..ROWS).map(|row| {
        let mut text = Vec::new();
        encoder.encode(row, &mut text);
        String::from_utf8(text).expect("JSON is UTF-8")
    });
    Arc::new(StringArray::from_iter_values(texts))
}

fn envelope(batch: usize, form: Form, values: ArrayRef) -> Batch {
    let offsets = Int64Array::from_iter_values((batch * ROWS..(batch + 1) * ROWS).map(|n| n as Offset));
    let records = EnvelopeBuilder::new().offsets(offsets).value(form, values).build().expect("a batch");
    Batch::new(partition(), records)
}

/// A sink with a store of its own: what earlier rounds wrote is no part of this one's time.
fn sink(keys: Keys) -> Arc<dyn Sink> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = format!("memory://bench-{}", NEXT.fetch_add(1, Ordering::Relaxed) % 4);
    let mut map = testing::config(&[
        ("s3.bucket.name", "b"),
        ("flush.size", &(ROWS * BATCHES).to_string()),
        ("store.url", &url),
    ]);
    map.extend(testing::config(keys));
    let component = sink_s3::component();
    let config = component.check(&map).expect("a configuration");
    component.create_sink(&config, &TaskInfo::default()).expect("a sink")
}

/// One object: write, flush, commit.
async fn publish(sink: Arc<dyn Sink>, batches: Vec<Batch>) {
    sink.open(&[partition().into()]).await.expect("open");
    for batch in batches {
        sink.write(batch).await.expect("write");
    }
    let range = FlushRange::new(partition(), 0..(ROWS * BATCHES) as Offset);
    let staged = sink.flush(&[range]).await.expect("flush");
    sink.commit(&staged).await.expect("commit");
}

fn formats(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let typed: Vec<ArrayRef> = (0..BATCHES).map(typed).collect();
    let texts: Vec<ArrayRef> = typed.iter().map(documents).collect();
    let batches = |form, values: &[ArrayRef]| -> Vec<Batch> {
        values.iter().enumerate().map(|(n, values)| envelope(n, form, Arc::clone(values))).collect()
    };
    let documents = batches(Form::Document, &texts);
    let rows = batches(Form::Columns, &typed);
    let mut group = c.benchmark_group("s3");
    group.throughput(Throughput::Elements((ROWS * BATCHES) as u64)).sample_size(20);
    let parquet = ("format.class", "parquet");
    let cases: [(&str, Keys, &[Batch]); 7] = [
        ("json, documents", &[], &documents),
        ("json, typed", &[], &rows),
        ("json, gzip, documents", &[("s3.compression.type", "gzip")], &documents),
        ("parquet, none", &[parquet, ("parquet.codec", "none")], &rows),
        ("parquet, snappy", &[parquet], &rows),
        ("parquet, zstd", &[parquet, ("parquet.codec", "zstd")], &rows),
        ("parquet, gzip", &[parquet, ("parquet.codec", "gzip")], &rows),
    ];
    for (name, keys, batches) in cases {
        group.bench_function(name, |b| {
            b.iter_batched(
                || (sink(keys), batches.iter().map(|b| Batch::new(partition(), b.records.clone())).collect()),
                |(sink, batches)| runtime.block_on(publish(sink, batches)),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, formats);
criterion_main!(benches);
