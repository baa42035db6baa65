use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::envelope::{VALUE, with_column, without_rows};
use crate::testing::{self, TransformCase};
use crate::{
    Component, ConfigProblem, ConnectError, Envelope, Form, Meta, Needs, Plugin, Rejection, Result, Run,
    Stage, TaskInfo, TopicPartition, Transform, Transformed,
};

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// Where every third record goes.
    side: String,
    /// What it does wrong.
    #[serde(default)]
    wrong: String,
}

struct Upper {
    config: Config,
    calls: AtomicUsize,
}

impl Plugin for Upper {
    type Config = Config;
    const NAME: &'static str = "upper";
    const SUMMARY: &'static str =
        "Upper case; refuses null values, drops offset 5, sends each third elsewhere.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { config, calls: AtomicUsize::new(0) })
    }
}

impl Transform for Upper {
    fn needs(&self) -> Needs {
        Needs::Document
    }

    fn apply(&self, records: RecordBatch, meta: &Meta) -> Result<Transformed> {
        assert_eq!(meta.partition, TopicPartition::new("words", 4));
        let envelope = Envelope::of(&records)?;
        let (values, offsets) = (envelope.value().as_string::<i32>(), envelope.offsets().unwrap());
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let suffix = if self.config.wrong == "state" { calls.to_string() } else { String::new() };
        let upper: StringArray =
            values.iter().map(|v| v.map(|v| format!("{}{suffix}", v.to_uppercase()))).collect();
        let null: Vec<_> = (0..values.len()).filter(|row| values.is_null(*row)).collect();
        let side: Vec<_> = (0..values.len()).filter(|row| offsets.value(*row) % 3 == 0).collect();
        let main: Vec<_> = (0..values.len()).filter(|row| offsets.value(*row) % 3 != 0).collect();
        let mut refused = null.clone();
        refused.extend((0..values.len()).filter(|row| offsets.value(*row) == 5));
        let records =
            with_column(&records, Form::Document.field(VALUE, upper.data_type().clone()), Arc::new(upper))?;
        let drop = |others: &[usize]| without_rows(&records, &[others, &refused].concat());
        let mut runs = vec![Run::new(drop(&side)?), Run::to_topic(self.config.side.as_str(), drop(&main)?)];
        if self.config.wrong == "twice" {
            runs.push(runs[0].clone());
        }
        let error = || ConnectError::user("upper.null", "no value");
        let rejected = null.iter().map(|&row| Rejection::new(row, Stage::Transformation, error())).collect();
        Ok(Transformed { runs, rejected })
    }
}

fn case(wrong: &str) -> TransformCase {
    let words = TopicPartition::new("words", 4);
    let records = testing::records_with(Form::Document, &words, 100..117, |offset| offset == 104);
    let few = testing::records(Form::Document, &words, 3..9);
    let records = arrow::compute::concat_batches(&records.schema(), [&few, &records]).unwrap();
    let config = testing::config(&[("side", "side"), ("wrong", wrong)]);
    TransformCase::new(Component::transform::<Upper>("1.0.0"), config, records).partition(words)
}

#[test]
fn a_transform_conforms() {
    testing::transform::run_both(&case(""));
}

#[test]
#[should_panic(expected = "came out twice")]
fn a_doubled_record_is_caught() {
    testing::transform::run(&case("twice"));
}

#[test]
#[should_panic(expected = "in batches of 1 they become something else")]
fn state_between_batches_is_caught() {
    testing::transform::run(&case("state"));
}
