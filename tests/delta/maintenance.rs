//! Compaction and vacuum beside the writing.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lake::Lake;
use crate::readers::{foreign, read, read_version};

const SOON: Duration = Duration::from_secs(60);

fn rows(start: i64, count: i64) -> Vec<Value> {
    (start..start + count).map(|id| json!({"id": id, "text": format!("row {id}")})).collect()
}

/// The names of the operations in the log, oldest first, as they are in the files.
fn operations(table: &Path) -> Vec<String> {
    let mut entries: Vec<_> = std::fs::read_dir(table.join("_delta_log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    entries.sort();
    let operation = |text: String| {
        text.lines().find_map(|line| {
            let action: Value = serde_json::from_str(line).ok()?;
            Some(action["commitInfo"]["operation"].as_str()?.to_owned())
        })
    };
    entries.into_iter().filter_map(|path| operation(std::fs::read_to_string(path).ok()?)).collect()
}

fn data_files(table: &Path) -> usize {
    let parquet = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    std::fs::read_dir(table).unwrap().filter(|entry| parquet(&entry.as_ref().unwrap().path())).count()
}

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_become_one_and_no_row_changes() {
    let lake = Lake::new();
    let table = lake.path("t");
    let mut plain = lake.open("c", "t", &[]).await;
    for commit in 0..12 {
        plain.write(&rows(commit * 10, 10)).await;
        plain.publish().await;
    }
    plain.close().await;
    let before = read(&table);
    assert_eq!(before.files.len(), 12);

    let task = lake.open("c", "t", &[("delta.optimize.interval.ms", "100")]).await;
    wait_for("an OPTIMIZE in the log", || operations(&table).contains(&"OPTIMIZE".to_owned())).await;
    task.close().await;
    let after = read(&table);
    assert_eq!(after.rows(), before.rows());
    assert_eq!(after.files.len(), 1);
    assert_eq!(read_version(&table, before.version).rows(), before.rows(), "older versions stay readable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_changes_no_data_for_those_who_follow_the_log() {
    let lake = Lake::new();
    let table = lake.path("t");
    let mut task = lake.open("c", "t", &[("delta.optimize.interval.ms", "50")]).await;
    for commit in 0..4 {
        task.write(&rows(commit * 10, 10)).await;
        task.publish().await;
    }
    wait_for("an OPTIMIZE in the log", || operations(&table).contains(&"OPTIMIZE".to_owned())).await;
    task.close().await;
    let entries = std::fs::read_dir(table.join("_delta_log")).unwrap();
    let mut changes = 0;
    for path in entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
    {
        let text = std::fs::read_to_string(path).unwrap();
        let actions: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if actions.iter().any(|action| action["commitInfo"]["operation"] == "OPTIMIZE") {
            for action in
                actions.iter().flat_map(|action| [&action["add"], &action["remove"]]).filter(|a| !a.is_null())
            {
                assert_eq!(action["dataChange"], false);
                changes += 1;
            }
        }
    }
    assert!(changes >= 3, "two files at least became one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_goes_on_beside_compaction_and_nothing_is_lost_or_doubled() {
    let lake = Lake::new();
    let table = lake.path("t");
    let keys = [("delta.optimize.interval.ms", "20"), ("delta.mode", "upsert"), ("delta.key.columns", "id")];
    let mut task = lake.open("c", "t", &keys).await;
    for commit in 0..40 {
        // Half of the rows are changed again by the next commit, so that both sides want the same files.
        task.write(&rows(commit * 10, 20)).await;
        task.publish().await;
    }
    wait_for("an OPTIMIZE in the log", || operations(&table).contains(&"OPTIMIZE".to_owned())).await;
    task.close().await;
    assert_eq!(read(&table).numbers("id"), (0..410).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_compacted_each_by_itself() {
    let lake = Lake::new();
    let keys = [("delta.partition.columns", "p"), ("delta.schema", "p string, id long")];
    let mut task = lake.open("c", "t", &keys).await;
    for id in 0..6 {
        task.write(&[json!({"p": "x y", "id": id}), json!({"p": null, "id": id + 100})]).await;
        task.publish().await;
    }
    task.close().await;
    let mut keys = keys.to_vec();
    keys.push(("delta.optimize.interval.ms", "100"));
    let task = lake.open("c", "t", &keys).await;
    wait_for("an OPTIMIZE in the log", || operations(&lake.path("t")).contains(&"OPTIMIZE".to_owned())).await;
    task.close().await;
    let seen = read(&lake.path("t"));
    assert_eq!(seen.files.len(), 2);
    assert_eq!(seen.numbers("id"), (0..6).chain(100..106).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_removes_what_the_table_no_longer_has_and_only_that() {
    let lake = Lake::new();
    let table = lake.path("t");
    let mut task = lake.open("c", "t", &[]).await;
    for commit in 0..5 {
        task.write(&rows(commit * 10, 10)).await;
        task.publish().await;
    }
    task.close().await;
    foreign(&table, &["optimize"]);
    assert_eq!(data_files(&table), 6);

    // Seven days are not over for any file.
    let task = lake.open("c", "t", &[("delta.optimize.interval.ms", "50")]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    task.close().await;
    assert_eq!(data_files(&table), 6);

    let keys = [
        ("delta.optimize.interval.ms", "50"),
        ("delta.vacuum.retention.ms", "0"),
        ("delta.vacuum.retention.unsafe", "true"),
    ];
    let task = lake.open("c", "t", &keys).await;
    wait_for("only the live file is left", || data_files(&table) == 1).await;
    wait_for("a VACUUM END in the log", || operations(&table).contains(&"VACUUM END".to_owned())).await;
    task.close().await;
    assert_eq!(read(&table).numbers("id"), (0..50).collect::<Vec<_>>());
}
