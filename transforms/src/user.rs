//! Users: first and last name become one column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field};
use connector_core::{ConfigProblem, Meta, Needs, Plugin, Result, TaskInfo, Transform, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rows::{Rows, instant, key, needed};

#[derive(Deserialize, JsonSchema)]
pub struct Config {}

/// Cleans rows of the table `user_data`.
pub struct UserCleaner;

impl Plugin for UserCleaner {
    type Config = Config;

    const NAME: &'static str = "user-cleaner";
    const SUMMARY: &'static str =
        "Cleans users: one name, the joining date as an instant in UTC, columns ordered.";

    fn create(_: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self)
    }
}

impl Transform for UserCleaner {
    fn needs(&self) -> Needs {
        let fields = vec![
            key("ind"),
            needed("first_name", DataType::Utf8),
            needed("last_name", DataType::Utf8),
            needed("age", DataType::Int64),
            needed("date_joined", instant()),
        ];
        Needs::Columns(fields.into())
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let rows = Rows::of(&records)?;
        let names = names(rows.texts("first_name")?, rows.texts("last_name")?);
        let columns = vec![
            (key("ind"), rows.column("ind")?.clone()),
            (Field::new("user_name", DataType::Utf8, true), Arc::new(names) as ArrayRef),
            (Field::new("age", DataType::Int64, true), rows.column("age")?.clone()),
            (Field::new("date_joined", instant(), true), rows.column("date_joined")?.clone()),
        ];
        rows.cleaned(columns, Vec::new())
    }
}

/// Both names with a blank between; null when one of them is.
fn names(first: &StringArray, last: &StringArray) -> StringArray {
    let size = first.value_data().len() + last.value_data().len() + first.len();
    let mut names = StringBuilder::with_capacity(first.len(), size);
    let mut name = String::new();
    for (first, last) in first.iter().zip(last) {
        let (Some(first), Some(last)) = (first, last) else {
            names.append_null();
            continue;
        };
        name.clear();
        name.extend([first, " ", last]);
        names.append_value(&name);
    }
    names.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::testing::{case, clean};
    use connector_core::{Component, testing};

    fn component() -> Component {
        Component::transform::<UserCleaner>("0")
    }

    const ROWS: [&str; 3] = [
        r#"{"ind":1,"first_name":"Zoë","last_name":" de la Cruz","age":20,"date_joined":"2015-10-21 21:26:45"}"#,
        r#"{"ind":2,"first_name":null,"last_name":"Roe","age":60,"date_joined":"2017-10-01T00:00:00.5Z"}"#,
        "null",
    ];

    #[test]
    fn names_are_joined_and_dates_are_instants() {
        let (rows, rejected) = clean(&component(), &[], &ROWS);
        assert_eq!(rejected, [""; 0]);
        assert_eq!(
            rows,
            [
                r#"{"ind":1,"user_name":"Zoë  de la Cruz","age":20,"date_joined":"2015-10-21T21:26:45Z"}"#,
                r#"{"ind":2,"user_name":null,"age":60,"date_joined":"2017-10-01T00:00:00.500Z"}"#,
                "null",
            ]
        );
    }

    #[test]
    fn a_pin_in_the_user_topic_is_rejected() {
        let pin = r#"{"index":1,"unique_id":"u","title":"t","follower_count":"1k"}"#;
        let with_key = r#"{"ind":1,"title":"t"}"#;
        let (rows, rejected) = clean(&component(), &[], &[pin, with_key]);
        assert_eq!(rows, [""; 0]);
        assert_eq!(rejected, ["field `ind` is missing", "field `first_name` is missing"]);
    }

    #[test]
    fn it_conforms() {
        testing::transform::run_both(&case(component(), &ROWS));
    }
}
