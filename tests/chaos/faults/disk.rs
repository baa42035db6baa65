//! A local store whose disk is full for a while.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::account::{Account, Arrived};
use crate::killing::assert_none_failed;
use crate::pipelines::Input;
use crate::support::{Sidestream, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// Where the worker, and nobody else, sees its disk of two mebibytes.
const DISK: &str = "mkdir store && mount -t tmpfs -o size=2m none store && exec \"$@\"";

/// What makes a mount that only its process sees: as root at once, as a user where the system allows it.
fn own_mounts() -> Option<&'static [&'static str]> {
    const ROOT: &[&str] = &["unshare", "--mount"];
    const USER: &[&str] = &["unshare", "--user", "--map-root-user", "--mount"];
    let works = |words: &&&[&str]| {
        let mut command = Command::new(words[0]);
        let mount = "mount -t tmpfs none /mnt";
        command.args(&words[1..]).args(["sh", "-c", mount]).output().is_ok_and(|out| out.status.success())
    };
    [ROOT, USER].iter().find(works).copied()
}

/// Numbers in the files below a directory.
fn numbers(directory: &Path) -> Arrived {
    let mut arrived = Arrived::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            numbers(&entry.path()).into_iter().for_each(|(n, times)| *arrived.entry(n).or_default() += times);
        } else if entry.path().extension().is_some_and(|end| end == "json") {
            for line in fs::read_to_string(entry.path()).unwrap().lines() {
                let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{entry:?}: {e}"));
                *arrived.entry(row["n"].as_i64().unwrap()).or_default() += 1;
            }
        }
    }
    arrived
}

/// Takes all the room that is left.
fn fill(file: &PathBuf) {
    let mut ballast = File::create(file).unwrap();
    let full = std::iter::repeat_with(|| ballast.write_all(&[0; 4096])).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

#[test]
fn a_full_disk_loses_and_doubles_nothing_and_is_said() {
    let Some(mounts) = own_mounts() else {
        println!("skipped: no mounts of one's own here (unshare)");
        return;
    };
    let input = Input::new("disk", 2);
    let id = &input.id;
    let yaml = format!(
        "connectors:
  {id}:
    connector.class: s3-sink
    topics: {id}
    s3: {{bucket.name: bucket}}
    store.url: file:./store
    flush.size: 50
    errors.retry.delay.max.ms: 300
    rotate.schedule.interval.ms: 500
    timezone: UTC
"
    );
    let launcher = [mounts, &["sh", "-c", DISK, "sh"]].concat();
    let mut worker = Sidestream::spawn_by(&launcher, &[("a.yaml", &yaml)], &[]);
    worker.wait_healthy();
    let put = |numbers| input.put(numbers, |n| json!({"n": n, "text": "x".repeat(200)}).to_string());
    let settled = |worker: &Sidestream, count| {
        wait_until(SOON, "all records are committed", || {
            assert_none_failed(&worker.tasks());
            input.is_committed(count).then_some(())
        });
    };
    put(0..500);
    settled(&worker, 500);
    let disk = PathBuf::from(format!("/proc/{}/cwd/store", worker.pid()));
    let ballast = disk.join("ballast");
    fill(&ballast);
    put(500..3000);
    wait_until(SOON, "the task says that the disk is full", || {
        let tasks = worker.tasks();
        assert_none_failed(&tasks);
        tasks.iter().any(|task| task.reason.contains("No space left on device")).then_some(())
    });
    fs::remove_file(ballast).unwrap();
    settled(&worker, 3000);
    // What is on the disk goes with its process.
    let account = Account::of(0..3000, numbers(&disk));
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    println!("the disk was full once; {account}");
    assert!(account.is_clean(true), "{account:?}");
}
