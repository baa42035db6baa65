//! A topic of numbered records: number `n` is in partition `n % partitions`, at offset `n / partitions`.

use std::ops::Range;

use crate::support::kafka::Producer;
use crate::support::{Kafka, Record, services, unique};

/// 2024-05-01T00:00:00Z, the time of record 0.
const FIRST_MS: i64 = 1_714_521_600_000;

pub struct Input {
    pub kafka: Kafka,
    /// The topic's name; the connector's too.
    pub id: String,
    pub partitions: i32,
    producer: Producer,
}

impl Input {
    pub fn new(what: &str, partitions: i32) -> Self {
        Self::on(&services().kafka, what, partitions)
    }

    pub fn on(kafka: &Kafka, what: &str, partitions: i32) -> Self {
        let id = unique(what);
        kafka.create_topic(&id, partitions);
        Self { kafka: kafka.clone(), id, partitions, producer: kafka.producer() }
    }

    /// The record's time. It goes on slowly; some records are late.
    pub fn timestamp(n: i64) -> i64 {
        FIRST_MS + n * 5 - if n % 97 == 0 { 150_000 } else { 0 }
    }

    /// `partition` and offset of record `n`.
    pub fn place(&self, n: i64) -> (i32, i64) {
        let partitions = i64::from(self.partitions);
        ((n % partitions) as i32, n / partitions)
    }

    pub fn put(&self, numbers: Range<i64>, value: impl Fn(i64) -> String) {
        self.producer.produce(numbers.map(|n| Record {
            timestamp: Some(Self::timestamp(n)),
            ..Record::new(&self.id, value(n)).partition(self.place(n).0).key(format!("key-{}", n % 50))
        }));
    }

    /// Whether the connector's group has committed everything below `count`.
    pub fn is_committed(&self, count: i64) -> bool {
        let committed = self.kafka.committed(&format!("connect-{}", self.id), &self.id);
        (0..self.partitions).all(|partition| {
            let end = (0..count).rev().map(|n| self.place(n)).find(|(p, _)| *p == partition);
            end.is_none_or(|(_, offset)| committed.get(&partition) == Some(&(offset + 1)))
        })
    }
}

/// A text of a length that differs from record to record.
pub fn text(n: i64) -> String {
    "lorem ipsum ".repeat(1 + (n % 9) as usize)
}
