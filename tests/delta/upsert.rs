//! One row a key: the last one stays, a tombstone deletes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lake::{Lake, Task};
use crate::readers::{foreign, read};
use crate::sorted;

const UPSERT: [(&str, &str); 3] =
    [("delta.mode", "upsert"), ("delta.key.columns", "id"), ("delta.schema", "id long, name string, v long")];

fn row(id: i64, name: &str, v: i64) -> Value {
    json!({"id": id, "name": name, "v": v})
}

/// A record whose key is what JSON makes of `id`.
fn put(id: i64, name: &str, v: i64) -> (Option<Value>, Option<Value>) {
    (Some(json!(id)), Some(row(id, name, v)))
}

fn delete(id: i64) -> (Option<Value>, Option<Value>) {
    (Some(json!(id)), None)
}

#[tokio::test]
async fn the_last_row_of_a_key_stays_within_and_across_batches_and_commits() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    task.write(&[row(1, "a", 1), row(2, "b", 1), row(1, "a", 2)]).await;
    task.write(&[row(2, "b", 2), row(3, "c", 1)]).await;
    task.publish().await;
    assert_eq!(read(&lake.path("t")).rows(), sorted(vec![row(1, "a", 2), row(2, "b", 2), row(3, "c", 1)]));
    task.write(&[row(3, "c", 9), row(4, "d", 1)]).await;
    task.publish().await;
    let seen = read(&lake.path("t"));
    assert_eq!(seen.rows(), sorted(vec![row(1, "a", 2), row(2, "b", 2), row(3, "c", 9), row(4, "d", 1)]));
    assert_eq!(seen.operations[0].as_deref(), Some("MERGE"));
}

#[tokio::test]
async fn a_tombstone_deletes_and_a_later_row_brings_the_key_back() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    task.write_keyed(&[put(1, "a", 1), put(2, "b", 1), put(3, "c", 1), delete(3), delete(77)]).await;
    task.publish().await;
    assert_eq!(read(&lake.path("t")).numbers("id"), [1, 2]);
    task.write_keyed(&[delete(1), delete(2), put(2, "again", 2)]).await;
    task.publish().await;
    assert_eq!(read(&lake.path("t")).rows(), [row(2, "again", 2)]);
    task.write_keyed(&[delete(2)]).await;
    task.publish().await;
    let seen = read(&lake.path("t"));
    assert!(seen.rows().is_empty() && seen.files.is_empty(), "a file without rows goes: {:?}", seen.files);
}

#[tokio::test]
async fn a_record_without_its_key_is_rejected_and_the_others_are_written() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    let records = [put(1, "a", 1), (None, Some(json!({"id": null, "v": 1}))), (None, None)];
    let rejected = task.write_keyed(&records).await;
    let rows: Vec<_> = rejected.iter().map(|rejection| rejection.row).collect();
    assert_eq!(rows, [1, 2], "{rejected:?}");
    task.publish().await;
    assert_eq!(read(&lake.path("t")).numbers("id"), [1]);
}

#[tokio::test]
async fn a_new_column_comes_with_the_row_that_has_it() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    task.write(&[row(1, "a", 1), row(2, "a", 1)]).await;
    task.publish().await;
    task.write(&[json!({"id": 2, "name": "b", "v": 2, "extra": [1.5]})]).await;
    task.publish().await;
    let expected = vec![
        json!({"id": 1, "name": "a", "v": 1, "extra": null}),
        json!({"id": 2, "name": "b", "v": 2, "extra": [1.5]}),
    ];
    assert_eq!(read(&lake.path("t")).rows(), sorted(expected));
}

#[tokio::test]
async fn a_table_without_its_key_column_is_refused_before_it_is_made() {
    let lake = Lake::new();
    let keys = [("delta.mode", "upsert"), ("delta.key.columns", "id")];
    let mut task = lake.open("up", "t", &keys).await;
    let error = task.try_write(&[(None, Some(json!({"idd": 1, "v": 1})))]).await.unwrap_err();
    assert_eq!(error.code, "delta.key_column", "{error}");
    assert!(error.message.contains("`id`") && error.hint.contains("idd"), "{error}");
    assert!(!lake.path("t").join("_delta_log").exists());
}

#[tokio::test]
async fn files_without_a_touched_key_stay_as_they_are() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    for start in [0, 100, 200] {
        task.write(&(start..start + 100).map(|id| row(id, "x", 0)).collect::<Vec<_>>()).await;
        task.publish().await;
    }
    let paths = |seen: &crate::readers::Seen| {
        let mut paths: Vec<_> =
            seen.files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
        paths.sort();
        paths
    };
    let before = read(&lake.path("t"));
    task.write(&[row(150, "y", 1)]).await;
    task.publish().await;
    let after = read(&lake.path("t"));
    assert_eq!(after.numbers("id"), (0..300).collect::<Vec<_>>());
    let stayed = paths(&before).into_iter().filter(|path| paths(&after).contains(path)).count();
    assert_eq!(stayed, 2, "only the file with 150 is written again");
}

