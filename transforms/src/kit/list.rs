//! Lists in a configuration, as strict as Connect's: no blank entries.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Names, separated by commas; none of them blank, as a rule none of them twice, and only if `EMPTY` none at all.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Names<const UNIQUE: bool = true, const EMPTY: bool = false>(pub Vec<String>);

impl<const UNIQUE: bool, const EMPTY: bool> TryFrom<String> for Names<UNIQUE, EMPTY> {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.as_slice() {
            [one] if one.is_empty() && EMPTY => Ok(Self(Vec::new())),
            [one] if one.is_empty() => Err("must not be empty"),
            names if names.iter().any(String::is_empty) => Err("has an empty entry"),
            names if UNIQUE && (1..names.len()).any(|at| names[..at].contains(&names[at])) => {
                Err("has an entry twice")
            }
            _ => Ok(Self(names)),
        }
    }
}

impl<const UNIQUE: bool, const EMPTY: bool> JsonSchema for Names<UNIQUE, EMPTY> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }

    fn inline_schema() -> bool {
        true
    }
}

/// `old:new` pairs, separated by commas. As in Connect, blanks around the colon belong to the names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct Renames(pub Vec<(String, String)>);

impl TryFrom<String> for Renames {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut pairs = Vec::new();
        for pair in text.split(',').map(str::trim) {
            if pair.is_empty() && !text.contains(',') {
                continue;
            }
            match pair.split(':').collect::<Vec<_>>()[..] {
                [old, new] if !new.is_empty() => pairs.push((old.to_owned(), new.to_owned())),
                _ => return Err("has an entry that is not `old:new`"),
            }
        }
        Ok(Self(pairs))
    }
}

impl JsonSchema for Renames {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Renames".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }

    fn inline_schema() -> bool {
        true
    }
}
