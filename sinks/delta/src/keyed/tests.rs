//! Against a table in memory, with others who write at the worst moment.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use connector_aws::access::Access;
use connector_aws::store;
use deltalake::kernel::Transaction;
use deltalake::protocol::{DeltaOperation, SaveMode};
use proptest::prelude::*;

use super::*;
use crate::ddl;
use crate::files::Layout;
use crate::maintenance::compact::compact;
use crate::maintenance::vacuum::vacuum;

fn config(keys: &[(&str, &str)]) -> Config {
    let mut map = connector_core::testing::config(&[("delta.table.path", "memory://x/t")]);
    map.extend(connector_core::testing::config(keys));
    let schema = schemars::schema_for!(Config).to_value();
    connector_core::config::deserialize(&connector_core::config::coerce(&schema, &map).unwrap()).unwrap()
}

pub(crate) fn layout() -> Layout {
    Layout { writer: "test".into(), codec: crate::config::Codec::Snappy, target_bytes: 8 << 20 }
}

pub(crate) async fn table(partition_columns: &[&str]) -> Table {
    let url = store::parse(&format!("memory://{}/t", uuid::Uuid::new_v4())).unwrap();
    let location = store::open(&url, &Access::default()).await.unwrap();
    let schema = ddl::parse("id long, name string, v long").unwrap();
    let columns: Vec<_> = partition_columns.iter().map(|&name| name.to_owned()).collect();
    Table::create(&location, &schema, &columns, []).await.unwrap()
}

pub(crate) fn keyed(table: &Table, keys: &[(&str, &str)]) -> Keyed {
    Keyed::new(&config(keys), layout(), &table.head().schema).unwrap().unwrap()
}

pub(crate) fn upsert(table: &Table) -> Keyed {
    keyed(table, &[("delta.mode", "upsert"), ("delta.key.columns", "id")])
}

pub(crate) type Row = (i64, &'static str, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true), ("v", values, true)])
        .unwrap()
}

pub(crate) fn put(rows: &[Row]) -> Rows {
    Rows::Put(batch(rows))
}

fn delete(ids: &[i64]) -> Rows {
    let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    Rows::Delete(RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap())
}

pub(crate) fn change(table: &Table, end: i64) -> Change {
    let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
    let mut change = Change::new(table.head(), operation, Reads::Table);
    change.txns.push(Transaction { app_id: "c/t/0/".to_owned(), version: end, last_updated: None });
    change
}

pub(crate) async fn stage(keyed: &Keyed, table: &Table, rows: Vec<Rows>) -> Pending {
    keyed.stage(table, &table.head().schema, rows).await.unwrap()
}

/// As the sink does it: what others have changed is looked at again.
async fn commit(
    keyed: &Keyed,
    table: &Table,
    pending: &Pending,
    mut change: Change,
) -> Result<Version, Refused> {
    loop {
        match keyed.commit(table, pending, &mut change).await {
            Err(Refused::Conflict(_)) => change.base = table.refresh().await?,
            done => return done,
        }
    }
}

pub(crate) async fn publish(keyed: &Keyed, table: &Table, rows: Vec<Rows>, end: i64) {
    let pending = stage(keyed, table, rows).await;
    commit(keyed, table, &pending, change(table, end)).await.unwrap();
}

/// An append as any other writer makes it, with a view of the table of its own.
pub(crate) async fn elsewhere(table: &Table, rows: &[Row]) {
    let other = Table::load(table.location()).await.unwrap().unwrap();
    let head = other.head();
    let files = write::write(&other, &head, &head.schema, &[batch(rows)], &layout()).await.unwrap();
    let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
    let mut change = Change::new(head, operation, Reads::Nothing);
    change.adds = files.iter().map(|file| file.add.clone()).collect();
    other.commit(&change).await.unwrap();
}

