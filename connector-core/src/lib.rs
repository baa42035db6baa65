//! The contract between Sidestream and its plugins.
//!
//! A plugin is a [`Source`], a [`Transform`] or a [`Sink`] with a plain `serde` + `schemars` configuration struct
//! ([`Plugin::Config`]). Data moves as Arrow record batches ([`Batch`], [`envelope`]); the host owns Kafka.

pub mod abi;
pub mod batch;
pub mod component;
pub mod config;
pub mod document;
pub mod envelope;
pub mod error;
pub mod failpoint;
pub mod headers;
pub mod java;
pub mod json;
pub mod metric;
pub mod places;
pub mod schema;
pub mod sink;
pub mod source;
pub mod testing;
pub mod transform;
pub mod value;

pub use arrow;
pub use async_trait::async_trait;
pub use batch::{Assignment, Batch, MemoryPermit, Offset, TopicPartition};
pub use component::{Component, Kind, Plugin, TaskInfo};
pub use config::{ConfigMap, ConfigProblem, Secret};
pub use envelope::{Envelope, Form, Needs};
pub use error::{ConnectError, Domain, Rejection, Result, Retry, Stage};
pub use metric::{Metric, MetricKind};
pub use places::Places;
pub use sink::{
    Committable, CutSchedule, Delivery, Extent, FlushRange, OpenLimits, RangeCounts, Resume, Sink, Written,
};
pub use source::{
    Ack, Acks, NoTopics, PollBudget, Position, Source, SourceBatch, SourceContext, SourceOffset, TaskConfig,
    TopicDirectory,
};
pub use transform::{Meta, Predicate, Run, Transform, Transformed};
