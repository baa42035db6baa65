//! What a second run reads.

use object_store::ObjectStoreExt;

use crate::{Task, gzip, keys, lines, rows, write};

#[tokio::test]
async fn a_second_run_reads_only_what_is_new_wherever_its_name_falls() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "m.json", lines(0..3));
    let keys = keys(folder.path().to_str().unwrap(), &[]);
    let mut task = Task::open(&keys, Vec::new()).await;
    assert_eq!(task.read().await.rows, rows(0..3));

    let mut task = Task::open(&keys, task.positions).await;
    assert_eq!(task.read().await.rows, [""; 0]);

    write(folder.path(), "a.json", lines(3..4));
    write(folder.path(), "z.json", lines(4..5));
    let mut task = Task::open(&keys, task.positions).await;
    assert_eq!(task.read().await.rows, rows(3..5));
}

#[tokio::test]
async fn an_object_that_was_half_read_goes_on_at_its_row_even_when_others_came_before_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "m.json.gz", gzip(format!("{}oops\n{}", lines(0..5), lines(5..9)).as_bytes()));
    let keys = keys(folder.path().to_str().unwrap(), &[]);
    let mut task = Task::open(&keys, Vec::new()).await;
    let mut read = crate::Read::default();
    for _ in 0..2 {
        read.add(task.poll(4).await.unwrap().unwrap());
    }
    assert_eq!((read.rows.clone(), read.rejected.len()), (rows(0..7), 1));
    // Rows that were read and whose positions were not stored are read again.
    let stored = task.positions.clone();
    task.poll(1).await.unwrap().unwrap();

    write(folder.path(), "a.json", lines(9..10));
    let mut task = Task::open(&keys, stored).await;
    let read = task.read().await;
    assert_eq!(read.rows, rows(7..10));
    assert_eq!(read.rejected.len(), 0, "what was rejected is not rejected again");
}

#[tokio::test]
async fn finished_objects_stay_finished_with_another_number_of_tasks() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..40 {
        write(folder.path(), &format!("{n}.json"), lines(2 * n..2 * n + 2));
    }
    let keys = keys(folder.path().to_str().unwrap(), &[]);
    let mut positions = Vec::new();
    let mut all = crate::Read::default();
    for task in 0..3 {
        let mut task = Task::open_one(&keys, positions, 3, task).await;
        for _ in 0..3 {
            all.add(task.poll(5).await.unwrap().unwrap());
        }
        positions = task.positions;
    }
    assert_eq!(all.rows.len(), 45);
    for task in 0..2 {
        let mut task = Task::open_one(&keys, positions, 2, task).await;
        all.rows.extend(task.read().await.rows);
        positions = task.positions;
    }
    all.rows.sort();
    let mut expected = rows(0..80);
    expected.sort();
    assert_eq!(all.rows, expected);
    assert_eq!(Task::open(&keys, positions).await.read().await.rows, [""; 0]);
}

#[tokio::test]
async fn an_overwritten_object_is_read_again_only_if_it_was_not_finished() {
    let store = connector_aws::store::memory("overwritten");
    let put = async |name: &str, text: String| {
        store.put(&name.into(), text.into_bytes().into()).await.unwrap();
    };
    put("a.json", lines(0..2)).await;
    put("b.json", lines(2..6)).await;
    let keys = keys("memory://overwritten/*.json", &[]);
    let mut task = Task::open(&keys, Vec::new()).await;
    let mut read = crate::Read::default();
    read.add(task.poll(4).await.unwrap().unwrap());
    assert_eq!(read.rows, rows(0..4));
    put("a.json", lines(10..12)).await;
    put("b.json", lines(20..23)).await;
    let mut task = Task::open(&keys, task.positions).await;
    assert_eq!(task.read().await.rows, rows(20..23));
}

#[tokio::test]
async fn positions_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.json", lines(0..5));
    let mut task = Task::open(&keys(folder.path().to_str().unwrap(), &[]), Vec::new()).await;
    task.poll(2).await.unwrap();
    let [position] = &task.positions[..] else { panic!("{:?}", task.positions) };
    let partition = serde_json::to_string(&position.partition).unwrap();
    assert_eq!(partition, r#"{"tasks":1,"task":0,"page":0}"#);
    assert_eq!(position.offset["object"], format!("file://{}/a.json", folder.path().display()));
    assert_eq!((&position.offset["row"], &position.offset["finished"]), (&2.into(), &"".into()));
    assert!(position.offset["etag"].is_string());
    task.read().await;
    assert_eq!(task.positions.len(), 1);
    assert_eq!(task.positions[0].offset.keys().collect::<Vec<_>>(), ["finished"]);
}
