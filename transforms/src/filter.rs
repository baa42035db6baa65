//! Filter: drops the records that its predicate lets through to it.

use arrow::array::RecordBatch;
use connector_core::{ConfigProblem, Meta, Needs, Plugin, Result, TaskInfo, Transform, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
pub struct Config {}

/// Drops every record; its predicate says which it gets.
pub(crate) struct Filter;

impl Plugin for Filter {
    type Config = Config;

    const NAME: &'static str = "Filter";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.transforms.Filter"];
    const SUMMARY: &'static str = "Drops records; a predicate says which.";

    fn create(_: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self)
    }
}

impl Transform for Filter {
    fn needs(&self) -> Needs {
        Needs::Any
    }

    fn apply(&self, _: RecordBatch, _: &Meta) -> Result<Transformed> {
        Ok(Transformed::default())
    }
}
