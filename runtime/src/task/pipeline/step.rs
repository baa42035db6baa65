//! The steps of a pipeline, and what neighbouring ones can do together.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::DataType;
use connector_core::document::{self, DocumentTransform, Origin};
use connector_core::envelope;
use connector_core::{Form, Meta, Needs, Predicate, Result, Run, TopicPartition, Transform};

use super::{Processed, reject};

pub(super) enum Step {
    Keys,
    Headers,
    Decode(Needs),
    Encode,
    /// From whatever form a source gave.
    Give(Needs),
    Transform(TransformStep),
}

impl Step {
    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::Keys => "key converter".to_owned(),
            Self::Headers => "header converter".to_owned(),
            Self::Decode(_) | Self::Encode | Self::Give(_) => "value converter".to_owned(),
            Self::Transform(step) => format!("transform `{}`", step.name),
        }
    }

    /// Whether a value without a schema can go through both with one reading and one writing.
    pub fn shares_with(&self, next: &Self) -> bool {
        match (self.documents(), next.documents()) {
            (Some(this), Some(next)) => this.column() == next.column(),
            _ => false,
        }
    }

    fn documents(&self) -> Option<&dyn DocumentTransform> {
        match self {
            Self::Transform(step) if step.predicate.is_none() => step.transform.documents(),
            _ => None,
        }
    }
}

/// Neighbouring transforms of a column without a schema.
pub(super) struct Chain<'a> {
    /// Their names, for traces.
    pub name: String,
    steps: Vec<&'a TransformStep>,
    transforms: Vec<&'a dyn DocumentTransform>,
    column: &'static str,
}

impl<'a> Chain<'a> {
    /// `None`: what the run has there is not of that form.
    pub fn of(steps: &'a [Step], run: &Run) -> Option<Self> {
        let transforms: Vec<_> = steps.iter().filter_map(Step::documents).collect();
        let column = transforms.first()?.column();
        let field = run.records.schema_ref().field_with_name(column).ok()?;
        if Form::of(field) != Form::Document || field.data_type() != &DataType::Utf8 {
            return None;
        }
        let steps: Vec<_> = steps
            .iter()
            .filter_map(|step| if let Step::Transform(step) = step { Some(step) } else { None })
            .collect();
        let name = steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(",");
        Some(Self { name, steps, transforms, column })
    }

    pub fn change(&self, run: Run, partition: &TopicPartition, done: &mut Processed) -> Result<Run> {
        let Run { topic, partition: destination, records } = run;
        let of = topic.clone().unwrap_or_else(|| partition.topic.clone());
        let meta = Meta { partition: TopicPartition::new(of, partition.partition) };
        let (changed, refused) = {
            let origin = Origin::of(&records, &meta)?;
            document::change(&self.transforms, records[self.column].as_string(), &origin)
        };
        let field = Form::Document.field(self.column, DataType::Utf8);
        let out = envelope::with_column(&records, field, Arc::new(changed))?;
        let rows: Vec<usize> = refused.iter().map(|refused| refused.row).collect();
        for document::Refused { row, by, why } in refused {
            if let Some(step) = self.steps.get(by) {
                reject(
                    done,
                    &records,
                    vec![why.at(row)],
                    &step.class,
                    &format!("transform `{}`: ", step.name),
                );
            }
        }
        Ok(Run { topic, partition: destination, records: envelope::without_rows(&out, &rows)? })
    }
}

/// A transform of a connector.
pub struct TransformStep {
    /// The name that the configuration gives it.
    pub name: String,
    /// Connect's class name, or the plugin's own.
    pub class: Arc<str>,
    pub transform: Arc<dyn Transform>,
    /// Of which records it is; negated: of the others.
    pub predicate: Option<(Arc<dyn Predicate>, bool)>,
}

impl TransformStep {
    /// The records in stretches: those that it is applied to (`true`), and those that pass by.
    pub fn stretches(&self, records: &RecordBatch, meta: &Meta) -> Result<Vec<(bool, RecordBatch)>> {
        let Some((predicate, negate)) = &self.predicate else { return Ok(vec![(true, records.clone())]) };
        let chosen = predicate.test(records, meta)?;
        let (mut stretches, mut start) = (Vec::new(), 0);
        for row in 0..records.num_rows() {
            let next = row + 1;
            if next == records.num_rows() || chosen.value(next) != chosen.value(row) {
                stretches.push((chosen.value(row) != *negate, records.slice(start, next - start)));
                start = next;
            }
        }
        Ok(stretches)
    }
}
