//! The sink as the host sees it, on tables in a directory, in memory and in S3.

mod appends;
mod conformance;
mod evolution;
mod inventory;
mod refusals;
mod service;
mod writers;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use connector_aws::access::Access;
use connector_aws::store::{self, Location};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::{
    Batch, ConfigMap, FlushRange, Form, Offset, Resume, Sink, TaskInfo, TopicPartition, Written, testing,
};
use deltalake::kernel::Action;
use futures::TryStreamExt;
use serde_json::Value;
use sink_delta::read;
use sink_delta::table::Table;

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("orders", number)
}

/// A sink of the connector `c`.
pub fn sink(url: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    named("c", url, keys)
}

pub fn named(connector: &str, url: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let mut map: ConfigMap = testing::config(&[("delta.table.path", url)]);
    map.extend(testing::config(keys));
    let component = sink_delta::component();
    let config = component.check(&map).unwrap();
    let task = TaskInfo { connector: connector.to_owned(), ..TaskInfo::default() };
    component.create_sink(&config, &task).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub async fn open(sink: &dyn Sink, partitions: &[TopicPartition]) -> Resume {
    let assigned: Vec<_> = partitions.iter().cloned().map(Into::into).collect();
    sink.open(&assigned).await.unwrap()
}

/// JSON documents from `start`.
pub fn documents(tp: &TopicPartition, start: Offset, values: &[Option<&str>]) -> Batch {
    let offsets: Vec<Offset> = (start..).take(values.len()).collect();
    let records = EnvelopeBuilder::new()
        .offsets(offsets.into())
        .value(Form::Document, Arc::new(StringArray::from(values.to_vec())))
        .build()
        .unwrap();
    Batch::new(tp.clone(), records)
}

/// Typed records from `start`: a struct column.
pub fn typed(tp: &TopicPartition, start: Offset, values: ArrayRef) -> Batch {
    let offsets: Vec<Offset> = (start..).take(values.len()).collect();
    let records =
        EnvelopeBuilder::new().offsets(offsets.into()).value(Form::Columns, values).build().unwrap();
    Batch::new(tp.clone(), records)
}

pub async fn write(sink: &dyn Sink, tp: &TopicPartition, start: Offset, values: &[&str]) -> Written {
    let values: Vec<_> = values.iter().copied().map(Some).collect();
    sink.write(documents(tp, start, &values)).await.unwrap()
}

pub async fn publish(sink: &dyn Sink, ranges: &[(&TopicPartition, std::ops::Range<Offset>)]) {
    let ranges: Vec<_> =
        ranges.iter().map(|(tp, offsets)| FlushRange::new((*tp).clone(), offsets.clone())).collect();
    let staged = sink.flush(&ranges).await.unwrap();
    sink.commit(&staged).await.unwrap();
}

pub async fn location(url: &str) -> Location {
    store::open(&store::parse(url).unwrap(), &Access::default()).await.unwrap()
}

pub async fn table(url: &str) -> Option<Table> {
    Table::load(&location(url).await).await.unwrap()
}

/// All rows of the newest version.
pub async fn rows(table: &Table) -> Vec<RecordBatch> {
    let head = table.refresh().await.unwrap();
    let mut rows = Vec::new();
    for file in table.files(&head).await.unwrap() {
        let file: Vec<_> = read::rows(table, &head, &file, None).await.unwrap().try_collect().await.unwrap();
        rows.extend(file);
    }
    rows
}

/// The values of an integer column, ascending.
pub async fn integers(table: &Table, column: &str) -> Vec<i64> {
    let mut all = Vec::new();
    for rows in rows(table).await {
        let column = rows.column_by_name(column).unwrap();
        match column.as_primitive_opt::<Int64Type>() {
            Some(longs) => all.extend(longs.iter().flatten()),
            None => all.extend(column.as_primitive::<Int32Type>().iter().flatten().map(i64::from)),
        }
    }
    all.sort_unstable();
    all
}

pub fn strings(rows: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    let columns = rows.iter().map(|rows| rows.column_by_name(column).unwrap().as_string::<i32>().clone());
    columns.flat_map(|c| c.iter().map(|v| v.map(str::to_owned)).collect::<Vec<_>>()).collect()
}

/// Column names and types as the table's DDL.
pub fn ddl(table: &Table) -> Vec<String> {
    table.head().delta_schema.fields().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
}

/// What we noted in a version.
pub async fn noted(table: &Table, version: u64) -> Value {
    let actions = table.entry(version).await.unwrap().unwrap();
    let info = actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.get("sidestream").cloned(),
        _ => None,
    });
    info.unwrap_or_default()
}

/// A directory for one test's tables.
pub struct Lake(tempfile::TempDir);

impl Lake {
    pub fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn url(&self, table: &str) -> String {
        format!("file://{}/{table}", self.0.path().display())
    }

    pub fn path(&self, table: &str) -> std::path::PathBuf {
        self.0.path().join(table)
    }
}
