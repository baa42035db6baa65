//! The files are a function of the records since the last cut: neither batches nor restarts show in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use connector_core::arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{Batch, Form};
use proptest::prelude::*;

use crate::{all, partition, publish, sink};

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Country (`None`: a tombstone), time in seconds, and the offsets that are left out before the record.
type Record = (Option<u8>, i64, i64);

/// Where batches end, as numbers of records, and after which cuts another instance goes on.
#[derive(Clone, Debug)]
struct Run {
    splits: Vec<usize>,
    restarts: bool,
}

fn batch(records: &[(i64, Record)]) -> Batch {
    let value = |country: u8| {
        format!("{{\"country\":\"c{country}\",\"m\":{{\"even\":{}}}}}", country.is_multiple_of(2))
    };
    let offsets = Int64Array::from_iter_values(records.iter().map(|(offset, _)| *offset));
    let times = TimestampMillisecondArray::from_iter_values(records.iter().map(|(_, (_, s, _))| s * 1000));
    let keys: StringArray = records.iter().map(|(offset, _)| Some(format!("k{offset}"))).collect();
    let values: StringArray = records.iter().map(|(_, (country, ..))| country.map(value)).collect();
    let builder =
        EnvelopeBuilder::new().offsets(offsets).timestamps(times).key(Form::Columns, Arc::new(keys));
    Batch::new(partition(0), builder.value(Form::Document, Arc::new(values)).build().unwrap())
}

async fn objects_of(
    records: &[(i64, Record)],
    run: &Run,
    keys: &[(&str, &str)],
) -> (i64, BTreeMap<String, Vec<u8>>) {
    let name = format!("pure-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let open = || async {
        let sink = sink(&name, keys);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink
    };
    let mut writer = open().await;
    let (mut at, mut flushed) = (0, 0);
    let mut splits = run.splits.iter().copied().cycle();
    while at < records.len() {
        let end = (at + splits.next().unwrap_or(1)).min(records.len());
        let written = writer.write(batch(&records[at..end])).await.unwrap();
        assert!(written.rejected.is_empty(), "{:?}", written.rejected);
        at = end;
        if let Some(cut) = written.cut {
            assert!(cut > flushed, "a cut before the last one");
            publish(&*writer, flushed..cut).await;
            flushed = cut;
            if run.restarts {
                writer.close(&[partition(0)]).await.unwrap();
                writer = open().await;
                at = records.partition_point(|(offset, _)| *offset < cut);
            }
        }
    }
    (flushed, all(&*sink_s3::memory_store(&name, "b")).await)
}

fn configuration() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let partitioner = prop_oneof![
        Just(vec![("partitioner.class", "default")]),
        Just(vec![("partitioner.class", "field"), ("partition.field.name", "country")]),
        Just(vec![("partitioner.class", "field"), ("partition.field.name", "m.even,country")]),
        Just(vec![
            ("partitioner.class", "time"),
            ("path.format", "mm/ss"),
            ("partition.duration.ms", "4000"),
            ("timezone", "UTC"),
            ("timestamp.extractor", "Record"),
        ]),
    ];
    (partitioner, 1_u32..20, 0_u32..9, 0_u32..4, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(partitioner, flush, rotate, files, on_change, write, gzip)| {
            let mut keys: Vec<(&str, String)> =
                partitioner.into_iter().map(|(k, v)| (k, v.to_owned())).collect();
            keys.push(("flush.size", flush.to_string()));
            if rotate > 0 {
                keys.push(("rotate.interval.ms", (rotate * 1000).to_string()));
            }
            if files > 0 {
                keys.push(("partitioner.max.open.files", files.to_string()));
            }
            keys.push(("rotate.file.on.partition.change", on_change.to_string()));
            keys.push(("behavior.on.null.values", if write { "write" } else { "ignore" }.to_owned()));
            keys.push(("store.kafka.keys", write.to_string()));
            keys.push(("keys.format.class", "json".to_owned()));
            keys.push(("s3.compression.type", if gzip { "gzip" } else { "none" }.to_owned()));
            keys
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    (prop::collection::vec(1_usize..30, 1..6), any::<bool>())
        .prop_map(|(splits, restarts)| Run { splits, restarts })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn neither_batches_nor_restarts_show_in_the_objects(
        records in prop::collection::vec((prop::option::weighted(0.85, 0_u8..5), 0_i64..40, prop_oneof![9 => Just(0_i64), 1 => 1_i64..5]), 1..120),
        keys in configuration(),
        (one, two) in (run(), run()),
    ) {
        let mut next = 0;
        let records: Vec<(i64, Record)> = records
            .into_iter()
            .map(|record| {
                next += 1 + record.2;
                (next - 1, record)
            })
            .collect();
        let keys: Vec<(&str, &str)> = keys.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = runtime.block_on(async {
            (objects_of(&records, &one, &keys).await, objects_of(&records, &two, &keys).await)
        });
        prop_assert_eq!(first, second);
    }
}
