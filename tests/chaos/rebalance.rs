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
fn partitions_that_stay_are_read_on_while_the_group_waits_for_a_member_that_hangs() {
    let pipeline = S3Sink::new(Format::Json);
    let group = format!("connect-{}", pipeline.input.id);
    let is_rebalancing = || pipeline.input.kafka.group(&group).0 == "PreparingRebalance";
    let mut first = start(&pipeline, "first", 15_000);
    wait_stable(&pipeline, 2);
    let mut hanging = start(&pipeline, "hanging", 15_000);
    wait_stable(&pipeline, 4);
    let read = || first.metrics().records(pipeline.connector())[0];
    let mut count = 0;
    let mut put = || {
        pipeline.put(count..count + 40);
        count += 40;
        count
    };
    // Each worker has two partitions, and has begun with them.
    wait_until(SOON, "the first one reads", || (put() > 0 && read() > 100).then_some(()));
    // It is not missed for fifteen seconds; a third one that joins has to wait for it, and the group with it.
    hanging.signal("STOP");
    let mut third = start(&pipeline, "third", 15_000);
    wait_until(SOON, "the group waits", || is_rebalancing().then_some(()));

    // What is read is published when the group is whole again: until then the broker answers no commit, as it answers
    // the requests of a connection one after another, and a member's first one is to join.
    let before = read();
    let still = wait_until(SOON, "the first one reads on", || {
        put();
        // Looked at last: the group waited all the time.
        (read() >= before + 100).then(is_rebalancing)
    });
    assert!(still, "the group did not wait any more when the first worker had read on");

    hanging.signal("CONT");
    wait_stable(&pipeline, 6);
    wait_settled(&pipeline, count, || assert_none_failed(&first.tasks()));
    for worker in [&mut first, &mut hanging, &mut third] {
        assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    }
    let account = pipeline.account(count);
    println!("a member hung while another one joined; {account}");
    assert!(account.is_clean(true), "{account:?}");
}
