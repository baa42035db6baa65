//! Transforms of keys or values without a schema: one record at a time, and neighbours with one reading and one writing.

use arrow::array::{Array, RecordBatch, StringArray, StringBuilder};

use crate::envelope::Envelope;
use crate::error::{ConnectError, Rejection, Result, Stage};
use crate::transform::Meta;
use crate::value::Value;

/// Why a record is refused, in Connect's words as far as they hold no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl<T: Into<String>> From<T> for Refusal {
    fn from(message: T) -> Self {
        Self(message.into())
    }
}

impl Refusal {
    /// As the rejection of a row by a transform.
    pub fn at(self, row: usize) -> Rejection {
        let error = ConnectError::user("transform.record", self.0).hint(
            "correct the record or the transform, keep it away with a predicate, or set errors.tolerance=all",
        );
        Rejection::new(row, Stage::Transformation, error)
    }
}

/// The record beside its key and value.
pub struct Origin<'a> {
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

/// What a transform does to a key or value without a schema.
pub trait DocumentTransform: Send + Sync {
    /// `key` or `value`.
    fn column(&self) -> &'static str;

    /// Whether a null stays what it is; otherwise the transform gets it.
    fn nulls_pass(&self) -> bool;

    /// `row` is the value's row in `origin`.
    fn change<'t>(&self, value: Value<'t>, row: usize, origin: &Origin<'_>) -> Result<Value<'t>, Refusal>;
}

/// A row that one of several transforms refuses.
#[derive(Debug)]
pub struct Refused {
    pub row: usize,
    /// Which of the transforms.
    pub by: usize,
    pub why: Refusal,
}

/// What becomes of JSON texts on their way through transforms; rows that are refused are null.
pub fn change(
    chain: &[&dyn DocumentTransform],
    texts: &StringArray,
    origin: &Origin<'_>,
) -> (StringArray, Vec<Refused>) {
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let (mut refused, mut text) = (Vec::new(), Vec::new());
    for row in 0..texts.len() {
        let value = if texts.is_valid(row) { Value::Json(texts.value(row)) } else { Value::Null };
        let changed = chain.iter().enumerate().try_fold(value, |value, (by, transform)| {
            if value.is_null() && transform.nulls_pass() {
                return Ok(Value::Null);
            }
            transform.change(value, row, origin).map_err(|why| Refused { row, by, why })
        });
        match changed {
            Ok(value) if !value.is_null() => {
                text.clear();
                value.write(&mut text);
                // JSON made of texts is text.
                out.append_value(str::from_utf8(&text).unwrap_or_default());
            }
            Ok(_) => out.append_null(),
            Err(refusal) => {
                refused.push(refusal);
                out.append_null();
            }
        }
    }
    (out.finish(), refused)
}
