//! Trying again: the same call with the same arguments, with growing pauses (E-02).

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connector_core::Result;
use tokio_util::sync::CancellationToken;

use super::status::TaskStatus;

const FIRST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(60);

/// The pause before attempt `attempt` (0: the first repetition), between half of it and all of it.
fn pause(attempt: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << attempt.min(8)).min(LONGEST);
    // No need for good random numbers: tasks only must not knock all at once.
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    full / 2 + (full / 2).mul_f64(f64::from(nanos % 1000) / 1000.0)
}

/// Calls until it succeeds, fails for good, or `stop` ends the wait (then the last error is returned).
pub async fn with_backoff<T, F>(
    status: &TaskStatus,
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempt = 0;
    loop {
        match call().await {
            Ok(value) => {
                if attempt > 0 {
                    status.remark("");
                }
                return Ok(value);
            }
            Err(error) if error.is_retriable() => {
                let wait = pause(attempt);
                let (connector, task) = (&status.connector, status.task);
                let told = status.redact(&error.to_string());
                tracing::warn!(connector, task, "{told}; trying again in {:.1} s", wait.as_secs_f32());
                status.remark(format!("trying again: {error}"));
                status.counters.retries.fetch_add(1, Ordering::Relaxed);
                attempt += 1;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_no_further() {
        assert!(pause(0) >= FIRST / 2 && pause(0) <= FIRST);
        assert!(pause(3) >= FIRST * 4);
        assert!(pause(30) <= LONGEST);
    }
}
