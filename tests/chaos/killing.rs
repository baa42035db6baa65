//! The life and the deaths of a worker.

use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::pipelines::Pipeline;
use crate::support::{Random, Sidestream, Task, wait_until};

/// Records that are put at once, and the pause between.
const RECORDS: i64 = 60;
const PAUSE: Duration = Duration::from_millis(30);
/// After so many the flow rests, as long as idle clocks need.
const WAVE: i64 = 30 * RECORDS;
const REST: Duration = Duration::from_secs(1);
/// How long a worker lives that is killed at a random moment, in milliseconds.
const LIFE: Range<u64> = 100..2500;
/// How often a step is passed before it is the last one.
const PASSES: Range<u64> = 0..4;
const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(120);
const SIGABRT: i32 = 6;

/// How a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By itself, at a named step.
    At(&'static str),
    /// By SIGKILL at some moment.
    Random,
}

impl Death {
    pub fn name(self) -> &'static str {
        match self {
            Self::At(step) => step,
            Self::Random => "a random moment",
        }
    }
}

/// Lets the worker of `pipeline` die so often while records flow, then lets it finish and stops it in peace. What became
/// of the records. `died` is told each death.
pub fn survive(pipeline: &dyn Pipeline, seed: u64, deaths: &[Death], mut died: impl FnMut()) -> Account {
    let (mut random, flow) = (Random::new(seed), Flow::default());
    let (mut worker, count) = thread::scope(|scope| {
        let producer = scope.spawn(|| flow.put_until_stopped(pipeline));
        let _stop = flow.stop_at_end();
        let mut worker: Option<Sidestream> = None;
        for death in deaths {
            worker = Some(live(pipeline, worker, *death, &mut random));
            died();
        }
        let mut worker = begin(pipeline, worker, "");
        worker.wait_healthy();
        flow.stop();
        (worker, producer.join().unwrap())
    });
    stop(&[pipeline], &mut worker, count).remove(0)
}

/// As [`stop`], of a worker that has kept its partitions, and so has read no record twice: its figures add up.
pub fn finish(pipelines: &[&dyn Pipeline], worker: &mut Sidestream, count: i64) -> Vec<Account> {
    for pipeline in pipelines {
        wait_arrived(*pipeline, worker, count);
        let end = Instant::now() + SOON;
        loop {
            let [read, delivered, filtered, rejected] = worker.metrics().records(pipeline.connector());
            if read == delivered + filtered + rejected {
                break;
            }
            let said =
                format!("{read} read, {delivered} delivered, {filtered} filtered, {rejected} rejected");
            assert!(Instant::now() < end, "of {count} records: {said}");
            thread::sleep(Duration::from_millis(100));
        }
    }
    stop(pipelines, worker, count)
}

/// Waits until the records `0..count` of each pipeline have arrived, and stops their worker in peace.
pub fn stop(pipelines: &[&dyn Pipeline], worker: &mut Sidestream, count: i64) -> Vec<Account> {
    pipelines.iter().for_each(|pipeline| wait_arrived(*pipeline, worker, count));
    assert_eq!(worker.stop(LONG).code(), Some(0), "{}", worker.log());
    pipelines.iter().map(|pipeline| pipeline.account(count)).collect()
}

fn wait_arrived(pipeline: &dyn Pipeline, worker: &Sidestream, count: i64) {
    let own = |task: &Task| task.connector == pipeline.connector();
    wait_settled(pipeline, count, || {
        assert_none_failed(&worker.tasks().into_iter().filter(own).collect::<Vec<_>>());
    });
}

/// Asks, not too often, until everything below `count` is acknowledged.
pub fn wait_settled(pipeline: &dyn Pipeline, count: i64, mut look: impl FnMut()) {
    wait_until(LONG, "all records are acknowledged", || {
        look();
        let settled = pipeline.is_settled(count).then_some(());
        if settled.is_none() {
            thread::sleep(Duration::from_millis(250));
        }
        settled
    });
}

/// Starts the worker, the first one or one after another.
fn begin(pipeline: &dyn Pipeline, before: Option<Sidestream>, failpoints: &str) -> Sidestream {
    let mut env = pipeline.env();
    if !failpoints.is_empty() {
        env.push(("FAILPOINTS", failpoints));
    }
    match before {
        Some(before) => before.respawn(&env),
        None => Sidestream::spawn(&[("a.yaml", &pipeline.yaml())], &env),
    }
}

/// One life; the worker is dead afterwards.
fn live(
    pipeline: &dyn Pipeline,
    before: Option<Sidestream>,
    death: Death,
    random: &mut Random,
) -> Sidestream {
    match death {
        Death::At(step) => {
            let passes = random.within(PASSES);
            let mut worker = begin(pipeline, before, &failpoint(step, passes));
            let ended = wait_end(&mut worker, &format!("{passes} times `{step}` is passed, then reached"));
            assert_eq!(ended, Some(SIGABRT), "{}", worker.log());
            worker
        }
        Death::Random => {
            let mut worker = begin(pipeline, before, "");
            thread::sleep(random.milliseconds(LIFE));
            worker.kill();
            worker
        }
    }
}

/// Ends the process when `step` is reached after it was passed so often.
fn failpoint(step: &str, passes: u64) -> String {
    match passes {
        0 => format!("{step}=return"),
        _ => format!("{step}={passes}*off->return"),
    }
}

/// The signal that ended the worker.
fn wait_end(worker: &mut Sidestream, what: &str) -> Option<i32> {
    let end = Instant::now() + SOON;
    loop {
        if let Some(status) = worker.ended() {
            return status.signal();
        }
        if Instant::now() >= end {
            panic!("not within {SOON:?}: {what}; {:?}", worker.tasks());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

pub fn assert_none_failed(tasks: &[Task]) {
    assert!(tasks.iter().all(|task| task.state != "FAILED"), "{tasks:?}");
}

/// Numbered records that flow until they are to stop.
#[derive(Default)]
pub struct Flow(AtomicBool);

impl Flow {
    /// How many records were put: the next number.
    pub fn put_until_stopped(&self, pipeline: &dyn Pipeline) -> i64 {
        let mut next = 0;
        while !self.0.load(Ordering::Relaxed) {
            pipeline.put(next..next + RECORDS);
            next += RECORDS;
            thread::sleep(if next % WAVE == 0 { REST } else { PAUSE });
        }
        next
    }

    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Ends the flow also when the test fails.
    pub fn stop_at_end(&self) -> impl Drop + '_ {
        struct Stop<'a>(&'a Flow);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.stop();
            }
        }
        Stop(self)
    }
}
