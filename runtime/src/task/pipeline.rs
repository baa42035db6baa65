//! Converter and transforms between the ends of a task. What each stage is given is decided once, at the start.

mod step;

use std::future::Future;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use connector_core::envelope::{self, KEY, VALUE};
use connector_core::{
    ConnectError, Envelope, Form, Meta, Needs, Offset, Rejection, Result, Run, Stage, TopicPartition,
    Transformed,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use step::TransformStep;
use step::{Chain, Step};

use super::retry;
use super::status::TaskStatus;
use crate::convert::{self, Converter, HeaderConverter, columns};
use crate::telemetry::traces::step;

/// Where a value stands between two stages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// As Kafka had it.
    Raw,
    Decoded,
}

/// The converters of a sink that reads from Kafka.
pub struct SinkConverters {
    /// `None`: keys stay bytes.
    pub key: Option<Arc<dyn Converter>>,
    pub value: Arc<dyn Converter>,
    pub header: HeaderConverter,
}

/// The stages of a task in order.
pub struct Pipeline {
    steps: Vec<Step>,
    converter: Arc<dyn Converter>,
    /// Reads keys before everything else.
    key_reader: Option<Arc<dyn Converter>>,
    /// Writes keys after everything else.
    key_writer: Option<Arc<dyn Converter>>,
    header: HeaderConverter,
    /// What may pass is tried again, as the connector's configuration says; without it, it is not.
    retrying: Option<(Arc<TaskStatus>, CancellationToken)>,
}

/// A record that a stage refused.
#[derive(Debug)]
pub struct Refused {
    pub stage: Stage,
    /// Connect's class name of the converter or transform.
    pub class: Arc<str>,
    /// What the error's message begins with, to say which transform it was.
    pub at: String,
    pub error: ConnectError,
}

/// What came out of a batch; `filtered` counts records that a transform dropped.
#[derive(Default)]
pub struct Processed {
    pub runs: Vec<Run>,
    /// With the record's offset.
    pub rejected: Vec<(Option<Offset>, Refused)>,
    pub filtered: usize,
}

impl Pipeline {
    fn new(steps: Vec<Step>, converter: Arc<dyn Converter>) -> Self {
        Self {
            steps,
            converter,
            key_reader: None,
            key_writer: None,
            header: HeaderConverter::default(),
            retrying: None,
        }
    }

    /// From Kafka's bytes to what the sink needs: key, value, headers, transforms, as far as they are looked at.
    pub fn to_sink(converters: SinkConverters, transforms: Vec<TransformStep>, needs: &Needs) -> Self {
        let SinkConverters { key, value, header } = converters;
        let (mut steps, mut held) = (Vec::new(), Held::Raw);
        for step in transforms {
            give(&mut steps, &mut held, &step.transform.needs());
            steps.push(Step::Transform(step));
        }
        give(&mut steps, &mut held, needs);
        if header.may_refuse() {
            // A record whose value cannot be read either is refused for its value.
            let after = usize::from(matches!(steps.first(), Some(Step::Decode(_))));
            steps.insert(after, Step::Headers);
        }
        if key.is_some() {
            steps.insert(0, Step::Keys);
        }
        Self { key_reader: key, header, ..Self::new(steps, value) }
    }

    /// From a source's values to Kafka's bytes.
    pub fn to_kafka(
        key_converter: Arc<dyn Converter>,
        converter: Arc<dyn Converter>,
        transforms: Vec<TransformStep>,
    ) -> Self {
        let (mut steps, mut held) = (Vec::new(), Held::Decoded);
        for step in transforms {
            give(&mut steps, &mut held, &step.transform.needs());
            steps.push(Step::Transform(step));
        }
        if held == Held::Decoded {
            steps.push(Step::Encode);
        }
        Self { key_writer: Some(key_converter), ..Self::new(steps, converter) }
    }

    /// From a source's values to what the sink of the same connector needs.
    pub fn direct(
        key_converter: Arc<dyn Converter>,
        converter: Arc<dyn Converter>,
        transforms: Vec<TransformStep>,
        needs: &Needs,
    ) -> Self {
        let steps = transforms.into_iter().map(Step::Transform).chain([Step::Give(needs.clone())]).collect();
        // A sink gets keys as bytes, as from Kafka.
        Self { key_writer: Some(key_converter), ..Self::new(steps, converter) }
    }

