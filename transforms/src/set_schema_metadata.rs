//! SetSchemaMetadata: another name or version for the schema.

use connector_core::ConfigProblem;
use connector_core::json::NAME;
use connector_core::schema::VERSION;
use connector_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, names, problem, yes};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Name of the schema.
    #[serde(rename = "schema.name", default)]
    name: Option<String>,
    /// Version of the schema.
    #[serde(rename = "schema.version", default)]
    version: Option<i32>,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

pub(crate) struct SetSchemaMetadata {
    name: Option<String>,
    version: Option<i32>,
    replace: bool,
}

impl FieldTransform for SetSchemaMetadata {
    type Config = Config;
    names!("SetSchemaMetadata");
    const SUMMARY: &'static str = "Sets name and version of the schema.";
    const NULLS_PASS: bool = false;

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let Config { name, version, replace_null_with_default: replace } = config;
        if name.is_none() && version.is_none() {
            return Err(problem(
                "",
                "Neither schema name nor version configured",
                "set `schema.name` or `schema.version`",
            ));
        }
        Ok(Self { name: name.map(|name| name.trim().to_owned()), version, replace })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        // What has no schema and is null passes; there is nothing to name otherwise either.
        if value.is_null() {
            return Ok(value);
        }
        Err("[updating schema metadata] requires a schema: the record has none".into())
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, _: &mut Refused) -> Result<Typed, Refusal> {
        let values = values.defaults(self.replace)?;
        if values.structs("updating schema metadata").is_err() {
            return Err("Cannot list fields on non-struct type".into());
        }
        let mut metadata = values.field.metadata().clone();
        if let Some(name) = &self.name {
            metadata.insert(NAME.to_owned(), name.clone());
        }
        if let Some(version) = self.version {
            metadata.insert(VERSION.to_owned(), version.to_string());
        }
        Ok(Typed { field: values.field.with_metadata(metadata), ..values })
    }
}
