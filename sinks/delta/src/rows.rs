//! A batch of records to rows of its table: which records fit, which are refused, and why.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use connector_core::{Batch, ConnectError, Envelope, Form, Offset, Rejection, Result, Stage};
use deltalake::kernel::StructType;

use crate::adapt::{self, Adapted};
use crate::config::{Mode, NullValues};
use crate::document::{self, Object};
use crate::keyed::{self, Rows};
use crate::schema;
use crate::target::{Open, Target};

/// What became of a batch.
#[derive(Default)]
pub struct Taken {
    /// `None` when there is no table, and nothing to write.
    pub open: Option<Arc<Open>>,
    /// In order; with the offset of each row.
    pub runs: Vec<(Rows, Vec<Offset>)>,
    pub filtered: usize,
    pub rejected: Vec<Rejection>,
}

/// Reads `batch`, gives the table the columns that it needs, and sorts out what cannot be a row.
pub async fn take(batch: &Batch, target: &Target, mode: Mode, nulls: NullValues) -> Result<Taken> {
    let envelope = Envelope::of(&batch.records)?;
    let offsets = envelope
        .offsets()
        .ok_or_else(|| ConnectError::internal("envelope", "a batch for a sink has no offsets"))?;
    let mut taken = Taken::default();
    let values = Values::of(envelope, &mut taken)?;
    let nulls_of = envelope.value().logical_nulls();
    let absent: Vec<usize> =
        (0..batch.len()).filter(|&row| nulls_of.as_ref().is_some_and(|n| n.is_null(row))).collect();
    if mode == Mode::Append {
        match nulls {
            NullValues::Ignore => taken.filtered = absent.len(),
            NullValues::Fail => {
                let refused = absent.iter().map(|&row| Rejection::new(row, Stage::TaskPut, tombstone()));
                taken.rejected.extend(refused);
            }
        }
    }

    if let Some((open, schema)) = target.with_columns(&values.columns()).await? {
        let mut puts = values.fitting(&schema, &mut taken)?;
        if let Some(keyed) = &open.keyed {
            let refused = keyed.rejected(&puts.rows)?;
            puts.drop_rows(refused, &mut taken)?;
        }
        let mut deletes = Indexed::none();
        if let Some(keyed) = open.keyed.as_ref().filter(|_| mode == Mode::Upsert && !absent.is_empty()) {
            let (rows, refused) = keyed::deletes(keyed.key_columns(), envelope, &absent)?;
            let gone: Vec<usize> = refused.iter().map(|r| r.row).collect();
            taken.rejected.extend(refused);
            let at = absent.into_iter().filter(|row| !gone.contains(row)).collect();
            deletes = Indexed { rows, at };
        }
        taken.runs = in_order(&puts, &deletes, offsets.values());
        taken.open = Some(open);
    } else if mode == Mode::Append || !values.is_empty() {
        let refused =
            values.rows().into_iter().map(|row| Rejection::new(row, Stage::ValueConverter, no_columns()));
        taken.rejected.extend(refused);
    } else {
        // A deletion from a table that does not exist.
        taken.filtered = absent.len();
    }
    for rejection in &mut taken.rejected {
        let offset = offsets.values().get(rejection.row).copied().unwrap_or_default();
        let error = std::mem::replace(&mut rejection.error, ConnectError::internal("", ""));
        rejection.error = error.at(format_args!("{} offset {offset}", batch.partition));
    }
    Ok(taken)
}

/// The records that have a value.
enum Values {
    Typed { values: ArrayRef, at: Vec<usize> },
    Documents { objects: Vec<Object>, at: Vec<usize> },
}

impl Values {
    /// Records whose value is no object are refused.
    fn of(envelope: Envelope<'_>, taken: &mut Taken) -> Result<Self> {
        let column = envelope.value();
        let nulls = column.logical_nulls();
        let there = |&row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        match (envelope.value_form(), column.data_type()) {
            (Form::Document, DataType::Utf8) => {
                let (mut objects, mut at) =
                    (Vec::with_capacity(column.len()), Vec::with_capacity(column.len()));
                let texts = column.as_string::<i32>();
                for row in (0..column.len()).filter(there) {
                    match document::parse(texts.value(row)) {
                        Ok(object) => {
                            objects.push(object);
                            at.push(row);
                        }
                        Err(error) => taken.rejected.push(Rejection::new(row, Stage::ValueConverter, error)),
                    }
                }
                Ok(Self::Documents { objects, at })
            }
            (Form::Columns, DataType::Struct(_)) => {
                let at: Vec<usize> = (0..column.len()).filter(there).collect();
                let values = if at.len() == column.len() {
                    Arc::clone(column)
                } else {
                    filter(column, &BooleanArray::from_iter((0..column.len()).map(|row| Some(there(&row)))))?
                };
                Ok(Self::Typed { values, at })
            }
            (form, data_type) => {
                let what =
                    if form == Form::Bytes { "undecoded bytes".to_owned() } else { data_type.to_string() };
                for row in (0..column.len()).filter(there) {
                    taken.rejected.push(Rejection::new(row, Stage::ValueConverter, no_object(&what)));
                }
                Ok(Self::Documents { objects: Vec::new(), at: Vec::new() })
            }
        }
    }

