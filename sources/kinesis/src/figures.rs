//! What the source shows in the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use connector_core::Metric;

#[derive(Default)]
pub struct Figures {
    /// Milliseconds behind the newest record, of each shard that is being read.
    behind: Mutex<BTreeMap<Arc<str>, i64>>,
    waiting: AtomicU64,
    throttled: AtomicU64,
    expired: AtomicU64,
}

impl Figures {
    pub fn behind(&self, shard: &Arc<str>, ms: i64) {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.clone(), ms);
    }

    /// The shard is not read any more.
    pub fn ended(&self, shard: &str) {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner).remove(shard);
    }

    pub fn waiting(&self, shards: usize) {
        self.waiting.store(shards as u64, Ordering::Relaxed);
    }

    pub fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    pub fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing is read any more; what was counted stays.
    pub fn stop(&self) {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.waiting(0);
    }

    pub fn metrics(&self, stream: &str) -> Vec<Metric> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let mut metrics = vec![
            Metric::counter(
                "sidestream_kinesis_read_throttled_total",
                "Reads of a shard that Kinesis refused because they came too fast.",
                count(&self.throttled),
            ),
            Metric::counter(
                "sidestream_kinesis_expired_iterators_total",
                "Shard iterators that were too old and were replaced.",
                count(&self.expired),
            ),
            Metric::gauge(
                "sidestream_kinesis_waiting_shards",
                "Shards that are read when their parents are delivered to their end.",
                count(&self.waiting),
            ),
        ];
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.extend(behind.iter().map(|(shard, ms)| {
            Metric::gauge(
                "sidestream_kinesis_behind_latest_milliseconds",
                "How far the last answer of Kinesis was behind the newest record of the shard.",
                *ms as f64,
            )
            .label("shard", &**shard)
        }));
        metrics.into_iter().map(|metric| metric.label("stream", stream)).collect()
    }
}
