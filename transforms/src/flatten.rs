//! Flatten: nested fields side by side, under joined names.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, FieldRef};
use connector_core::ConfigProblem;
use connector_core::value::{Object, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, below, names, object};

const PURPOSE: &str = "flattening";
const UNSUPPORTED: &str = "which is not supported by Connect's data API";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// What stands between the parts of a name.
    #[serde(default = "dot")]
    delimiter: String,
}

fn dot() -> String {
    ".".to_owned()
}

pub(crate) struct Flatten {
    delimiter: String,
}

impl Flatten {
    fn name(&self, prefix: &str, name: &str) -> String {
        if prefix.is_empty() { name.to_owned() } else { format!("{prefix}{}{name}", self.delimiter) }
    }

    fn members<'t>(&self, prefix: &str, from: Object<'t>, to: &mut Object<'t>) -> Result<(), Refusal> {
        for (name, value) in from.members {
            let joined = self.name(prefix, &name);
            match value.open() {
                Value::Object(inner) => self.members(&joined, inner, to)?,
                value @ (Value::Instant(_) | Value::Decimal(..)) => {
                    let class = value.class();
                    let message = format!(
                        "Flatten transformation was passed a value of type class {class} {UNSUPPORTED}"
                    );
                    return Err(message.into());
                }
                value => to.insert(joined, value),
            }
        }
        Ok(())
    }

    fn columns(
        &self,
        prefix: &str,
        from: &StructArray,
        optional: bool,
        out: &mut (Vec<FieldRef>, Vec<ArrayRef>),
    ) -> Result<(), Refusal> {
        for (field, column) in from.fields().iter().zip(from.columns()) {
            let name = self.name(prefix, field.name());
            let column = below(from, column)?;
            let optional = optional || field.is_nullable();
            if let DataType::Struct(_) = field.data_type() {
                self.columns(&name, column.as_struct(), optional, out)?;
                continue;
            }
            let nullable = optional || column.logical_null_count() > 0;
            out.0.push(Arc::new(field.as_ref().clone().with_name(name).with_nullable(nullable)));
            out.1.push(column);
        }
        Ok(())
    }
}

impl FieldTransform for Flatten {
    type Config = Config;
    names!("Flatten");
    const SUMMARY: &'static str =
        "Puts nested fields side by side, under joined names; lists stay as they are.";

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { delimiter: config.delimiter.trim().to_owned() })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        let from = object(value, PURPOSE)?;
        let mut to = Object { members: Vec::with_capacity(from.members.len()) };
        self.members("", from, &mut to)?;
        Ok(Value::Object(to))
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, _: &mut Refused) -> Result<Typed, Refusal> {
        let values = values.defaults(true)?;
        let structs = values.structs(PURPOSE)?;
        let mut out = (Vec::new(), Vec::new());
        // Whether the whole is null does not make its fields optional.
        let (fields, columns, _) = structs.clone().into_parts();
        let inside = StructArray::try_new_with_length(fields, columns, None, structs.len())
            .map_err(|e| e.to_string())?;
        self.columns("", &inside, false, &mut out)?;
        values.replaced(out.0, out.1, false)
    }
}
