//! `delta.dedup.keys`: the first row of a key stays.

use serde_json::{Value, json};

use crate::lake::{Lake, Task};
use crate::readers::{foreign, read};
use crate::sorted;

const DEDUP: [(&str, &str); 2] = [("delta.dedup.keys", "ind"), ("delta.schema", "ind long, text string")];

fn row(ind: i64, text: &str) -> Value {
    json!({"ind": ind, "text": text})
}

#[tokio::test]
async fn the_first_row_of_a_key_stays_within_a_batch_across_batches_and_against_the_table() {
    let lake = Lake::new();
    let mut task = lake.open("pins", "t", &DEDUP).await;
    task.write(&[row(1, "first"), row(1, "second"), row(2, "first")]).await;
    task.write(&[row(2, "second"), row(3, "first")]).await;
    task.publish().await;
    task.write(&[row(3, "later"), row(4, "first"), row(1, "later"), row(4, "second")]).await;
    task.publish().await;
    let first = (1..=4).map(|ind| row(ind, "first")).collect();
    assert_eq!(read(&lake.path("t")).rows(), sorted(first));
}

#[tokio::test]
async fn a_task_that_starts_again_knows_what_the_table_has() {
    let lake = Lake::new();
    let mut task = lake.open("pins", "t", &DEDUP).await;
    task.write(&(0..100).map(|ind| row(ind, "first")).collect::<Vec<_>>()).await;
    task.publish().await;
    task.close().await;
    let mut task = lake.open("pins", "t", &DEDUP).await;
    assert_eq!(task.resume[&task.partition], 100);
    task.write(&(50..150).map(|ind| row(ind, "again")).collect::<Vec<_>>()).await;
    task.publish().await;
    let seen = read(&lake.path("t"));
    assert_eq!(seen.numbers("ind"), (0..150).collect::<Vec<_>>());
    assert_eq!(seen.rows().iter().filter(|row| row["text"] == "first").count(), 100);
}

#[tokio::test]
async fn a_range_of_nothing_but_repetitions_moves_the_position_and_adds_no_file() {
    let lake = Lake::new();
    let mut task = lake.open("pins", "t", &DEDUP).await;
    task.write(&[row(1, "first")]).await;
    task.publish().await;
    task.write(&[row(1, "second"), row(1, "third")]).await;
    task.publish().await;
    task.close().await;
    let task = lake.open("pins", "t", &DEDUP).await;
    assert_eq!(task.resume[&task.partition], 3);
    let seen = read(&lake.path("t"));
    assert_eq!((seen.rows(), seen.files.len()), (vec![row(1, "first")], 1));
}

#[tokio::test]
async fn a_key_that_another_writer_adds_between_flush_and_commit_is_not_added_again() {
    let lake = Lake::new();
    let mut task = lake.open("pins", "t", &DEDUP).await;
    task.write(&[row(1, "ours"), row(2, "ours")]).await;
    let staged = task.flush().await;
    task.sink.commit(&staged).await.unwrap();
    task.write(&[row(3, "ours"), row(4, "ours")]).await;
    let staged = task.flush().await;
    foreign(&lake.path("t"), &["append", &json!([row(4, "theirs"), row(5, "theirs")]).to_string()]);
    task.sink.commit(&staged).await.unwrap();
    let expected = [(1, "ours"), (2, "ours"), (3, "ours"), (4, "theirs"), (5, "theirs")];
    assert_eq!(read(&lake.path("t")).rows(), sorted(expected.map(|(ind, text)| row(ind, text)).to_vec()));
}

async fn append(mut task: Task, name: &'static str) {
    for start in 0..10 {
        task.write(&(start * 10..start * 10 + 20).map(|ind| row(ind, name)).collect::<Vec<_>>()).await;
        task.publish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connectors_with_the_same_rows_at_once_leave_each_key_once() {
    let lake = Lake::new();
    let (left, right) = (lake.open("left", "t", &DEDUP).await, lake.open("right", "t", &DEDUP).await);
    let (left, right) = (tokio::spawn(append(left, "left")), tokio::spawn(append(right, "right")));
    left.await.unwrap();
    right.await.unwrap();
    assert_eq!(read(&lake.path("t")).numbers("ind"), (0..110).collect::<Vec<_>>());
}
