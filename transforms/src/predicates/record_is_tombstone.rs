//! RecordIsTombstone: records without a value.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use connector_core::{ConfigProblem, Envelope, Meta, Plugin, Predicate, Result, TaskInfo};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
pub struct Config {}

pub(crate) struct RecordIsTombstone;

impl Plugin for RecordIsTombstone {
    type Config = Config;

    const NAME: &'static str = "RecordIsTombstone";
    const ALIASES: &'static [&'static str] =
        &["org.apache.kafka.connect.transforms.predicates.RecordIsTombstone"];
    const SUMMARY: &'static str = "Is true of records whose value is null.";

    fn create(_: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self)
    }
}

impl Predicate for RecordIsTombstone {
    fn test(&self, records: &RecordBatch, _: &Meta) -> Result<BooleanArray> {
        let null = match Envelope::of(records)?.value().logical_nulls() {
            Some(nulls) => !nulls.inner(),
            None => BooleanBuffer::new_unset(records.num_rows()),
        };
        Ok(BooleanArray::new(null, None))
    }
}
