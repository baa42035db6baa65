//! What a plugin counts and measures; `/metrics` shows it with the labels `connector` and `task` added.

use serde::{Deserialize, Serialize};

/// One figure now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Prometheus' spelling with the unit at the end, such as `sidestream_kinesis_behind_latest_milliseconds`.
    pub name: String,
    /// One sentence.
    pub help: String,
    pub kind: MetricKind,
    /// Beside `connector` and `task`.
    #[serde(default)]
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Only ever grows; its name ends in `_total`.
    Counter,
    Gauge,
}

impl Metric {
    pub fn counter(name: &str, help: &str, value: f64) -> Self {
        Self { name: name.into(), help: help.into(), kind: MetricKind::Counter, labels: Vec::new(), value }
    }

    pub fn gauge(name: &str, help: &str, value: f64) -> Self {
        Self { kind: MetricKind::Gauge, ..Self::counter(name, help, value) }
    }

    pub fn label(mut self, name: &str, value: impl Into<String>) -> Self {
        self.labels.push((name.to_owned(), value.into()));
        self
    }
}
