//! Requests that wait for the host's next poll, in a bounded queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use connector_core::PollBudget;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::answer::RecordAnswer;
use crate::records::Records;
use crate::refusal::{Refusal, code};

/// One answer a record, in their order.
pub type Reply = oneshot::Sender<Result<Vec<RecordAnswer>, Refusal>>;

/// An accepted request, or the rest of one of which the first records were polled.
#[derive(Debug)]
pub struct Produce {
    pub topic: Arc<str>,
    /// Where records go that name no partition themselves.
    pub partition: Option<i32>,
    pub records: Records,
    /// Records of the request that were polled before these.
    pub polled: usize,
    /// `None`: more of the request follows, and that part answers.
    pub reply: Option<Reply>,
    pub room: Room,
}

/// What may wait at once.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub records: usize,
    pub bytes: usize,
}

#[derive(Debug)]
pub struct Intake {
    capacity: Capacity,
    /// Longest wait for the host's commit.
    patience: Duration,
    bytes: AtomicUsize,
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Produce>,
    records: usize,
    closed: bool,
}

impl Intake {
    pub fn new(capacity: Capacity, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            patience,
            bytes: AtomicUsize::new(0),
            queue: Mutex::default(),
            arrived: Notify::new(),
        })
    }

    /// Room for the body of one request; empty, it grows while the body arrives.
    pub fn room(self: &Arc<Self>) -> Room {
        Room { intake: Arc::clone(self), bytes: 0 }
    }

    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Lines the records of a request up and waits until the host has committed them.
    pub async fn deliver(
        &self,
        topic: Arc<str>,
        partition: Option<i32>,
        records: Records,
        room: Room,
    ) -> Result<Vec<RecordAnswer>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.offer(Produce { topic, partition, records, polled: 0, reply: Some(reply), room })?;
        match timeout(self.patience, answer).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(_)) => {
                Err(unknown(StatusCode::INTERNAL_SERVER_ERROR, "The connector stopped before Kafka answered"))
            }
            Err(_) => Err(unknown(
                StatusCode::GATEWAY_TIMEOUT,
                "Kafka has not answered within webhook.ack.timeout.ms",
            )),
        }
    }

    /// Lines a request up, or refuses it when too many records wait.
    pub fn offer(&self, request: Produce) -> Result<(), Refusal> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(closing());
        }
        if queue.records + request.records.len() > self.capacity.records && queue.records > 0 {
            return Err(full());
        }
        queue.records += request.records.len();
        queue.requests.push_back(request);
        drop(queue);
        self.arrived.notify_one();
        Ok(())
    }

    /// All that waits, within the budget; waits until there is something. `None` once closed. Loses nothing when it
    /// is dropped: requests are taken without a further wait.
    pub async fn take(&self, budget: PollBudget) -> Option<Vec<Produce>> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut queue = self.lock();
                if !queue.requests.is_empty() {
                    return Some(queue.take(budget));
                }
                if queue.closed {
                    // For a further call that waits.
                    self.arrived.notify_one();
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Accepts nothing more, and refuses what was not polled: none of it was written.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.records = 0;
        let unread = std::mem::take(&mut queue.requests);
        drop(queue);
        self.arrived.notify_one();
        for reply in unread.into_iter().filter_map(|request| request.reply) {
            // The client may be gone.
            let _ = reply.send(Err(closing()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn take(&mut self, budget: PollBudget) -> Vec<Produce> {
        let (mut taken, mut records, mut bytes) = (Vec::with_capacity(self.requests.len()), 0, 0);
        while let Some(mut request) = self.requests.pop_front() {
            let (left_records, left_bytes) =
                (budget.max_records.saturating_sub(records), budget.max_bytes - bytes);
            let (fitting, size) = request.records.fitting(left_records, left_bytes);
            if !taken.is_empty() && (left_records == 0 || size > left_bytes) {
                self.requests.push_front(request);
                break;
            }
            let rest = (fitting < request.records.len()).then(|| request.split_off(fitting));
            records += fitting;
            bytes = (bytes + size).min(budget.max_bytes);
            taken.push(request);
            if let Some(rest) = rest {
                self.requests.push_front(rest);
                break;
            }
        }
        self.records -= records;
        taken
    }
}

impl Produce {
    fn split_off(&mut self, at: usize) -> Self {
        Self {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            records: self.records.split_off(at),
            polled: self.polled + at,
            reply: self.reply.take(),
            room: self.room.take(),
        }
    }
}

/// A share of the bytes that may wait, given back when dropped.
#[derive(Debug)]
pub struct Room {
    intake: Arc<Intake>,
    bytes: usize,
}

impl Room {
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.intake.capacity.bytes);
        match self.intake.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(full()),
        }
    }

    fn take(&mut self) -> Self {
        Self { intake: Arc::clone(&self.intake), bytes: std::mem::take(&mut self.bytes) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.intake.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Nobody can tell whether the records were written.
fn unknown(status: StatusCode, why: &str) -> Refusal {
    Refusal::new(status, code::KAFKA_RETRIABLE, format!("{why}; the records may have been written"))
}

fn full() -> Refusal {
    Refusal::later("too many records wait for Kafka; send them again later")
}

fn closing() -> Refusal {
    Refusal::later("the connector is stopping and has written none of these records; send them again later")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Format;

    const ALL: PollBudget = PollBudget { max_records: usize::MAX, max_bytes: usize::MAX };

    fn request(intake: &Arc<Intake>, records: usize) -> Produce {
        let body = format!(r#"{{"records":[{}]}}"#, vec![r#"{"value":"abcd"}"#; records].join(","));
        let mut room = intake.room();
        room.grow(body.len()).unwrap();
        let records = Records::parse(body.as_bytes(), Format::Json, 1000).unwrap();
        Produce { topic: "t".into(), partition: None, records, polled: 0, reply: None, room }
    }

    fn intake() -> Arc<Intake> {
        Intake::new(Capacity { records: 10, bytes: 1000 }, Duration::from_secs(1))
    }

    fn sizes(taken: &[Produce]) -> Vec<usize> {
        taken.iter().map(|r| r.records.len()).collect()
    }

    #[tokio::test]
    async fn a_poll_takes_all_that_waits_within_its_budget_and_splits_a_request_that_is_larger() {
        let intake = intake();
        for count in [2, 5, 1] {
            intake.offer(request(&intake, count)).unwrap();
        }
        let take = async |max_records, max_bytes| {
            let taken = intake.take(PollBudget { max_records, max_bytes }).await.unwrap();
            taken.iter().map(|part| (part.polled, part.records.len())).collect::<Vec<_>>()
        };
        assert_eq!(take(4, 1000).await, [(0, 2), (0, 2)]);
        assert_eq!(take(100, 13).await, [(2, 2)]);
        assert_eq!(take(0, 0).await, [(4, 1)]);
        assert_eq!(take(100, 1000).await, [(0, 1)]);
        assert_eq!(intake.bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn records_and_bytes_that_wait_are_bounded() {
        let intake = intake();
        intake.offer(request(&intake, 10)).unwrap();
        assert_eq!(intake.offer(request(&intake, 1)).unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(intake.room().grow(900).is_err());
        drop(intake.take(ALL).await);
        intake.room().grow(900).unwrap();
        intake.offer(request(&intake, 1)).unwrap();
    }

    #[tokio::test]
    async fn a_poll_that_is_dropped_while_it_waits_loses_nothing() {
        let intake = intake();
        for _ in 0..3 {
            let poll = intake.take(ALL);
            assert!(tokio::time::timeout(std::time::Duration::from_millis(1), poll).await.is_err());
        }
        intake.offer(request(&intake, 1)).unwrap();
        drop(intake.take(ALL));
        assert_eq!(sizes(&intake.take(ALL).await.unwrap()), [1]);
    }

    #[tokio::test]
    async fn closing_refuses_what_was_not_polled_and_ends_the_polls() {
        let intake = intake();
        let (reply, answer) = oneshot::channel();
        intake.offer(Produce { reply: Some(reply), ..request(&intake, 1) }).unwrap();
        intake.close();
        assert_eq!(answer.await.unwrap().unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(intake.offer(request(&intake, 1)).is_err());
        assert!(intake.take(ALL).await.is_none());
        assert!(intake.take(ALL).await.is_none());
    }
}
