//! What became of the records of one batch, told on the producer's thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::Int64Array;
use connector_core::source::AckError;
use connector_core::{Ack, ConnectError, Envelope, Offset, Result, Run};
use rdkafka::message::OwnedMessage;
use tokio::sync::Notify;

use crate::kafka::producer::{Delivered, OnDelivery};

/// Which record is which: transforms may have dropped, split and sent elsewhere what was polled.
pub struct Origins {
    /// Number of the first polled record.
    base: Offset,
    runs: Vec<Origin>,
}

struct Origin {
    /// Index of its first record among all that are sent.
    first: usize,
    topic: Arc<str>,
    numbers: Option<Int64Array>,
}

impl Origins {
    pub fn of(runs: &[Run], base: Offset) -> Result<Self> {
        let (mut origins, mut first) = (Vec::with_capacity(runs.len()), 0);
        for run in runs {
            let numbers = Envelope::of(&run.records)?.offsets().cloned();
            origins.push(Origin { first, topic: run.topic.clone().unwrap_or_else(|| "".into()), numbers });
            first += run.records.num_rows();
        }
        Ok(Self { base, runs: origins })
    }

    /// Topic of a sent record, and its row in the polled batch.
    pub fn find(&self, index: usize) -> Option<(&Arc<str>, usize)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.first <= index).checked_sub(1)?)?;
        let at = index - run.first;
        let number = run.numbers.as_ref().filter(|n| at < n.len()).map_or(self.base, |n| n.value(at));
        Some((&run.topic, usize::try_from(number - self.base).unwrap_or(0)))
    }
}

/// A record that Kafka did not take.
pub struct Failure {
    /// Among all that were sent; after them come positions.
    pub index: usize,
    pub error: ConnectError,
    /// The record, if it may be too large only together with those that it was sent with.
    pub crowded: Option<OwnedMessage>,
}

impl Failure {
    /// Whether it is this record's own fault: all others may go on without it.
    pub fn is_of_the_record(&self) -> bool {
        let codes = [
            "MessageSizeTooLarge",
            "InvalidRecord",
            "InvalidTopic",
            "UnknownTopic",
            "UnknownTopicOrPartition",
            "UnknownPartition",
        ];
        self.error.code.strip_prefix("kafka.").is_some_and(|code| codes.contains(&code))
    }
}

/// Deliveries of one batch, counted on the producer's thread.
pub struct Sent {
    left: AtomicUsize,
    /// One a row of the polled batch, only if the source wants them.
    acks: Option<Mutex<Vec<Ack>>>,
    failures: Mutex<Vec<Failure>>,
    origins: Arc<Origins>,
    done: Arc<Notify>,
}

impl OnDelivery for Sent {
    fn delivered(&self, index: usize, outcome: Delivered) {
        match outcome {
            Ok((partition, offset)) => {
                self.acknowledge(index, |topic| Ack {
                    destination: topic,
                    partition: partition.to_string(),
                    offset: offset.to_string(),
                    error: None,
                });
                self.count();
            }
            Err(error) => self.fail(Failure { index, error, crowded: None }),
        }
    }

    fn too_large(&self, index: usize, record: OwnedMessage, error: ConnectError) {
        self.fail(Failure { index, error, crowded: Some(record) });
    }
}

impl Sent {
    /// Begins with one more than there are records, so that it is not done before all are sent.
    pub fn new(acks: Option<Vec<Ack>>, origins: Arc<Origins>, done: Arc<Notify>) -> Arc<Self> {
        let (left, failures) = (AtomicUsize::new(1), Mutex::default());
        Arc::new(Self { left, acks: acks.map(Mutex::new), failures, origins, done })
    }

    /// So many more records are on their way.
    pub fn expect(&self, records: usize) {
        self.left.fetch_add(records, Ordering::AcqRel);
    }

