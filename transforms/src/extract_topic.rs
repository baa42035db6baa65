//! ExtractTopic, Confluent's: the topic is what a field, or the whole key or value, says.

use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::DataType;
use connector_core::value::Value;
use connector_core::{
    ConfigProblem, Form, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{Part, Refusal, below, problem};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// The field with the topic; not set: the whole key or value is the topic.
    #[serde(default)]
    field: String,
    /// `PLAIN`: `field` is a name at the top.
    #[serde(rename = "field.format", default = "plain")]
    format: String,
    /// Whether a record without the field keeps its topic; otherwise it is rejected.
    #[serde(rename = "skip.missing.or.null", default)]
    skip: bool,
}

fn plain() -> String {
    "PLAIN".to_owned()
}

pub(crate) struct ExtractTopic<P> {
    field: String,
    skip: bool,
    part: PhantomData<P>,
}

impl<P: Part> Plugin for ExtractTopic<P> {
    type Config = Config;

    const NAME: &'static str = if P::KEY { "ExtractTopic$Key" } else { "ExtractTopic$Value" };
    const ALIASES: &'static [&'static str] = if P::KEY {
        &["io.confluent.connect.transforms.ExtractTopic$Key"]
    } else {
        &["io.confluent.connect.transforms.ExtractTopic$Value"]
    };
    const SUMMARY: &'static str = "Takes the topic from a field.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        if !config.format.trim().eq_ignore_ascii_case("PLAIN") {
            return Err(problem("field.format", "only PLAIN is supported", "name a field at the top"));
        }
        Ok(Self { field: config.field.trim().to_owned(), skip: config.skip, part: PhantomData })
    }
}

impl<P: Part> Transform for ExtractTopic<P> {
    fn needs(&self) -> Needs {
        if P::KEY { Needs::Any } else { Needs::Document }
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let topics: Vec<Option<String>> = match records.schema_ref().column_with_name(P::COLUMN) {
            Some((at, field)) if Form::of(field) == Form::Document => {
                let texts = records.column(at).as_string::<i32>();
                texts.iter().map(|text| self.of_document(text?)).collect()
            }
            Some((at, _)) => self.of_column(records.column(at)),
            None => vec![None; records.num_rows()],
        };
        let mut out = Transformed::default();
        let mut start = 0;
        for row in 0..topics.len() {
            if topics[row].as_deref().is_none_or(str::is_empty) && !self.skip {
                let why = match self.field.as_str() {
                    "" => "the topic cannot be taken from it: no text there".to_owned(),
                    field => format!("the topic cannot be taken from the field `{field}`: no text there"),
                };
                out.rejected.push(Refusal::from(why).at(row));
                if row > start {
                    out.runs.push(run(&topics[start], records.slice(start, row - start)));
                }
                start = row + 1;
            } else if row > start && topics[row] != topics[start] {
                out.runs.push(run(&topics[start], records.slice(start, row - start)));
                start = row;
            }
        }
        if start < topics.len() {
            out.runs.push(run(&topics[start], records.slice(start, topics.len() - start)));
        }
        Ok(out)
    }
}

/// Records that keep their topic, or go to another.
fn run(topic: &Option<String>, records: RecordBatch) -> Run {
    match topic.as_deref().filter(|topic| !topic.is_empty()) {
        Some(topic) => Run::to_topic(topic, records),
        None => Run::new(records),
    }
}

impl<P: Part> ExtractTopic<P> {
    fn of_document(&self, text: &str) -> Option<String> {
        let value = match (Value::Json(text).open(), self.field.as_str()) {
            (value, "") => value,
            (Value::Object(mut object), field) => object.remove(field)?,
            _ => return None,
        };
        match value.open() {
            Value::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    fn of_column(&self, column: &ArrayRef) -> Vec<Option<String>> {
        let found = match column.as_struct_opt() {
            _ if self.field.is_empty() => Some(column.clone()),
            Some(structs) => {
                let at = structs.fields().iter().position(|field| field.name() == &self.field);
                at.and_then(|at| below(structs, structs.column(at)).ok())
            }
            None => None,
        };
        let text = |t: &DataType| {
            matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary)
        };
        let texts = found.filter(|found| text(found.data_type()));
        match texts.and_then(|texts| compute::cast(&texts, &DataType::Utf8).ok()) {
            Some(texts) => texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect(),
            None => vec![None; column.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::ValuePart;
    use connector_core::TopicPartition;
    use connector_core::arrow::array::StringArray;
    use connector_core::envelope::EnvelopeBuilder;

    fn runs(config: &str) -> (Vec<(Option<String>, usize)>, Vec<usize>) {
        let texts = vec![r#"{"t":"a"}"#, r#"{"t":"a"}"#, r#"{"t":"b"}"#, r#"{"x":1}"#, r#"{"t":"b"}"#];
        let values = std::sync::Arc::new(StringArray::from(texts));
        let records = EnvelopeBuilder::new().value(Form::Document, values).build().unwrap();
        let config = serde_json::from_str(config).unwrap();
        let transform = ExtractTopic::<ValuePart>::create(config, &TaskInfo::default()).unwrap();
        let out = transform.apply(records, &Meta { partition: TopicPartition::new("t", 0) }).unwrap();
        let run = |run: &Run| (run.topic.as_deref().map(str::to_owned), run.records.num_rows());
        (out.runs.iter().map(run).collect(), out.rejected.iter().map(|r| r.row).collect())
    }

    #[test]
    fn each_record_goes_where_its_field_says_in_order() {
        let to = |topic: &str, rows| (Some(topic.to_owned()), rows);
        assert_eq!(runs(r#"{"field":"t"}"#), (vec![to("a", 2), to("b", 1), to("b", 1)], vec![3]));
        let skipping = runs(r#"{"field":"t","skip.missing.or.null":true}"#);
        assert_eq!(skipping, (vec![to("a", 2), to("b", 1), (None, 1), to("b", 1)], vec![]));
    }
}