    fn at(&self) -> &[usize] {
        match self {
            Self::Typed { at, .. } | Self::Documents { at, .. } => at,
        }
    }

    fn rows(&self) -> Vec<usize> {
        self.at().to_vec()
    }

    fn is_empty(&self) -> bool {
        self.at().is_empty()
    }

    /// The columns that the records ask for.
    fn columns(&self) -> StructType {
        match self {
            Self::Typed { values, .. } => match values.data_type() {
                DataType::Struct(fields) => schema::columns(fields),
                _ => schema::table([]),
            },
            Self::Documents { objects, .. } => document::columns(objects),
        }
    }

    /// The records that fit into `schema`; the others are refused.
    fn fitting(&self, schema: &SchemaRef, taken: &mut Taken) -> Result<Indexed> {
        match self {
            Self::Typed { values, at } => {
                let Adapted { rows, rejected } = adapt::adapt(values.as_struct(), schema)?;
                let mut fitting = Indexed { rows, at: at.clone() };
                let refused =
                    rejected.into_iter().map(|(row, e)| Rejection::new(row, Stage::ValueConverter, e));
                fitting.drop_rows(refused.collect(), taken)?;
                let options = RecordBatchOptions::new().with_row_count(Some(fitting.rows.num_rows()));
                let columns = fitting.rows.columns().to_vec();
                fitting.rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
                Ok(fitting)
            }
            Self::Documents { objects, at } => {
                let (mut fit, mut kept) = (Vec::with_capacity(objects.len()), Vec::with_capacity(at.len()));
                for (object, &row) in objects.iter().zip(at) {
                    match document::check(object, schema) {
                        Ok(()) => {
                            fit.push(object);
                            kept.push(row);
                        }
                        Err(error) => taken.rejected.push(Rejection::new(row, Stage::ValueConverter, error)),
                    }
                }
                Ok(Indexed { rows: document::rows(&fit, schema)?, at: kept })
            }
        }
    }
}

/// Rows and which records of the batch they are, ascending.
struct Indexed {
    rows: RecordBatch,
    at: Vec<usize>,
}

impl Indexed {
    fn none() -> Self {
        Self { rows: RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())), at: Vec::new() }
    }

    /// Takes out rows; the rejections name them by their place here.
    fn drop_rows(&mut self, refused: Vec<Rejection>, taken: &mut Taken) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut keep = vec![true; self.at.len()];
        for mut rejection in refused {
            if let (Some(keep), Some(&row)) = (keep.get_mut(rejection.row), self.at.get(rejection.row)) {
                *keep = false;
                rejection.row = row;
                taken.rejected.push(rejection);
            }
        }
        let mut kept = keep.iter();
        self.at.retain(|_| kept.next().copied().unwrap_or(false));
        self.rows = filter_record_batch(&self.rows, &keep.into())?;
        Ok(())
    }
}

/// Rows and deletions in the order of their records.
fn in_order(puts: &Indexed, deletes: &Indexed, offsets: &[Offset]) -> Vec<(Rows, Vec<Offset>)> {
    let offsets_of = |at: Option<&[usize]>| {
        at.unwrap_or_default().iter().filter_map(|&row| offsets.get(row).copied()).collect()
    };
    let (mut put, mut delete) = (0, 0);
    let mut runs: Vec<(Rows, Vec<Offset>)> = Vec::new();
    loop {
        let (next_put, next_delete) = (puts.at.get(put), deletes.at.get(delete));
        match (next_put, next_delete) {
            (None, None) => return runs,
            (Some(first), other) if other.is_none_or(|other| first < other) => {
                let before = |row: &usize| other.is_none_or(|other| row < other);
                let end = put + puts.at.get(put..).map_or(0, |rest| rest.partition_point(before));
                runs.push((Rows::Put(puts.rows.slice(put, end - put)), offsets_of(puts.at.get(put..end))));
                put = end;
            }
            (other, Some(_)) => {
                let before = |row: &usize| other.is_none_or(|other| row < other);
                let end = delete + deletes.at.get(delete..).map_or(0, |rest| rest.partition_point(before));
                let rows = deletes.rows.slice(delete, end - delete);
                runs.push((Rows::Delete(rows), offsets_of(deletes.at.get(delete..end))));
                delete = end;
            }
            (Some(_), None) => return runs,
        }
    }
}

fn tombstone() -> ConnectError {
    ConnectError::user("delta.null_value", "a record without a value (a tombstone) is no row").hint(
        "set `behavior.on.null.values: ignore` to skip such records, or `delta.mode: upsert` to delete rows by key",
    )
}

fn no_columns() -> ConnectError {
    ConnectError::user(
        "delta.no_columns",
        "there is no table yet, and the record has no column to make one of",
    )
    .hint("declare the table's columns in `delta.schema`")
}

fn no_object(what: &str) -> ConnectError {
    ConnectError::user("delta.no_object", format!("the value is {what}, not an object, so it has no columns"))
        .hint("choose a `value.converter` whose values are objects or structs, such as JsonConverter")
}
