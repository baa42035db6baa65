//! A source of the same connector as a [`Feed`]: a pipeline without Kafka in between. Records are numbered over restarts;
//! what a number means for the source is stored before and after each publish ([`super::progress`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use connector_core::source::AckError;
use connector_core::{
    Ack, Acks, ConnectError, Offset, Result, Source, SourceBatch, SourceContext, SourceOffset, TopicPartition,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::budget::{MemoryBudget, Reservation};
use super::feed::{CommitOutcome, Feed, Fetched, Membership, Piece, Planned, Reader, Records};
use super::positions::{self, Positions};
use super::progress::{Intent, Progress};
use super::retry;
use super::source::{POLL, number, refuse};
use super::status::TaskStatus;
use crate::config::Tolerance;

/// Batches that wait for the task.
const QUEUED: usize = 2;
/// Pause before a memory budget without room is asked again.
const FULL: Duration = Duration::from_millis(5);
/// There is one assignment, for as long as the task runs.
const EPOCH: u64 = 1;

/// What a direct feed is made of.
pub struct DirectOptions {
    pub source: Arc<dyn Source>,
    pub context: SourceContext,
    /// Topic: the connector's name; partition: the task's number.
    pub partition: TopicPartition,
    /// Number of the first record.
    pub counter: Offset,
    pub positions: Arc<dyn Positions>,
    pub tolerance: Tolerance,
    pub budget: MemoryBudget,
    pub status: Arc<TaskStatus>,
    pub stop: CancellationToken,
}

/// Starts reading once the task has opened its sink.
pub fn start(options: DirectOptions) -> Feed {
    let (membership_sender, membership) = mpsc::unbounded_channel();
    let (batch_sender, batches) = mpsc::channel(QUEUED);
    let (resume, resumed) = oneshot::channel();
    let reader = Arc::new(Direct {
        resume: Mutex::new(Some(resume)),
        membership: membership_sender,
        batches: batch_sender,
        shared: Mutex::new(Shared { acknowledged: options.counter, ..Shared::default() }),
        settling: tokio::sync::Mutex::default(),
        reading: Mutex::default(),
        options,
    });
    let assigned = Membership::Assigned { partitions: vec![reader.options.partition.clone()], epoch: EPOCH };
    reader.tell(assigned);
    let reading = tokio::spawn(reader.clone().read(resumed));
    *lock(&reader.reading) = Some(reading);
    Feed { membership, batches, reader }
}

struct Direct {
    options: DirectOptions,
    resume: Mutex<Option<oneshot::Sender<Option<Offset>>>>,
    membership: mpsc::UnboundedSender<Membership>,
    batches: mpsc::Sender<Fetched>,
    shared: Mutex<Shared>,
    /// One acknowledgement after the other.
    settling: tokio::sync::Mutex<()>,
    reading: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    /// Polled and not acknowledged, in order.
    pending: VecDeque<Polled>,
    acknowledged: Offset,
    /// Records that were refused, if the source answers for each.
    refused: BTreeMap<Offset, AckError>,
}

/// One batch of the source.
#[derive(Clone)]
struct Polled {
    first: Offset,
    /// Number after its last record.
    end: Offset,
    offset: SourceOffset,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Direct {
    fn tell(&self, event: Membership) {
        let _ = self.membership.send(event);
    }

    async fn read(self: Arc<Self>, resumed: oneshot::Receiver<Option<Offset>>) {
        let Ok(resume) = resumed.await else { return };
        if let Err(error) = self.pump(resume).await
            && !self.options.stop.is_cancelled()
        {
            self.tell(Membership::Failed(error));
        }
    }

    async fn pump(&self, resume: Option<Offset>) -> Result<()> {
        let DirectOptions { source, context, partition, counter, status, stop, .. } = &self.options;
        let mut next = *counter;
        if let Some(elsewhere) = resume.filter(|offset| *offset != next) {
            let text = format!(
                "{partition}: somebody else writes for this task: its counter went from {next} to {elsewhere}"
            );
            return Err(ConnectError::external("pipeline.fenced", text)
                .no_retry()
                .hint("run each connector in one process only"));
        }
        retry::with_backoff(status, stop, || source.open(context.clone())).await?;
        loop {
            let reserved = self.reserve().await;
            let Some(batch) = retry::with_backoff(status, stop, || source.poll(POLL)).await? else {
                return self.hand_over(Piece::End).await;
            };
            next = self.take(batch, next, reserved).await?;
        }
    }

    /// Numbers a batch and hands it over; the number after it.
    async fn take(&self, batch: SourceBatch, first: Offset, mut reserved: Reservation) -> Result<Offset> {
        let SourceBatch { runs, rejected, offset } = batch;
        let mut next = first;
        let mut numbered = Vec::with_capacity(runs.len());
        for run in runs.into_iter().filter(|run| run.records.num_rows() > 0) {
            numbered.push(number(&run.records, next)?);
            next += i64::try_from(run.records.num_rows()).unwrap_or(0);
        }
        if !rejected.is_empty() {
            self.hand_over(Piece::Refused(rejected)).await?;
            if self.options.tolerance == Tolerance::None {
                // The task fails of it. Nothing that this batch moved may be stored: it must be met again.
                return std::future::pending().await;
            }
        }
        lock(&self.shared).pending.push_back(Polled { first, end: next, offset });
        let parts = numbered.len();
        for (at, records) in numbered.into_iter().enumerate() {
            let last_offset = next_of(&records, first) - 1;
            let permit = reserved.split_off(records.get_array_memory_size());
            let whole = at + 1 == parts;
            let records = Records { records, permit, last_offset, high_watermark: -1, whole };
            self.hand_over(Piece::Records(records)).await?;
        }
        // A position that moved without records waits for no publish, unless one is under way or due.
        if parts == 0 && lock(&self.shared).acknowledged == next {
            self.settle(next).await?;
        }
        Ok(next)
    }

    async fn hand_over(&self, what: Piece) -> Result<()> {
        let fetched = Fetched { epoch: EPOCH, partition: self.options.partition.clone(), what };
        self.batches.send(fetched).await.map_err(|_| ConnectError::internal("feed", "the task is gone"))
    }

    async fn reserve(&self) -> Reservation {
        loop {
            if let Some(reserved) = self.options.budget.try_reserve(POLL.max_bytes) {
                return reserved;
            }
            tokio::time::sleep(FULL).await;
        }
    }

    fn task(&self) -> usize {
        self.options.status.task
    }

    /// Batches that end at or before `end`.
    fn until(&self, end: Offset) -> Vec<Polled> {
        lock(&self.shared).pending.iter().take_while(|polled| polled.end <= end).cloned().collect()
    }

    /// Everything before `end` is visible: stores where the source stands, then tells it. Can be repeated.
    async fn settle(&self, end: Offset) -> Result<()> {
        let _one = self.settling.lock().await;
        let done = self.until(end);
        let moved = positions::last(done.iter().flat_map(|polled| &polled.offset.positions));
        let moved_on = end > lock(&self.shared).acknowledged;
        let store = &self.options.positions;
        if !moved.is_empty() {
            store.store(&moved).await?;
        }
        if moved_on {
            let (_, head) = Progress { acknowledged: end, intent: None }.records(self.task());
            store.store(&[head]).await?;
        }
        for polled in done {
            self.options.source.commit(&polled.offset, &self.acks(&polled)).await?;
            lock(&self.shared).pending.pop_front();
        }
        let mut shared = lock(&self.shared);
        shared.acknowledged = shared.acknowledged.max(end);
        shared.refused = shared.refused.split_off(&end);
        Ok(())
    }

    fn acks(&self, polled: &Polled) -> Acks {
        let shared = lock(&self.shared);
        let refused = shared.refused.range(polled.first..polled.end).count();
        let records = usize::try_from(polled.end - polled.first).unwrap_or(0);
        let mut rows = Vec::new();
        if self.options.source.wants_acks() {
            let TopicPartition { topic, partition } = &self.options.partition;
            rows = (polled.first..polled.end)
                .map(|offset| match shared.refused.get(&offset) {
                    Some(error) => refuse_with(topic.clone(), error.clone()),
                    None => Ack {
                        destination: topic.clone(),
                        partition: partition.to_string(),
                        offset: offset.to_string(),
                        error: None,
                    },
                })
                .collect();
        }
        Acks { delivered: records - refused.min(records), rows }
    }
}

fn refuse_with(destination: Arc<str>, error: AckError) -> Ack {
    Ack { destination, partition: String::new(), offset: String::new(), error: Some(error) }
}

/// The number after the last row.
fn next_of(records: &RecordBatch, otherwise: Offset) -> Offset {
    let offsets = connector_core::Envelope::of(records).ok().and_then(|e| e.offsets().cloned());
    offsets.and_then(|o| o.values().last().map(|last| last + 1)).unwrap_or(otherwise)
}

#[async_trait]
impl Reader for Direct {
    /// A source has no topics to choose from.
    fn subscribe(&self, _: &[String]) -> Result<()> {
        Ok(())
    }

    async fn topic_ids(&self, _: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Arc<str>>> {
        Ok(BTreeMap::new())
    }

    async fn resume(&self, partitions: Vec<(TopicPartition, Option<Offset>)>) -> Result<()> {
        if let Some(resume) = lock(&self.resume).take() {
            let _ = resume.send(partitions.into_iter().next().and_then(|(_, offset)| offset));
        }
        Ok(())
    }

    fn refuse(&self, offset: Offset, error: &ConnectError) -> bool {
        let answers = self.options.source.wants_acks();
        if answers && let Some(error) = refuse("".into(), 42206, error).error {
            lock(&self.shared).refused.insert(offset, error);
        }
        answers
    }

    fn place(&self, offset: Offset) -> Option<String> {
        let (token, row) = {
            let shared = lock(&self.shared);
            let at = shared.pending.partition_point(|polled| polled.end <= offset);
            let polled = shared.pending.get(at)?;
            (polled.offset.token, usize::try_from(offset - polled.first).ok()?)
        };
        self.options.source.place(token, row)
    }

    async fn beyond(&self, partition: &TopicPartition, at: Offset) -> Result<Offset> {
        Err(ConnectError::internal("feed", format!("{partition}: a source has no record {at} to go back to")))
    }

    async fn intend(&self, ranges: &[Planned]) -> Result<CommitOutcome> {
        let Some(Planned { range, .. }) = ranges.first() else { return Ok(CommitOutcome::Committed) };
        let moved = self.until(range.end);
        let positions = positions::last(moved.iter().flat_map(|polled| &polled.offset.positions));
        let acknowledged = lock(&self.shared).acknowledged;
        let progress = Progress { acknowledged, intent: Some(Intent { end: range.end, positions }) };
        let (parts, head) = progress.records(self.task());
        if !parts.is_empty() {
            self.options.positions.store(&parts).await?;
        }
        self.options.positions.store(&[head]).await?;
        Ok(CommitOutcome::Committed)
    }

    async fn commit(&self, ranges: &[Planned]) -> Result<CommitOutcome> {
        for Planned { range, .. } in ranges {
            self.settle(range.end).await?;
        }
        Ok(CommitOutcome::Committed)
    }

    async fn close(&self) -> Result<()> {
        let reading = lock(&self.reading).take();
        if let Some(reading) = reading {
            reading.abort();
            let _ = reading.await;
        }
        self.options.source.close().await
    }
}
