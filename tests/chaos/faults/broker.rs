//! The broker dies and comes back, with a sink and an exactly-once source at work.

use std::thread;
use std::time::Duration;

use crate::killing::stop;
use crate::pipelines::{Format, Pipeline, Rds, S3Sink};
use crate::support::{Kafka, Service, Sidestream, services, wait_until};

/// Records that are put at once.
const PART: i64 = 1000;
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_broker_that_is_killed_and_stopped_loses_and_doubles_nothing() {
    let mut broker = Service::start("kafka");
    let kafka = Kafka { brokers: broker.variable("SIDESTREAM_TEST_KAFKA").to_owned() };
    let sink = S3Sink::on(&kafka, Format::Json);
    let source = Rds::on(&services().mysql, &kafka);
    let pipelines: [&dyn Pipeline; 2] = [&sink, &source];
    let yaml = pipelines.map(Pipeline::yaml);
    let worker = format!("worker: {{bootstrap.servers: \"{}\"}}\n", kafka.brokers);
    let files = [("a.yaml", yaml[0].as_str()), ("b.yaml", &yaml[1]), ("worker.yaml", &worker)];
    let mut worker = Sidestream::start(&files, &sink.env());
    let mut next = 0;
    for round in 0..2 {
        pipelines.iter().for_each(|pipeline| pipeline.put(next..next + PART));
        next += PART;
        // In the middle of the work: both have begun with these records.
        wait_until(SOON, "both have read some of them", || {
            let metrics = worker.metrics();
            let read = pipelines.map(|pipeline| metrics.records(pipeline.connector())[0]);
            (read.iter().all(|read| *read > next - PART)).then_some(())
        });
        if round == 1 {
            broker.stop()
        } else {
            broker.kill()
        }
        // As long as a restart takes.
        thread::sleep(Duration::from_secs(1));
        broker.start_again();
    }
    pipelines.iter().for_each(|pipeline| pipeline.put(next..next + PART));
    next += PART;
    let accounts = stop(&pipelines, &mut worker, next);
    println!("the broker went down twice; sink: {}; source: {}", accounts[0], accounts[1]);
    assert!(accounts.iter().all(|account| account.is_clean(true)), "{accounts:?}");
}
