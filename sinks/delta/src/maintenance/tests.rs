//! Compaction and vacuum of a table in memory, with an upsert that comes in between.

use std::time::Duration;

use super::compact::{Rewritten, commit, compact};
use super::vacuum::vacuum;
use crate::keyed::tests::{
    Row, data_files, elsewhere, found, layout, mark_deleted, owned, publish, put, table, upsert,
};
use crate::keyed::write;
use crate::table::Table;

const DAY: Duration = Duration::from_hours(24);

/// Three commits, a file each.
async fn three_files() -> Table {
    let table = table(&[]).await;
    for row in [(1, "a", 0), (2, "a", 0), (3, "a", 0)] {
        elsewhere(&table, &[row]).await;
    }
    table.refresh().await.unwrap();
    table
}

const ROWS: [Row; 3] = [(1, "a", 0), (2, "a", 0), (3, "a", 0)];

async fn live(table: &Table) -> usize {
    let head = table.refresh().await.unwrap();
    table.files(&head).await.unwrap().len()
}

#[tokio::test]
async fn small_files_become_one_and_a_second_run_finds_nothing_to_do() {
    let table = three_files().await;
    assert_eq!(compact(&table, &layout()).await.unwrap(), 3);
    assert_eq!((live(&table).await, found(&table).await), (1, owned(&ROWS)));
    assert_eq!(compact(&table, &layout()).await.unwrap(), 0);
}

#[tokio::test]
async fn partitions_stay_apart() {
    let table = table(&["name"]).await;
    for id in 0..3 {
        elsewhere(&table, &[(id, "a", 0), (id + 10, "b/ %", 0)]).await;
    }
    assert_eq!(compact(&table, &layout()).await.unwrap(), 6);
    assert_eq!(live(&table).await, 2);
    let rows = (0..3).flat_map(|id| [(id, "a", 0), (id + 10, "b/ %", 0)]).collect::<Vec<Row>>();
    let mut expected = owned(&rows);
    expected.sort();
    assert_eq!(found(&table).await, expected);
}

#[tokio::test]
async fn a_file_that_an_upsert_replaced_meanwhile_is_not_compacted_and_the_others_are() {
    let table = table(&["name"]).await;
    let keyed = upsert(&table);
    for id in 0..2 {
        publish(&keyed, &table, vec![put(&[(id, "a", 0), (id + 10, "b", 0)])], id).await;
    }
    let head = table.head();
    let files = table.files(&head).await.unwrap();
    let mut rewritten = Vec::new();
    for name in ["a", "b"] {
        let of = |file: &&deltalake::kernel::Add| file.partition_values["name"].as_deref() == Some(name);
        let sources: Vec<_> = files.iter().filter(of).cloned().collect();
        let files = write::copy(&table, &head, &sources, &layout(), Ok).await.unwrap();
        rewritten.push(Rewritten { sources, files });
    }
    publish(&keyed, &table, vec![put(&[(1, "a", 9)])], 5).await;
    assert_eq!(commit(&table, &head, rewritten, &layout()).await.unwrap(), 2);
    assert_eq!(found(&table).await, owned(&[(0, "a", 0), (1, "a", 9), (10, "b", 0), (11, "b", 0)]));
    assert_eq!(live(&table).await, 3, "two in `a`, one in `b`");
    // Four of the first commits, the row 1 anew (the file that it was in had no other), and `b`'s.
    assert_eq!(data_files(&table).await, 6, "what was made of the replaced file is gone");
}

#[tokio::test]
async fn a_file_with_rows_marked_as_deleted_stays_as_it_is() {
    let table = table(&[]).await;
    elsewhere(&table, &[(1, "a", 0), (2, "a", 0)]).await;
    mark_deleted(&table).await;
    elsewhere(&table, &[(3, "a", 0)]).await;
    assert_eq!(compact(&table, &layout()).await.unwrap(), 0);
}

#[tokio::test]
async fn rows_that_are_marked_as_deleted_meanwhile_do_not_come_back() {
    let table = table(&[]).await;
    elsewhere(&table, &[(1, "a", 0), (2, "a", 0)]).await;
    let head = table.refresh().await.unwrap();
    let sources = table.files(&head).await.unwrap();
    let files = write::copy(&table, &head, &sources, &layout(), Ok).await.unwrap();
    mark_deleted(&table).await;
    let rewritten = vec![Rewritten { sources, files }];
    assert_eq!(commit(&table, &head, rewritten, &layout()).await.unwrap(), 0);
    let head = table.refresh().await.unwrap();
    assert!(table.files(&head).await.unwrap()[0].deletion_vector.is_some());
}

#[tokio::test]
async fn vacuum_deletes_what_was_removed_long_enough_ago() {
    let table = three_files().await;
    compact(&table, &layout()).await.unwrap();
    assert_eq!(vacuum(&table, 7 * DAY, false).await.unwrap(), 0);
    assert_eq!(vacuum(&table, Duration::ZERO, false).await.unwrap(), 0, "the table's own seven days hold");
    assert_eq!(data_files(&table).await, 4);
    // A file that somebody is about to commit.
    let head = table.head();
    let source = table.files(&head).await.unwrap();
    let staged = write::copy(&table, &head, &source, &layout(), Ok).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(vacuum(&table, Duration::ZERO, true).await.unwrap(), 3);
    assert_eq!(found(&table).await, owned(&ROWS));
    assert_eq!(data_files(&table).await, 2, "the table's file and the staged one: {staged:?}");
    // The table goes on: vacuum is two commits of its own.
    elsewhere(&table, &[(4, "a", 0)]).await;
    table.refresh().await.unwrap();
    assert_eq!(live(&table).await, 2);
}