    /// Writes the headers that transforms make with this converter.
    #[must_use]
    pub fn with_headers(self, header: HeaderConverter) -> Self {
        Self { header, ..self }
    }

    /// With retries of what fails in a way that may pass.
    #[must_use]
    pub fn retrying(self, status: Arc<TaskStatus>, stop: CancellationToken) -> Self {
        Self { retrying: Some((status, stop)), ..self }
    }

    /// The first transform that is no function of the record alone.
    pub fn unstable(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Transform(step) if !step.transform.deterministic() => Some(step.name.as_str()),
            _ => None,
        })
    }

    pub async fn process(&self, run: Run, partition: &TopicPartition) -> Result<Processed> {
        let mut done = Processed { runs: vec![run], ..Processed::default() };
        for steps in self.steps.chunk_by(Step::shares_with) {
            let mut next = Vec::with_capacity(done.runs.len());
            for run in std::mem::take(&mut done.runs) {
                next.extend(self.advance(steps, run, partition, &mut done).await?);
            }
            done.runs = next;
        }
        for run in &mut done.runs {
            run.records = self.header.write(run.records.clone()).await?;
        }
        if let Some(keys) = &self.key_writer {
            self.encode_keys(keys.as_ref(), &partition.topic, &mut done).await?;
        }
        Ok(done)
    }

    /// What each step leaves of a run, by the step's name.
    pub async fn stages(&self, run: Run, partition: &TopicPartition) -> Result<Vec<(String, Processed)>> {
        let (mut runs, mut stages) = (vec![run], Vec::new());
        for step in &self.steps {
            let mut done = Processed::default();
            for run in std::mem::take(&mut runs) {
                let out = self.advance(std::slice::from_ref(step), run, partition, &mut done).await?;
                done.runs.extend(out);
            }
            runs.clone_from(&done.runs);
            stages.push((step.name(), done));
        }
        Ok(stages)
    }

    /// Takes a run through steps: at once, if they are transforms that work on values without a schema and it has none.
    async fn advance(
        &self,
        steps: &[Step],
        run: Run,
        partition: &TopicPartition,
        done: &mut Processed,
    ) -> Result<Vec<Run>> {
        if steps.len() > 1
            && let Some(chain) = Chain::of(steps, &run)
        {
            let span = step!("transform", transform = chain.name);
            return Ok(vec![span.in_scope(|| chain.change(run, partition, done))?]);
        }
        let mut runs = vec![run];
        for step in steps {
            let mut next = Vec::with_capacity(runs.len());
            for run in runs.into_iter().filter(|run| run.records.num_rows() > 0) {
                let out = match step {
                    Step::Transform(step) => {
                        let span = step!("transform", transform = step.name);
                        self.transform(step, &run, partition, done).instrument(span).await?
                    }
                    _ => {
                        let topic = run.topic.as_deref().unwrap_or(&partition.topic);
                        self.convert(step, topic, run.records, done).instrument(step!("convert")).await?
                    }
                };
                next.extend(out.into_iter().map(|mut out| {
                    out.topic = out.topic.or_else(|| run.topic.clone());
                    out.partition = out.partition.or(run.partition);
                    out
                }));
            }
            runs = next;
        }
        Ok(runs)
    }

    /// A step that is no transform.
    async fn convert(
        &self,
        step: &Step,
        topic: &str,
        records: RecordBatch,
        done: &mut Processed,
    ) -> Result<Vec<Run>> {
        let input = records.clone();
        let value = self.converter.as_ref();
        let (class, out) = match (step, &self.key_reader) {
            (Step::Keys, Some(keys)) => {
                let read = |records| keys.decode(records, KEY, &Needs::Document);
                (keys.class(), self.attempt(Stage::KeyConverter, records, read).await?)
            }
            (Step::Headers, _) => {
                let headers = &self.header;
                let check = |records| headers.check(records);
                (headers.class(), self.attempt(Stage::HeaderConverter, records, check).await?)
            }
            (Step::Decode(needs), _) => {
                let read = |records| async { value.decode(as_bytes(records)?, VALUE, needs).await };
                (value.class(), self.attempt(Stage::ValueConverter, records, read).await?)
            }
            (Step::Encode, _) => {
                let write = |records| encode(value, topic, records, VALUE);
                (value.class(), self.attempt(Stage::ValueConverter, records, write).await?)
            }
            (Step::Give(needs), _) => {
                let bring = |records| self.bring(topic, records, needs);
                (value.class(), self.attempt(Stage::ValueConverter, records, bring).await?)
            }
            (Step::Keys | Step::Transform(_), _) => return Ok(vec![Run::new(records)]),
        };
        reject(done, &input, out.rejected, class, "");
        Ok(out.runs)
    }

    async fn transform(
        &self,
        step: &TransformStep,
        run: &Run,
        partition: &TopicPartition,
        done: &mut Processed,
    ) -> Result<Vec<Run>> {
        let topic = run.topic.clone().unwrap_or_else(|| partition.topic.clone());
        let meta = Meta { partition: TopicPartition::new(topic, partition.partition) };
        let mut runs = Vec::new();
        for (chosen, records) in step.stretches(&run.records, &meta)? {
            if chosen {
                runs.extend(self.apply(step, records, &meta, done).await?);
            } else {
                runs.push(Run::new(records));
            }
        }
        Ok(runs)
    }

    /// Applies a transform to records that are all its own.
    async fn apply(
        &self,
        step: &TransformStep,
        records: RecordBatch,
        meta: &Meta,
        done: &mut Processed,
    ) -> Result<Vec<Run>> {
        let TransformStep { name, class, transform, .. } = step;
        let needs = transform.needs();
        let topic = &*meta.partition.topic;
        let bring = |records| self.bring(topic, records, &needs);
        let given = self.attempt(Stage::ValueConverter, records.clone(), bring).await?;
        reject(done, &records, given.rejected, self.converter.class(), "");
        let mut runs = Vec::new();
        for part in given.runs {
            let before = part.records.clone();
            let apply = |records| std::future::ready(transform.apply(records, meta));
            let out = self
                .attempt(Stage::Transformation, part.records, apply)
                .await
                .map_err(|e| e.at(format!("transform `{name}`")))?;
            let kept: usize = out.runs.iter().map(|r| r.records.num_rows()).sum();
            done.filtered += before.num_rows().saturating_sub(kept + out.rejected.len());
            reject(done, &before, out.rejected, class, &format!("transform `{name}`: "));
            runs.extend(out.runs);
        }
        Ok(runs)
    }

    /// Runs a step, and again with the same records when it fails in a way that may pass, for as long as
    /// `errors.retry.timeout` allows. When that does not help, each record is tried alone, so that only those are refused
    /// that fail; what an earlier step did is not done again.
    async fn attempt<F>(
        &self,
        stage: Stage,
        records: RecordBatch,
        step: impl Fn(RecordBatch) -> F,
    ) -> Result<Transformed>
    where
        F: Future<Output = Result<Transformed>>,
    {
        let Some((status, stop)) = &self.retrying else { return step(records).await };
        let error = match retry::of_records(status, stop, || step(records.clone())).await {
            Err(error) if error.is_retriable() && !stop.is_cancelled() => error,
            outcome => return outcome,
        };
        if error.code == "registry.unreachable" {
            // No record is at fault: it is waited for, as for every other service.
            return retry::with_backoff(status, stop, || step(records.clone())).await;
        }
        if records.num_rows() == 1 {
            return Ok(Transformed { rejected: vec![Rejection::new(0, stage, error)], runs: Vec::new() });
        }
        let mut all = Transformed::default();
        for row in 0..records.num_rows() {
            match step(records.slice(row, 1)).await {
                Ok(out) => {
                    all.runs.extend(out.runs);
                    all.rejected.extend(out.rejected.into_iter().map(|r| Rejection { row, ..r }));
                }
                Err(error) if error.is_retriable() => all.rejected.push(Rejection::new(row, stage, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// A source's values come in any form, and so do a transform's: a stage gets the one that it declared.
    async fn bring(&self, topic: &str, records: RecordBatch, needs: &Needs) -> Result<Transformed> {
        match (needs, Envelope::of(&records)?.value_form()) {
            (Needs::Any, _)
            | (Needs::Bytes, Form::Bytes)
            | (Needs::Document, Form::Document | Form::Columns) => Ok(Transformed::one(records)),
            (Needs::Bytes, _) => encode(self.converter.as_ref(), topic, records, VALUE).await,
            (Needs::Columns(fields), Form::Columns) => columns::conform(records, VALUE, fields),
            (Needs::Document | Needs::Columns(_), _) => {
                self.converter.decode(as_bytes(records)?, VALUE, needs).await
            }
        }
    }

    async fn encode_keys(&self, keys: &dyn Converter, topic: &str, done: &mut Processed) -> Result<()> {
        let mut next = Vec::with_capacity(done.runs.len());
        for run in std::mem::take(&mut done.runs) {
            match Envelope::of(&run.records)?.key() {
                None => next.push(run),
                Some(_) => {
                    let input = run.records.clone();
                    let topic = run.topic.as_deref().unwrap_or(topic);
                    let write = |records| encode(keys, topic, records, KEY);
                    let out = self.attempt(Stage::KeyConverter, text_keys(run.records)?, write).await?;
                    reject(done, &input, out.rejected, keys.class(), "");
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

    /// One record of the task's input as Kafka has it, or would have it. What its own converter cannot write is JSON.
    pub async fn in_kafka(&self, record: RecordBatch) -> Result<RecordBatch> {
        let keys = self.key_writer.as_deref().unwrap_or(self.converter.as_ref());
        let record = match Envelope::of(&record)?.key() {
            Some(_) => encode_one(keys, text_keys(record)?, KEY).await?,
            None => record,
        };
        encode_one(self.converter.as_ref(), record, VALUE).await
    }
}

/// A batch of one record with `column` as bytes.
async fn encode_one(
    converter: &dyn Converter,
    record: RecordBatch,
    column: &'static str,
) -> Result<RecordBatch> {
    let out = match is_bytes(&record, column)? {
        true => Transformed::one(record.clone()),
        false => converter.encode(record.clone(), column).await?,
    };
    match out.runs.into_iter().find(|run| run.records.num_rows() == 1) {
        Some(run) => Ok(run.records),
        None => {
            let out = convert::plain_json().encode(record, column).await?;
            out.runs.into_iter().next().map(|run| run.records).ok_or_else(|| {
                ConnectError::internal(
                    "pipeline",
                    "a record cannot be written as JSON for the dead letter queue",
                )
            })
        }
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
    topic: &str,
    records: RecordBatch,
    column: &'static str,
) -> Result<Transformed> {
    if is_bytes(&records, column)? {
        return Ok(Transformed::one(records));
    }
    converter.encode_to(topic, records, column).await
}

fn is_bytes(records: &RecordBatch, column: &str) -> Result<bool> {
    let field = records.schema_ref().field_with_name(column)?;
    Ok(Form::of(field) == Form::Bytes && field.data_type() == &DataType::Binary)
}

/// A key that is a JSON text is that text's bytes; only values are read again as documents.
fn text_keys(records: RecordBatch) -> Result<RecordBatch> {
    let envelope = Envelope::of(&records)?;
    match envelope.key() {
        Some(key) if envelope.key_form() == Form::Document && key.data_type() == &DataType::Utf8 => {
            let bytes = arrow::array::BinaryArray::from(key.as_string::<i32>().clone());
            envelope::with_column(&records, Form::Bytes.field(KEY, DataType::Binary), Arc::new(bytes))
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

/// `at`: says which transform refused them.
fn reject(done: &mut Processed, input: &RecordBatch, rejected: Vec<Rejection>, class: &str, at: &str) {
    if rejected.is_empty() {
        return;
    }
    let offsets = Envelope::of(input).ok().and_then(|e| e.offsets().cloned());
    let class: Arc<str> = class.into();
    done.rejected.extend(rejected.into_iter().map(|Rejection { row, stage, mut error }| {
        let offset = offsets.as_ref().filter(|o| row < o.len()).map(|o| o.value(row));
        error.message.insert_str(0, at);
        (offset, Refused { stage, class: class.clone(), at: at.to_owned(), error })
    }));
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields};
    use connector_core::Transform;
    use connector_core::envelope::EnvelopeBuilder;

    use super::*;

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
            vec![TransformStep {
                name: "wide".to_owned(),
                class: "wide".into(),
                transform: Arc::new(Wide),
                predicate: None,
            }],
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
