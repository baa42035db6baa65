//! InsertHeader: the same header for every record.

use arrow::array::RecordBatch;
use connector_core::headers::{self, Entries};
use connector_core::schema::{Datum, parse_text, payload_text};
use connector_core::{ConfigProblem, Meta, Needs, Plugin, Result, TaskInfo, Transform, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Name of the header.
    header: String,
    /// Its value. Its type is guessed: a number becomes the smallest that holds it, ISO dates and times, lists and maps
    /// are understood, everything else is a text.
    #[serde(rename = "value.literal")]
    value: String,
}

/// Adds a header, also where there is one of that name.
pub(crate) struct InsertHeader {
    entry: Entries,
}

impl Plugin for InsertHeader {
    type Config = Config;

    const NAME: &'static str = "InsertHeader";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.transforms.InsertHeader"];
    const SUMMARY: &'static str = "Adds a header with a fixed value.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        // Connect trims texts.
        let (schema, value) = parse_text(config.value.trim());
        let payload = match &value {
            Datum::Null => None,
            value => Some(payload_text(schema.as_ref(), value).into_bytes()),
        };
        let schema = schema.map(|schema| schema.to_json(None).to_string()).unwrap_or_default();
        let mut entry = Entries::default();
        entry.push(config.header.trim(), payload, &schema);
        Ok(Self { entry })
    }
}

impl Transform for InsertHeader {
    fn needs(&self) -> Needs {
        Needs::Any
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        Ok(Transformed::one(headers::append(&records, &self.entry, |_| 0..1)?))
    }
}
