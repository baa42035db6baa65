//! Connect's transforms on one core: JSON without a schema in the size of a pin, and typed columns.
//!
//! `cargo bench -p transforms --bench connect` prints records per second.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field};
use connector_core::document::{self, DocumentTransform, Origin};
use connector_core::envelope::{EnvelopeBuilder, VALUE};
use connector_core::{ConfigMap, Form, Meta, TaskInfo, TopicPartition, Transform};
use criterion::{BatchSize, Criterion, Throughput};

const ROWS: usize = 10_000;

fn transform(name: &str, pairs: &[(&str, &str)]) -> Arc<dyn Transform> {
    let component = transforms::components().into_iter().find(|component| component.name == name).unwrap();
    let config: ConfigMap = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    component.create_transform(&component.check(&config).unwrap(), &TaskInfo::default()).unwrap()
}

/// The members of a pin of 766 bytes.
fn pin(n: usize) -> Vec<(&'static str, String)> {
    let text = |length: usize| "lorem ipsum dolor sit amet ".chars().cycle().take(length).collect::<String>();
    vec![
        ("index", n.to_string()),
        ("unique_id", format!("\"fbe53c66-3442-4773-b19e-d3ec6f54{n:06}\"")),
        ("title", format!("\"{}\"", text(60))),
        ("description", format!("\"{}\"", text(190))),
        ("poster_name", format!("\"{}\"", text(16))),
        ("follower_count", "\"124k\"".to_owned()),
        ("tag_list", format!("\"{}\"", text(130))),
        ("is_image_or_video", "\"image\"".to_owned()),
        ("image_src", format!("\"https://i.example.com/originals/{}.jpg\"", text(40).replace(' ', "/"))),
        ("downloaded", "1".to_owned()),
        ("save_location", "\"Local save in /data/diy-and-crafts\"".to_owned()),
        ("category", "\"diy-and-crafts\"".to_owned()),
        ("created", (1_700_000_000_000i64 + n as i64).to_string()),
    ]
}

fn envelope(form: Form, value: ArrayRef) -> RecordBatch {
    EnvelopeBuilder::new()
        .offsets(Int64Array::from_iter_values(0..ROWS as i64))
        .timestamps(TimestampMillisecondArray::from_iter_values(
            (0..ROWS as i64).map(|n| 1_700_000_000_000 + n),
        ))
        .value(form, value)
        .build()
        .unwrap()
}

fn documents() -> RecordBatch {
    let text = |n: usize| {
        let members: Vec<_> = pin(n).into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    println!("a document has {} bytes", text(0).len());
    envelope(Form::Document, Arc::new(StringArray::from_iter_values((0..ROWS).map(text))))
}

fn columns() -> RecordBatch {
    let names: Vec<_> = pin(0).into_iter().map(|(name, _)| name).collect();
    let rows: Vec<_> = (0..ROWS).map(pin).collect();
    let column = |at: usize| -> (Arc<Field>, ArrayRef) {
        let cells = rows.iter().map(|row| row[at].1.as_str());
        let (data_type, array): (_, ArrayRef) = if rows[0][at].1.starts_with('"') {
            (
                DataType::Utf8,
                Arc::new(StringArray::from_iter_values(cells.map(|text| text.trim_matches('"')))),
            )
        } else {
            (DataType::Int64, Arc::new(Int64Array::from_iter_values(cells.map(|text| text.parse().unwrap()))))
        };
        (Arc::new(Field::new(names[at], data_type, true)), array)
    };
    envelope(Form::Columns, Arc::new(StructArray::from((0..names.len()).map(column).collect::<Vec<_>>())))
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let chain = [
        transform(
            "InsertField$Value",
            &[("topic.field", "topic"), ("static.field", "by"), ("static.value", "x")],
        ),
        transform("ReplaceField$Value", &[("exclude", "downloaded"), ("renames", "index:ind")]),
        transform(
            "TimestampConverter$Value",
            &[("field", "created"), ("target.type", "string"), ("format", "yyyy-MM-dd HH:mm:ss")],
        ),
    ];
    let router = transform("RegexRouter", &[("regex", "(.*)"), ("replacement", "$1-new")]);
    let header = transform("InsertHeader", &[("header", "h"), ("value.literal", "x")]);
    let meta = Meta { partition: TopicPartition::new("pins", 0) };
    let (documents, columns) = (documents(), columns());
    let mut group = criterion.benchmark_group("connect");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("three transforms, no schema", |b| {
        let all: Vec<&dyn DocumentTransform> = chain.iter().map(|t| t.documents().unwrap()).collect();
        let origin = Origin::of(&documents, &meta).unwrap();
        b.iter(|| document::change(&all, documents[VALUE].as_string(), &origin));
    });
    let sequence = |records: RecordBatch| {
        let mut records = records;
        for transform in &chain {
            records = transform.apply(records, &meta).unwrap().runs.remove(0).records;
        }
        records
    };
    group.bench_function("three transforms, columns", |b| {
        b.iter_batched(|| columns.clone(), sequence, BatchSize::SmallInput);
    });
    group.bench_function("RegexRouter", |b| {
        b.iter_batched(
            || documents.clone(),
            |records| router.apply(records, &meta).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("InsertHeader", |b| {
        b.iter_batched(
            || documents.clone(),
            |records| header.apply(records, &meta).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    criterion.final_summary();
}
