//! What a record costs between Kafka and a file, on one core: checking, copying, decoding, cleaning, encoding.
//!
//! `cargo bench -p transforms --bench json`

use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Fields;
use connector_core::envelope::{EnvelopeBuilder, VALUE};
use connector_core::json::{self, DecimalFormat, Encoder};
use connector_core::{Component, ConfigMap, Form, Meta, Needs, TaskInfo, TopicPartition, Transform};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use transforms::PinCleaner;

/// Records a batch.
const ROWS: usize = 2_000;

/// Shares of bad rows, in percent.
const BAD: [usize; 3] = [0, 1, 50];

/// A pin of 734 bytes or so, with the letters, emoji and escapes of real ones.
fn pin(index: usize) -> String {
    let words = ["balcony", "garden", "lantern", "soup", "quilt", "river", "poster", "violin"];
    let word = |n: usize| words[(index + n) % words.len()];
    let tags: Vec<_> = (0..9).map(|n| format!("{} {} Ideas", word(n), word(n + 3))).collect();
    let description = format!(
        "Make a {} of your own \u{2014} it needs no tools but a {}, an hour and \\\"patience\\\" \u{1f33f}. We show \
         what goes wrong with the {}, and how a {} saves the day when it rains for a week\u{2026}\u{a0}",
        word(0),
        word(1),
        word(2),
        word(4)
    );
    format!(
        r#"{{"index":{index},"unique_id":"00000000-0000-4000-8000-{index:012}","title":"Twelve {} projects\nfor a small {}","description":"{description}","poster_name":"The {} Diary","follower_count":"{}k","tag_list":"{}","is_image_or_video":"image","image_src":"https://img.example/originals/{:02x}/{index:032}.jpg","downloaded":1,"save_location":"Local save in /data/{}","category":"{}"}}"#,
        word(5),
        word(6),
        word(7),
        index % 900,
        tags.join(","),
        index % 256,
        word(0),
        word(0)
    )
}

/// A batch's values, of which a share is bad: cut off in the middle, so that most of the work is done in vain.
fn values(bad_percent: usize) -> BinaryArray {
    BinaryArray::from_iter_values((0..ROWS).map(|index| {
        let mut text = pin(index).into_bytes();
        if index % 100 < bad_percent {
            text.truncate(text.len() / 2);
        }
        text
    }))
}

fn records(values: &BinaryArray) -> RecordBatch {
    let offsets = Int64Array::from_iter_values(0..values.len() as i64);
    EnvelopeBuilder::new()
        .offsets(offsets)
        .value(Form::Bytes, Arc::new(values.clone()))
        .build()
        .expect("a batch")
}

fn cleaner() -> (Arc<dyn Transform>, Fields) {
    let component = Component::transform::<PinCleaner>("bench");
    let config = component.check(&ConfigMap::new()).expect("a configuration");
    let cleaner = component.create_transform(&config, &TaskInfo::default()).expect("a cleaner");
    let Needs::Columns(fields) = cleaner.needs() else { panic!("a cleaner needs columns") };
    (cleaner, fields)
}

fn json(c: &mut Criterion) {
    let good = values(0);
    let bytes = Throughput::Bytes(good.value_data().len() as u64);
    let (cleaner, fields) = cleaner();
    let meta = Meta { partition: TopicPartition::new("id.pin", 0) };

    let mut group = c.benchmark_group("bytes");
    group.throughput(bytes);
    group.bench_function("scan", |b| {
        b.iter(|| (0..good.len()).filter(|&row| json::scan(good.value(row)).is_ok()).count());
    });
    group.bench_function("compact", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            out.clear();
            (0..good.len()).filter(|&row| json::compact(good.value(row), &mut out).is_ok()).count()
        });
    });
    for percent in BAD {
        let values = values(percent);
        group.bench_function(format!("documents to a body, {percent} % bad"), |b| {
            let mut body = Vec::new();
            b.iter(|| {
                body.clear();
                let found = json::documents(&values).expect("documents");
                for text in found.texts.iter().flatten() {
                    body.extend_from_slice(text.as_bytes());
                    body.push(b'\n');
                }
                found.rejected.len()
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("records");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("encode", |b| {
        let rows = json::decode(&good, &fields).expect("decodes").values;
        let field = Arc::new(Form::Columns.field(VALUE, rows.data_type().clone()));
        let mut body = Vec::new();
        b.iter(|| {
            body.clear();
            let mut encoder = Encoder::new(&field, &rows, DecimalFormat::Base64).expect("an encoder");
            (0..rows.len()).for_each(|row| encoder.encode(row, &mut body));
        });
    });
    for percent in BAD {
        let values = values(percent);
        let envelope = records(&values);
        group.bench_function(format!("decode, {percent} % bad"), |b| {
            b.iter(|| json::decode(&values, &fields).expect("decodes").values.len());
        });
        group.bench_function(format!("decode, clean, encode, {percent} % bad"), |b| {
            let mut body = Vec::new();
            b.iter(|| {
                body.clear();
                let rows = json::decode(&values, &fields).expect("decodes");
                let rejected: Vec<_> = rows.rejected.iter().map(|(row, _)| *row).collect();
                let kept = connector_core::envelope::without_rows(&envelope, &rejected).expect("a batch");
                let field = Form::Columns.field(VALUE, rows.values.data_type().clone());
                let kept = connector_core::envelope::with_column(&kept, field, Arc::new(rows.values));
                let out = cleaner.apply(kept.expect("a batch"), &meta).expect("cleans");
                for run in &out.runs {
                    let schema = run.records.schema();
                    let field = Arc::new(schema.field_with_name(VALUE).expect("a value").clone());
                    let mut encoder =
                        Encoder::new(&field, &run.records[VALUE], DecimalFormat::Base64).expect("an encoder");
                    for row in 0..run.records.num_rows() {
                        encoder.encode(row, &mut body);
                        body.push(b'\n');
                    }
                }
                body.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, json);
criterion_main!(benches);
