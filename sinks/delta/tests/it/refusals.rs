//! Configurations and tables that the sink does not take, each with its remedy.

use std::fs;
use std::path::Path;

use connector_core::{ConfigProblem, ConnectError, testing};
use serde_json::json;

use crate::{Lake, open, partition, publish, sink, write};

fn problems(keys: &[(&str, &str)]) -> Vec<ConfigProblem> {
    let mut map = testing::config(&[("delta.table.path", "s3://lake/{topic}")]);
    map.extend(testing::config(keys));
    sink_delta::component().validate(&map).err().unwrap_or_default()
}

#[test]
fn wrong_keys_are_named() {
    for (key, value, names) in [
        ("delta.table.path", "gs://b/t", "delta.table.path"),
        ("delta.table.path", "s3:///t", "delta.table.path"),
        ("topic.mapping.a", "ftp://x/y", "topic.mapping.a"),
        ("delta.mode", "upsert", "delta.key.columns"),
        ("delta.mode", "merge", "delta.mode"),
        ("delta.key.columns", "a", "delta.key.columns"),
        ("delta.schema", "ind lang", "delta.schema"),
        (
            "delta.create.properties.delta.enableChangeDataFeed",
            "true",
            "delta.create.properties.delta.enableChangeDataFeed",
        ),
        (
            "delta.create.properties.delta.columnMapping.mode",
            "name",
            "delta.create.properties.delta.columnMapping.mode",
        ),
        ("delta.vacuum.retention.ms", "3600000", "delta.vacuum.retention.ms"),
        ("aws.access.key.id", "AKIA", "aws.secret.access.key"),
        ("aws.secret.access.key", "hunter2", "aws.access.key.id"),
        ("aws.role.external.id", "x", "aws.role.arn"),
        ("store.url", "localhost:9000", "store.url"),
        ("flush.size", "0", "flush.size"),
        ("parquet.codec", "lzo", "parquet.codec"),
        ("schema.evolution", "maybe", "schema.evolution"),
    ] {
        let found = problems(&[(key, value)]);
        assert_eq!(found.len(), 1, "{key}={value}: {found:?}");
        assert_eq!(found[0].key, names, "{key}={value}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
    let elsewhere = [("delta.schema", "a long, b string"), ("delta.partition.columns", "c")];
    assert_eq!(problems(&elsewhere)[0].key, "delta.partition.columns");
    let all = [("delta.schema", "a long"), ("delta.partition.columns", "a")];
    assert_eq!(problems(&all)[0].key, "delta.partition.columns");
    let mapped = [("delta.table.path", "s3://lake/fixed"), ("topic.mapping.a", "b")];
    assert_eq!(problems(&mapped)[0].key, "topic.mapping.a");
}

#[test]
fn what_a_table_may_be_made_with_is_accepted() {
    let keys = [
        ("delta.mode", "upsert"),
        ("delta.key.columns", "a"),
        ("delta.schema", "a long, b string"),
        ("delta.create.properties.delta.logRetentionDuration", "interval 7 days"),
        ("delta.create.properties.team", "data"),
        ("topic.mapping.12e371d757c1.pin", "pins"),
        ("topic.mapping.other", "file:///tmp/other"),
        ("aws.role.arn", "arn:aws:iam::1:role/r"),
    ];
    assert_eq!(problems(&keys), []);
}

/// A table that another writer made, with this protocol, these properties and columns.
fn foreign(
    lake: &Path,
    protocol: &serde_json::Value,
    properties: &serde_json::Value,
    column_metadata: &serde_json::Value,
) {
    let schema = json!({"type": "struct", "fields": [
        {"name": "n", "type": "long", "nullable": true, "metadata": column_metadata},
        {"name": "s", "type": "string", "nullable": true, "metadata": {}},
    ]});
    let metadata = json!({"metaData": {"id": "0b1c", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_string(), "partitionColumns": [], "configuration": properties, "createdTime": 0}});
    fs::create_dir_all(lake.join("_delta_log")).unwrap();
    let log = format!("{}\n{metadata}\n", json!({"protocol": protocol}));
    fs::write(lake.join("_delta_log/00000000000000000000.json"), log).unwrap();
}

async fn refusal(lake: &Lake, table: &str, keys: &[(&str, &str)]) -> ConnectError {
    let sink = sink(&lake.url(table), keys);
    let error = sink.open(&[partition(0).into()]).await.unwrap_err();
    assert!(!error.is_retriable() && !error.hint.is_empty(), "{error:?}");
    assert!(error.to_string().contains(table), "the table is named: {error}");
    error
}

#[tokio::test]
async fn a_table_with_features_that_are_missing_here_is_refused_by_their_names() {
    let lake = Lake::empty();
    let old = json!({"minReaderVersion": 1, "minWriterVersion": 2});
    let newest = |writer: &[&str], reader: &[&str]| {
        json!({"minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": reader, "writerFeatures": writer})
    };
    let none = json!({});
    let invariant = json!({"delta.invariants": r#"{"expression":{"expression":"n > 1"}}"#});
    for (at, (protocol, properties, column, wanted)) in [
        (newest(&["rowTracking", "domainMetadata"], &[]), none.clone(), none.clone(), "rowTracking"),
        (newest(&["typeWidening"], &["typeWidening"]), none.clone(), none.clone(), "typeWidening"),
        (newest(&["icebergCompatV2"], &[]), none.clone(), none.clone(), "icebergCompatV2"),
        (
            json!({"minReaderVersion": 2, "minWriterVersion": 5}),
            json!({"delta.columnMapping.mode": "name"}),
            none.clone(),
            "columnMapping",
        ),
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 3}),
            json!({"delta.constraints.c": "n > 0"}),
            none.clone(),
            "checkConstraints",
        ),
        (old.clone(), none.clone(), invariant, "invariants"),
        (
            json!({"minReaderVersion": 1, "minWriterVersion": 4}),
            none.clone(),
            json!({"delta.generationExpression": "1"}),
            "generatedColumns",
        ),
        (json!({"minReaderVersion": 9, "minWriterVersion": 2}), none.clone(), none.clone(), "9"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("t{at}");
        foreign(&lake.path(&name), &protocol, &properties, &column);
        let error = refusal(&lake, &name, &[]).await;
        assert!(error.to_string().contains(wanted), "{wanted}: {error}");
    }
}

#[tokio::test]
async fn a_table_that_only_names_features_is_taken() {
    let lake = Lake::empty();
    let features = [
        "appendOnly",
        "invariants",
        "checkConstraints",
        "changeDataFeed",
        "generatedColumns",
        "deletionVectors",
        "columnMapping",
    ];
    let protocol = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors", "columnMapping"], "writerFeatures": features});
    foreign(&lake.path("t"), &protocol, &json!({"delta.columnMapping.mode": "none"}), &json!({}));
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    assert!(write(&*sink, &partition(0), 0, &[r#"{"n":1}"#]).await.rejected.is_empty());
    publish(&*sink, &[(&partition(0), 0..1)]).await;
    assert_eq!(crate::integers(&crate::table(&lake.url("t")).await.unwrap(), "n").await, [1]);
}

#[tokio::test]
async fn a_foreign_table_with_other_columns_is_refused_with_both_types() {
    let lake = Lake::empty();
    foreign(&lake.path("t"), &json!({"minReaderVersion": 1, "minWriterVersion": 2}), &json!({}), &json!({}));
    let error = refusal(&lake, "t", &[("delta.schema", "n long, s double")]).await;
    assert!(
        error.to_string().contains("column `s` is string in the table and double in `delta.schema`"),
        "{error}"
    );
    let error = refusal(&lake, "t", &[("delta.partition.columns", "n")]).await;
    assert_eq!(error.code, "delta.partitions");
    let error = refusal(&lake, "t", &[("delta.dedup.keys", "absent")]).await;
    assert!(error.to_string().contains("`absent`"), "{error}");
}

#[tokio::test]
async fn an_append_only_table_takes_no_upserts() {
    let lake = Lake::empty();
    let append_only = json!({"delta.appendOnly": "true"});
    foreign(
        &lake.path("t"),
        &json!({"minReaderVersion": 1, "minWriterVersion": 2}),
        &append_only,
        &json!({}),
    );
    let sink = sink(&lake.url("t"), &[("delta.mode", "upsert"), ("delta.key.columns", "n")]);
    open(&*sink, &[partition(0)]).await;
    for (offset, text) in ["a", "b"].into_iter().enumerate() {
        let offset = i64::try_from(offset).unwrap();
        write(&*sink, &partition(0), offset, &[&format!(r#"{{"n":1,"s":"{text}"}}"#)]).await;
        let range = connector_core::FlushRange::new(partition(0), offset..offset + 1);
        let staged = sink.flush(&[range]).await.unwrap();
        let committed = sink.commit(&staged).await;
        if offset == 0 {
            committed.unwrap();
        } else {
            let error = committed.unwrap_err();
            assert_eq!(error.code, "delta.append_only", "{error}");
        }
    }
}

#[tokio::test]
async fn a_damaged_log_is_said_to_be_damaged() {
    let lake = Lake::empty();
    fs::create_dir_all(lake.path("t").join("_delta_log")).unwrap();
    fs::write(lake.path("t").join("_delta_log/00000000000000000000.json"), "{\"protocol\":").unwrap();
    let error = refusal(&lake, "t", &[]).await;
    assert_eq!(error.code, "delta.log", "{error}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_fails_the_start_when_the_columns_are_declared() {
    let lake = Lake::empty();
    fs::write(lake.path("file"), "in the way").unwrap();
    let sink = sink(&lake.url("file/t"), &[("delta.schema", "n long")]);
    let error = sink.open(&[partition(0).into()]).await.unwrap_err();
    assert!(error.to_string().contains("file/t") && !error.hint.is_empty(), "{error:?}");
}

#[tokio::test]
async fn a_new_table_without_its_partition_column_is_not_made() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[("delta.partition.columns", "country")]);
    open(&*sink, &[partition(0)]).await;
    let values = [r#"{"n":1}"#];
    let batch = crate::documents(&partition(0), 0, &values.map(Some));
    let error = sink.write(batch).await.unwrap_err();
    assert_eq!(error.code, "delta.partition_column");
    assert!(error.to_string().contains("`country`"), "{error}");
}

#[tokio::test]
async fn records_without_any_column_make_no_table() {
    let lake = Lake::empty();
    let sink = sink(&lake.url("t"), &[]);
    open(&*sink, &[partition(0)]).await;
    let written = write(&*sink, &partition(0), 0, &["{}", r#"{"x":null}"#]).await;
    assert_eq!(written.rejected.len(), 2);
    assert!(written.rejected[0].error.to_string().contains("delta.schema"), "{written:?}");
    publish(&*sink, &[(&partition(0), 0..2)]).await;
    assert!(crate::table(&lake.url("t")).await.is_none());
}
