//! Several writers of one table: nobody's rows are lost or doubled.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use connector_aws::store::Location;
use connector_core::{FlushRange, Sink, TopicPartition, async_trait};
use deltalake::kernel::{Action, Add, MetadataExt as _, Remove, StructField, StructType, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use sink_delta::commit::{Change, Reads, Refused};
use sink_delta::table::Table;

use crate::{Lake, ddl, integers, location, named, open, partition, publish, sink, table, write};

/// Commits `count` records, each in a version of its own.
pub async fn commits(sink: Arc<dyn Sink>, tp: TopicPartition, numbers: Range<i64>) {
    open(&*sink, std::slice::from_ref(&tp)).await;
    for (offset, n) in numbers.enumerate() {
        let offset = i64::try_from(offset).unwrap();
        write(&*sink, &tp, offset, &[&format!(r#"{{"n":{n}}}"#)]).await;
        publish(&*sink, &[(&tp, offset..offset + 1)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_connectors_that_race_lose_nothing_and_double_nothing() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let racers = [("a", 0..20), ("b", 100..120)]
        .map(|(name, numbers)| tokio::spawn(commits(named(name, &url, &[]), partition(0), numbers)));
    for racer in racers {
        racer.await.unwrap();
    }
    let table = table(&url).await.unwrap();
    assert_eq!(integers(&table, "n").await, (0..20).chain(100..120).collect::<Vec<_>>());
    assert_eq!(table.head().version, 40);
    let txns = table.txn_versions(&table.head(), vec!["a/orders/0/".into(), "b/orders/0/".into()]).await;
    assert_eq!(txns.unwrap(), [Some(20), Some(20)]);
}

#[tokio::test]
async fn a_second_task_of_the_same_partition_is_fenced_and_says_why() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let (zombie, owner) =
        (sink(&url, &[("delta.schema", "n long")]), sink(&url, &[("delta.schema", "n long")]));
    open(&*zombie, &[partition(0)]).await;
    open(&*owner, &[partition(0)]).await;
    write(&*zombie, &partition(0), 0, &[r#"{"n":0}"#]).await;
    write(&*owner, &partition(0), 0, &[r#"{"n":0}"#]).await;
    publish(&*owner, &[(&partition(0), 0..1)]).await;

    let staged = zombie.flush(&[FlushRange::new(partition(0), 0..1)]).await.unwrap();
    for _ in 0..2 {
        let error = zombie.commit(&staged).await.unwrap_err();
        assert_eq!(error.code, "delta.fenced");
        assert!(!error.is_retriable() && error.to_string().contains("c/orders/0/"), "{error}");
    }
    zombie.close(&[partition(0)]).await.unwrap();
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await, [0]);
}

#[tokio::test]
async fn a_zombie_whose_table_was_read_anew_in_between_is_fenced_all_the_same() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let (zombie, owner) =
        (sink(&url, &[("delta.schema", "n long")]), sink(&url, &[("delta.schema", "n long")]));
    open(&*zombie, &[partition(0)]).await;
    open(&*owner, &[partition(0)]).await;
    write(&*owner, &partition(0), 0, &[r#"{"n":0}"#]).await;
    publish(&*owner, &[(&partition(0), 0..1)]).await;
    // Another partition comes to the zombie, which looks at the log again for it.
    open(&*zombie, &[partition(1)]).await;
    write(&*zombie, &partition(0), 0, &[r#"{"n":0}"#]).await;
    let staged = zombie.flush(&[FlushRange::new(partition(0), 0..1)]).await.unwrap();
    assert_eq!(zombie.commit(&staged).await.unwrap_err().code, "delta.fenced");
}

fn append() -> DeltaOperation {
    DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
}

fn remove(file: &Add, data_change: bool) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(0),
        size: Some(file.size),
        ..Remove::default()
    }
}

/// As a compaction does: the same rows under another name.
async fn rewrite(table: &Table) {
    let head = table.refresh().await.unwrap();
    let file = table.files(&head).await.unwrap().remove(0);
    let mut change =
        Change::new(head, DeltaOperation::Optimize { predicate: None, target_size: 0 }, Reads::Removed);
    let bytes = table.store().get_opts(&Path::from(file.path.as_str()), GetOptions::default()).await.unwrap();
    let copy = Add { path: format!("copy-{}", file.path), data_change: false, ..file.clone() };
    let put = PutPayload::from(bytes.bytes().await.unwrap());
    table.store().put_opts(&Path::from(copy.path.as_str()), put, PutOptions::default()).await.unwrap();
    change.removes = vec![remove(&file, false)];
    change.adds = vec![copy];
    table.commit(&change).await.unwrap();
}

#[tokio::test]
async fn an_append_stands_behind_a_foreign_optimize_delete_and_new_column() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let sink = sink(&url, &[]);
    open(&*sink, &[partition(0)]).await;
    for n in 0..2 {
        write(&*sink, &partition(0), n, &[&format!(r#"{{"n":{n}}}"#)]).await;
        publish(&*sink, &[(&partition(0), n..n + 1)]).await;
    }
    let foreign = table(&url).await.unwrap();

    write(&*sink, &partition(0), 2, &[r#"{"n":2}"#]).await;
    rewrite(&foreign).await;
    publish(&*sink, &[(&partition(0), 2..3)]).await;
    assert_eq!(integers(&foreign, "n").await, [0, 1, 2]);

    write(&*sink, &partition(0), 3, &[r#"{"n":3}"#]).await;
    let head = foreign.refresh().await.unwrap();
    let mut delete =
        Change::new(head.clone(), DeltaOperation::Delete { predicate: Some("n = 0".into()) }, Reads::Removed);
    delete.removes =
        foreign.files(&head).await.unwrap().iter().take(1).map(|file| remove(file, true)).collect();
    foreign.commit(&delete).await.unwrap();
    publish(&*sink, &[(&partition(0), 3..4)]).await;
    assert_eq!(integers(&foreign, "n").await.len(), 3);

    // A column that both add, and one that only the other does.
    write(&*sink, &partition(0), 4, &[r#"{"n":4,"s":"x"}"#]).await;
    let head = foreign.refresh().await.unwrap();
    let more = ["s", "t"].map(|name| StructField::nullable(name, deltalake::kernel::DataType::STRING));
    let schema = StructType::try_new(head.delta_schema.fields().cloned().chain(more)).unwrap();
    let mut alter = Change::new(head.clone(), append(), Reads::Nothing);
    alter.metadata = Some(head.metadata.clone().with_schema(&schema).unwrap());
    foreign.commit(&alter).await.unwrap();
    publish(&*sink, &[(&partition(0), 4..5)]).await;
    assert_eq!(integers(&foreign, "n").await.len(), 4);
    assert_eq!(ddl(&foreign), ["n long", "s string", "t string"]);
}

#[tokio::test]
async fn a_column_that_another_writer_gave_another_type_meanwhile_stops_the_commit() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let sink = sink(&url, &[("delta.schema", "n long")]);
    open(&*sink, &[partition(0)]).await;
    write(&*sink, &partition(0), 0, &[r#"{"n":0,"s":"x"}"#]).await;
    let foreign = table(&url).await.unwrap();
    let head = foreign.head();
    let double = StructField::nullable("s", deltalake::kernel::DataType::DOUBLE);
    let schema = StructType::try_new(head.delta_schema.fields().cloned().chain([double])).unwrap();
    let mut alter = Change::new(head.clone(), append(), Reads::Nothing);
    alter.metadata = Some(head.metadata.clone().with_schema(&schema).unwrap());
    foreign.commit(&alter).await.unwrap();

    let staged = sink.flush(&[FlushRange::new(partition(0), 0..1)]).await.unwrap();
    let error = sink.commit(&staged).await.unwrap_err();
    assert_eq!(error.code, "delta.schema_changed");
    assert!(error.to_string().contains("`s`") && !error.is_retriable(), "{error}");
    // As the hint says: read again, the record is refused by its column.
    let again = crate::sink(&url, &[]);
    let resume = open(&*again, &[partition(0)]).await;
    assert!(resume.is_empty());
    let written = write(&*again, &partition(0), 0, &[r#"{"n":0,"s":"x"}"#]).await;
    assert!(written.rejected[0].error.to_string().contains("`s` is double in the table"), "{written:?}");
}

#[tokio::test]
async fn a_commit_that_read_the_table_gives_way_to_rows_that_came_first() {
    let lake = Lake::empty();
    let url = lake.url("t");
    commits(sink(&url, &[]), partition(0), 0..2).await;
    let (ours, theirs) = (table(&url).await.unwrap(), table(&url).await.unwrap());
    let base = ours.head();
    let file = ours.files(&base).await.unwrap().remove(0);
    commits(named("other", &url, &[]), partition(0), 5..6).await;

    let mut change = Change::new(base.clone(), append(), Reads::Table);
    change.adds = vec![Add { path: "x".into(), ..file.clone() }];
    assert!(matches!(ours.commit(&change).await, Err(Refused::Conflict(_))));

    // Compaction does not mind rows, only its own sources.
    rewrite(&theirs).await;
    let mut change = Change::new(base, append(), Reads::Removed);
    change.removes =
        theirs.files(&ours.head()).await.unwrap().iter().map(|file| remove(file, false)).collect();
    assert!(matches!(ours.commit(&change).await, Err(Refused::Conflict(_))));
}

#[tokio::test]
async fn a_task_goes_on_where_the_table_is_or_where_the_group_is() {
    let lake = Lake::empty();
    let url = lake.url("t");
    commits(sink(&url, &[]), partition(0), 0..3).await;
    assert_eq!(open(&*sink(&url, &[]), &[partition(0)]).await[&partition(0)], 3);
    let group = sink(&url, &[("delta.resume", "group")]);
    assert!(open(&*group, &[partition(0)]).await.is_empty());
    write(&*group, &partition(0), 1, &[r#"{"n":1}"#]).await;
    publish(&*group, &[(&partition(0), 1..2)]).await;
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await, [0, 1, 1, 2], "written again on purpose");
}

/// Waits for a checkpoint, which is made in the background; what is before it may be cleaned up.
async fn forget_entries_before_the_checkpoint(log: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !log.join("_last_checkpoint").exists() {
        assert!(Instant::now() < deadline, "no checkpoint");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let hint = std::fs::read_to_string(log.join("_last_checkpoint")).unwrap();
    let version = serde_json::from_str::<serde_json::Value>(&hint).unwrap()["version"].as_u64().unwrap();
    for gone in 0..version {
        std::fs::remove_file(log.join(format!("{gone:020}.json"))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_made_and_the_offsets_survive_the_entries_before_them() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let keys = [("delta.schema", "n long"), ("delta.checkpointInterval", "5")];
    commits(sink(&url, &keys), partition(0), 0..12).await;
    forget_entries_before_the_checkpoint(&lake.path("t").join("_delta_log")).await;
    assert_eq!(open(&*sink(&url, &keys), &[partition(0)]).await[&partition(0)], 12);
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await, (0..12).collect::<Vec<_>>());
}

/// Stores entries of the log, and answers the first ones that it did not.
#[derive(Debug)]
struct LosesAnswers {
    inner: Arc<dyn ObjectStore>,
    lost: AtomicUsize,
}

impl fmt::Display for LosesAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that loses answers")
    }
}

#[async_trait]
impl ObjectStore for LosesAnswers {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(path, payload, options).await?;
        let loses = path.as_ref().contains("_delta_log")
            && self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if loses { Err(Error::Generic { store: "S3", source: "connection reset".into() }) } else { Ok(put) }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_recognised_when_it_is_tried_again() {
    let lake = Lake::empty();
    let url = lake.url("t");
    commits(sink(&url, &[]), partition(0), 0..1).await;
    let place = location(&url).await;
    let store = Arc::new(LosesAnswers { inner: Arc::clone(&place.store), lost: AtomicUsize::new(1) });
    let table = Table::load(&Location { store, ..place }).await.unwrap().unwrap();
    let file = table.files(&table.head()).await.unwrap().remove(0);
    let mut change = Change::new(table.head(), append(), Reads::Nothing);
    change.adds = vec![Add { path: "twice.parquet".into(), ..file }];
    change.txns = vec![Transaction::new("x/orders/0/", 7)];

    let error = match table.commit(&change).await.unwrap_err() {
        Refused::Failed(error) => error,
        Refused::Conflict(what) => panic!("{what}"),
    };
    assert!(error.is_retriable(), "{error}");
    // Somebody looks at the log before it is tried again, and somebody else commits.
    table.refresh().await.unwrap();
    commits(named("other", &url, &[]), partition(0), 9..10).await;
    let version = table.commit(&change).await.unwrap();
    assert_eq!(version, 2);
    assert_eq!(table.commit(&change).await.unwrap(), 2);
    let mut added = 0;
    for version in 0..=table.refresh().await.unwrap().version {
        let actions = table.entry(version).await.unwrap().unwrap();
        added +=
            actions.iter().filter(|a| matches!(a, Action::Add(add) if add.path == "twice.parquet")).count();
    }
    assert_eq!(added, 1);
}

#[tokio::test]
async fn a_partition_that_was_idle_goes_on_though_the_log_since_then_is_gone() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let idle = sink(&url, &[("delta.schema", "n long")]);
    open(&*idle, &[partition(0), partition(1)]).await;
    for offset in 0..40 {
        write(&*idle, &partition(1), offset, &[r#"{"n":1}"#]).await;
        publish(&*idle, &[(&partition(1), offset..offset + 1)]).await;
    }
    forget_entries_before_the_checkpoint(&lake.path("t").join("_delta_log")).await;
    write(&*idle, &partition(0), 0, &[r#"{"n":0}"#]).await;
    publish(&*idle, &[(&partition(0), 0..1)]).await;
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await.len(), 41);
}

#[tokio::test]
async fn a_partition_that_went_on_alone_is_not_fenced_when_an_idle_one_joins_its_commit() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let (sink, busy, idle) = (sink(&url, &[("delta.schema", "n long")]), partition(0), partition(1));
    open(&*sink, &[busy.clone(), idle.clone()]).await;
    for offset in 0..2 {
        write(&*sink, &busy, offset, &[r#"{"n":0}"#]).await;
        publish(&*sink, &[(&busy, offset..offset + 1)]).await;
    }
    write(&*sink, &idle, 0, &[r#"{"n":1}"#]).await;
    write(&*sink, &busy, 2, &[r#"{"n":0}"#]).await;
    publish(&*sink, &[(&idle, 0..1), (&busy, 2..3)]).await;
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_table_that_was_deleted_or_made_anew_is_not_written_behind_a_gap() {
    let lake = Lake::empty();
    let url = lake.url("t");
    let first = sink(&url, &[("delta.schema", "n long")]);
    open(&*first, &[partition(0)]).await;
    for offset in 0..2 {
        write(&*first, &partition(0), offset, &[r#"{"n":1}"#]).await;
        publish(&*first, &[(&partition(0), offset..offset + 1)]).await;
    }
    write(&*first, &partition(0), 2, &[r#"{"n":2}"#]).await;
    std::fs::remove_dir_all(lake.path("t")).unwrap();
    commits(named("other", &url, &[]), partition(0), 7..8).await;

    let staged = first.flush(&[FlushRange::new(partition(0), 2..3)]).await.unwrap();
    let error = first.commit(&staged).await.unwrap_err();
    assert_eq!(error.code, "delta.table_gone", "{error}");
    assert!(!error.is_retriable());
    assert_eq!(integers(&table(&url).await.unwrap(), "n").await, [7]);
}
