//! Times, sizes and rates of the last minute, as Kafka's metrics sample them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Kafka's `metrics.sample.window.ms`; it keeps two (`metrics.num.samples`).
const WINDOW: Duration = Duration::from_secs(30);

/// One kind of value. Recording takes a lock for a moment: once a batch, never once a record.
#[derive(Debug, Default)]
pub struct Samples(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    now: Option<Window>,
    before: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
}

/// What was recorded in the last 30 to 60 s; all 0 when nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampled {
    pub avg: f64,
    pub min: f64,
    pub max: f64,
    /// Sum of the values, per second.
    pub rate: f64,
}

impl Samples {
    pub fn record(&self, value: f64) {
        self.record_at(value, Instant::now());
    }

    /// A time in ms.
    pub fn record_since(&self, began: Instant) {
        self.record(began.elapsed().as_secs_f64() * 1000.0);
    }

    pub fn sampled(&self) -> Sampled {
        self.sampled_at(Instant::now())
    }

    fn record_at(&self, value: f64, at: Instant) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(at);
        let window = windows.now.get_or_insert(Window {
            began: at,
            count: 0.0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        });
        window.count += 1.0;
        window.sum += value;
        window.min = window.min.min(value);
        window.max = window.max.max(value);
    }

    fn sampled_at(&self, at: Instant) -> Sampled {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(at);
        let both = [windows.before, windows.now].into_iter().flatten();
        let all = both.reduce(|a, b| Window {
            began: a.began,
            count: a.count + b.count,
            sum: a.sum + b.sum,
            min: a.min.min(b.min),
            max: a.max.max(b.max),
        });
        let Some(all) = all else { return Sampled::default() };
        // As in Kafka: one window at least is what a rate refers to.
        let seconds = at.saturating_duration_since(all.began).max(WINDOW).as_secs_f64();
        Sampled { avg: all.sum / all.count, min: all.min, max: all.max, rate: all.sum / seconds }
    }
}

impl Windows {
    /// Begins a new window when the present one is full; forgets what is older than two.
    fn turn(&mut self, at: Instant) {
        let age = |window: &Window| at.saturating_duration_since(window.began);
        if self.now.is_some_and(|window| age(&window) >= WINDOW) {
            self.before = self.now.take();
        }
        self.before = self.before.filter(|window| age(window) < 2 * WINDOW);
    }
}

/// What a task samples.
#[derive(Debug, Default)]
pub struct TaskSamples {
    pub read: Samples,
    pub delivered: Samples,
    /// Records of one batch.
    pub batch: Samples,
    /// Records on their way, seen at each batch.
    pub active: Samples,
    pub poll_ms: Samples,
    pub put_ms: Samples,
    /// Offset commits that were completed, in ms.
    pub commit_ms: Samples,
    /// 1 for each commit that succeeded, 0 for each that failed.
    pub commits: Samples,
    /// Records of one transaction.
    pub transaction: Samples,
    /// Times, in ms, from giving partitions back to getting others.
    pub rebalance_ms: Samples,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_count_for_the_last_two_windows() {
        let (samples, start) = (Samples::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(samples.sampled_at(at(0)), Sampled::default());
        samples.record_at(10.0, at(0));
        samples.record_at(20.0, at(5));
        assert_eq!(samples.sampled_at(at(6)), Sampled { avg: 15.0, min: 10.0, max: 20.0, rate: 1.0 });
        samples.record_at(60.0, at(31));
        assert_eq!(samples.sampled_at(at(45)), Sampled { avg: 30.0, min: 10.0, max: 60.0, rate: 2.0 });
        // The first window is over, the second is not.
        assert_eq!(samples.sampled_at(at(61)).avg, 60.0);
        assert_eq!(samples.sampled_at(at(200)), Sampled::default());
    }
}
