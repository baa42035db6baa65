//! Which objects are read, in which order, and what their rows are.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use connector_core::arrow::array::{Array, AsArray};
use connector_core::{Acks, Envelope};

use crate::{Task, gzip, keys, lines, rows, write};

#[tokio::test]
async fn objects_that_match_are_read_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "topics/1.pin/partition=0/1.pin+0+0000000002.json", lines(2..3));
    write(path, "topics/1.pin/partition=0/1.pin+0+0000000000.json", lines(0..2));
    write(path, "topics/1.pin/partition=1/1.pin+1+0000000000.json", "{\"n\": 3}{\n\"n\":4\n}\n");
    write(path, "topics/1.geo/partition=0/a.json", lines(9..10));
    write(path, "topics/1.pin/partition=0/_SUCCESS", "");
    write(path, "topics/1.pin/partition=0/.part.json", lines(8..9));
    write(path, "topics/1.pin/partition=0/deeper/x.json", lines(7..8));
    let glob = format!("file://{}/topics/*.pin/partition=*/*.json", path.display());
    let mut task = Task::open(&keys(&glob, &[]), Vec::new()).await;
    assert!(task.source.bounded());
    let read = task.read().await;
    assert_eq!(read.rows, rows(0..5));
    assert_eq!(read.batches, 1, "a batch spans objects");
    assert!(task.poll(10).await.unwrap().is_none(), "the end stays the end");
}

#[tokio::test]
async fn a_folder_or_one_object_needs_no_pattern() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.json.gz", gzip(lines(0..2).as_bytes()));
    write(folder.path(), "b/c.ndjson", lines(2..3));
    write(folder.path(), "b/d.txt", "no JSON");
    let path = folder.path().to_str().unwrap();
    assert_eq!(Task::open(&keys(path, &[]), Vec::new()).await.read().await.rows, rows(0..3));
    let one = format!("{path}/a.json.gz");
    assert_eq!(Task::open(&keys(&one, &[]), Vec::new()).await.read().await.rows, rows(0..2));
}

#[tokio::test]
async fn the_topic_comes_from_the_path_and_is_mapped() {
    let folder = tempfile::tempdir().unwrap();
    for (name, n) in [("1.geo", 0), ("1.pin", 1), ("2.pin", 2)] {
        write(folder.path(), &format!("{name}/x.json"), lines(n..n + 1));
    }
    let glob = format!("{}/{{topic}}/*.json", folder.path().display());
    let mut map =
        connector_core::testing::config(&[("objects.path", &glob), ("topic.mapping.1.pin", "pins")]);
    let read = Task::open(&map, Vec::new()).await.read().await;
    assert_eq!(read.topics, ["1.geo", "pins", "2.pin"]);
    map.remove("topic.mapping.1.pin");
    assert_eq!(Task::open(&map, Vec::new()).await.read().await.topics, ["1.geo", "1.pin", "2.pin"]);
}

#[tokio::test]
async fn a_record_has_its_objects_time_and_on_demand_its_place() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "x.json", lines(0..2));
    let file = folder.path().join("x.json");
    let written = file.metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let keys = keys(file.to_str().unwrap(), &[("objects.headers", "true")]);
    let batch = Task::open(&keys, Vec::new()).await.poll(10).await.unwrap().unwrap();
    let envelope = Envelope::of(&batch.runs[0].records).unwrap();
    assert!(envelope.key().is_none());
    assert_eq!(envelope.timestamps().unwrap().value(1), written.as_millis() as i64);
    let headers = envelope.headers().unwrap().value(1);
    let headers = headers.as_struct();
    let names: Vec<_> = headers.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(names, ["objects.key", "objects.row"]);
    let values = headers.column(1).as_binary::<i32>();
    assert_eq!(values.value(0), format!("file://{}", file.display()).as_bytes());
    assert_eq!(values.value(1), b"1");
    assert_eq!(values.len(), 2);
}

#[tokio::test]
async fn tasks_share_the_objects_and_miss_none() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..90 {
        write(folder.path(), &format!("{n}.json"), lines(n..n + 1));
    }
    let keys = keys(folder.path().to_str().unwrap(), &[]);
    let mut all = Vec::new();
    for task in 0..3 {
        let read = Task::open_one(&keys, Vec::new(), 3, task).await.read().await;
        assert!((15..45).contains(&read.rows.len()), "task {task} has {} of 90", read.rows.len());
        all.extend(read.rows);
    }
    assert_eq!(all.len(), 90);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), rows(0..90).into_iter().collect());
}

