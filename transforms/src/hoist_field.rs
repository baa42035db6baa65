//! HoistField: the whole as one field.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::datatypes::Field;
use connector_core::ConfigProblem;
use connector_core::schema::OPTIONAL;
use connector_core::value::{Object, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, names};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// The field that the value becomes.
    field: String,
}

pub(crate) struct HoistField {
    field: String,
}

impl FieldTransform for HoistField {
    type Config = Config;
    names!("HoistField");
    const SUMMARY: &'static str = "Wraps the value as the only field of an object.";
    const NULLS_PASS: bool = false;

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { field: config.field.trim().to_owned() })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        Ok(Value::Object(Object { members: vec![(self.field.clone().into(), value)] }))
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, _: &mut Refused) -> Result<Typed, Refusal> {
        let Typed { field, array } = &values;
        let mut metadata = field.metadata().clone();
        let optional = metadata.remove(OPTIONAL).is_some_and(|optional| optional == "true");
        // A null in a required value is there anyway; Arrow has to be told.
        let nullable = optional || array.logical_null_count() > 0;
        let inner = Field::new(&self.field, field.data_type().clone(), nullable).with_metadata(metadata);
        let columns: Vec<ArrayRef> = vec![array.clone()];
        let structs =
            StructArray::try_new_with_length(vec![Arc::new(inner)].into(), columns, None, array.len())
                .map_err(|e| e.to_string())?;
        let data_type = structs.data_type().clone();
        Ok(values.with(data_type, [].into(), Arc::new(structs)))
    }
}
