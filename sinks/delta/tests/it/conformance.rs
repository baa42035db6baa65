use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use connector_core::testing::{self, SinkCase};
use connector_core::{Form, Offset, TopicPartition};

use crate::{Lake, rows, strings, table};

/// The rows that a reader sees.
async fn positions(url: &str) -> Vec<(TopicPartition, Offset)> {
    let Some(table) = table(url).await else { return Vec::new() };
    let rows = rows(&table).await;
    let numbers = |column: &str| -> Vec<i64> {
        let columns = rows.iter().map(|rows| rows.column_by_name(column).unwrap());
        columns.flat_map(|c| c.as_primitive::<Int64Type>().values().to_vec()).collect()
    };
    let topics = strings(&rows, "topic");
    let places = topics.into_iter().zip(numbers("partition")).zip(numbers("offset"));
    places
        .map(|((topic, partition), offset)| {
            (TopicPartition::new(topic.unwrap(), i32::try_from(partition).unwrap()), offset)
        })
        .collect()
}

async fn conforms(keys: &[(&str, &str)]) {
    let lake = Lake::empty();
    let url = lake.url("t");
    let mut config = testing::config(&[("delta.table.path", &url)]);
    config.extend(testing::config(keys));
    let case = SinkCase::new(sink_delta::component(), config, move || {
        let url = url.clone();
        async move { positions(&url).await }
    });
    testing::sink::run_both(&case.form(Form::Document)).await;
}

#[tokio::test]
async fn a_table_in_a_directory_conforms() {
    conforms(&[("flush.size", "3")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_checkpoint_after_each_commit_it_conforms() {
    conforms(&[
        ("flush.size", "100"),
        ("delta.checkpointInterval", "1"),
        ("behavior.on.null.values", "ignore"),
    ])
    .await;
}

#[tokio::test]
async fn cuts_by_bytes_and_partitions_conform() {
    let schema = "topic string, partition long, offset long";
    conforms(&[
        ("flush.bytes", "70"),
        ("delta.schema", schema),
        ("delta.partition.columns", "partition,topic"),
    ])
    .await;
}

#[tokio::test]
async fn a_table_without_repetitions_conforms() {
    conforms(&[("flush.size", "4"), ("delta.dedup.keys", "topic,partition,offset")]).await;
}

#[tokio::test]
async fn upserts_conform() {
    let keys = [("delta.mode", "upsert"), ("delta.key.columns", "topic,partition,offset")];
    conforms(&keys).await;
}
