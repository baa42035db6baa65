use connector_core::testing::{self, SinkCase};
use connector_core::{Form, Offset, TopicPartition};
use object_store::ObjectStore;

use crate::all;

async fn positions(store: &dyn ObjectStore) -> Vec<(TopicPartition, Offset)> {
    let bodies = all(store).await.into_values();
    bodies
        .flat_map(|body| body.split(|&b| b == b'\n').filter_map(testing::position_of).collect::<Vec<_>>())
        .collect()
}

async fn conforms(name: &'static str, keys: &[(&str, &str)]) {
    testing::sink::run_both(&case(name, keys)).await;
}

fn case(name: &'static str, keys: &[(&str, &str)]) -> SinkCase {
    let url = format!("memory://{name}");
    let mut config = testing::config(&[("s3.bucket.name", "b"), ("store.url", &url)]);
    config.extend(testing::config(keys));
    SinkCase::new(sink_s3::component(), config, move || async move {
        positions(&*sink_s3::memory_store(name, "b")).await
    })
}

#[tokio::test]
async fn json_conforms() {
    conforms("conformance-json", &[("flush.size", "3")]).await;
}

#[tokio::test]
async fn one_object_a_record_conforms() {
    conforms("conformance-one", &[("flush.size", "1"), ("behavior.on.null.values", "ignore")]).await;
}

#[tokio::test]
async fn several_directories_and_keys_conform() {
    let keys = [
        ("flush.size", "5"),
        ("partitioner.class", "time"),
        ("path.format", "mm/ss"),
        ("partition.duration.ms", "2000"),
        ("timezone", "UTC"),
        ("timestamp.extractor", "Record"),
        ("rotate.interval.ms", "7000"),
        ("rotate.file.on.partition.change", "false"),
        ("store.kafka.keys", "true"),
        ("keys.format.class", "json"),
        ("behavior.on.null.values", "write"),
    ];
    conforms("conformance-time", &keys).await;
    let keys = [&keys[1..], &[("flush.size", "100"), ("rotate.file.on.partition.change", "true")]].concat();
    conforms("conformance-change", &keys).await;
}

#[tokio::test]
async fn directories_by_field_conform() {
    let keys = [("flush.size", "6"), ("partitioner.class", "field"), ("partition.field.name", "offset")];
    conforms("conformance-field", &keys).await;
    let keys = [&keys[..], &[("partitioner.max.open.files", "4")]].concat();
    conforms("conformance-files", &keys).await;
}

#[tokio::test]
async fn bytes_with_a_schedule_conform() {
    let keys = [
        ("flush.size", "100"),
        ("format.class", "bytearray"),
        ("rotate.schedule.interval.ms", "60000"),
        ("timezone", "UTC"),
    ];
    testing::sink::run_both(&case("conformance-bytes", &keys).form(Form::Bytes)).await;
}

#[tokio::test]
async fn a_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let config = testing::config(&[("s3.bucket.name", "b"), ("store.url", &url), ("flush.size", "4")]);
    let root = directory.path().join("b");
    let case = SinkCase::new(sink_s3::component(), config, move || {
        let root = root.clone();
        async move {
            match object_store::local::LocalFileSystem::new_with_prefix(root) {
                Ok(store) => positions(&store).await,
                Err(_) => Vec::new(),
            }
        }
    });
    testing::sink::run_both(&case).await;
}
