//! Workers of one group that come and go while records flow.

use std::thread;
use std::time::Duration;

use crate::killing::{Flow, assert_none_failed, wait_settled};
use crate::pipelines::{Format, Pipeline, S3Sink};
use crate::support::{Sidestream, wait_until};

const SOON: Duration = Duration::from_secs(60);

fn start(pipeline: &S3Sink, worker: &str, session_ms: u32) -> Sidestream {
    let keys = format!("session.timeout.ms: {session_ms}, heartbeat.interval.ms: 500");
    Sidestream::start(&[("a.yaml", &pipeline.yaml_of(worker, &keys))], &pipeline.env())
}

/// The group is quiet, and has so many members.
fn wait_stable(pipeline: &S3Sink, members: usize) {
    let group = format!("connect-{}", pipeline.input.id);
    wait_until(SOON, &format!("{group} is stable with {members} members"), || {
        (pipeline.input.kafka.group(&group) == ("Stable".to_owned(), members)).then_some(())
    });
}

#[test]
fn workers_that_come_and_go_lose_and_double_nothing() {
    let (pipeline, flow) = (S3Sink::new(Format::Parquet), Flow::default());
    // Two tasks a worker.
    let mut first = start(&pipeline, "first", 6000);
    wait_stable(&pipeline, 2);
    let count = thread::scope(|scope| {
        let producer = scope.spawn(|| flow.put_until_stopped(&pipeline));
        let _stop = flow.stop_at_end();
        // Another one comes and goes in peace, …
        let mut second = start(&pipeline, "second", 6000);
        wait_stable(&pipeline, 4);
        assert_eq!(second.stop(SOON).code(), Some(0), "{}", second.log());
        wait_stable(&pipeline, 2);
        // … comes back and is killed, …
        let mut second = second.restart(&pipeline.env());
        wait_stable(&pipeline, 4);
        second.kill();
        wait_stable(&pipeline, 2);
        // … and the first one goes instead.
        let mut second = second.restart(&pipeline.env());
        wait_stable(&pipeline, 4);
        assert_none_failed(&first.tasks());
        assert_eq!(first.stop(SOON).code(), Some(0), "{}", first.log());
        wait_stable(&pipeline, 2);
        flow.stop();
        let count = producer.join().unwrap();
        wait_settled(&pipeline, count, || assert_none_failed(&second.tasks()));
        assert_eq!(second.stop(SOON).code(), Some(0), "{}", second.log());
        count
    });
    let account = pipeline.account(count);
    println!("two workers came and went four times; {account}");
    assert!(account.is_clean(true), "{account:?}");
}

#[test]
fn partitions_that_stay_flow_on_while_the_group_waits_for_a_member_that_hangs() {
    let pipeline = S3Sink::new(Format::Json);
    let group = format!("connect-{}", pipeline.input.id);
    let is_rebalancing = || pipeline.input.kafka.group(&group).0 == "PreparingRebalance";
    let mut first = start(&pipeline, "first", 20_000);
    wait_stable(&pipeline, 2);
    let mut hanging = start(&pipeline, "hanging", 20_000);
    wait_stable(&pipeline, 4);
    // It is not missed for twenty seconds; a third one that joins has to wait for it, and the group with it.
    hanging.signal("STOP");
    let mut third = start(&pipeline, "third", 20_000);
    wait_until(SOON, "the group waits", || is_rebalancing().then_some(()));

    let before = pipeline.s3.keys(&pipeline.bucket).len();
    let mut count = 0;
    let flowed = wait_until(SOON, "objects are written while the group waits", || {
        pipeline.put(count..count + 40);
        count += 40;
        let now = pipeline.s3.keys(&pipeline.bucket).len();
        // Looked at last: it waited all the time.
        (now >= before + 4).then(is_rebalancing)
    });
    assert!(flowed, "the group did not wait any more when the first objects came");
    let early = pipeline.s3.keys(&pipeline.bucket).len() - before;

    hanging.signal("CONT");
    wait_stable(&pipeline, 6);
    wait_settled(&pipeline, count, || assert_none_failed(&first.tasks()));
    for worker in [&mut first, &mut hanging, &mut third] {
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    }
    let account = pipeline.account(count);
    println!("{} objects were written while the group waited; {account}", early);
    assert!(account.is_clean(true), "{account:?}");
}
