//! One budget for all connectors: under overload the process stays inside its limit, and every connector moves.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cgroup::Group;
use crate::support::http_faults::{Fate, HttpFaults};
use crate::support::layout::{coverage, objects};
use crate::support::{Record, Services, Sidestream, services, unique, wait_until};
use crate::{LONG, SOON};

fn resident_mib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

#[test]
fn ten_connectors_before_a_slow_s3_stay_inside_the_limit_and_all_of_them_move() {
    const LIMIT: u64 = 320;
    const CONNECTORS: usize = 10;
    const RECORDS: i64 = 24_000;
    let Services { kafka, s3, .. } = services();
    let (topic, bucket) = (unique("overload"), unique("overload-bucket"));
    s3.create_bucket(&bucket);
    kafka.create_topic(&topic, 4);
    // A kilobyte each: ten times what the budget holds, for each of the connectors.
    let padding = "x".repeat(1000);
    for from in (0..RECORDS).step_by(4000) {
        kafka.produce((from..from + 4000).map(|n| {
            Record::new(&topic, json!({"n": n, "padding": padding}).to_string()).partition((n % 4) as i32)
        }));
    }
    let slow = HttpFaults::before(&s3.url, |request| match request.method() {
        "PUT" => Fate::Late(Duration::from_millis(20), Box::new(Fate::Pass)),
        _ => Fate::Pass,
    });
    let name = |n: usize| format!("{topic}-{n}");
    let mut yaml = format!(
        "worker: {{memory.budget.bytes: {}, task.shutdown.graceful.timeout.ms: 30000}}\nconnectors:\n",
        24 << 20
    );
    for n in 0..CONNECTORS {
        yaml += &format!(
            "  {}: {{connector.class: s3-sink, topics: {topic}, flush.size: 1000, flush.on.stop: true, topics.dir: d{n}, s3.bucket.name: {bucket}, \
             s3.region: us-east-1, store.url: '{}'}}\n",
            name(n),
            slow.url
        );
    }
    let group = Group::with_memory(LIMIT);
    let launcher =
        group.as_ref().map(Group::launcher).unwrap_or_else(|| ["env", "-u", "NOTHING"].map(str::to_owned));
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let mut worker = Sidestream::spawn_by(&launcher, &[("a.yaml", &yaml)], &s3.credentials());
    let (stop, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        let (pid, stop, most) = (worker.pid(), &stop, &most);
        scope.spawn(move || {
            let mut told = 0;
            while !stop.load(Ordering::Acquire) {
                let mib = resident_mib(pid).unwrap_or(0);
                most.fetch_max(mib, Ordering::AcqRel);
                if began.elapsed().as_secs() / 2 >= told {
                    told = began.elapsed().as_secs() / 2 + 1;
                    println!("{:>3} s {mib:>4} MiB resident", began.elapsed().as_secs());
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            worker.wait_healthy();
            wait_until(LONG, "every connector has moved", || {
                let metrics = worker.metrics();
                (0..CONNECTORS).all(|n| metrics.records(&name(n))[1] > 0).then_some(())
            });
            wait_until(LONG, "all is read", || {
                let metrics = worker.metrics();
                (0..CONNECTORS).all(|n| metrics.records(&name(n))[0] == RECORDS).then_some(())
            });
        }));
        stop.store(true, Ordering::Release);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let most = most.into_inner();
    println!("at most {most} MiB of {LIMIT}, control group: {}", group.is_some());
    assert!(most < LIMIT, "{most} MiB");
    assert!(group.as_ref().is_none_or(|group| !group.was_killed()));
    let used = worker.metrics().sum("sidestream_memory_used_bytes", &[]);
    assert!(used <= 24 << 20, "{used}");
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    for n in 0..CONNECTORS {
        let found = objects(&s3, &bucket, &format!("d{n}"));
        for partition in 0..4 {
            let found = coverage(&found[&(topic.clone(), partition)], RECORDS / 4);
            assert_eq!(
                (found.covered as i64, found.duplicates, found.missing),
                (RECORDS / 4, 0, 0),
                "{n}: {found:?}"
            );
        }
    }
}

#[test]
fn sixty_four_mebibytes_are_said_to_be_little_and_lose_nothing() {
    let Services { kafka, s3, .. } = services();
    let Some(group) = Group::with_memory(64) else {
        // Who may not make control groups cannot be in a small one here; the arithmetic has unit tests.
        return;
    };
    let (topic, bucket) = (unique("small"), unique("small-bucket"));
    s3.create_bucket(&bucket);
    kafka.create_topic(&topic, 2);
    kafka.produce((0..10_000).map(|n| {
        Record::new(&topic, json!({"n": n, "padding": "x".repeat(500)}).to_string()).partition(n % 2)
    }));
    let yaml = format!(
        "connectors: {{{topic}: {{connector.class: s3-sink, topics: {topic}, flush.size: 500, s3.bucket.name: {bucket}, \
         s3.region: us-east-1, store.url: '{}'}}}}\n",
        s3.url
    );
    let launcher = group.launcher();
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let mut worker = Sidestream::spawn_by(&launcher, &[("a.yaml", &yaml)], &s3.credentials());
    worker.wait_healthy();
    worker.wait_log("the control group allows 64 MiB of memory", SOON);
    let budget = worker.metrics().sum("sidestream_memory_budget_bytes", &[]);
    assert_eq!(budget, 32 << 20, "half of the limit");
    wait_until(LONG, "all is committed", || {
        (kafka.committed(&format!("connect-{topic}"), &topic).values().sum::<i64>() == 10_000).then_some(())
    });
    assert!(!group.was_killed());
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    let found = objects(&s3, &bucket, "topics");
    for partition in 0..2 {
        let found = coverage(&found[&(topic.clone(), partition)], 5000);
        assert_eq!((found.covered, found.duplicates, found.missing), (5000, 0, 0), "{found:?}");
    }
}
