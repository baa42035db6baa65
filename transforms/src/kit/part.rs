//! A transform that comes in two classes, one for keys and one for values.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use connector_core::envelope::{self, KEY, VALUE};
use connector_core::value::Value;
use connector_core::{
    ConfigProblem, ConnectError, Envelope, Form, Meta, Needs, Plugin, Rejection, Result, Run, Stage, TaskInfo,
    Transform, Transformed,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::Typed;

/// Why a record is refused, in Connect's words as far as they hold no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub String);

impl<T: Into<String>> From<T> for Refusal {
    fn from(message: T) -> Self {
        Self(message.into())
    }
}

/// Rows that are refused, and why.
pub(crate) type Refused = Vec<(usize, Refusal)>;

/// The rejection of a row by a transform.
pub(crate) fn rejection(row: usize, Refusal(message): Refusal) -> Rejection {
    let error = ConnectError::user("transform.record", message).hint(
        "correct the record or the transform; a predicate can keep it away, errors.tolerance=all goes past it",
    );
    Rejection::new(row, Stage::Transformation, error)
}

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

/// The record beside its key and value.
pub(crate) struct Origin<'a> {
    pub topic: &'a str,
    /// `None`: not decided yet, as in a source.
    pub partition: Option<i32>,
    envelope: Envelope<'a>,
}

impl<'a> Origin<'a> {
    pub fn of(records: &'a RecordBatch, meta: &'a Meta) -> Result<Self> {
        let partition = Some(meta.partition.partition).filter(|partition| *partition >= 0);
        Ok(Self { topic: &meta.partition.topic, partition, envelope: Envelope::of(records)? })
    }

    /// Whether the records come from Kafka: those of a source have no offsets yet.
    pub fn has_offsets(&self) -> bool {
        self.partition.is_some() && self.envelope.offsets().is_some()
    }

    /// `None` in what a source yields.
    pub fn offset(&self, row: usize) -> Option<i64> {
        self.partition?;
        self.envelope.offsets().filter(|offsets| offsets.is_valid(row)).map(|offsets| offsets.value(row))
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn timestamp(&self, row: usize) -> Option<i64> {
        self.envelope.timestamps().filter(|times| times.is_valid(row)).map(|times| times.value(row))
    }
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
        if T::NULLS_PASS && array.logical_null_count() == rows {
            return Ok(Transformed::one(records));
        }
        let origin = Origin::of(&records, meta)?;
        let (field, array, refused) = if Form::of(&field) == Form::Document {
            let (array, refused) = self.documents(array.as_string(), &origin);
            (Form::Document.field(P::COLUMN, DataType::Utf8), array, refused)
        } else {
            self.columns(Typed { field, array }, &origin)
        };
        let out = envelope::with_column(&records, field, array)?;
        let rows: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
        let rejected = refused.into_iter().map(|(row, refusal)| rejection(row, refusal)).collect();
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&out, &rows)?)], rejected })
    }
}

impl<P: Part, T: FieldTransform> OnPart<P, T> {
    fn documents(&self, texts: &StringArray, origin: &Origin<'_>) -> (ArrayRef, Refused) {
        let (mut out, mut refused) = (StringBuilder::with_capacity(texts.len(), texts.value_data().len()), Vec::new());
        let mut text = Vec::new();
        for row in 0..texts.len() {
            let value = if texts.is_valid(row) { Value::Json(texts.value(row)) } else { Value::Null };
            if value.is_null() && T::NULLS_PASS {
                out.append_null();
                continue;
            }
            match self.transform.document(value, row, origin) {
                Ok(value) if value.is_null() => out.append_null(),
                Ok(value) => {
                    text.clear();
                    value.write(&mut text);
                    // What is written is JSON made of texts.
                    out.append_value(str::from_utf8(&text).unwrap_or_default());
                }
                Err(refusal) => {
                    refused.push((row, refusal));
                    out.append_null();
                }
            }
        }
        (Arc::new(out.finish()), refused)
    }

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
                (before.field, before.array, all.map(|row| (row, refusal.clone())).collect())
            }
        }
    }
}

