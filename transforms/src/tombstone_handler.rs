//! TombstoneHandler, Confluent's: what becomes of records without a value.

use arrow::array::{Array, RecordBatch};
use connector_core::{
    ConfigProblem, Envelope, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed, envelope,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::Refusal;

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Behavior {
    DropSilent,
    /// As `drop_silent`: what is dropped is counted as filtered.
    #[default]
    DropWarn,
    /// They go on.
    Ignore,
    /// As `ignore`.
    Warn,
    /// They are rejected.
    Fail,
}

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// What becomes of a record whose value is null.
    #[serde(default)]
    behavior: Behavior,
}

pub(crate) struct TombstoneHandler(Behavior);

impl Plugin for TombstoneHandler {
    type Config = Config;

    const NAME: &'static str = "TombstoneHandler";
    const ALIASES: &'static [&'static str] = &["io.confluent.connect.transforms.TombstoneHandler"];
    const SUMMARY: &'static str = "Drops, passes or rejects records without a value.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self(config.behavior))
    }
}

impl Transform for TombstoneHandler {
    fn needs(&self) -> Needs {
        Needs::Any
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let value = Envelope::of(&records)?.value().clone();
        let nulls: Vec<usize> = (0..value.len()).filter(|row| value.is_null(*row)).collect();
        if nulls.is_empty() || matches!(self.0, Behavior::Ignore | Behavior::Warn) {
            return Ok(Transformed::one(records));
        }
        let why = || Refusal::from("Tombstone record encountered, failing due to configured 'fail' behavior");
        let rejected = nulls.iter().filter(|_| self.0 == Behavior::Fail).map(|row| why().at(*row)).collect();
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&records, &nulls)?)], rejected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_core::arrow::array::StringArray;
    use connector_core::envelope::EnvelopeBuilder;
    use connector_core::{Form, TopicPartition};

    #[test]
    fn each_behavior_does_what_its_name_says() {
        for (behavior, passed, rejected) in [
            ("drop_silent", 1, vec![]),
            ("drop_warn", 1, vec![]),
            ("ignore", 2, vec![]),
            ("warn", 2, vec![]),
            ("fail", 1, vec![1]),
        ] {
            let config = serde_json::from_value(serde_json::json!({ "behavior": behavior })).unwrap();
            let handler = TombstoneHandler::create(config, &TaskInfo::default()).unwrap();
            let values = std::sync::Arc::new(StringArray::from(vec![Some("1"), None]));
            let records = EnvelopeBuilder::new().value(Form::Document, values).build().unwrap();
            let out = handler.apply(records, &Meta { partition: TopicPartition::new("t", 0) }).unwrap();
            let rows: Vec<_> = out.rejected.iter().map(|rejection| rejection.row).collect();
            assert_eq!((out.runs[0].records.num_rows(), rows), (passed, rejected), "{behavior}");
        }
    }
}
