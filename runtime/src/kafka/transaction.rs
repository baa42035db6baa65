//! Transactions (KIP-98): what is written in one is seen whole or not at all, and only the newest producer of a name can
//! write.

use std::sync::Arc;
use std::time::Duration;

use connector_core::{ConnectError, Result};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use super::client::ClientSettings;
use super::kafka_error;
use super::producer::{DeliveryContext, Producer};
use crate::task::status::TaskStatus;

/// How long one call waits before it says what it waits for, and is made again: librdkafka goes on meanwhile.
const STEP: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(100);
/// Kafka's default of `transaction.timeout.ms`.
const TIMEOUT_MS: u64 = 60_000;

/// Code of the error of brokers that have no transactions.
pub const NO_TRANSACTIONS: &str = "kafka.no_transactions";

type Native = ThreadedProducer<DeliveryContext>;

/// Why a transaction did not get on.
#[derive(Debug)]
pub enum Broken {
    /// It has to be taken back; the same records can be sent again.
    Abort(ConnectError),
    /// The producer can do nothing more.
    Fatal(ConnectError),
}

/// How long transactions take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the first record to the commit, beside what the commit takes.
    pub planned: Duration,
    /// How long a record may take that somebody waits for.
    pub patience: Option<Duration>,
}

/// The one producer that may use a transactional id, until the next one comes.
#[derive(Clone)]
pub struct TransactionalProducer {
    producer: Producer,
    id: Arc<str>,
    status: Arc<TaskStatus>,
}

impl TransactionalProducer {
    pub fn new(
        mut settings: ClientSettings,
        id: &str,
        times: Times,
        status: Arc<TaskStatus>,
    ) -> Result<Self> {
        let config = &mut settings.config;
        config.set("transactional.id", id);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let timeout = match config.get("transaction.timeout.ms") {
            Some(set) => set.trim().parse().unwrap_or(TIMEOUT_MS),
            None => {
                let timeout = millis(times.planned).saturating_add(TIMEOUT_MS).min(i32::MAX as u64);
                config.set("transaction.timeout.ms", timeout.to_string());
                timeout
            }
        };
        if let Some(patience) = times.patience
            && config.get("delivery.timeout.ms").is_none()
            && config.get("message.timeout.ms").is_none()
        {
            config.set("message.timeout.ms", millis(patience).min(timeout).to_string());
        }
        Ok(Self { producer: Producer::new(settings)?, id: id.into(), status })
    }

    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Takes the id over: an open transaction of whoever had it is taken back, and he can write no more. When this returns,
    /// all that he has committed can be read.
    pub async fn init(&self) -> Result<()> {
        self.call("taking over", |producer| producer.init_transactions(STEP)).await.map_err(Broken::error)
    }

    pub async fn begin(&self) -> Result<()> {
        self.call("beginning", |producer| producer.begin_transaction()).await.map_err(Broken::error)
    }

    /// To be called when all records are delivered.
    pub async fn commit(&self) -> Result<(), Broken> {
        self.call("committing", |producer| producer.commit_transaction(STEP)).await
    }

    pub async fn abort(&self) -> Result<(), Broken> {
        self.call("taking back", |producer| producer.abort_transaction(STEP)).await
    }

    /// Its threads end, which takes a moment.
    pub async fn close(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// Repeats what only takes longer.
    async fn call(
        &self,
        doing: &str,
        call: impl Fn(&Native) -> KafkaResult<()> + Clone + Send + 'static,
    ) -> Result<(), Broken> {
        let doing = format!("{doing} a transaction of `{}`", self.id);
        let mut pause = FIRST;
        loop {
            let (producer, call) = (self.producer.clone(), call.clone());
            let outcome = tokio::task::spawn_blocking(move || call(producer.native())).await;
            let error = match outcome {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(error) => {
                    let message = format!("{doing} broke off");
                    return Err(Broken::Fatal(ConnectError::internal("task", message).caused_by(error)));
                }
            };
            if let Some(fatal) = self.fatal() {
                return Err(Broken::Fatal(fatal));
            }
            let told = kafka_error(&format!("{doing} failed"), &error);
            match &error {
                // Said to be retriable, but the broker will not be another one.
                _ if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnsupportedFeature) => {
                    return Err(Broken::Fatal(no_transactions(&error.to_string())));
                }
                KafkaError::Transaction(native) if native.txn_requires_abort() => {
                    return Err(Broken::Abort(told));
                }
                KafkaError::Transaction(native) if native.is_retriable() => {}
                KafkaError::Flush(_) => {}
                _ if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {}
                _ => return Err(Broken::Fatal(told.no_retry())),
            }
            self.status.trouble(format!("waiting: {told}"), Duration::from_secs(90));
            tracing::warn!(
                connector = self.status.connector,
                task = self.status.task,
                "{told}; still waiting"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(STEP);
        }
        if pause > FIRST {
            self.status.remark("");
        }
        Ok(())
    }

    /// Why this producer can do nothing more.
    pub fn fatal(&self) -> Option<ConnectError> {
        use RDKafkaErrorCode as Code;
        let (code, text) = self.producer.native().client().fatal_error()?;
        let id = &self.id;
        Some(match code {
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => ConnectError::user(
                "source.fenced",
                format!("fenced: another task has taken over the transactional id `{id}`"),
            )
            .hint(
                "nothing of this task's open transaction was stored; it does not come back by itself, because that would \
                 stop the other one. If there is no other worker with this group.id and connector, a transaction was open \
                 for longer than transaction.timeout.ms: restart the task",
            ),
            Code::UnsupportedFeature | Code::UnsupportedVersion => no_transactions(&text),
            Code::TransactionalIdAuthorizationFailed => {
                ConnectError::user("kafka.transactional_id", format!("the transactional id `{id}` is not allowed"))
                    .hint("grant this principal Write and Describe on it, or on all ids that begin with the group.id")
            }
            Code::InvalidTransactionTimeout => {
                ConnectError::user("kafka.transaction_timeout", "transaction.timeout.ms is more than the brokers allow")
                    .hint(
                        "set producer.override.transaction.timeout.ms, or a shorter transaction.boundary.interval.ms, \
                         below the brokers' transaction.max.timeout.ms",
                    )
            }
            _ => {
                let error = kafka_error("the producer cannot go on", &KafkaError::Global(code)).no_retry();
                error.hint_if_none("restart the task; what was not committed is read again")
            }
        })
    }
}

fn no_transactions(text: &str) -> ConnectError {
    ConnectError::user(NO_TRANSACTIONS, format!("the brokers have no transactions: {text}"))
        .hint("set exactly.once.support: requested to run at least once here")
}

impl Broken {
    pub fn error(self) -> ConnectError {
        match self {
            Self::Abort(error) | Self::Fatal(error) => error,
        }
    }
}
