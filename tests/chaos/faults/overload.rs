//! Ten times more input than memory, and a sink that takes it slowly.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::killing::{assert_none_failed, finish, wait_settled};
use crate::pipelines::{Format, Pipeline, S3Sink};
use crate::support::http_faults::{Fate, HttpFaults};
use crate::support::{Sidestream, wait_until};

const MIB: usize = 1 << 20;
/// `memory.budget.bytes`.
const BUDGET: usize = 16 * MIB;
/// Bytes of each record, and how many there are.
const RECORD: usize = 8 * 1024;
const RECORDS: i64 = (10 * BUDGET / RECORD) as i64;
const SOON: Duration = Duration::from_secs(120);

/// A figure of `/proc/<pid>/status` in bytes: `VmRSS`, `VmHWM`.
fn memory(pid: u32, figure: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn more_input_than_the_sink_takes_stays_inside_the_memory_budget() {
    let mut pipeline = S3Sink::new(Format::Json);
    pipeline.pad = RECORD;
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    let proxy = HttpFaults::before(&pipeline.s3.url, move |request| {
        let late = request.method() == "PUT" && is_slow.load(Ordering::Relaxed);
        if late { Fate::Late(Duration::from_millis(300), Box::new(Fate::Pass)) } else { Fate::Pass }
    });
    pipeline.url.clone_from(&proxy.url);
    // Before there is anything to read: what the process needs anyway.
    let yaml = pipeline.yaml_of("w", &format!("memory.budget.bytes: {BUDGET}"));
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &pipeline.env());
    let group = format!("connect-{}", pipeline.connector());
    wait_until(SOON, "both tasks have their partitions", || {
        (pipeline.input.kafka.group(&group) == ("Stable".to_owned(), 2)).then_some(())
    });
    let idle = memory(worker.pid(), "VmRSS");
    for start in (0..RECORDS).step_by(2000) {
        pipeline.put(start..(start + 2000).min(RECORDS));
    }
    wait_until(SOON, "half of it is read, slowly", || {
        (worker.metrics().records(pipeline.connector())[0] > RECORDS / 2).then_some(())
    });
    slow.store(false, Ordering::Relaxed);
    wait_settled(&pipeline, RECORDS, || assert_none_failed(&worker.tasks()));
    let peak = memory(worker.pid(), "VmHWM");
    let accounts = finish(&[&pipeline], &mut worker, RECORDS);
    println!(
        "{} MiB of input, budget {} MiB, {} MiB idle, {} MiB at most; {}",
        RECORDS as usize * RECORD / MIB,
        BUDGET / MIB,
        idle / MIB,
        peak / MIB,
        accounts[0]
    );
    assert!(accounts[0].is_clean(true), "{accounts:?}");
    // What the budget does not count: librdkafka's queues (8 MiB a partition), objects on their way, and what allocators
    // keep. The input is ten times the budget.
    assert!(peak - idle < 6 * BUDGET, "{} MiB more than an idle worker", (peak - idle) / MIB);
}
