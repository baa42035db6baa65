//! A failed task is started again by itself, within a budget. Connect never does that (D-05), and people bolt loops on it.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::Duration;

use connector_core::{ConnectError, Domain, Result};
use futures::FutureExt;
use tokio::time::Instant;

use super::status::{State, TaskStatus};
use super::worker::Worker;
use crate::config::{ConnectorConfig, Restarts};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Failures of one task.
struct Budget {
    restarts: Restarts,
    /// When it failed, within the window.
    failures: VecDeque<Instant>,
}

impl Budget {
    /// How long to wait before the next start; `None`: it has failed too often.
    fn spend(&mut self, now: Instant) -> Option<Duration> {
        let Restarts { attempts, window } = self.restarts;
        self.failures.retain(|failed| now.saturating_duration_since(*failed) < window);
        if self.failures.len() >= attempts as usize {
            return None;
        }
        self.failures.push_back(now);
        let doubled = u32::try_from(self.failures.len() - 1).unwrap_or(u32::MAX).min(16);
        Some(FIRST.saturating_mul(1 << doubled).min(LONGEST))
    }
}

/// Whether the same start may go better: not where the configuration or a record is wrong, and not where another process
/// has taken over.
fn may_pass(error: &ConnectError) -> bool {
    error.domain != Domain::User && !error.code.ends_with(".fenced")
}

impl Worker {
    /// Runs a task until it ends for good.
    pub(super) async fn run_task<F>(
        &self,
        connector: &ConnectorConfig,
        status: &TaskStatus,
        mut run: impl FnMut() -> F,
    ) where
        F: Future<Output = Result<()>>,
    {
        let mut budget = Budget { restarts: connector.restarts, failures: VecDeque::new() };
        loop {
            // A panic's message may hold a value of the data.
            let outcome = AssertUnwindSafe(run()).catch_unwind().await.unwrap_or_else(|_| {
                Err(ConnectError::internal("task.panic", "the task panicked")
                    .hint("this is a defect: please report it with the log line of the panic"))
            });
            let pause = match &outcome {
                Err(error) if may_pass(error) && !self.stop.is_cancelled() => budget.spend(Instant::now()),
                _ => None,
            };
            let (Some(pause), Err(error)) = (pause, &outcome) else {
                return self.ended(connector, status, outcome);
            };
            let (failed, attempts) = (budget.failures.len(), connector.restarts.attempts);
            let reason = status.redact(&format!(
                "{error}; starting again in {} s ({failed} of {attempts} restarts)",
                pause.as_secs()
            ));
            tracing::error!(
                connector = connector.name,
                task = status.task,
                code = error.code,
                "task failed: {reason}"
            );
            status.set(State::Restarting, reason);
            status.counters.restarts.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return self.ended(connector, status, outcome),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_may_fail_so_often_within_the_window_and_again_after_it() {
        let restarts = Restarts { attempts: 3, window: Duration::from_secs(600) };
        let mut budget = Budget { restarts, failures: VecDeque::new() };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(budget.spend(at(0)), Some(Duration::from_secs(1)));
        assert_eq!(budget.spend(at(5)), Some(Duration::from_secs(2)));
        assert_eq!(budget.spend(at(10)), Some(Duration::from_secs(4)));
        assert_eq!(budget.spend(at(20)), None);
        assert!(budget.spend(at(601)).is_some());
        let mut never = Budget { restarts: Restarts { attempts: 0, ..restarts }, failures: VecDeque::new() };
        assert_eq!(never.spend(start), None, "Connect's behaviour (D-05)");
    }

    #[test]
    fn what_will_fail_again_is_not_started_again() {
        assert!(may_pass(&ConnectError::external("s3.unavailable", "503").no_retry()));
        assert!(may_pass(&ConnectError::internal("task.panic", "panicked")));
        assert!(!may_pass(&ConnectError::user("converter.json", "no JSON")));
        assert!(!may_pass(&ConnectError::external("pipeline.fenced", "somebody else")));
    }
}
