//! The database of an exactly-once source goes down and comes back.

use std::time::Duration;

use crate::killing::{assert_none_failed, finish};
use crate::pipelines::{Pipeline, Rds};
use crate::support::{Service, Sidestream, services, wait_until};

const PART: i64 = 1000;
const SOON: Duration = Duration::from_secs(60);

fn restarted(name: &str, variable: &str) {
    let mut database = Service::start(name);
    let pipeline = Rds::on(database.variable(variable), &services().kafka);
    let mut worker = Sidestream::start(&[("a.yaml", &pipeline.yaml())], &pipeline.env());
    let mut next = 0;
    for _ in 0..2 {
        pipeline.put(next..next + PART);
        next += PART;
        wait_until(SOON, "some of these rows are read", || {
            (worker.metrics().records(pipeline.connector())[0] > next - PART).then_some(())
        });
        database.stop();
        wait_until(SOON, "the task says what keeps it", || {
            let tasks = worker.tasks();
            assert_none_failed(&tasks);
            tasks.iter().any(|task| !task.reason.is_empty()).then_some(())
        });
        database.start_again();
    }
    pipeline.put(next..next + PART);
    next += PART;
    let accounts = finish(&[&pipeline], &mut worker, next);
    println!("{name} went down twice; {}", accounts[0]);
    assert!(accounts[0].is_clean(true), "{accounts:?}");
}

#[test]
fn mariadb_that_is_restarted_loses_and_doubles_no_row() {
    restarted("mariadb", "SIDESTREAM_TEST_MYSQL");
}

#[test]
fn postgresql_that_is_restarted_loses_and_doubles_no_row() {
    restarted("postgres", "SIDESTREAM_TEST_POSTGRES");
}
