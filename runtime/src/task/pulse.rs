//! Whether a task still gets something done: RUNNING is said only of one that does.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::sink::now_ms;
use super::status::{State, TaskStatus};

/// When something last moved, and what it may be waiting for now.
#[derive(Debug)]
pub struct Pulse {
    /// Epoch milliseconds.
    last_ms: AtomicI64,
    /// Until when the last trouble counts, in epoch milliseconds; 0: there is none.
    troubled_until_ms: AtomicI64,
    /// Calls of a plugin or a service that are under way, oldest first.
    steps: Mutex<Vec<&'static str>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            last_ms: AtomicI64::new(now_ms()),
            troubled_until_ms: AtomicI64::new(0),
            steps: Mutex::default(),
        }
    }
}

/// Ends the step that [`Pulse::begin`] began.
pub struct Step<'a>(&'a Pulse, &'static str);

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut steps = self.0.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = steps.iter().position(|step| *step == self.1) {
            steps.remove(at);
        }
    }
}

impl Pulse {
    pub fn beat(&self) {
        self.last_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// Something is wrong; it is over if nothing more is heard of it for `lasting`.
    pub fn trouble(&self, lasting: Duration) {
        let lasting = i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX);
        self.troubled_until_ms.store(now_ms().saturating_add(lasting), Ordering::Relaxed);
    }

    pub fn calm(&self) {
        self.troubled_until_ms.store(0, Ordering::Relaxed);
    }

    pub fn is_troubled(&self) -> bool {
        self.troubled_until_ms.load(Ordering::Relaxed) > now_ms()
    }

    /// A call begins that should end soon: `writing to the sink`.
    pub fn begin(&self, step: &'static str) -> Step<'_> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        Step(self, step)
    }

    fn step(&self) -> Option<&'static str> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }
}

impl TaskStatus {
    /// Looks whether the task still moves; to be called now and then. `limit`: how long it may rest with work to do.
    pub fn look(&self, limit: Duration) {
        let quiet_ms = now_ms() - self.pulse.last_ms.load(Ordering::Relaxed);
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let condition = self.condition();
        let lag: i64 = self.lag().values().sum();
        let troubled = self.pulse.is_troubled();
        let seconds = quiet_ms / 1000;
        let wait = match self.pulse.step() {
            _ if troubled && !condition.reason.is_empty() => Some(condition.reason),
            Some(step) => Some(format!("{step} has not ended for {seconds} s")),
            None if lag > 0 => {
                Some(format!("{lag} records wait in Kafka, and none was read for {seconds} s"))
            }
            // Nothing to do is no stall.
            None => None,
        };
        match (condition.state, wait) {
            (State::Running, Some(reason)) if quiet_ms > limit_ms => {
                tracing::warn!(connector = self.connector, task = self.task, "task stalled: {reason}");
                self.stall(reason);
            }
            (State::Stalled, wait) if quiet_ms <= limit_ms || wait.is_none() => {
                tracing::info!(connector = self.connector, task = self.task, "task moves again");
                self.set(State::Running, "");
            }
            _ if !troubled && self.pulse.troubled_until_ms.load(Ordering::Relaxed) > 0 => self.remark(""),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use connector_core::{Kind, TopicPartition};

    use super::*;
    use crate::config::SecretSet;
    use crate::task::status::StatusBoard;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_task_is_stalled_when_there_is_work_and_nothing_moves_and_runs_again_when_it_does() {
        let status = StatusBoard::default().register("c", 0, (Kind::Sink, "s"), &SecretSet::default());
        status.set(State::Running, "");
        let quiet = || status.pulse.last_ms.store(now_ms() - 61_000, Ordering::Relaxed);
        quiet();
        status.look(LIMIT);
        assert_eq!(status.condition().state, State::Running, "nothing to do is no stall");

        status.set_lag(&TopicPartition::new("t", 0), 7);
        status.look(LIMIT);
        let condition = status.condition();
        assert_eq!(condition.state, State::Stalled);
        assert!(condition.reason.starts_with("7 records wait in Kafka"), "{}", condition.reason);
        status.beat();
        status.look(LIMIT);
        assert_eq!(status.condition().state, State::Running);
        status.forget_partition(&TopicPartition::new("t", 0));

        let step = status.pulse.begin("the sink's write");
        quiet();
        status.look(LIMIT);
        assert_eq!(status.condition().reason, "the sink's write has not ended for 61 s");
        drop(step);
        status.beat();
        status.look(LIMIT);

        status.trouble("trying again: no route", LIMIT);
        quiet();
        status.look(LIMIT);
        assert_eq!(status.condition().state, State::Stalled);
        assert_eq!(status.condition().reason, "trying again: no route");
        status.beat();
        status.look(LIMIT);
        assert_eq!(status.condition().reason, "");
    }

    #[test]
    fn trouble_that_is_over_is_forgotten_though_the_task_has_nothing_to_do() {
        let status = StatusBoard::default().register("c", 0, (Kind::Sink, "s"), &SecretSet::default());
        status.set(State::Running, "");
        status.trouble("reading from Kafka failed", Duration::from_secs(15));
        status.look(LIMIT);
        assert_eq!(status.condition().reason, "reading from Kafka failed");
        status.pulse.troubled_until_ms.store(now_ms() - 1, Ordering::Relaxed);
        status.pulse.last_ms.store(now_ms() - 61_000, Ordering::Relaxed);
        status.look(LIMIT);
        let condition = status.condition();
        assert_eq!((condition.state, condition.reason.as_str()), (State::Running, ""));
    }
}