#[tokio::test]
async fn a_row_may_move_to_another_partition() {
    let lake = Lake::new();
    let mut keys = UPSERT.to_vec();
    keys.push(("delta.partition.columns", "name"));
    let mut task = lake.open("up", "t", &keys).await;
    task.write(&[row(1, "here", 1), row(2, "here", 1)]).await;
    task.publish().await;
    task.write(&[row(1, "there", 2)]).await;
    task.publish().await;
    assert_eq!(read(&lake.path("t")).rows(), sorted(vec![row(1, "there", 2), row(2, "here", 1)]));
}

/// Numbers that look random and are the same in each run.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[tokio::test]
async fn many_random_changes_leave_what_a_map_has() {
    let lake = Lake::new();
    let mut keys = UPSERT.to_vec();
    keys.push(("delta.partition.columns", "name"));
    let mut task = lake.open("up", "t", &keys).await;
    let (mut model, mut state) = (BTreeMap::new(), 42);
    for commit in 0..25 {
        for _ in 0..=random(&mut state, 3) {
            let mut records = Vec::new();
            for _ in 0..random(&mut state, 60) {
                let id = random(&mut state, 200) as i64;
                if random(&mut state, 4) == 0 {
                    model.remove(&id);
                    records.push(delete(id));
                } else {
                    let name = ["a", "b", "c"][random(&mut state, 3) as usize];
                    let v = random(&mut state, 1_000_000) as i64;
                    model.insert(id, row(id, name, v));
                    records.push(put(id, name, v));
                }
            }
            assert!(task.write_keyed(&records).await.is_empty());
        }
        task.publish().await;
        if commit % 12 == 0 {
            assert_eq!(
                read(&lake.path("t")).rows(),
                sorted(model.values().cloned().collect()),
                "commit {commit}"
            );
        }
    }
    assert_eq!(read(&lake.path("t")).rows(), sorted(model.into_values().collect()));
}

#[tokio::test]
async fn what_another_writer_does_between_flush_and_commit_is_taken_into_account() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    for id in 0..4 {
        task.write(&[row(id, "old", 0)]).await;
        task.publish().await;
    }
    task.write(&[row(1, "new", 1), row(9, "new", 1)]).await;
    let staged = task.flush().await;
    // The file with 1 is gone, its rows are in another one, and 9 is there already.
    foreign(&lake.path("t"), &["optimize"]);
    foreign(&lake.path("t"), &["append", &json!([row(9, "theirs", 0), row(10, "theirs", 0)]).to_string()]);
    task.sink.commit(&staged).await.unwrap();
    let expected =
        [(0, "old", 0), (1, "new", 1), (2, "old", 0), (3, "old", 0), (9, "new", 1), (10, "theirs", 0)];
    let expected = expected.map(|(id, name, v)| row(id, name, v)).to_vec();
    assert_eq!(read(&lake.path("t")).rows(), sorted(expected.clone()));
    task.sink.commit(&staged).await.unwrap();
    assert_eq!(read(&lake.path("t")).rows(), sorted(expected), "a repeated commit changes nothing");
}

#[tokio::test]
async fn a_foreign_delete_between_flush_and_commit_stays_deleted() {
    let lake = Lake::new();
    let mut task = lake.open("up", "t", &UPSERT).await;
    task.write(&[row(1, "a", 1), row(2, "b", 1), row(3, "c", 1)]).await;
    task.publish().await;
    task.write(&[row(1, "a", 2)]).await;
    let staged = task.flush().await;
    foreign(&lake.path("t"), &["delete", "id = 2"]);
    task.sink.commit(&staged).await.unwrap();
    assert_eq!(read(&lake.path("t")).rows(), sorted(vec![row(1, "a", 2), row(3, "c", 1)]));
}

async fn upserts(mut task: Task, name: &'static str) {
    for v in 0..12 {
        task.write(&(0..20).map(|id| row(id, name, v)).collect::<Vec<_>>()).await;
        task.publish().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connectors_that_write_the_same_keys_at_once_leave_one_row_a_key() {
    let lake = Lake::new();
    let (left, right) = (lake.open("left", "t", &UPSERT).await, lake.open("right", "t", &UPSERT).await);
    let left = tokio::spawn(upserts(left, "left"));
    let right = tokio::spawn(upserts(right, "right"));
    left.await.unwrap();
    right.await.unwrap();
    let seen = read(&lake.path("t"));
    assert_eq!(seen.numbers("id"), (0..20).collect::<Vec<_>>());
    assert!(seen.rows().iter().all(|row| row["v"] == 11), "the last row of each connector came last");
    assert_eq!(seen.operations.iter().flatten().filter(|name| *name == "MERGE").count(), 24);
}
