//! All problems of a typed configuration at once: serde alone stops at the first wrong value.

use connector_core::config::{ConfigMap, ConfigProblem, coerce};
use serde_json::Value;

/// Types a flat map by a schema and makes something of it. Keys that `skip` names have no value that could be judged.
pub(super) fn all<T>(
    schema: &Value,
    map: &ConfigMap,
    skip: impl Fn(&str) -> bool,
    make: impl Fn(&Value) -> Result<T, Vec<ConfigProblem>>,
) -> Result<(Value, T), Vec<ConfigProblem>> {
    let (mut value, mut problems) = match coerce(schema, map) {
        Ok(value) => (value, Vec::new()),
        Err(problems) => (coerce(&without(schema, &problems), map)?, problems),
    };
    let mut whole = problems.is_empty();
    if let Some(object) = value.as_object_mut() {
        let before = object.len();
        object.retain(|key, _| !skip(key));
        whole &= object.len() == before;
    }
    loop {
        let found = match make(&value) {
            Ok(made) if whole => return Ok((value, made)),
            Ok(_) => return Err(problems),
            Err(found) => found,
        };
        // Of a part only a wrong value says something: what seems missing may be among the rest.
        let found: Vec<_> = found.into_iter().filter(|p| whole || is_wrong_value(p)).collect();
        whole = false;
        let mut removed = false;
        if let Some(object) = value.as_object_mut() {
            found.iter().for_each(|problem| removed |= object.shift_remove(&problem.key).is_some());
        }
        problems.extend(found);
        if !removed {
            return Err(problems);
        }
    }
}

/// Whether this is serde's word about one value.
pub(super) fn is_wrong_value(problem: &ConfigProblem) -> bool {
    ["unknown variant", "invalid value", "invalid type"].iter().any(|word| problem.message.starts_with(word))
}

/// A schema that does not know the keys of the problems.
fn without(schema: &Value, problems: &[ConfigProblem]) -> Value {
    let mut schema = schema.clone();
    let wrong = |key: &str| problems.iter().any(|problem| problem.key == key);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|key, _| !wrong(key));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| key.as_str().is_none_or(|key| !wrong(key)));
    }
    schema
}
