//! Converter and transforms between the ends of a task. What each stage is given is decided once, at the start.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use connector_core::envelope::{self, VALUE};
use connector_core::{
    ConnectError, Envelope, Form, Meta, Needs, Offset, Rejection, Result, Run, TopicPartition, Transform,
    Transformed,
};

use crate::convert::{Converter, columns};

/// Where a value stands between two stages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// As Kafka had it.
    Raw,
    Decoded,
}

enum Step {
    Decode(Needs),
    Encode,
    /// From whatever form a source gave.
    Give(Needs),
    Transform {
        name: String,
        transform: Arc<dyn Transform>,
    },
}

/// The stages of a task in order.
pub struct Pipeline {
    steps: Vec<Step>,
    converter: Arc<dyn Converter>,
    key_converter: Option<Arc<dyn Converter>>,
}

/// What came out of a batch; `filtered` counts records that a transform dropped.
#[derive(Default)]
pub struct Processed {
    pub runs: Vec<Run>,
    /// With the record's offset.
    pub rejected: Vec<(Option<Offset>, Rejection)>,
    pub filtered: usize,
}

impl Pipeline {
    /// From Kafka's bytes to what the sink needs.
    pub fn to_sink(
        converter: Arc<dyn Converter>,
        transforms: Vec<(String, Arc<dyn Transform>)>,
        needs: &Needs,
    ) -> Self {
        let (mut steps, mut held) = (Vec::new(), Held::Raw);
        for (name, transform) in transforms {
            give(&mut steps, &mut held, &transform.needs());
            steps.push(Step::Transform { name, transform });
        }
        give(&mut steps, &mut held, needs);
        Self { steps, converter, key_converter: None }
    }

    /// From a source's values to Kafka's bytes.
    pub fn to_kafka(
        key_converter: Arc<dyn Converter>,
        converter: Arc<dyn Converter>,
        transforms: Vec<(String, Arc<dyn Transform>)>,
    ) -> Self {
        let (mut steps, mut held) = (Vec::new(), Held::Decoded);
        for (name, transform) in transforms {
            give(&mut steps, &mut held, &transform.needs());
            steps.push(Step::Transform { name, transform });
        }
        if held == Held::Decoded {
            steps.push(Step::Encode);
        }
        Self { steps, converter, key_converter: Some(key_converter) }
    }

    /// From a source's values to what the sink of the same connector needs.
    pub fn direct(
        key_converter: Arc<dyn Converter>,
        converter: Arc<dyn Converter>,
        transforms: Vec<(String, Arc<dyn Transform>)>,
        needs: &Needs,
    ) -> Self {
        let transforms = transforms.into_iter().map(|(name, transform)| Step::Transform { name, transform });
        let steps = transforms.chain([Step::Give(needs.clone())]).collect();
        // A sink gets keys as bytes, as from Kafka.
        Self { steps, converter, key_converter: Some(key_converter) }
    }

    pub async fn process(&self, run: Run, partition: &TopicPartition) -> Result<Processed> {
        let mut done = Processed { runs: vec![run], ..Processed::default() };
        for step in &self.steps {
            let mut next = Vec::with_capacity(done.runs.len());
            for run in std::mem::take(&mut done.runs) {
                if run.records.num_rows() == 0 {
                    continue;
                }
                let input = run.records.clone();
                let out = match step {
                    Step::Decode(needs) => {
                        self.converter.decode(as_bytes(run.records)?, VALUE, needs).await?
                    }
                    Step::Encode => encode(self.converter.as_ref(), run.records, VALUE).await?,
                    Step::Give(needs) => self.bring(run.records, needs).await?,
                    Step::Transform { name, transform } => {
                        let topic = run.topic.clone().unwrap_or_else(|| partition.topic.clone());
                        let meta = Meta { partition: TopicPartition::new(topic, partition.partition) };
                        let given = self.bring(run.records, &transform.needs()).await?;
                        reject(&mut done, &input, given.rejected);
                        let records = given.runs;
                        let mut all = connector_core::Transformed::default();
                        for part in records {
                            let before = part.records.clone();
                            let out = transform
                                .apply(part.records, &meta)
                                .map_err(|e| e.at(format!("transform `{name}`")))?;
                            let kept: usize = out.runs.iter().map(|r| r.records.num_rows()).sum();
                            done.filtered += before.num_rows().saturating_sub(kept + out.rejected.len());
                            let named = out.rejected.into_iter().map(|mut r| {
                                r.error = r.error.at(format!("transform `{name}`"));
                                r
                            });
                            reject(&mut done, &before, named.collect());
                            all.runs.extend(out.runs);
                        }
                        all
                    }
                };
                reject(&mut done, &input, out.rejected);
                next.extend(out.runs.into_iter().map(|mut out| {
                    out.topic = out.topic.or_else(|| run.topic.clone());
                    out.partition = out.partition.or(run.partition);
                    out
                }));
            }
            done.runs = next;
        }
        if let Some(keys) = &self.key_converter {
            self.encode_keys(keys.as_ref(), &mut done).await?;
        }
        Ok(done)
    }

    /// A source's values come in any form, and so do a transform's: a stage gets the one that it declared.
    async fn bring(&self, records: RecordBatch, needs: &Needs) -> Result<Transformed> {
        match (needs, Envelope::of(&records)?.value_form()) {
            (Needs::Bytes, Form::Bytes) | (Needs::Document, Form::Document | Form::Columns) => {
                Ok(Transformed::one(records))
            }
            (Needs::Bytes, _) => encode(self.converter.as_ref(), records, VALUE).await,
            (Needs::Columns(fields), Form::Columns) => columns::conform(records, VALUE, fields),
            (Needs::Document | Needs::Columns(_), _) => {
                self.converter.decode(as_bytes(records)?, VALUE, needs).await
            }
        }
    }

