//! Objects that come while the connector runs.

use std::time::Duration;

use object_store::ObjectStoreExt;

use crate::{Read, Task, keys, lines, rows, write};

const FOLLOW: &[(&str, &str)] = &[("objects.follow", "true"), ("objects.poll.interval.ms", "30")];

/// Polls until `count` rows are there.
async fn read_to(task: &mut Task, count: usize) -> Read {
    let mut read = Read::default();
    while read.rows.len() < count {
        read.add(task.poll(100).await.unwrap().expect("a follower has no end"));
    }
    read
}

#[tokio::test]
async fn new_objects_are_found_wherever_their_names_fall_and_none_is_read_twice() {
    let folder = tempfile::tempdir().unwrap();
    let glob = format!("{}/later/*/*.json", folder.path().display());
    let mut task = Task::open(&keys(&glob, FOLLOW), Vec::new()).await;
    assert!(!task.source.bounded());
    let quiet = tokio::time::timeout(Duration::from_millis(200), task.poll(10)).await;
    assert!(quiet.is_err(), "a folder that is not there yet is waited for");
    write(folder.path(), "later/x/m.json", lines(0..2));
    assert_eq!(read_to(&mut task, 2).await.rows, rows(0..2));
    write(folder.path(), "later/x/a.json", lines(2..3));
    assert_eq!(read_to(&mut task, 1).await.rows, rows(2..3));
    write(folder.path(), "later/w/z.json", lines(3..4));
    assert_eq!(read_to(&mut task, 1).await.rows, rows(3..4));
    let quiet = tokio::time::timeout(Duration::from_millis(200), task.poll(10)).await;
    assert!(quiet.is_err(), "nothing is read again");
}

#[tokio::test]
async fn an_object_that_is_deleted_before_its_turn_is_rejected_by_name_and_read_when_it_comes_again() {
    let store = connector_aws::store::memory("deleted");
    let put = async |name: &str, text: String| {
        store.put(&name.into(), text.into_bytes().into()).await.unwrap();
    };
    // The second one is large, so it is not fetched ahead; the third waits behind it.
    put("1.json", lines(0..1)).await;
    let long = format!("{}{}", lines(1..2), "\n".repeat(5 << 20));
    put("2.json", long.clone()).await;
    put("3.json", long).await;
    let mut more = FOLLOW.to_vec();
    more.push(("objects.concurrent.reads", "1"));
    let mut task = Task::open(&keys("memory://deleted/*.json", &more), Vec::new()).await;
    let first = task.poll(1).await.unwrap().unwrap();
    assert_eq!(first.runs[0].records.num_rows(), 1);
    // The pass fills its channel with pieces of the second and waits; the third is listed and not opened.
    store.delete(&"3.json".into()).await.unwrap();
    let mut read = Read::default();
    while read.rejected.is_empty() {
        read.add(task.poll(100).await.unwrap().unwrap());
    }
    let message = "memory://deleted/3.json: the object was deleted after it had been listed";
    assert_eq!(read.refusals(), [("objects.gone", message)]);
    put("3.json", lines(5..6)).await;
    assert_eq!(read_to(&mut task, 1).await.rows, rows(5..6));
}
