//! A worker stands still in the middle of a publish, another one takes over, and the first one wakes up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::killing::{assert_none_failed, wait_settled};
use crate::pipelines::{Delta, Format, Pipeline, S3Sink};
use crate::support::{Sidestream, Task, wait_until};

const GROUP: &str = "session.timeout.ms: 3000, heartbeat.interval.ms: 500";
const SOON: Duration = Duration::from_secs(60);
/// Records of each of the three parts of the story.
const PART: i64 = 600;

/// A commit of its was refused; or, where the sink keeps the offsets, the sink has refused it and the task stays down.
fn says_it_is_none_any_more(former: &Sidestream, connector: &str) -> bool {
    let tasks = former.tasks();
    let refused = |task: &&Task| task.state == "FAILED" && task.reason.contains("another task or worker");
    let failed = tasks.iter().filter(|task| task.state == "FAILED").count();
    assert_eq!(failed, tasks.iter().filter(refused).count(), "{tasks:?}");
    let labels = [("connector", connector)];
    failed > 0 || former.metrics().sum("sidestream_task_commits_refused_total", &labels) > 0
}

/// The former owner is stopped at `step` in its second publish, and goes on when another one has published the rest.
/// What the other one has written (`objects`) is the same afterwards.
fn wakes_up_at(step: &str, pipeline: &dyn Pipeline, objects: impl Fn() -> BTreeMap<String, Vec<u8>>) {
    // The sleep goes on while the process is stopped: it is over when the process goes on.
    let held = format!("{step}=1*off->1*sleep(5000)");
    let mut env = pipeline.env();
    env.push(("FAILPOINTS", &held));
    pipeline.put(0..PART);
    let mut former = Sidestream::start(&[("a.yaml", &pipeline.yaml_of("former", GROUP))], &env);
    // Something more, should the first publish have taken everything.
    let mut next = PART;
    wait_until(SOON, &format!("the former owner is held at {step}"), || {
        former.is_held().then_some(()).or_else(|| {
            pipeline.put(next..next + 4);
            next += 4;
            None
        })
    });
    former.signal("STOP");

    let mut owner = Sidestream::start(&[("a.yaml", &pipeline.yaml_of("owner", GROUP))], &pipeline.env());
    pipeline.put(next..next + PART);
    next += PART;
    wait_settled(pipeline, next, || assert_none_failed(&owner.tasks()));
    let published = objects();

    former.signal("CONT");
    wait_until(SOON, "the former owner says that it is none any more", || {
        says_it_is_none_any_more(&former, pipeline.connector()).then_some(())
    });
    pipeline.put(next..next + PART);
    next += PART;
    wait_settled(pipeline, next, || assert_none_failed(&owner.tasks()));
    let now = objects();
    for (key, body) in &published {
        assert!(now.get(key) == Some(body), "{key} is not what it was before the former owner woke up");
    }
    for worker in [&mut former, &mut owner] {
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    }
    let account = pipeline.account(next);
    println!("{} objects before the former owner woke up at {step}; {account}", published.len());
    assert!(account.is_clean(true), "{account:?}");
}

fn s3_wakes_up_at(step: &str) {
    let pipeline = S3Sink::new(Format::Json);
    wakes_up_at(step, &pipeline, || pipeline.s3.objects(&pipeline.bucket));
}

#[test]
fn a_former_owner_that_wakes_up_before_its_intent_publishes_nothing() {
    s3_wakes_up_at("sink.settled");
}

#[test]
fn a_former_owner_that_wakes_up_after_its_intent_changes_no_object_s3_05() {
    s3_wakes_up_at("sink.intended");
}

#[test]
fn a_former_owner_of_a_delta_table_that_wakes_up_doubles_nothing() {
    let pipeline = Delta::new();
    wakes_up_at("sink.staged", &pipeline, BTreeMap::new);
}
