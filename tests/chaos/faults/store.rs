//! S3 that answers a third of all calls with an error, late, or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::killing::{Flow, stop};
use crate::pipelines::{Format, Pipeline, S3Sink};
use crate::support::http_faults::{Fate, HttpFaults, Message};
use crate::support::{Random, Sidestream, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// How many calls met which fate.
#[derive(Clone, Debug, Default)]
struct Fates {
    passed: usize,
    refused: usize,
    dropped: usize,
    answers_lost: usize,
    answers_cut: usize,
    late: usize,
}

impl Fates {
    fn each_happened(&self) -> bool {
        let Self { passed, refused, dropped, answers_lost, answers_cut, late } = *self;
        [passed, refused, dropped, answers_lost, answers_cut, late].iter().all(|n| *n > 0)
    }
}

fn refusal(random: &mut Random) -> Fate {
    let (status, code) = match random.within(0..3) {
        0 => ("500 Internal Server Error", "InternalError"),
        1 => ("503 Slow Down", "SlowDown"),
        _ => ("503 Service Unavailable", "ServiceUnavailable"),
    };
    let body = format!("<Error><Code>{code}</Code><Message>as the test asks</Message></Error>");
    Fate::Answer(Message::answer(status, "application/xml", body))
}

/// Before the service at `url`.
fn unreliable(url: &str, seed: u64) -> (HttpFaults, Arc<Mutex<Fates>>) {
    let fates = Arc::new(Mutex::new(Fates::default()));
    let (counted, mut random) = (Arc::clone(&fates), Random::new(seed));
    let proxy = HttpFaults::before(url, move |_| {
        let mut fates = counted.lock().unwrap();
        let (count, fate) = match random.within(0..100) {
            0..30 => (&mut fates.refused, refusal(&mut random)),
            30..35 => (&mut fates.dropped, Fate::Drop),
            35..40 => (&mut fates.answers_lost, Fate::LoseAnswer),
            40..45 => (&mut fates.answers_cut, Fate::CutAnswer),
            45..55 => (&mut fates.late, Fate::Late(random.milliseconds(50..400), Box::new(Fate::Pass))),
            _ => (&mut fates.passed, Fate::Pass),
        };
        *count += 1;
        fate
    });
    (proxy, fates)
}

/// Records flow until each fate has been met, and then some.
fn survives(mut pipeline: S3Sink, seed: u64, parts: i64) {
    let (proxy, fates) = unreliable(&pipeline.s3.url, seed);
    pipeline.url.clone_from(&proxy.url);
    let mut worker = Sidestream::spawn(&[("a.yaml", &pipeline.yaml())], &pipeline.env());
    worker.wait_listening();
    let mut next = 0;
    for _ in 0..parts {
        pipeline.put(next..next + 40);
        next += 40;
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_until(SOON, "each kind of fault has been met", || {
        fates.lock().unwrap().each_happened().then_some(()).or_else(|| {
            pipeline.put(next..next + 40);
            next += 40;
            None
        })
    });
    let accounts = stop(&[&pipeline], &mut worker, next);
    println!("seed {seed}: {:?}; {}", fates.lock().unwrap(), accounts[0]);
    assert!(accounts[0].is_clean(true), "{accounts:?}");
}

#[test]
fn a_store_with_thirty_percent_errors_has_each_record_once() {
    survives(S3Sink::new(Format::Json), 11, 60);
}

#[test]
fn uploads_in_parts_to_a_store_with_thirty_percent_errors_have_each_record_once() {
    // Objects of two or three parts.
    let mut pipeline = S3Sink::new(Format::Json).with("    s3.part.size: 5242880\n");
    pipeline.pad = 500_000;
    survives(pipeline, 12, 10);
}

#[test]
fn a_worker_that_is_killed_before_an_unreliable_store_has_each_record_once() {
    let (mut pipeline, flow) = (S3Sink::new(Format::Parquet), Flow::default());
    let (proxy, fates) = unreliable(&pipeline.s3.url, 13);
    pipeline.url.clone_from(&proxy.url);
    let mut random = Random::new(13);
    let (mut worker, count) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| flow.put_until_stopped(&pipeline));
        let _stop = flow.stop_at_end();
        let mut worker = Sidestream::spawn(&[("a.yaml", &pipeline.yaml())], &pipeline.env());
        for _ in 0..5 {
            std::thread::sleep(random.milliseconds(500..2500));
            worker.kill();
            worker = worker.respawn(&pipeline.env());
        }
        flow.stop();
        (worker, producer.join().unwrap())
    });
    worker.wait_listening();
    let accounts = stop(&[&pipeline], &mut worker, count);
    println!("killed five times, {:?}; {}", fates.lock().unwrap(), accounts[0]);
    assert!(accounts[0].is_clean(true), "{accounts:?}");
}
