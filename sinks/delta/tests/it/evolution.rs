//! Tables that grow, and records that do not fit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int16Array, Int32Array, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use connector_core::{Stage, Written};
use deltalake::kernel::Action;

use crate::{Lake, ddl, integers, open, partition, publish, rows, sink, strings, table, typed, write};

fn messages(written: &Written) -> Vec<String> {
    written.rejected.iter().map(|rejection| rejection.error.to_string()).collect()
}

fn column(name: &str, values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new(name, values.data_type().clone(), true));
    Arc::new(StructArray::from(vec![(field, values)]))
}

#[tokio::test]
async fn a_new_field_is_a_nullable_column_from_the_same_commit_on() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    write(&*sink, &partition(0), 0, &[r#"{"n":0}"#]).await;
    publish(&*sink, &[(&partition(0), 0..1)]).await;
    let values =
        [r#"{"n":1}"#, r#"{"n":2,"extra":{"deep":"x"}}"#, r#"{"n":3,"extra":{"deep":"y","more":1}}"#];
    assert!(write(&*sink, &partition(0), 1, &values).await.rejected.is_empty());
    publish(&*sink, &[(&partition(0), 1..4)]).await;

    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!(table.head().version, 2);
    let actions = table.entry(2).await.unwrap().unwrap();
    let has = |wanted: fn(&Action) -> bool| actions.iter().any(wanted);
    assert!(has(|a| matches!(a, Action::Metadata(_))) && has(|a| matches!(a, Action::Add(_))));
    assert!(table.head().delta_schema.field("extra").unwrap().is_nullable());
    assert_eq!(integers(&table, "n").await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_conflict_rejects_the_record_with_column_and_types_and_the_others_go_on() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[("delta.schema", "n integer, at timestamp, tags array<long>")]);
    open(&*sink, &[partition(0)]).await;
    let values = [
        r#"{"n":1,"at":"2020-08-28T03:52:47","tags":[1,null]}"#,
        r#"{"n":"two"}"#,
        r#"{"n":3000000000}"#,
        r#"{"n":4,"at":"yesterday"}"#,
        r#"{"n":5,"tags":[1,2.5]}"#,
        r#"{"n":6,"at":"2020-08-28 03:52:47"}"#,
        r#"[7]"#,
        r#"{"n":8"#,
        r#"{"n":9,"N":9}"#,
        r#"{"n":10,"a b":1}"#,
    ];
    let written = write(&*sink, &partition(0), 100, &values).await;
    let rejected: Vec<_> = written.rejected.iter().map(|r| r.row).collect();
    let mut sorted = rejected.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 6, 7, 8, 9]);
    assert!(
        written.rejected.iter().all(|r| r.stage == Stage::ValueConverter),
        "`errors.tolerance: all` skips them"
    );
    let said = messages(&written).join("\n");
    for wanted in [
        "orders-0 offset 101: column `n` is integer in the table and string in the record",
        "offset 102: column `n` is integer in the table and an integer in the record",
        "offset 103: column `at` is timestamp in the table and string in the record",
        "offset 104: column `tags.element` is long in the table",
        "offset 106: the value is not a JSON object",
        "offset 107: the value is not JSON",
        "offset 108: the table has no column for the field `N`",
        "offset 109: the table has no column for the field `a b`",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    assert!(!said.contains("two") && !said.contains("yesterday"), "no value is told: {said}");
    publish(&*sink, &[(&partition(0), 100..110)]).await;
    assert_eq!(integers(&table(&lake.url("t")).await.unwrap(), "n").await, [1, 6]);
}

#[tokio::test]
async fn with_reject_a_new_field_is_refused_and_the_table_stays_as_it_is() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[("delta.schema", "n long not null"), ("schema.evolution", "reject")]);
    open(&*sink, &[partition(0)]).await;
    let written =
        write(&*sink, &partition(0), 0, &[r#"{"n":1,"x":null}"#, r#"{"n":2,"x":0}"#, r#"{"x":null}"#]).await;
    let said = messages(&written);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("field `x` (an integer)") && said[0].contains("schema.evolution"),
        "{}",
        said[0]
    );
    assert!(said[1].contains("column `n` may not be null"), "{}", said[1]);

    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None]));
    let fields = ["n", "y"].map(|name| (name, DataType::Utf8));
    let fields = [
        Arc::new(Field::new("n", DataType::Int64, true)),
        Arc::new(Field::new(fields[1].0, DataType::Utf8, true)),
    ];
    let both = StructArray::from(vec![(fields[0].clone(), numbers), (fields[1].clone(), texts)]);
    let written = sink.write(typed(&partition(0), 3, Arc::new(both))).await.unwrap();
    assert_eq!(written.rejected.len(), 2, "{written:?}");
    publish(&*sink, &[(&partition(0), 0..5)]).await;
    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!((ddl(&table), integers(&table, "n").await), (vec!["n long".to_owned()], vec![1]));
}

#[tokio::test]
async fn small_integers_widen_and_others_are_taken_as_far_as_they_fit() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    let mut at = 0;
    for values in [
        Arc::new(Int8Array::from(vec![1])) as ArrayRef,
        Arc::new(Int16Array::from(vec![300])),
        Arc::new(Int32Array::from(vec![70_000])),
        Arc::new(Int64Array::from(vec![5])),
    ] {
        let written = sink.write(typed(&partition(0), at, column("n", values))).await.unwrap();
        assert!(written.rejected.is_empty(), "{written:?}");
        at += 1;
        publish(&*sink, &[(&partition(0), at - 1..at)]).await;
    }
    let too_large = column("n", Arc::new(Int64Array::from(vec![1 << 40, 6])));
    let written = sink.write(typed(&partition(0), 4, too_large)).await.unwrap();
    let said = messages(&written);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("column `n` is integer in the table, which cannot hold the record's long"),
        "{said:?}"
    );
    publish(&*sink, &[(&partition(0), 4..6)]).await;
    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!(ddl(&table), ["n integer"]);
    assert_eq!(integers(&table, "n").await, [1, 5, 6, 300, 70_000]);
}

#[tokio::test]
async fn two_batches_with_other_columns_in_one_range_are_one_commit() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    write(&*sink, &partition(0), 0, &[r#"{"n":0}"#]).await;
    write(&*sink, &partition(0), 1, &[r#"{"n":1,"s":"x"}"#]).await;
    write(&*sink, &partition(0), 2, &[r#"{"s":"y"}"#]).await;
    publish(&*sink, &[(&partition(0), 0..3)]).await;
    let table = table(&lake.url("t")).await.unwrap();
    assert_eq!(table.head().version, 1);
    let mut texts = strings(&rows(&table).await, "s");
    texts.sort();
    assert_eq!(texts, [None, Some("x".into()), Some("y".into())]);
}

#[tokio::test]
async fn declared_columns_are_added_to_a_table_that_exists() {
    let lake = Lake::empty();
    let first = sink(&lake.url("t"), &[("delta.schema", "n long")]);
    open(&*first, &[partition(0)]).await;
    let second = sink(&lake.url("t"), &[("delta.schema", "n long, s string")]);
    open(&*second, &[partition(0)]).await;
    write(&*second, &partition(0), 0, &[r#"{"n":1}"#]).await;
    publish(&*second, &[(&partition(0), 0..1)]).await;
    assert_eq!(ddl(&table(&lake.url("t")).await.unwrap()), ["n long", "s string"]);
}