    async fn encode_keys(&self, keys: &dyn Converter, done: &mut Processed) -> Result<()> {
        let mut next = Vec::with_capacity(done.runs.len());
        for run in std::mem::take(&mut done.runs) {
            match Envelope::of(&run.records)?.key() {
                None => next.push(run),
                Some(_) => {
                    let input = run.records.clone();
                    let out = encode(keys, text_keys(run.records)?, envelope::KEY).await?;
                    reject(done, &input, out.rejected);
                    let (topic, partition) = (run.topic, run.partition);
                    next.extend(out.runs.into_iter().map(|r| Run {
                        topic: topic.clone(),
                        partition,
                        records: r.records,
                    }));
                }
            }
        }
        done.runs = next;
        Ok(())
    }
}

/// Adds the step that brings a value into the form that the next stage needs.
fn give(steps: &mut Vec<Step>, held: &mut Held, needs: &Needs) {
    match (needs, *held) {
        (Needs::Bytes, Held::Decoded) => {
            steps.push(Step::Encode);
            *held = Held::Raw;
        }
        (Needs::Document | Needs::Columns(_), Held::Raw) => {
            steps.push(Step::Decode(needs.clone()));
            *held = Held::Decoded;
        }
        // Typed data is what a stage that asks for documents takes too; a document before a stage that needs columns
        // is decoded there, because a source may yield both.
        _ => {}
    }
}

/// Bytes of a source stay as they are, whatever the converter: they are what goes to Kafka.
async fn encode(
    converter: &dyn Converter,
    records: RecordBatch,
    column: &'static str,
) -> Result<Transformed> {
    let field = records.schema_ref().field_with_name(column)?;
    if Form::of(field) == Form::Bytes && field.data_type() == &DataType::Binary {
        return Ok(Transformed::one(records));
    }
    converter.encode(records, column).await
}

/// A key that is a JSON text is that text's bytes; only values are read again as documents.
fn text_keys(records: RecordBatch) -> Result<RecordBatch> {
    let envelope = Envelope::of(&records)?;
    match envelope.key() {
        Some(key) if envelope.key_form() == Form::Document && key.data_type() == &DataType::Utf8 => {
            let bytes = arrow::array::BinaryArray::from(key.as_string::<i32>().clone());
            envelope::with_column(
                &records,
                Form::Bytes.field(envelope::KEY, DataType::Binary),
                Arc::new(bytes),
            )
        }
        _ => Ok(records),
    }
}

/// A document's text as the bytes that a converter reads.
fn as_bytes(records: RecordBatch) -> Result<RecordBatch> {
    let value = Envelope::of(&records)?.value();
    match value.data_type() {
        DataType::Utf8 => {
            let bytes = arrow::array::BinaryArray::from(value.as_string::<i32>().clone());
            envelope::with_column(&records, Form::Bytes.field(VALUE, DataType::Binary), Arc::new(bytes))
        }
        DataType::Binary => Ok(records),
        other => {
            Err(ConnectError::internal("pipeline", format!("a converter was given values of type {other}")))
        }
    }
}

fn reject(done: &mut Processed, input: &RecordBatch, rejected: Vec<Rejection>) {
    if rejected.is_empty() {
        return;
    }
    let offsets = Envelope::of(input).ok().and_then(|e| e.offsets().cloned());
    done.rejected.extend(rejected.into_iter().map(|rejection| {
        let offset = offsets.as_ref().filter(|o| rejection.row < o.len()).map(|o| o.value(rejection.row));
        (offset, rejection)
    }));
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields};
    use connector_core::envelope::EnvelopeBuilder;

    use super::*;
    use crate::convert;

    /// Needs a wide number, and gives back what it got.
    struct Wide;

    fn wide() -> Fields {
        vec![Field::new("ind", DataType::Int64, false)].into()
    }

    impl Transform for Wide {
        fn needs(&self) -> Needs {
            Needs::Columns(wide())
        }

        fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
            assert_eq!(Envelope::of(&records)?.value().data_type(), &DataType::Struct(wide()));
            Ok(Transformed::one(records))
        }
    }

    async fn texts(form: Form, value: arrow::array::ArrayRef) -> Vec<String> {
        let class = |class: &str| {
            let config = [("schemas.enable".to_owned(), "false".to_owned())].into();
            convert::converter(class, &config, false).unwrap()
        };
        let pipeline = Pipeline::to_kafka(
            class("StringConverter"),
            class("JsonConverter"),
            vec![("wide".to_owned(), Arc::new(Wide))],
        );
        let records = EnvelopeBuilder::new().value(form, value).build().unwrap();
        let done = pipeline.process(Run::to_topic("t", records), &TopicPartition::new("t", 0)).await.unwrap();
        assert!(done.rejected.is_empty());
        let text = |run: &Run| {
            let values = Envelope::of(&run.records).unwrap().value().as_binary::<i32>().clone();
            values.iter().flatten().map(|v| String::from_utf8(v.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        done.runs.iter().flat_map(text).collect()
    }

    #[tokio::test]
    async fn a_transform_of_a_source_gets_the_columns_that_it_declared_from_typed_rows_and_from_documents() {
        let narrow: Fields =
            vec![Field::new("ind", DataType::Int32, true), Field::new("more", DataType::Utf8, true)].into();
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["x"]))];
        let rows = StructArray::new(narrow, columns, None);
        assert_eq!(texts(Form::Columns, Arc::new(rows)).await, [r#"{"ind":7}"#]);
        let documents = StringArray::from(vec![r#"{"more":"x","ind":8}"#]);
        assert_eq!(texts(Form::Document, Arc::new(documents)).await, [r#"{"ind":8}"#]);
    }
}
