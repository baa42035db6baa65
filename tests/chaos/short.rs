//! Each step once, in each pipeline, one after another in one life of the data.

use crate::killing::{Death, survive};
use crate::pipelines::{self, Kind};
use crate::support::Random;

/// Killed at each step once, in an order of its own, and at two random moments.
fn each_step_once(kind: Kind, seed: u64) {
    let mut random = Random::new(seed);
    let mut deaths: Vec<_> = kind.steps.iter().map(|step| Death::At(step)).collect();
    deaths.extend([Death::Random; 2]);
    for at in (1..deaths.len()).rev() {
        deaths.swap(at, random.within(0..at as u64 + 1) as usize);
    }
    let pipeline = (kind.make)();
    let mut done = Vec::new();
    let account = survive(&*pipeline, seed, &deaths, || done.push(deaths[done.len()].name()));
    println!("{}, seed {seed}: killed at {}; {account}", kind.name, done.join(", "));
    assert!(account.is_clean(kind.once), "{account:?}");
}

#[test]
fn s3_json_in_time_partitions_closed_by_the_clock_has_each_record_once() {
    each_step_once(pipelines::S3_JSON, 1);
}

#[test]
fn s3_parquet_in_time_partitions_closed_by_record_time_has_each_record_once() {
    each_step_once(pipelines::S3_PARQUET, 2);
}

#[test]
fn delta_on_s3_has_each_record_once() {
    each_step_once(pipelines::DELTA, 3);
}

#[test]
fn kinesis_loses_no_record() {
    each_step_once(pipelines::KINESIS, 4);
}

#[test]
fn a_database_in_kafka_has_each_row_once() {
    each_step_once(pipelines::RDS, 5);
}
