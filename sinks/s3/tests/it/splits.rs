//! However the same records are split into batches, the same objects come out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use crate::{all, documents, partition, publish, sink};

static RUNS: AtomicU32 = AtomicU32::new(0);

type Objects = BTreeMap<String, Vec<u8>>;

async fn objects_of(
    values: &[Option<String>],
    splits: &[usize],
    keys: &[(&str, &str)],
) -> (Option<i64>, Objects) {
    let name = format!("splits-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let sink = sink(&name, keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    let (mut start, mut last_cut) = (0, None);
    let mut flushed = 0;
    for end in splits.iter().map(|split| split % (values.len() + 1)).chain([values.len()]) {
        if end <= start {
            continue;
        }
        let batch: Vec<_> = values[start..end].iter().map(Option::as_deref).collect();
        let written = sink.write(documents(start as i64, &batch)).await.unwrap();
        start = end;
        // Some splits publish as they go, some only at the end.
        if let Some(cut) = written.cut {
            last_cut = Some(cut);
            if splits.len().is_multiple_of(2) {
                publish(&*sink, flushed..cut).await;
                flushed = cut;
            }
        }
    }
    publish(&*sink, flushed..last_cut.unwrap_or(flushed)).await;
    (last_cut, all(&*sink_s3::memory_store(&name, "b")).await)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_objects_do_not_depend_on_the_batches(
        values in prop::collection::vec(prop::option::weighted(0.9, "[0-9]{1,200}"), 1..120),
        mut one in prop::collection::vec(0_usize..120, 0..10),
        mut two in prop::collection::vec(0_usize..120, 0..10),
        flush_size in 1_usize..20,
        gzip in any::<bool>(),
    ) {
        one.sort_unstable();
        two.sort_unstable();
        let flush_size = flush_size.to_string();
        let compression = if gzip { "gzip" } else { "none" };
        let keys = [
            ("flush.size", flush_size.as_str()),
            ("behavior.on.null.values", "ignore"),
            ("s3.compression.type", compression),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (first, second) = runtime.block_on(async {
            (objects_of(&values, &one, &keys).await, objects_of(&values, &two, &keys).await)
        });
        prop_assert_eq!(first, second);
    }
}
