//! The JSON texts that cross the boundary. Fields may be added; readers ignore those that they do not know.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::envelope::Form;
use crate::error::{ConnectError, Domain, Rejection, Retry, Stage};
use crate::sink::{CutSchedule, Delivery, OpenLimits, Written};
use crate::source::{Position, SourceOffset, TaskConfig};
use crate::transform::Run;

/// The answer to `create`: what the host must know of this instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Declared {
    /// Transforms and sinks; with `columns`, the schema comes as an empty batch.
    #[serde(default)]
    pub needs: Option<Form>,
    /// Sinks; at-least-once when absent.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// Sinks.
    #[serde(default)]
    pub schedule: Option<CutSchedule>,
    /// Sinks.
    #[serde(default)]
    pub open_limits: OpenLimits,
    /// Transforms; true when absent.
    #[serde(default)]
    pub deterministic: Option<bool>,
    /// Transforms; true when absent.
    #[serde(default)]
    pub filters: Option<bool>,
    /// Sources.
    #[serde(default)]
    pub wants_acks: bool,
    /// Sources.
    #[serde(default)]
    pub bounded: bool,
    /// Sources.
    #[serde(default)]
    pub exactly_once: bool,
}

/// A [`ConnectError`], its causes in the message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub domain: Domain,
    pub retry: Retry,
    pub code: String,
    pub message: String,
    #[serde(default)]
    pub hint: String,
}

/// A [`Rejection`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub row: usize,
    pub stage: Stage,
    pub error: Failure,
}

/// Where a run goes; its records are the batch at the same place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Destination {
    #[serde(default)]
    pub topic: Option<Arc<str>>,
    #[serde(default)]
    pub partition: Option<i32>,
}

/// The answer to a sink's `write`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WriteAnswer {
    #[serde(default)]
    pub cut: Option<i64>,
    #[serde(default)]
    pub spilled_bytes: u64,
    #[serde(default)]
    pub filtered: usize,
    #[serde(default)]
    pub rejected: Vec<Refusal>,
}

/// The answer to a transform's `apply`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ApplyAnswer {
    pub runs: Vec<Destination>,
    #[serde(default)]
    pub rejected: Vec<Refusal>,
}

/// What a source's `open` is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenSource {
    pub task: TaskConfig,
    pub positions: Vec<Position>,
    /// For [`super::Host::topic_partitions`] and [`super::Host::topic_names`].
    pub directory: u64,
}

/// The answer to a source's `poll`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PollAnswer {
    pub runs: Vec<Destination>,
    #[serde(default)]
    pub rejected: Vec<Failure>,
    pub offset: SourceOffset,
}

impl From<ConnectError> for Failure {
    fn from(mut error: ConnectError) -> Self {
        let hint = std::mem::take(&mut error.hint);
        let message = error.to_string();
        Self { domain: error.domain, retry: error.retry, code: error.code, message, hint }
    }
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        let Failure { domain, retry, code, message, hint } = failure;
        Self::new(domain, retry, code, message).hint(hint)
    }
}

impl From<Rejection> for Refusal {
    fn from(Rejection { row, stage, error }: Rejection) -> Self {
        Self { row, stage, error: error.into() }
    }
}

impl From<Refusal> for Rejection {
    fn from(Refusal { row, stage, error }: Refusal) -> Self {
        Self { row, stage, error: error.into() }
    }
}

impl From<Written> for WriteAnswer {
    fn from(Written { cut, spilled_bytes, filtered, rejected }: Written) -> Self {
        Self { cut, spilled_bytes, filtered, rejected: rejected.into_iter().map(Refusal::from).collect() }
    }
}

impl From<WriteAnswer> for Written {
    fn from(WriteAnswer { cut, spilled_bytes, filtered, rejected }: WriteAnswer) -> Self {
        Self { cut, spilled_bytes, filtered, rejected: rejected.into_iter().map(Rejection::from).collect() }
    }
}

impl From<&Run> for Destination {
    fn from(run: &Run) -> Self {
        Self { topic: run.topic.clone(), partition: run.partition }
    }
}

/// The JSON text of a value that cannot fail to have one.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// The value of a text; the error says where the text is wrong without quoting it.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("is not the JSON that it should be (line {}, column {})", error.line(), error.column())
    })
}
