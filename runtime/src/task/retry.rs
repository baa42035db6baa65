//! Trying again: the same call with the same arguments, with growing pauses (E-01, E-02).

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connector_core::{ConnectError, Result};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::errors::ErrorCounters;
use super::status::TaskStatus;

const FIRST: Duration = Duration::from_millis(300);
/// How long an attempt may take before it counts as a call that does not end.
const SILENCE: Duration = Duration::from_secs(120);
/// No pause is shorter, whatever is configured: a busy loop helps nobody.
const SHORTEST: Duration = Duration::from_millis(1);

/// How long something is tried again: `errors.retry.timeout` and `errors.retry.delay.max.ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Milliseconds; -1: for ever. 0, the default, has two meanings: see [`Self::of_calls`] and [`Self::of_records`].
    pub timeout_ms: i64,
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { timeout_ms: 0, delay_max: Duration::from_mins(1) }
    }
}

impl RetryPolicy {
    /// For calls of Kafka, sinks and sources; `None`: for ever, also where nothing is configured, as Connect does with a
    /// task's RetriableException.
    pub fn of_calls(self) -> Option<Duration> {
        u64::try_from(self.timeout_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// For converters and transforms; `None`: for ever. Nothing configured: not at all, as in Connect.
    pub fn of_records(self) -> Option<Duration> {
        match self.timeout_ms {
            -1 => None,
            ms => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        }
    }

    /// The pause before attempt `attempt` (0: the first repetition): it doubles; beyond the longest, any below it.
    fn pause(self, attempt: u32) -> Duration {
        let full = FIRST.saturating_mul(1 << attempt.min(20));
        let pause = if full > self.delay_max { self.delay_max.mul_f64(chance()) } else { full };
        pause.max(SHORTEST)
    }

    /// The same, for calls of services: not all tasks are to knock at once.
    fn jittered(self, attempt: u32) -> Duration {
        let pause = self.pause(attempt);
        pause / 2 + (pause / 2).mul_f64(chance())
    }
}

/// From 0 to just below 1. No need for good random numbers.
fn chance() -> f64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    f64::from(nanos.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24)
}

/// Calls until it succeeds, fails for good, has been tried for as long as the connector's configuration allows, or `stop`
/// ends the wait (then the last error is returned, still retriable).
pub async fn with_backoff<T, F>(
    status: &TaskStatus,
    stop: &CancellationToken,
    call: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let policy = status.errors.retries();
    let limit = policy.of_calls();
    let outcome = repeat(status, stop, limit, |attempt| policy.jittered(attempt), call).await;
    outcome.map_err(|error| match limit {
        Some(limit) if error.is_retriable() && !stop.is_cancelled() => {
            error.no_retry().at(format!("given up after {} ms (errors.retry.timeout)", limit.as_millis()))
        }
        _ => error,
    })
}

/// As [`with_backoff`], for what works on records inside the process: a converter, a transform.
pub async fn of_records<T, F>(
    status: &TaskStatus,
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let policy = status.errors.retries();
    let counted = || {
        let attempt = call();
        async {
            attempt.await.inspect_err(|error| {
                if error.is_retriable() {
                    ErrorCounters::add(&status.errors.counters.failures, 1);
                }
            })
        }
    };
    repeat(status, stop, policy.of_records(), |attempt| policy.pause(attempt), counted).await
}

async fn repeat<T, F>(
    status: &TaskStatus,
    stop: &CancellationToken,
    limit: Option<Duration>,
    pause: impl Fn(u32) -> Duration,
    mut call: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut retries = Retries { began: Instant::now(), limit, attempt: 0 };
    loop {
        match call().await {
            Ok(value) => {
                if retries.attempt > 0 {
                    status.remark("");
                }
                return Ok(value);
            }
            Err(error) => retries.wait(error, pause(retries.attempt), status, stop).await?,
        }
    }
}

struct Retries {
    began: Instant,
    /// `None`: for ever.
    limit: Option<Duration>,
    attempt: u32,
}

impl Retries {
    /// Waits before the next attempt, or gives the error back when there is to be none.
    async fn wait(
        &mut self,
        error: ConnectError,
        pause: Duration,
        status: &TaskStatus,
        stop: &CancellationToken,
    ) -> Result<()> {
        if !error.is_retriable() || self.limit == Some(Duration::ZERO) {
            return Err(error);
        }
        let left = self.limit.map(|limit| limit.saturating_sub(self.began.elapsed()));
        if left == Some(Duration::ZERO) {
            return Err(error);
        }
        // The last attempt comes when the time is over, not later.
        let pause = left.map_or(pause, |left| pause.min(left));
        let (connector, task) = (&status.connector, status.task);
        let told = status.redact(&error.to_string());
        tracing::warn!(connector, task, "{told}; trying again in {:.1} s", pause.as_secs_f32());
        status.trouble(format!("trying again: {error}"), pause + SILENCE);
        status.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.attempt += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.cancelled() => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use connector_core::Kind;

    use super::*;
    use crate::config::{ErrorHandling, SecretSet};
    use crate::task::status::StatusBoard;

    fn policy(timeout_ms: i64, delay_max_ms: u64) -> RetryPolicy {
        RetryPolicy { timeout_ms, delay_max: Duration::from_millis(delay_max_ms) }
    }

    #[test]
    fn pauses_double_and_are_random_beyond_the_longest_e_02_dlq_32_dlq_35() {
        let ms = |policy: RetryPolicy, attempt| policy.pause(attempt).as_millis();
        let long = RetryPolicy::default();
        assert_eq!([0, 1, 2, 7].map(|attempt| ms(long, attempt)), [300, 600, 1200, 38_400]);
        for attempt in [8, 30, u32::MAX] {
            assert!(ms(long, attempt) < 60_000);
        }
        let short = policy(-1, 500);
        assert_eq!(ms(short, 0), 300);
        let random: Vec<_> = (0..50).map(|_| ms(short, 1)).collect();
        assert!(random.iter().all(|ms| *ms < 500));
        assert!(ms(policy(-1, 0), 0) == 1);
        let jittered = long.jittered(1).as_millis();
        assert!((300..=600).contains(&jittered), "{jittered}");
    }

    /// Calls until the clock, which is not the wall's, has passed what the policy allows.
    async fn attempts(timeout_ms: i64, records: bool, failing: u32) -> (Result<()>, u32) {
        let status = StatusBoard::default().register("c", 0, (Kind::Sink, "s"), &SecretSet::default());
        let retries = policy(timeout_ms, 60_000);
        status.errors.configure(&ErrorHandling { retries, ..ErrorHandling::default() });
        let (stop, made) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let call = || {
            let made = made.clone();
            async move {
                match made.fetch_add(1, Ordering::Relaxed) {
                    n if n < failing => Err(ConnectError::external("x", "away")),
                    _ => Ok(()),
                }
            }
        };
        let outcome = match records {
            true => of_records(&status, &stop, call).await,
            false => with_backoff(&status, &stop, call).await,
        };
        (outcome, made.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_tried_for_ever_by_default_and_for_as_long_as_is_configured() {
        for timeout in [0, -1] {
            let (outcome, made) = attempts(timeout, false, 30).await;
            assert!(outcome.is_ok());
            assert_eq!(made, 31);
        }
        let (outcome, made) = attempts(2_000, false, 1000).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.message, "given up after 2000 ms (errors.retry.timeout): away");
        assert!((4..=10).contains(&made), "{made}");
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_not_tried_again_unless_it_is_configured_dlq_33() {
        let (outcome, made) = attempts(0, true, 1).await;
        assert_eq!((outcome.unwrap_err().message.as_str(), made), ("away", 1));
        assert_eq!(attempts(10_000, true, 3).await.1, 4);
        assert_eq!(attempts(-1, true, 40).await.1, 41);
        // 300 + 600, and the rest of the second.
        assert_eq!(attempts(1_000, true, 99).await.1, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_the_user_is_not_tried_again() {
        let status = StatusBoard::default().register("c", 0, (Kind::Sink, "s"), &SecretSet::default());
        let stop = CancellationToken::new();
        let outcome: Result<()> =
            with_backoff(&status, &stop, || async { Err(ConnectError::user("x", "wrong")) }).await;
        assert_eq!(outcome.unwrap_err().message, "wrong");
        assert_eq!(status.counters.retries.load(Ordering::Relaxed), 0);
    }
}
