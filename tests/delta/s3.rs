//! Keys, compaction and vacuum on S3: other calls than on files for putting, listing and deleting.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::lake::Lake;
use crate::readers::{Seen, read};
use crate::sorted;
use crate::support::{S3, services, unique, wait_until};

/// A Delta table may be moved: readers get a copy.
fn copy_of(s3: &S3, bucket: &str, table: &str) -> Seen {
    let directory = tempfile::tempdir().unwrap();
    for (key, body) in s3.objects(bucket) {
        let path = directory.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }
    read(&directory.path().join(table))
}

fn data_files(s3: &S3, bucket: &str) -> usize {
    s3.keys(bucket).iter().filter(|key| key.ends_with(".parquet") && !key.contains("_delta_log")).count()
}

fn keeps_rows_by_key_and_cleans_up(s3: &S3) {
    let bucket = unique("lake");
    s3.create_bucket(&bucket);
    let lake = Lake::on_s3(s3, &bucket);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let keys = vec![
        ("delta.mode", "upsert"),
        ("delta.key.columns", "id"),
        ("delta.schema", "id long, place string, v long"),
        ("delta.partition.columns", "place"),
    ];
    let place = |id: i64| ["a/b", "100 %"][id as usize % 2];
    runtime.block_on(async {
        let mut task = lake.open("up", "t", &keys).await;
        for v in 0..6 {
            let rows: Vec<_> =
                (v * 5..v * 5 + 10).map(|id| json!({"id": id, "place": place(id), "v": v})).collect();
            task.write(&rows).await;
            task.publish().await;
        }
        task.write_keyed(&[(Some(json!(7)), None)]).await;
        task.publish().await;
        task.close().await;
    });
    let expected: Vec<_> = (0..35)
        .filter(|&id| id != 7)
        .map(|id| json!({"id": id, "place": place(id), "v": (id / 5).min(5)}))
        .collect();
    assert_eq!(copy_of(s3, &bucket, "t").rows(), sorted(expected.clone()));
    assert!(data_files(s3, &bucket) > 10);

    let mut keys = keys;
    keys.extend([
        ("delta.optimize.interval.ms", "100"),
        ("delta.vacuum.retention.ms", "0"),
        ("delta.vacuum.retention.unsafe", "true"),
    ]);
    let task = runtime.block_on(lake.open("up", "t", &keys));
    wait_until(Duration::from_secs(60), "a file a partition is left", || {
        (data_files(s3, &bucket) == 2).then_some(())
    });
    runtime.block_on(task.close());
    let seen = copy_of(s3, &bucket, "t");
    assert_eq!(seen.rows(), sorted(expected));
    assert_eq!(seen.files.len(), 2);
}

#[test]
fn a_service_that_checks_signatures_has_the_same_tables() {
    keeps_rows_by_key_and_cleans_up(&services().s3);
}

#[test]
fn moto_has_the_same_tables() {
    keeps_rows_by_key_and_cleans_up(&services().moto);
}