    /// All records are with the producer.
    pub fn all_sent(&self) {
        self.count();
    }

    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    pub fn fail(&self, failure: Failure) {
        self.acknowledge(failure.index, |topic| refuse(topic, proxy_code(&failure.error), &failure.error));
        lock(&self.failures).push(failure);
        self.count();
    }

    pub fn has_failed(&self) -> bool {
        !lock(&self.failures).is_empty()
    }

    /// In the order of the records.
    pub fn take_failures(&self) -> Vec<Failure> {
        let mut failures = std::mem::take(&mut *lock(&self.failures));
        failures.sort_by_key(|failure| failure.index);
        failures
    }

    pub fn take_acks(&self) -> Option<Vec<Ack>> {
        self.acks.as_ref().map(|acks| std::mem::take(&mut *lock(acks)))
    }

    fn acknowledge(&self, index: usize, ack: impl FnOnce(Arc<str>) -> Ack) {
        let Some(acks) = &self.acks else { return };
        if let Some((topic, row)) = self.origins.find(index)
            && let Some(known) = lock(acks).get_mut(row)
        {
            *known = ack(topic.clone());
        }
    }

    fn count(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }
}

/// REST Proxy's codes: 50003 may pass when it is tried again, 50002 will not.
pub fn proxy_code(error: &ConnectError) -> i32 {
    match error.code.strip_prefix("kafka.").unwrap_or_default() {
        "Authentication" | "SaslAuthenticationFailed" => 40101,
        "TopicAuthorizationFailed" | "ClusterAuthorizationFailed" => 40301,
        "UnknownTopic" | "UnknownTopicOrPartition" => 40401,
        "UnknownPartition" => 40402,
        _ if error.is_retriable() => 50003,
        _ => 50002,
    }
}

/// The answer for a record that goes no further.
pub fn refuse(topic: Arc<str>, code: i32, error: &ConnectError) -> Ack {
    let error = AckError { code, message: error.to_string(), retriable: error.is_retriable() };
    Ack { destination: topic, partition: String::new(), offset: String::new(), error: Some(error) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use connector_core::Form;
    use connector_core::envelope::EnvelopeBuilder;

    use super::*;
    use crate::task::source::number;

    fn run(topic: &str, numbers: std::ops::Range<i64>) -> Run {
        let texts: Vec<String> = numbers.clone().map(|n| n.to_string()).collect();
        let values = Arc::new(StringArray::from(texts));
        let records = EnvelopeBuilder::new().value(Form::Document, values).build().unwrap();
        Run::to_topic(topic, number(&records, numbers.start).unwrap())
    }

    #[test]
    fn a_sent_record_is_found_in_the_polled_batch_though_transforms_dropped_and_split_what_was_polled() {
        // Of the ten records from number 100, transforms have left these.
        let runs = [run("a", 101..103), run("b", 107..107), run("c", 107..110)];
        let origins = Origins::of(&runs, 100).unwrap();
        let found: Vec<_> =
            (0..5).filter_map(|index| origins.find(index)).map(|(topic, row)| (&**topic, row)).collect();
        assert_eq!(found, [("a", 1), ("a", 2), ("c", 7), ("c", 8), ("c", 9)]);
    }

    #[test]
    fn a_batch_is_done_when_all_its_records_are_and_not_while_some_are_still_to_be_sent() {
        let origins = Arc::new(Origins::of(&[run("a", 0..2)], 0).unwrap());
        let sent = Sent::new(None, origins, Arc::default());
        sent.expect(2);
        sent.delivered(0, Ok((0, 7)));
        sent.delivered(1, Err(ConnectError::user("kafka.MessageSizeTooLarge", "too large")));
        assert!(!sent.is_done() && sent.has_failed());
        sent.all_sent();
        assert!(sent.is_done());
        let failures = sent.take_failures();
        assert!(failures.len() == 1 && failures[0].index == 1 && failures[0].is_of_the_record());
    }
}