/// As `flush.size: 1` leaves them. A debug build needs a second; the limits are for a busy machine.
#[tokio::test]
async fn many_tiny_objects_are_read_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let count = 20_000;
    for n in 0..count {
        write(folder.path(), &format!("{:03}/{n:010}.json", n / 1000), lines(n..n + 1));
    }
    let keys = keys(folder.path().to_str().unwrap(), &[]);
    let mut task = Task::open(&keys, Vec::new()).await;
    let begun = Instant::now();
    let read = task.read().await;
    eprintln!("{count} objects in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(read.rows, rows(0..count));
    assert!(read.batches <= 4 * count / 1000, "{} batches", read.batches);
    let stored: usize = task.positions.iter().map(|p| serde_json::to_string(p).unwrap().len()).sum();
    assert!(stored < 20 * count, "{stored} bytes of positions");
}

/// The most memory that this process has used, in MiB; each test has a process of its own.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[tokio::test]
async fn the_place_of_a_row_is_its_object_and_line_until_it_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.json", "{\"n\":0}\n{\"n\":x}\n{\"n\":\n 1}\n{\"n\":2}\n");
    write(folder.path(), "b.json.gz", gzip(b"\n[{\"n\":3},\n{\"n\":4}]"));
    (5..9).for_each(|n| write(folder.path(), &format!("c/{n}.json"), lines(n..n + 1)));
    let mut task = Task::open(&keys(folder.path().to_str().unwrap(), &[]), Vec::new()).await;
    let (mut places, mut restarted) = (Vec::new(), None);
    // As many polls at once as a host has under way.
    let mut polled = Vec::new();
    while let Some(batch) = task.poll(2).await.unwrap() {
        if restarted.is_none() {
            restarted = Some(task.positions.clone());
        }
        polled.push(batch.offset);
    }
    for offset in &polled {
        places.extend((0..).map_while(|row| task.source.place(offset.token, row)));
    }
    let address = |name: &str| format!("file://{}/{name}", folder.path().display());
    let expected: Vec<_> =
        ["a.json line 1", "a.json line 3", "a.json line 5", "b.json.gz line 2", "b.json.gz line 3"]
            .into_iter()
            .map(str::to_owned)
            .chain((5..9).map(|n| format!("c/{n}.json line 1")))
            .map(|place| address(&place))
            .collect();
    assert_eq!(places, expected);
    for (at, offset) in polled.iter().enumerate() {
        task.source.commit(offset, &Acks::default()).await.unwrap();
        assert_eq!(task.source.place(offset.token, 0), None);
        if at == 0 {
            assert_eq!(task.source.place(polled[1].token, 0), Some(address("a.json line 3")));
        }
    }

    // In the middle of an object: lines count from its start.
    let mut task = Task::open(&keys(folder.path().to_str().unwrap(), &[]), restarted.unwrap()).await;
    let batch = task.poll(1).await.unwrap().unwrap();
    assert_eq!(task.source.place(batch.offset.token, 0), Some(address("a.json line 3")));
}

#[tokio::test]
async fn an_object_larger_than_any_buffer_streams() {
    let folder = tempfile::tempdir().unwrap();
    let mut plain = File::create(folder.path().join("a.json")).unwrap();
    let packed = File::create(folder.path().join("b.json.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    let (blocks, padding) = (300, "x".repeat(300));
    for block in 0..blocks {
        let text: String =
            (0..1000).map(|n| format!("{{\"n\":{},\"x\":\"{padding}\"}}\n", block * 1000 + n)).collect();
        plain.write_all(text.as_bytes()).unwrap();
        packed.write_all(text.as_bytes()).unwrap();
    }
    packed.finish().unwrap();
    assert!(plain.metadata().unwrap().len() > 90 << 20);
    let before = peak_mib();
    let mut task = Task::open(&keys(folder.path().to_str().unwrap(), &[]), Vec::new()).await;
    let mut count = 0;
    while let Some(batch) = task.poll(10_000).await.unwrap() {
        let mut read = crate::Read::default();
        read.add(batch);
        for row in read.rows {
            assert!(row.starts_with(&format!("{{\"n\":{},", count % (blocks * 1000))), "{count}");
            count += 1;
        }
    }
    assert_eq!(count, 2 * blocks * 1000);
    let more = peak_mib() - before;
    assert!(more < 48, "{more} MiB for two objects of 90 MiB");
}
