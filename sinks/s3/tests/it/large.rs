//! Objects of more than one part.

use std::sync::Arc;

use connector_core::{Batch, ConfigMap, Form, Sink, TaskInfo, testing};
use object_store::ObjectStore;

use crate::{all, flush_range, partition, publish};

const PART: usize = 1000;

/// A sink with parts far smaller than S3 would take.
fn small_parts(url: &str, keys: &[(&str, &str)]) -> Arc<dyn Sink> {
    let mut map: ConfigMap = testing::config(&[("s3.bucket.name", "b"), ("store.url", url)]);
    map.extend(testing::config(keys));
    let component = sink_s3::component();
    let mut config = component.check(&map).unwrap();
    config["s3.part.size"] = PART.into();
    component.create_sink(&config, &TaskInfo::default()).unwrap()
}

fn records(offsets: std::ops::Range<i64>) -> Batch {
    Batch::new(partition(0), testing::records(Form::Document, &partition(0), offsets))
}

fn lines(offsets: std::ops::Range<i64>) -> String {
    offsets.map(|o| format!("{{\"topic\":\"orders\",\"partition\":0,\"offset\":{o}}}\n")).collect()
}

async fn one_object(store: &dyn ObjectStore) -> Vec<u8> {
    let mut objects: Vec<_> = all(store).await.into_iter().collect();
    assert_eq!(objects.len(), 1, "{:?}", objects.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let (key, body) = objects.remove(0);
    assert!(key.starts_with("topics/orders/partition=0/orders+0+0000000000.json"), "{key}");
    body
}

#[tokio::test]
async fn parts_leave_memory_while_the_file_grows() {
    let sink = small_parts("memory://large", &[("flush.size", "100000")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    let mut spilled = 0;
    for start in (0..500).step_by(50) {
        spilled += sink.write(records(start..start + 50)).await.unwrap().spilled_bytes;
        tokio::task::yield_now().await;
    }
    let size = lines(0..500).len() as u64;
    assert!(spilled > size / 2 && spilled <= size, "{spilled} of {size}");
    let store = sink_s3::memory_store("large", "b");
    assert!(all(&*store).await.is_empty(), "nothing is visible before the commit");
    publish(&*sink, 0..500).await;
    assert_eq!(one_object(&*store).await, lines(0..500).into_bytes());
    let rest = sink.write(records(500..501)).await.unwrap().spilled_bytes;
    assert!(spilled + rest <= size, "what was spilled is counted once");
}

#[tokio::test]
async fn an_object_of_exactly_one_part_is_put_whole() {
    for (name, count, parts) in [("whole", 10, false), ("parted", 11, true)] {
        let values: Vec<String> = (0..count).map(|n| format!("\"{n:0>97}\"")).collect();
        let values: Vec<_> = values.iter().map(|v| Some(v.as_str())).collect();
        let sink = small_parts(&format!("memory://{name}"), &[("flush.size", &count.to_string())]);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(crate::documents(0, &values)).await.unwrap();
        let staged = sink.flush(&[flush_range(0..count)]).await.unwrap();
        let spilled = sink.write(crate::documents(count, &values[..1])).await.unwrap().spilled_bytes;
        assert_eq!(spilled > 0, parts, "{name}");
        sink.commit(&staged).await.unwrap();
        assert_eq!(one_object(&*sink_s3::memory_store(name, "b")).await.len(), 100 * count as usize);
    }
}

#[tokio::test]
async fn a_commit_can_be_repeated_and_an_existing_object_is_replaced() {
    let store = sink_s3::memory_store("large-again", "b");
    for _ in 0..2 {
        let sink = small_parts("memory://large-again", &[("flush.size", "100")]);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(records(0..100)).await.unwrap();
        let first = sink.flush(&[flush_range(0..100)]).await.unwrap();
        let second = sink.flush(&[flush_range(0..100)]).await.unwrap();
        sink.commit(&first).await.unwrap();
        sink.commit(&first).await.unwrap();
        sink.commit(&second).await.unwrap();
        assert_eq!(one_object(&*store).await, lines(0..100).into_bytes());
    }
}

#[tokio::test]
async fn with_a_schedule_an_existing_large_object_is_looked_at_first() {
    let keys = [("flush.size", "100"), ("rotate.schedule.interval.ms", "3600000"), ("timezone", "UTC")];
    let store = sink_s3::memory_store("large-look", "b");
    let mut tags = Vec::new();
    for _ in 0..2 {
        let sink = small_parts("memory://large-look", &keys);
        sink.open(&[partition(0).into()]).await.unwrap();
        sink.write(records(0..100)).await.unwrap();
        publish(&*sink, 0..100).await;
        let key =
            object_store::path::Path::parse("topics/orders/partition=0/orders+0+0000000000.json").unwrap();
        tags.push(object_store::ObjectStoreExt::head(&*store, &key).await.unwrap().e_tag);
    }
    assert_eq!(tags[0], tags[1]);
}

#[tokio::test]
async fn gzip_parts_make_one_stream() {
    let keys = [("flush.size", "3000"), ("s3.compression.type", "gzip"), ("s3.compression.level", "0")];
    let sink = small_parts("memory://large-gzip", &keys);
    sink.open(&[partition(0).into()]).await.unwrap();
    for start in (0..3000).step_by(100) {
        sink.write(records(start..start + 100)).await.unwrap();
    }
    publish(&*sink, 0..3000).await;
    let body = one_object(&*sink_s3::memory_store("large-gzip", "b")).await;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
    assert_eq!(text, lines(0..3000));
}

#[tokio::test]
async fn a_directory_takes_parts_and_keeps_none_of_an_aborted_upload() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let target = directory.path().join("b/topics/orders/partition=0");
    let sink = small_parts(&url, &[("flush.size", "200")]);
    sink.open(&[partition(0).into()]).await.unwrap();
    sink.write(records(0..300)).await.unwrap();
    publish(&*sink, 0..200).await;
    let file = target.join("orders+0+0000000000.json");
    assert_eq!(std::fs::read_to_string(file).unwrap(), lines(0..200));
    // 200..300 has parts on the disk, and is dropped.
    sink.close(&[partition(0)]).await.unwrap();
    let names: Vec<_> = std::fs::read_dir(target).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["orders+0+0000000000.json"]);
}
