//! ExtractField: one field instead of the whole.

use arrow::array::AsArray;
use connector_core::ConfigProblem;
use connector_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{FieldTransform, Origin, Refusal, Refused, Typed, names, object, problem, yes};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// The field to extract.
    field: String,
    /// `V1`: `field` is a name. `V2`: it is a path, its names divided by dots, a name with dots in backticks.
    #[serde(rename = "field.syntax.version", default = "first")]
    syntax: String,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

fn first() -> String {
    "V1".to_owned()
}

pub(crate) struct ExtractField {
    path: Vec<String>,
    replace: bool,
}

/// The names of a path. A backtick is part of a name unless it stands at its beginning or end; `\` takes the meaning of
/// one that does.
fn path(text: &str) -> Option<Vec<String>> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let mut name = String::new();
        if let Some(quoted) = rest.strip_prefix('`') {
            // Up to a backtick that ends the name.
            let mut at = 0;
            loop {
                let found = at + quoted.get(at..)?.find('`')?;
                let after = &quoted[found + 1..];
                if quoted[..found].ends_with('\\') {
                    name.push_str(quoted[at..found].trim_end_matches('\\'));
                    name.push('`');
                } else if after.is_empty() || after.starts_with('.') {
                    name.push_str(&quoted[at..found]);
                    rest = after;
                    break;
                } else {
                    name.push_str(&quoted[at..=found]);
                }
                at = found + 1;
            }
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            name.push_str(&rest[..end].replace("\\`", "`"));
            rest = &rest[end..];
        }
        names.push(name);
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => return Some(names),
        }
    }
}

impl FieldTransform for ExtractField {
    type Config = Config;
    names!("ExtractField");
    const SCHEMA_OF_NULLS_STAYS: bool = false;
    const SUMMARY: &'static str = "Takes one field out and drops the rest.";

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let field = config.field.trim();
        let path = match config.syntax.trim().to_ascii_uppercase().as_str() {
            "V1" => vec![field.to_owned()],
            "V2" => path(field).ok_or_else(|| {
                problem(
                    "field",
                    "has a backtick without its pair",
                    "write \\` for a backtick that is part of a name",
                )
            })?,
            _ => return Err(problem("field.syntax.version", "is neither V1 nor V2", "")),
        };
        Ok(Self { path, replace: config.replace_null_with_default })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        let purpose = if self.path.len() > 1 { "nested field access" } else { "field extraction" };
        let mut value = value;
        for (depth, name) in self.path.iter().enumerate() {
            if depth > 0 && value.is_null() {
                return Ok(Value::Null);
            }
            value = object(value, purpose)?.remove(name).unwrap_or(Value::Null);
        }
        Ok(value)
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, _: &mut Refused) -> Result<Typed, Refusal> {
        let mut values = values.defaults(self.replace)?;
        values.structs("field extraction")?;
        for name in &self.path {
            let Some(structs) = values.array.as_struct_opt() else {
                return Err("Cannot look up fields on non-struct type".into());
            };
            let at = structs.fields().iter().position(|field| field.name() == name);
            let at = at.ok_or_else(|| format!("Unknown field: {}", self.path.join(".")))?;
            values = values.member(structs, at)?;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_divided_as_connect_divides_them() {
        let names = |text| path(text).map(|names| names.join("|"));
        assert_eq!(names("a.b").unwrap(), "a|b");
        assert_eq!(names("`a.b`").unwrap(), "a.b");
        assert_eq!(names("`a.b`.c").unwrap(), "a.b|c");
        assert_eq!(names("a.").unwrap(), "a|");
        assert_eq!(names("a..b").unwrap(), "a||b");
        assert_eq!(names("`a`b`").unwrap(), "a`b");
        assert_eq!(names("`a\\`.b`").unwrap(), "a`.b");
        assert_eq!(names("a.`b"), None);
    }
}
