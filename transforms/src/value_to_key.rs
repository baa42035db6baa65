//! ValueToKey: fields of the value as the key.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::datatypes::DataType;
use connector_core::envelope::{self, KEY, VALUE};
use connector_core::value::{Object, Value};
use connector_core::{
    ConfigProblem, Form, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{Names, Refusal, Refused, Typed, object, yes};

const PURPOSE: &str = "copying fields from value to key";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Fields of the value that make the key.
    fields: Names,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

/// Makes the key of fields of the value.
pub(crate) struct ValueToKey {
    fields: Vec<String>,
    replace: bool,
}

impl Plugin for ValueToKey {
    type Config = Config;

    const NAME: &'static str = "ValueToKey";
    const ALIASES: &'static [&'static str] = &["org.apache.kafka.connect.transforms.ValueToKey"];
    const SUMMARY: &'static str = "Makes the key of fields of the value.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { fields: config.fields.0, replace: config.replace_null_with_default })
    }
}

impl Transform for ValueToKey {
    fn needs(&self) -> Needs {
        Needs::Document
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let field = records.schema_ref().field_with_name(VALUE)?.clone();
        let array = records[VALUE].clone();
        let (field, keys, refused) = if Form::of(&field) == Form::Document {
            self.documents(&array)
        } else {
            let rows = array.len();
            let nulls = array.logical_nulls();
            match self.typed(Typed { field, array }) {
                Ok(Typed { field, array }) => {
                    let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                    let message = format!("Only Struct objects supported for [{PURPOSE}], found: null");
                    let refused =
                        (0..rows).filter(|row| null(*row)).map(|row| (row, message.as_str().into()));
                    (field.with_name(KEY), array, refused.collect())
                }
                Err(refusal) => {
                    let rejected = (0..rows).map(|row| refusal.clone().at(row)).collect();
                    return Ok(Transformed { runs: Vec::new(), rejected });
                }
            }
        };
        let out = envelope::with_column(&records, field, keys)?;
        let rows: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
        let rejected = refused.into_iter().map(|(row, refusal)| refusal.at(row)).collect();
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&out, &rows)?)], rejected })
    }
}

impl ValueToKey {
    fn documents(&self, values: &ArrayRef) -> (arrow::datatypes::Field, ArrayRef, Refused) {
        let texts = values.as_string::<i32>();
        let (mut keys, mut refused, mut text) = (StringBuilder::new(), Vec::new(), Vec::new());
        for row in 0..texts.len() {
            let value = if texts.is_valid(row) { Value::Json(texts.value(row)) } else { Value::Null };
            match object(value, PURPOSE) {
                Ok(mut object) => {
                    let mut key = Object::default();
                    for name in &self.fields {
                        key.insert(name.as_str(), object.remove(name).unwrap_or(Value::Null));
                    }
                    text.clear();
                    Value::Object(key).write(&mut text);
                    keys.append_value(str::from_utf8(&text).unwrap_or_default());
                }
                Err(refusal) => {
                    refused.push((row, refusal));
                    keys.append_null();
                }
            }
        }
        (Form::Document.field(KEY, DataType::Utf8), Arc::new(keys.finish()), refused)
    }

    fn typed(&self, values: Typed) -> Result<Typed, Refusal> {
        let values = values.defaults(self.replace)?;
        let structs = values.structs(PURPOSE)?;
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for name in &self.fields {
            let at = structs.fields().iter().position(|field| field.name() == name);
            let at = at.ok_or_else(|| format!("Field does not exist: {name}"))?;
            fields.push(structs.fields()[at].clone());
            columns.push(structs.column(at).clone());
        }
        // A schema of its own: nothing of the value's.
        let bare = Typed { field: values.field.clone().with_metadata([].into()), ..values.clone() };
        bare.replaced(fields, columns, false)
    }
}