/// What a reader finds, ascending.
pub(crate) async fn found(table: &Table) -> Vec<(i64, String, i64)> {
    let table = Table::load(table.location()).await.unwrap().unwrap();
    let head = table.head();
    let mut rows = Vec::new();
    for file in table.files(&head).await.unwrap() {
        let batches: Vec<_> =
            read::rows(&table, &head, &file, None).await.unwrap().try_collect().await.unwrap();
        for batch in batches {
            let (ids, names) =
                (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
            let values = batch.column(2).as_primitive::<Int64Type>();
            rows.extend(
                (0..batch.num_rows()).map(|at| (ids.value(at), names.value(at).to_owned(), values.value(at))),
            );
        }
    }
    rows.sort();
    rows
}

/// Number of data files in the store, part of the table or not.
pub(crate) async fn data_files(table: &Table) -> usize {
    let listed: Vec<_> = table.store().list(None).try_collect().await.unwrap();
    listed.iter().filter(|object| object.location.extension() == Some("parquet")).count()
}

pub(crate) fn owned(rows: &[Row]) -> Vec<(i64, String, i64)> {
    rows.iter().map(|&(id, name, v)| (id, name.to_owned(), v)).collect()
}

#[tokio::test]
async fn an_upsert_sees_a_row_that_came_after_it_was_staged() {
    let table = table(&[]).await;
    let keyed = upsert(&table);
    publish(&keyed, &table, vec![put(&[(1, "a", 0), (2, "a", 0)])], 2).await;
    let pending = stage(&keyed, &table, vec![put(&[(2, "b", 1), (3, "b", 1)])]).await;
    elsewhere(&table, &[(3, "theirs", 0), (4, "theirs", 0)]).await;
    commit(&keyed, &table, &pending, change(&table, 4)).await.unwrap();
    assert_eq!(found(&table).await, owned(&[(1, "a", 0), (2, "b", 1), (3, "b", 1), (4, "theirs", 0)]));
}

#[tokio::test]
async fn an_upsert_finds_its_rows_in_the_file_that_compaction_made_of_theirs() {
    let table = table(&[]).await;
    let keyed = upsert(&table);
    for id in 1..=3 {
        publish(&keyed, &table, vec![put(&[(id, "a", 0)])], id).await;
    }
    let pending = stage(&keyed, &table, vec![put(&[(2, "b", 1)]), delete(&[3])]).await;
    let other = Table::load(table.location()).await.unwrap().unwrap();
    assert_eq!(compact(&other, &layout()).await.unwrap(), 3);
    commit(&keyed, &table, &pending, change(&table, 5)).await.unwrap();
    assert_eq!(found(&table).await, owned(&[(1, "a", 0), (2, "b", 1)]));
}

#[tokio::test]
async fn files_that_others_have_replaced_and_deleted_are_not_missed() {
    let table = table(&[]).await;
    let keyed = upsert(&table);
    for id in 1..=3 {
        elsewhere(&table, &[(id, "a", 0)]).await;
    }
    table.refresh().await.unwrap();
    let clean_up = || async {
        let other = Table::load(table.location()).await.unwrap().unwrap();
        compact(&other, &layout()).await.unwrap();
        vacuum(&other, std::time::Duration::ZERO, true).await.unwrap();
    };
    clean_up().await;
    let pending = stage(&keyed, &table, vec![put(&[(2, "b", 1)])]).await;
    commit(&keyed, &table, &pending, change(&table, 4)).await.unwrap();
    let (pending, change) = (stage(&keyed, &table, vec![put(&[(3, "b", 1)])]).await, change(&table, 5));
    elsewhere(&table, &[(4, "a", 0)]).await;
    clean_up().await;
    commit(&keyed, &table, &pending, change).await.unwrap();
    assert_eq!(found(&table).await, owned(&[(1, "a", 0), (2, "b", 1), (3, "b", 1), (4, "a", 0)]));
}

#[tokio::test]
async fn the_same_commit_again_is_found_done_also_by_who_lost_the_answer() {
    let table = table(&[]).await;
    let keyed = upsert(&table);
    publish(&keyed, &table, vec![put(&[(1, "a", 0)])], 1).await;
    let pending = stage(&keyed, &table, vec![put(&[(1, "b", 1)])]).await;
    let change = change(&table, 2);
    let version = commit(&keyed, &table, &pending, change.clone()).await.unwrap();
    elsewhere(&table, &[(9, "theirs", 0)]).await;
    table.refresh().await.unwrap();
    assert_eq!(commit(&keyed, &table, &pending, change).await.unwrap(), version);
    assert_eq!(found(&table).await, owned(&[(1, "b", 1), (9, "theirs", 0)]));
}

#[tokio::test]
async fn a_task_whose_partition_somebody_else_has_moved_is_fenced() {
    let table = table(&[]).await;
    let (keyed, change) = (upsert(&table), change(&table, 2));
    let pending = stage(&keyed, &table, vec![put(&[(1, "a", 0)])]).await;
    let other = Table::load(table.location()).await.unwrap().unwrap();
    publish(&upsert(&other), &other, vec![put(&[(1, "other", 0)])], 1).await;
    table.refresh().await.unwrap();
    let Err(Refused::Failed(error)) = commit(&keyed, &table, &pending, change).await else { panic!() };
    assert_eq!(error.code, "delta.fenced");
    assert_eq!(found(&table).await, owned(&[(1, "other", 0)]));
}

#[tokio::test]
async fn de_duplication_drops_a_row_that_came_first_after_it_was_staged() {
    let table = table(&[]).await;
    let keyed = keyed(&table, &[("delta.dedup.keys", "id")]);
    publish(&keyed, &table, vec![put(&[(1, "a", 0), (1, "b", 0)])], 2).await;
    let pending = stage(&keyed, &table, vec![put(&[(1, "c", 0), (2, "c", 0), (3, "c", 0)])]).await;
    elsewhere(&table, &[(3, "theirs", 0)]).await;
    commit(&keyed, &table, &pending, change(&table, 5)).await.unwrap();
    assert_eq!(found(&table).await, owned(&[(1, "a", 0), (2, "c", 0), (3, "theirs", 0)]));
}

#[tokio::test]
async fn an_append_only_table_is_not_upserted() {
    let url = store::parse(&format!("memory://{}/t", uuid::Uuid::new_v4())).unwrap();
    let location = store::open(&url, &Access::default()).await.unwrap();
    let schema = ddl::parse("id long, name string, v long").unwrap();
    let properties = [("delta.appendOnly".to_owned(), "true".to_owned())];
    let table = Table::create(&location, &schema, &[], properties).await.unwrap();
    let keyed = upsert(&table);
    publish(&keyed, &table, vec![put(&[(1, "a", 0)])], 1).await;
    let pending = stage(&keyed, &table, vec![put(&[(1, "b", 0)])]).await;
    let Err(Refused::Failed(error)) = commit(&keyed, &table, &pending, change(&table, 2)).await else {
        panic!()
    };
    assert_eq!(error.code, "delta.append_only");
}

/// Makes the table's only file one of which other writers have marked a row as deleted.
pub(crate) async fn mark_deleted(table: &Table) {
    let head = table.refresh().await.unwrap();
    let file = table.files(&head).await.unwrap().remove(0);
    let vector =
        serde_json::json!({"storageType": "i", "pathOrInlineDv": "x", "sizeInBytes": 1, "cardinality": 1});
    let mut change = change(table, 100);
    change.reads = Reads::Removed;
    change.base = head;
    change.removes.push(removal(&file, true));
    change.adds.push(Add { deletion_vector: Some(serde_json::from_value(vector).unwrap()), ..file });
    table.commit(&change).await.unwrap();
}

#[tokio::test]
async fn a_file_with_rows_marked_as_deleted_is_refused_and_the_remedy_named() {
    let table = table(&[]).await;
    let keyed = upsert(&table);
    publish(&keyed, &table, vec![put(&[(1, "a", 0), (2, "a", 0)])], 1).await;
    let staged = stage(&keyed, &table, vec![put(&[(2, "b", 0)])]).await;
    mark_deleted(&table).await;
    // Neither what was staged nor what is remembered of the file brings the deleted row back.
    let Err(Refused::Failed(error)) = commit(&keyed, &table, &staged, change(&table, 2)).await else {
        panic!()
    };
    assert_eq!(error.code, "delta.deletion_vector");
    assert!(error.hint.contains("REORG TABLE"), "{error}");
    for keyed in [keyed, upsert(&table)] {
        let schema = Arc::clone(&table.head().schema);
        let error = keyed.stage(&table, &schema, vec![put(&[(1, "b", 0)])]).await.unwrap_err();
        assert_eq!(error.code, "delta.deletion_vector");
        // Keys that its statistics exclude have nothing to do with it.
        keyed.stage(&table, &schema, vec![put(&[(7, "b", 0)])]).await.unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(i64, usize, i64)>),
    Delete(Vec<i64>),
    Compact,
    Publish,
}

const NAMES: [&str; 3] = ["a", "b", ""];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0i64..30, 0usize..3, 0i64..100), 0..10).prop_map(Step::Put),
        2 => prop::collection::vec(0i64..30, 0..4).prop_map(Step::Delete),
        1 => Just(Step::Compact),
        3 => Just(Step::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_upserted_table_is_what_a_map_would_be(steps in prop::collection::vec(step(), 1..20), parted in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (model, rows) = runtime.block_on(async {
            let table = table(if parted { &["name"] } else { &[] }).await;
            let keyed = upsert(&table);
            let (mut model, mut range, mut end) = (BTreeMap::new(), Vec::new(), 0);
            for step in steps.into_iter().chain([Step::Publish]) {
                end += 1;
                match step {
                    Step::Put(rows) => {
                        let rows: Vec<Row> = rows.into_iter().map(|(id, name, v)| (id, NAMES[name], v)).collect();
                        for &(id, name, v) in &rows {
                            model.insert(id, (id, name.to_owned(), v));
                        }
                        range.push(put(&rows));
                    }
                    Step::Delete(ids) => {
                        model.retain(|id, _| !ids.contains(id));
                        range.push(delete(&ids));
                    }
                    Step::Compact => drop(compact(&table, &layout()).await.unwrap()),
                    Step::Publish => publish(&keyed, &table, std::mem::take(&mut range), end).await,
                }
            }
            (model, found(&table).await)
        });
        // A partition does not tell an empty text from null, which reads as an empty text above.
        prop_assert_eq!(rows, model.into_values().collect::<Vec<_>>());
    }
}
