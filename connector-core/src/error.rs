//! Errors that say whose fault it is, whether trying again helps, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

pub type Result<T, E = ConnectError> = std::result::Result<T, E>;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// The configuration or the data.
    User,
    /// A service outside this process.
    External,
    /// Sidestream or a plugin.
    Internal,
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    WithBackoff,
    NoRetry,
}

/// What went wrong, without any record value or secret, and the remedy.
#[derive(Debug, thiserror::Error)]
pub struct ConnectError {
    pub domain: Domain,
    pub retry: Retry,
    /// Stable, for scripts: `s3.no_such_bucket`.
    pub code: String,
    /// What is wrong and where.
    pub message: String,
    /// What to do about it; empty when nothing is known.
    pub hint: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ConnectError {
    pub fn new(domain: Domain, retry: Retry, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { domain, retry, code: code.into(), message: message.into(), hint: String::new(), source: None }
    }

    /// The configuration or the data is wrong; trying again does not help.
    pub fn user(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Domain::User, Retry::NoRetry, code, message)
    }

    /// A service failed in a way that may pass.
    pub fn external(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Domain::External, Retry::WithBackoff, code, message)
    }

    /// A defect of Sidestream or of a plugin.
    pub fn internal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Domain::Internal, Retry::NoRetry, code, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// A hint for an error that has none of its own.
    #[must_use]
    pub fn hint_if_none(self, hint: &str) -> Self {
        if self.hint.is_empty() { self.hint(hint) } else { self }
    }

    #[must_use]
    pub fn no_retry(mut self) -> Self {
        self.retry = Retry::NoRetry;
        self
    }

    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts the place before the message: `orders-0 offset 12: …`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    pub fn is_retriable(&self) -> bool {
        self.retry == Retry::WithBackoff
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        // The causes are part of the sentence: whoever reads a log line has only that line.
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !self.message.contains(&text) {
                write!(f, ": {text}")?;
            }
            cause = error.source();
        }
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl From<arrow::error::ArrowError> for ConnectError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::internal("arrow", "an Arrow operation failed").caused_by(error)
    }
}

/// The step in which a record was refused; Connect's names, as in its `__connect.errors.stage` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    Transformation,
    TaskPut,
    KafkaProduce,
}

/// A row that cannot go on. Rejected rows are data, not errors: the rest of the batch continues.
#[derive(Debug)]
pub struct Rejection {
    /// Row in the batch that was handed over.
    pub row: usize,
    pub stage: Stage,
    pub error: ConnectError,
}

impl Rejection {
    pub fn new(row: usize, stage: Stage, error: ConnectError) -> Self {
        Self { row, stage, error }
    }
}
