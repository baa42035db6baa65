//! The killing: a producer goes on while the worker dies and comes back.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::log;
use crate::support::{Random, Sidestream, Task, wait_until};

/// How long a worker lives, in milliseconds.
const LIFE: Range<u64> = 50..1500;
/// How long it lives after it has staged something, if it was waited for, in milliseconds: a publish takes about that.
const PUBLISH: Range<u64> = 0..40;
/// Rows that are put at once.
const ROWS: usize = 100;
const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(120);

/// What goes into the pipeline, and where it arrives.
pub struct Flow<'a> {
    pub table: &'a Path,
    /// Puts the rows with these numbers; all of them are there when it returns.
    pub put: &'a (dyn Fn(Range<usize>) + Sync),
    /// Between two puts.
    pub pause: Duration,
    pub env: &'a [(&'a str, &'a str)],
}

impl Flow<'_> {
    /// Starts a worker and kills it again and again while rows are put; `died` looks at what each death left behind. Then
    /// waits until all rows are in the table, and stops the last worker in peace. How many rows were put.
    pub fn kill(&self, yaml: &str, seed: u64, times: u64, mut died: impl FnMut(u64)) -> usize {
        let (put, stop) = (self.put, AtomicBool::new(false));
        let mut worker = Sidestream::start(&[("a.yaml", yaml)], self.env);
        let (mut worker, count) = thread::scope(|scope| {
            let producer = scope.spawn(|| {
                let mut next = 0;
                while !stop.load(Ordering::Relaxed) {
                    put(next..next + ROWS);
                    next += ROWS;
                    thread::sleep(self.pause);
                }
                next
            });
            let _stop = StopAtEnd(&stop);
            for time in 0..times {
                self.let_live(&worker, time, &mut Random::new(seed << 32 | time));
                worker.kill();
                died(time);
                worker = worker.restart(self.env);
            }
            stop.store(true, Ordering::Relaxed);
            (worker, producer.join().unwrap())
        });
        let began = Instant::now();
        wait_until(LONG, "all rows are in the table", || {
            assert_none_failed(&worker.tasks());
            (log::delivered(self.table) >= count).then_some(())
        });
        assert_eq!(worker.stop(LONG).code(), Some(0), "{}", worker.log());
        println!(
            "killed {times} times; {count} rows were put, the last of them arrived {:?} after the last start",
            began.elapsed()
        );
        count
    }

    /// Returns when the worker is to die.
    fn let_live(&self, worker: &Sidestream, time: u64, random: &mut Random) {
        // One death in five comes while tasks are starting.
        if time % 5 != 4 {
            wait_running(worker);
        }
        thread::sleep(random.milliseconds(LIFE));
        // Every second one comes in the middle of a publish, which would be luck otherwise.
        match time % 4 {
            1 => {
                wait_changed(|| log::data_files(self.table).len());
                thread::sleep(random.milliseconds(PUBLISH));
            }
            3 => wait_changed(|| log::entries(self.table).len()),
            _ => {}
        }
    }
}

/// Returns at once when it has changed.
fn wait_changed(count: impl Fn() -> usize) {
    let (before, end) = (count(), Instant::now() + SOON);
    while count() == before {
        assert!(Instant::now() < end, "nothing is published");
        thread::sleep(Duration::from_micros(200));
    }
}

fn wait_running(worker: &Sidestream) {
    wait_until(SOON, "all tasks run", || {
        let tasks = worker.tasks();
        assert_none_failed(&tasks);
        (!tasks.is_empty() && tasks.iter().all(|task| task.state == "RUNNING")).then_some(())
    });
}

fn assert_none_failed(tasks: &[Task]) {
    assert!(tasks.iter().all(|task| task.state != "FAILED"), "{tasks:?}");
}

/// Lets the producer end when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
