//! What Connect's transforms share: the key or the value of a record, with a schema or without.

mod list;
mod part;
mod typed;

pub(crate) use list::{Names, Renames};
pub(crate) use part::{FieldTransform, Key, OnPart, Part, Refused, ValuePart, names};
pub(crate) use typed::{Typed, below, build, class_of, object, schema_name};

use connector_core::ConfigProblem;
pub(crate) use connector_core::document::{Origin, Refusal};

/// One problem of a configuration.
pub(crate) fn problem(key: &str, message: impl Into<String>, hint: &str) -> Vec<ConfigProblem> {
    vec![ConfigProblem::new(key, message, hint)]
}

/// Connect's default of `replace.null.with.default`.
pub(crate) const fn yes() -> bool {
    true
}
