//! What a task does with records that cannot be processed, and what it counts of them (KIP-298).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::retry::RetryPolicy;
use super::sink::now_ms;

/// Part of a task's status.
#[derive(Debug, Default)]
pub struct TaskErrors {
    pub counters: ErrorCounters,
    retries: OnceLock<RetryPolicy>,
}

impl TaskErrors {
    /// How long things are tried again; the first call counts.
    pub fn set_retries(&self, policy: RetryPolicy) {
        let _ = self.retries.set(policy);
    }

    pub fn retries(&self) -> RetryPolicy {
        self.retries.get().copied().unwrap_or_default()
    }
}

/// Connect's task-error-metrics, beside those in [`super::status::Counters`].
#[derive(Debug, Default)]
pub struct ErrorCounters {
    /// Operations on a record that failed, repetitions included.
    pub failures: AtomicU64,
    /// Records whose processing ended in an error, skipped or not.
    pub errors: AtomicU64,
    pub logged: AtomicU64,
    /// Records given to the dead letter queue.
    pub dead_letters: AtomicU64,
    pub dead_letters_failed: AtomicU64,
    /// Epoch milliseconds; 0: never.
    pub last_error_ms: AtomicI64,
}

impl ErrorCounters {
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// A record ended in an error.
    pub fn error(&self) {
        Self::add(&self.failures, 1);
        Self::add(&self.errors, 1);
        self.last_error_ms.store(now_ms(), Ordering::Relaxed);
    }
}
