//! HasHeaderKey: records with a header of that name.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use connector_core::{ConfigProblem, Envelope, Meta, Plugin, Predicate, Result, TaskInfo};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::problem;

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// The header's name.
    name: String,
}

pub(crate) struct HasHeaderKey {
    name: String,
}

impl Plugin for HasHeaderKey {
    type Config = Config;

    const NAME: &'static str = "HasHeaderKey";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.transforms.predicates.HasHeaderKey"];
    const SUMMARY: &'static str = "Is true of records with a header of that name.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        match config.name.trim() {
            "" => Err(problem("name", "is empty", "name the header")),
            name => Ok(Self { name: name.to_owned() }),
        }
    }
}

impl Predicate for HasHeaderKey {
    fn test(&self, records: &RecordBatch, _: &Meta) -> Result<BooleanArray> {
        let Some(headers) = Envelope::of(records)?.headers() else {
            return Ok(BooleanArray::from(vec![false; records.num_rows()]));
        };
        let keys = headers.values().as_struct().column(0).as_string::<i32>();
        let found = headers.value_offsets().windows(2).map(|ends| {
            let mut of_record = ends[0] as usize..ends[1] as usize;
            Some(of_record.any(|at| keys.value(at) == self.name))
        });
        Ok(found.collect())
    }
}
