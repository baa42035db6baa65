//! A job that is killed and started again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::services;
use crate::{Job, STATE_FILE, rows};

const KILLS: u64 = 20;

/// Commits so far.
fn commits(log: &Path) -> usize {
    let names = fs::read_dir(log).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "json")).count()
}

#[test]
fn killed_at_any_moment_the_job_goes_on_and_every_row_is_there_once() {
    let job = Job::new(services().s3);
    let [pins, ..] = rows(3000, 31);
    job.put("pin", 0, &pins[..1500], 1);
    job.put("pin", 1500, &pins[1500..], 500);
    // One object after the other, so that there are many batches and commits; without de-duplication, so that what is
    // read twice would show.
    let slow = "      objects.concurrent.reads: 1";
    let connector =
        job.connector("pin", "      flush.size: 10", slow).replace("      delta.dedup.keys: ind\n", "");
    job.write(STATE_FILE, &connector);
    let log = job.table("pin").join("_delta_log");
    let mut at_work = 0;
    for kill in 0..KILLS {
        let (before, begun) = (commits(&log), Instant::now());
        let mut process = job.spawn();
        // Every third one is killed before it commits anything, the others at some moment after a commit.
        let waits = kill % 3 != 0;
        while waits && commits(&log) == before && process.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "a run commits nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(kill * 37 % 90));
        at_work += u64::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert!(at_work > KILLS * 3 / 4, "only {at_work} of {KILLS} kills fell into the work");
    let killed = commits(&log);
    let run = job.run(&connector, &[]);
    assert_eq!(run.code(), 0, "{}", run.text());
    eprintln!("{killed} commits of {} before the last of {KILLS} kills", commits(&log));
    let mut expected: Vec<_> = pins.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(job.read("pin").keys(), expected);
}
