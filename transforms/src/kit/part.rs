//! A transform that comes in two classes, one for keys and one for values.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use connector_core::document::{self, DocumentTransform, Origin, Refusal};
use connector_core::envelope::{self, KEY, VALUE};
use connector_core::value::Value;
use connector_core::{
    ConfigProblem, Form, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::Typed;

/// Rows that are refused, and why.
pub(crate) type Refused = Vec<(usize, Refusal)>;

/// Key or value.
pub(crate) trait Part: Send + Sync + 'static {
    const KEY: bool;
    const COLUMN: &'static str = if Self::KEY { KEY } else { VALUE };
}

pub(crate) struct Key;
pub(crate) struct ValuePart;

impl Part for Key {
    const KEY: bool = true;
}

impl Part for ValuePart {
    const KEY: bool = false;
}

/// What a transform does to a key or a value.
pub(crate) trait FieldTransform: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + JsonSchema;

    /// The names of the key's class and of the value's: see [`names`].
    const NAMES: [&'static str; 2];
    const CLASSES: [&'static [&'static str]; 2];
    const SUMMARY: &'static str;
    /// Whether a null stays what it is; otherwise the transform gets it.
    const NULLS_PASS: bool = true;
    /// Whether a null keeps its schema.
    const SCHEMA_OF_NULLS_STAYS: bool = Self::NULLS_PASS;

    fn create(config: Self::Config) -> Result<Self, Vec<ConfigProblem>>;

    /// Changes a value without a schema; `row` is its row in `origin`.
    fn document<'t>(&self, value: Value<'t>, row: usize, origin: &Origin<'_>) -> Result<Value<'t>, Refusal>;

    /// Changes values with a schema. An error is about each of them; rows that are refused alone stay in the column.
    fn typed(&self, values: Typed, origin: &Origin<'_>, refused: &mut Refused) -> Result<Typed, Refusal>;
}

/// The names of a transform of Apache Kafka that comes for keys and for values.
macro_rules! names {
    ($name:literal) => {
        const NAMES: [&'static str; 2] = [concat!($name, "$Key"), concat!($name, "$Value")];
        const CLASSES: [&'static [&'static str]; 2] = [
            &[concat!("org.apache.kafka.connect.transforms.", $name, "$Key")],
            &[concat!("org.apache.kafka.connect.transforms.", $name, "$Value")],
        ];
    };
}
pub(crate) use names;

/// A [`FieldTransform`] on one part of the record.
pub(crate) struct OnPart<P, T> {
    transform: T,
    part: PhantomData<P>,
}

impl<P: Part, T: FieldTransform> Plugin for OnPart<P, T> {
    type Config = T::Config;

    const NAME: &'static str = if P::KEY { T::NAMES[0] } else { T::NAMES[1] };
    const ALIASES: &'static [&'static str] = if P::KEY { T::CLASSES[0] } else { T::CLASSES[1] };
    const SUMMARY: &'static str = T::SUMMARY;

    fn create(config: T::Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { transform: T::create(config)?, part: PhantomData })
    }
}

impl<P: Part, T: FieldTransform> Transform for OnPart<P, T> {
    fn needs(&self) -> Needs {
        if P::KEY { Needs::Any } else { Needs::Document }
    }

    fn filters(&self) -> bool {
        false
    }

    fn documents(&self) -> Option<&dyn DocumentTransform> {
        Some(self)
    }

    fn apply(&self, records: RecordBatch, meta: &Meta) -> Result<Transformed> {
        let rows = records.num_rows();
        let (field, array) = match records.schema_ref().column_with_name(P::COLUMN) {
            Some((at, field)) => (field.clone(), records.column(at).clone()),
            None if T::NULLS_PASS => return Ok(Transformed::one(records)),
            None => {
                let nulls: ArrayRef = Arc::new(StringArray::new_null(rows));
                (Form::Document.field(P::COLUMN, DataType::Utf8), nulls)
            }
        };
        let schemaless = Form::of(&field) == Form::Document;
        let untouched = if schemaless { T::NULLS_PASS } else { T::SCHEMA_OF_NULLS_STAYS };
        if untouched && array.logical_null_count() == rows {
            return Ok(Transformed::one(records));
        }
        let origin = Origin::of(&records, meta)?;
        let (field, array, refused) = if schemaless {
            let (array, refused) = document::change(&[self], array.as_string(), &origin);
            let refused = refused.into_iter().map(|refused| (refused.row, refused.why)).collect();
            (Form::Document.field(P::COLUMN, DataType::Utf8), Arc::new(array) as ArrayRef, refused)
        } else {
            self.columns(Typed { field, array }, &origin)
        };
        let refused_rows: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
        let rejected = refused.into_iter().map(|(row, refusal)| refusal.at(row)).collect();
        if !schemaless && !refused_rows.is_empty() && refused_rows.len() < rows {
            // The places of refused values are null, which the schema of the others must not have to allow.
            let kept = self.apply(envelope::without_rows(&records, &refused_rows)?, meta)?;
            return Ok(Transformed { rejected, ..kept });
        }
        let out = envelope::with_column(&records, field, array)?;
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&out, &refused_rows)?)], rejected })
    }
}

impl<P: Part, T: FieldTransform> DocumentTransform for OnPart<P, T> {
    fn column(&self) -> &'static str {
        P::COLUMN
    }

    fn nulls_pass(&self) -> bool {
        T::NULLS_PASS
    }

    fn change<'t>(&self, value: Value<'t>, row: usize, origin: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        self.transform.document(value, row, origin)
    }
}

impl<P: Part, T: FieldTransform> OnPart<P, T> {
    fn columns(&self, values: Typed, origin: &Origin<'_>) -> (arrow::datatypes::Field, ArrayRef, Refused) {
        let mut refused = Vec::new();
        let before = values.clone();
        match self.transform.typed(values, origin, &mut refused) {
            Ok(Typed { field, array }) => {
                if T::NULLS_PASS {
                    refused.retain(|(row, _)| before.array.is_valid(*row));
                }
                refused.sort_by_key(|(row, _)| *row);
                refused.dedup_by_key(|(row, _)| *row);
                (field, array, refused)
            }
            Err(refusal) => {
                let all = (0..before.array.len()).filter(|row| !T::NULLS_PASS || before.array.is_valid(*row));
                let all = all.map(|row| (row, refusal.clone())).collect();
                (before.field, before.array, all)
            }
        }
    }
}
