//! What a task does with records that cannot be processed, and what it counts and says of them (KIP-298).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use connector_core::{ConnectError, Offset, Result, Stage, TopicPartition};

use super::exceptions::{Exception, stage_name};
use super::pipeline::Refused;
use super::retry::RetryPolicy;
use super::sink::now_ms;
use super::status::TaskStatus;
use super::worker::Worker;
use crate::config::{ConnectorConfig, ErrorHandling, ErrorLog};
use crate::kafka::client::{self, Role};
use crate::kafka::dead_letters::{DeadLetterOptions, DeadLetters};

/// Part of a task's status.
#[derive(Debug, Default)]
pub struct TaskErrors {
    pub counters: ErrorCounters,
    handling: OnceLock<(RetryPolicy, ErrorLog)>,
}

impl TaskErrors {
    /// What the connector's configuration says; the first call counts.
    pub fn configure(&self, handling: &ErrorHandling) {
        let _ = self.handling.set((handling.retries, handling.log));
    }

    /// How long things are tried again.
    pub fn retries(&self) -> RetryPolicy {
        self.handling.get().map(|(retries, _)| *retries).unwrap_or_default()
    }

    /// Whether each record that cannot be processed is logged.
    pub fn log(&self) -> ErrorLog {
        self.handling.get().map(|(_, log)| *log).unwrap_or_default()
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
}

/// Where a record is that cannot be processed.
#[derive(Clone, Copy, Debug)]
pub enum Whereabouts<'a> {
    /// It was read from Kafka; the timestamp is in epoch milliseconds.
    Consumed { partition: &'a TopicPartition, offset: Offset, timestamp: Option<i64> },
    /// In its source's own words: file and line, or shard and sequence number.
    Polled(&'a str),
}

impl TaskStatus {
    /// Counts a record whose processing ended in an error, and logs it if the configuration says so, in Connect's words
    /// (E-06). The record's key and value are never part of it.
    pub fn record_failed(&self, refused: &Refused, whereabouts: Option<Whereabouts<'_>>) {
        let counters = &self.errors.counters;
        // A retriable one has been counted at each attempt.
        if !refused.error.is_retriable() {
            ErrorCounters::add(&counters.failures, 1);
        }
        ErrorCounters::add(&counters.errors, 1);
        counters.last_error_ms.store(now_ms(), Ordering::Relaxed);
        let log = self.errors.log();
        if !log.enabled {
            return;
        }
        ErrorCounters::add(&counters.logged, 1);
        let (connector, task) = (&self.connector, self.task);
        let place = whereabouts.filter(|_| log.with_place).map(said).unwrap_or_default();
        let exception = self.redact(&refused.exception().trace().trim_end().replace('\n', "; "));
        let (stage, class) = (stage_name(refused.stage), &refused.class);
        tracing::error!(
            connector,
            task,
            "Error encountered in task {connector}-{task}. Executing stage '{stage}' with class '{class}'{place}. \
             {exception}"
        );
    }

    /// Whether a sink may have its records skipped: Connect gives it somebody to report to only then.
    pub fn has_reporter(&self, has_dead_letters: bool) -> bool {
        has_dead_letters || self.errors.log().enabled
    }
}

impl Worker {
    /// The dead letter queue of a sink's task, if the connector has one.
    pub(super) async fn dead_letters(
        &self,
        connector: &ConnectorConfig,
        status: &Arc<TaskStatus>,
    ) -> Result<Option<Arc<DeadLetters>>> {
        let Some(queue) = &connector.errors.dead_letters else { return Ok(None) };
        let (worker, overrides) = (&self.deployment.worker, &connector.producer_overrides);
        let mut settings = client::settings(worker, Role::Producer, overrides, &self.handle)?;
        // As Connect's: a broker that is away is waited for.
        if ["delivery.timeout.ms", "message.timeout.ms"].iter().all(|key| settings.config.get(key).is_none())
        {
            settings.config.set("message.timeout.ms", "2147483647");
        }
        let options = DeadLetterOptions {
            topic: queue.name.clone(),
            replication_factor: queue.replication_factor,
            context_headers: queue.context_headers,
            admin: self.admin()?.clone(),
            producer: self.producers.get(settings)?,
            status: status.clone(),
            fatal: self.fatal_records.clone(),
        };
        DeadLetters::start(options, &self.stop).await.map(Some)
    }
}

fn said(whereabouts: Whereabouts<'_>) -> String {
    match whereabouts {
        Whereabouts::Consumed { partition: TopicPartition { topic, partition }, offset, timestamp } => {
            let timestamp = timestamp.map(|ms| format!(", timestamp={ms}")).unwrap_or_default();
            format!(
                ", where consumed record is {{topic='{topic}', partition={partition}, offset={offset}{timestamp}}}"
            )
        }
        Whereabouts::Polled(place) => format!(", where source record is from {place}"),
    }
}

impl Refused {
    /// What a sink's `write` refused.
    pub fn by_sink(error: ConnectError) -> Self {
        let class = "org.apache.kafka.connect.sink.SinkTask".into();
        Self { stage: Stage::TaskPut, class, at: String::new(), error }
    }

    /// What Kafka does not take from a source.
    pub fn by_kafka(error: ConnectError) -> Self {
        let class = "org.apache.kafka.connect.runtime.WorkerSourceTask".into();
        Self { stage: Stage::KafkaProduce, class, at: String::new(), error }
    }

    /// As Java would have thrown it; without what the message says of where it was.
    pub fn exception(&self) -> Exception {
        let mut exception = Exception::of(&self.error);
        if let Some(bare) = exception.message.strip_prefix(&self.at) {
            exception.message = bare.to_owned();
        }
        exception
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumed_record_is_named_by_its_place_alone_e_06() {
        let partition = TopicPartition::new("t", 3);
        let consumed =
            |timestamp| said(Whereabouts::Consumed { partition: &partition, offset: 7, timestamp });
        assert_eq!(
            consumed(Some(1_700_000_000_001)),
            ", where consumed record is {topic='t', partition=3, offset=7, timestamp=1700000000001}"
        );
        assert_eq!(consumed(None), ", where consumed record is {topic='t', partition=3, offset=7}");
    }
}
