//! DropHeaders: headers that nobody needs further on.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use connector_core::envelope::{self, HEADERS};
use connector_core::{
    ConfigProblem, Envelope, Meta, Needs, Plugin, Result, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::Names;

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Names of the headers to drop; upper and lower case differ.
    headers: Names,
}

/// Drops headers by name.
pub(crate) struct DropHeaders {
    headers: Vec<String>,
}

impl Plugin for DropHeaders {
    type Config = Config;

    const NAME: &'static str = "DropHeaders";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.transforms.DropHeaders"];
    const SUMMARY: &'static str = "Drops headers by name.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { headers: config.headers.0 })
    }
}

impl Transform for DropHeaders {
    fn needs(&self) -> Needs {
        Needs::Any
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let Some(headers) = Envelope::of(&records)?.headers() else { return Ok(Transformed::one(records)) };
        let keys = headers.values().as_struct().column(0).as_string::<i32>();
        let keep: BooleanArray = keys
            .iter()
            .map(|key| Some(!key.is_some_and(|key| self.headers.iter().any(|h| h == key))))
            .collect();
        if keep.true_count() == keep.len() {
            return Ok(Transformed::one(records));
        }
        let lengths = headers.value_offsets().windows(2).map(|ends| {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            keep.values().slice(start, end - start).count_set_bits()
        });
        let offsets = OffsetBuffer::from_lengths(lengths);
        // A list array may begin behind the first of its values.
        let (first, last) =
            (headers.value_offsets()[0] as usize, headers.value_offsets()[headers.len()] as usize);
        let used = headers.values().slice(first, last - first);
        let kept = arrow::compute::filter(&used, &keep.slice(first, last - first))?;
        let field = records.schema_ref().field_with_name(HEADERS)?;
        let list = ListArray::try_new(item(headers), offsets, kept, headers.nulls().cloned())?;
        let field =
            Field::new(HEADERS, list.data_type().clone(), true).with_metadata(field.metadata().clone());
        Ok(Transformed::one(envelope::with_column(&records, field, Arc::new(list))?))
    }
}

fn item(list: &ListArray) -> arrow::datatypes::FieldRef {
    match list.data_type() {
        arrow::datatypes::DataType::List(item) => item.clone(),
        other => Arc::new(Field::new("item", other.clone(), false)),
    }
}
