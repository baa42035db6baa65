//! ReplaceField: leaves fields out, keeps only some, renames them.

use std::sync::Arc;

use connector_core::ConfigProblem;
use connector_core::value::{Object, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Names, Origin, Refusal, Refused, Renames, Typed, names, object, yes};

const PURPOSE: &str = "field replacement";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Fields to leave out; it wins over `include`.
    #[serde(default)]
    exclude: Names<true, true>,
    /// The only fields to keep; empty: all.
    #[serde(default)]
    include: Names<true, true>,
    /// `old:new` pairs. `include` and `exclude` look at the old names.
    #[serde(default)]
    renames: Renames,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

pub(crate) struct ReplaceField {
    exclude: Vec<String>,
    include: Vec<String>,
    renames: Vec<(String, String)>,
    replace: bool,
}

impl ReplaceField {
    fn keeps(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|listed| listed == name);
        !named(&self.exclude) && (self.include.is_empty() || named(&self.include))
    }

    fn renamed(&self, name: &str) -> Option<&str> {
        // Connect fills a map, so the last pair of a name counts.
        self.renames.iter().rev().find(|(old, _)| old == name).map(|(_, new)| new.as_str())
    }
}

impl FieldTransform for ReplaceField {
    type Config = Config;
    names!("ReplaceField");
    const SUMMARY: &'static str = "Leaves fields out, keeps only some, or renames them.";

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let Config { exclude, include, renames, replace_null_with_default } = config;
        Ok(Self {
            exclude: exclude.0,
            include: include.0,
            renames: renames.0,
            replace: replace_null_with_default,
        })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        let Object { members } = object(value, PURPOSE)?;
        let mut kept = Object { members: Vec::with_capacity(members.len()) };
        for (name, value) in members.into_iter().filter(|(name, _)| self.keeps(name)) {
            match self.renamed(&name) {
                Some(new) => kept.insert(new.to_owned(), value),
                None if self.renames.is_empty() => kept.members.push((name, value)),
                None => kept.insert(name, value),
            }
        }
        Ok(Value::Object(kept))
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, _: &mut Refused) -> Result<Typed, Refusal> {
        let values = values.defaults(self.replace)?;
        let structs = values.structs(PURPOSE)?;
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, column) in structs.fields().iter().zip(structs.columns()) {
            if self.keeps(field.name()) {
                fields.push(match self.renamed(field.name()) {
                    Some(new) => Arc::new(field.as_ref().clone().with_name(new)),
                    None => field.clone(),
                });
                columns.push(column.clone());
            }
        }
        values.replaced(fields, columns, false)
    }
}
