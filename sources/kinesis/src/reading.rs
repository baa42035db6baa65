//! What one task reads: its shards, their pages, and when which of them is asked for more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use connector_aws::kinesis::{Client, Trouble};
use connector_core::{ConnectError, Places, PollBudget, Result, SourceBatch, SourceOffset};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Begin, Settings};
use crate::fetch::{Cursor, Fetcher, MADE_ANEW, Page, Start};
use crate::figures::Figures;
use crate::handover::Handover;
use crate::origin::Origin;
use crate::position::Progress;
use crate::rows::Rows;
use crate::shard::{self, Shard};
use crate::slice::Slice;

/// Pages that a task holds or has asked for: 10 MiB each at most, as the service limits them.
const PAGES: usize = 8;
/// GetRecords may be called five times a second for a shard.
const CALL_INTERVAL: Duration = Duration::from_millis(200);
/// And gives 2 MiB a second.
const SHARD_BYTES_PER_SECOND: f64 = (2 << 20) as f64;

pub struct Reading {
    settings: Arc<Settings>,
    client: Client,
    figures: Arc<Figures>,
    places: Arc<Places<Vec<Origin>>>,
    handover: Handover,
    /// Wakes a shard that waits for one of another task.
    handed_over: watch::Receiver<BTreeSet<Arc<str>>>,
    slice: Slice,
    /// What was stored when the task opened, of all shards of the stream.
    stored: BTreeMap<Arc<str>, Progress>,
    /// All shards of the stream, when they were listed last.
    listed: BTreeSet<Arc<str>>,
    shards: BTreeMap<Arc<str>, Entry>,
    /// In the order in which they came.
    pages: VecDeque<Held>,
    /// Positions that are to be stored though no record goes with them.
    announced: Vec<(Arc<str>, Progress)>,
    work: JoinSet<Event>,
    permits: Arc<Semaphore>,
    /// Whether a listing is under way.
    listing: bool,
    /// Makes it begin at once.
    list_now: Arc<Notify>,
    token: u64,
}

/// A shard of this task.
struct Entry {
    shard: Shard,
    cursor: Cursor,
    /// When it may be asked next.
    due: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// For its parents.
    Waiting,
    Ready,
    Fetching,
    /// Its last page is held.
    Closing,
    /// Everything was returned.
    Ended,
    /// In a run that ends: it has nothing newer, though it is open.
    CaughtUp,
}

struct Held {
    shard: Arc<str>,
    page: Page,
    _permit: OwnedSemaphorePermit,
}

type Done = std::result::Result<Event, JoinError>;

enum Event {
    Fetched { shard: Arc<str>, cursor: Cursor, begun: Instant, page: Result<(Page, OwnedSemaphorePermit)> },
    Listed(Result<Vec<Shard>>),
}

impl Reading {
    /// `shards` is the present list, `stored` what is stored of them.
    pub fn new(
        settings: Arc<Settings>,
        client: Client,
        (figures, places): (Arc<Figures>, Arc<Places<Vec<Origin>>>),
        slice: Slice,
        shards: Vec<Shard>,
        stored: BTreeMap<Arc<str>, Progress>,
    ) -> Result<Self> {
        let handover = Handover::of(&settings.connector, &settings.stream);
        let own = shards.iter().filter(|shard| slice.owns(shard));
        handover.restate(own.map(|s| (s.id.clone(), stored.get(&s.id) == Some(&Progress::End))));
        let known = |shard: &Shard| {
            std::iter::once(&shard.id).chain(&shard.parents).any(|id| stored.contains_key(id))
        };
        let first_start = !shards.iter().filter(|shard| slice.owns(shard)).any(known);
        let mut reading = Self {
            handed_over: handover.subscribe(),
            handover,
            settings,
            client,
            figures,
            places,
            slice,
            stored,
            listed: BTreeSet::new(),
            shards: BTreeMap::new(),
            pages: VecDeque::new(),
            announced: Vec::new(),
            work: JoinSet::new(),
            permits: Arc::new(Semaphore::new(PAGES)),
            listing: false,
            list_now: Arc::default(),
            token: 0,
        };
        reading.add(shards, first_start)?;
        Ok(reading)
    }

    /// The next records; `None` at the end of a run that ends. Dropping the future loses nothing.
    pub async fn next(&mut self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        loop {
            self.begin();
            if let Some(batch) = self.take(budget)? {
                return Ok(Some(batch));
            }
            let reads = |e: &Entry| matches!(e.state, State::Ready | State::Fetching | State::Closing);
            if self.settings.bounded && !self.shards.values().any(reads) {
                return Ok(None);
            }
            tokio::select! {
                Some(event) = self.work.join_next() => self.apply_all(event)?,
                // Its sender lives in `handover`.
                Ok(()) = self.handed_over.changed() => {}
                else => return Err(ConnectError::internal("kinesis.read", "there is nothing to wait for")),
            }
        }
    }

    /// What is done by now, together: many shards that fail for one reason are one failure.
    fn apply_all(&mut self, first: Done) -> Result<()> {
        let (mut next, mut failed) = (Some(first), None);
        while let Some(done) = next {
            let event = done.map_err(|cause| {
                ConnectError::internal("kinesis.read", "a read broke off").caused_by(cause)
            })?;
            match self.apply(event) {
                Err(error) if error.is_retriable() => {
                    failed.get_or_insert(error);
                }
                outcome => outcome?,
            }
            next = self.work.try_join_next();
        }
        failed.map_or(Ok(()), Err)
    }

    fn add(&mut self, shards: Vec<Shard>, first_start: bool) -> Result<()> {
        self.listed = shards.iter().map(|shard| shard.id.clone()).collect();
        self.shards.retain(|id, entry| entry.state != State::Ended || self.listed.contains(id));
        let now = chrono::Utc::now().timestamp_millis();
        for shard in shards {
            if !self.slice.owns(&shard) || self.shards.contains_key(&shard.id) {
                continue;
            }
            let skipped = first_start && self.settings.begin == Begin::Latest;
            let start = match (self.stored.get(&shard.id), self.settings.begin) {
                (Some(Progress::End), _) if !shard.closed => {
                    let message = format!(
                        "shard `{}` of stream `{}` is stored as read to its end, but it is open",
                        shard.id, self.settings.stream
                    );
                    return Err(ConnectError::user("kinesis.position", message).hint(MADE_ANEW));
                }
                (Some(progress), _) => Start::Progress(progress.clone()),
                // A shard that was closed before the first start has nothing that arrives after it.
                (None, Begin::Latest) if skipped && shard.closed => {
                    self.announced.push((shard.id.clone(), Progress::End));
                    Start::Progress(Progress::End)
                }
                (None, Begin::Latest) if skipped => {
                    self.announced.push((shard.id.clone(), Progress::Since(now)));
                    Start::Latest(now)
                }
                (None, Begin::TrimHorizon | Begin::Latest) => Start::TrimHorizon,
                (None, Begin::At(ms)) => Start::Progress(Progress::Since(ms)),
            };
            let ended = start == Start::Progress(Progress::End);
            let state = if ended { State::Ended } else { State::Waiting };
            let cursor = Cursor { start, iterator: None };
            let id = shard.id.clone();
            self.shards.insert(id, Entry { shard, cursor, due: Instant::now(), state });
        }
        Ok(())
    }

    /// Whether all records of a parent go before those of its children.
    fn is_finished(&self, parent: &Arc<str>) -> bool {
        match self.shards.get(parent) {
            Some(entry) => entry.state == State::Ended,
            // Of another task, or so old that the stream has nothing of it any more.
            None => {
                !self.listed.contains(parent)
                    || self.stored.get(parent) == Some(&Progress::End)
                    || self.handover.has(parent)
            }
        }
    }

    /// Starts what can be done now.
    fn begin(&mut self) {
        self.handed_over.mark_unchanged();
        let waiting: Vec<Arc<str>> =
            self.shards.values().filter(|e| e.state == State::Waiting).map(|e| e.shard.id.clone()).collect();
        let mut left = 0;
        for id in waiting {
            let ready = self
                .shards
                .get(&id)
                .is_some_and(|entry| entry.shard.parents.iter().all(|parent| self.is_finished(parent)));
            match self.shards.get_mut(&id) {
                Some(entry) if ready => {
                    tracing::info!(stream = &*self.settings.stream, shard = &*id, "reading a shard");
                    entry.state = State::Ready;
                }
                _ => left += 1,
            }
        }
        self.figures.waiting(left);
        for entry in self.shards.values_mut().filter(|e| e.state == State::Ready) {
            entry.state = State::Fetching;
            let fetcher = Fetcher {
                client: self.client.clone(),
                stream: self.settings.stream.clone(),
                shard: entry.shard.id.clone(),
                limit: self.settings.record_limit,
                figures: self.figures.clone(),
            };
            self.work.spawn(fetch(fetcher, entry.cursor.clone(), entry.due, self.permits.clone()));
        }
        // A run that ends reads the shards that there were at its start.
        if !self.listing && !self.settings.bounded {
            self.listing = true;
            let (client, stream) = (self.client.clone(), self.settings.stream.clone());
            let (interval, now) = (self.settings.discovery_interval, self.list_now.clone());
            self.work.spawn(async move {
                let _ = timeout(interval, now.notified()).await;
                Event::Listed(shard::list(&client, &stream).await)
            });
        }
    }

    fn apply(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Listed(shards) => {
                self.listing = false;
                self.add(shards?, false)
            }
            Event::Fetched { shard, cursor, begun, page } => {
                let Some(entry) = self.shards.get_mut(&shard) else { return Ok(()) };
                entry.cursor = cursor;
                let (page, permit) = match page {
                    Ok(page) => page,
                    Err(error) => {
                        entry.state = State::Ready;
                        entry.due = Instant::now();
                        if error.code != Trouble::Throttled.code() {
                            return Err(error);
                        }
                        self.figures.throttled();
                        entry.due += self.settings.throttled_backoff;
                        tracing::warn!(pause = ?self.settings.throttled_backoff, "{error}");
                        return Ok(());
                    }
                };
                self.figures.behind(&shard, page.behind_ms);
                let empty = page.last.is_none();
                let mut pause =
                    Duration::from_secs_f64(page.bytes as f64 / SHARD_BYTES_PER_SECOND).max(CALL_INTERVAL);
                if empty && page.behind_ms == 0 {
                    pause = pause.max(self.settings.empty_backoff);
                }
                entry.due = begun + pause;
                if let Some(last) = &page.last {
                    entry.cursor.start = Start::Progress(Progress::After(last.clone()));
                }
                entry.cursor.iterator.clone_from(&page.next);
                // A closed shard is read to its end even so, for its children's sake.
                let caught_up = page.behind_ms == 0 && !page.full && !entry.shard.closed;
                entry.state = if page.next.is_none() {
                    State::Closing
                } else if self.settings.bounded && caught_up {
                    State::CaughtUp
                } else {
                    State::Ready
                };
                if !page.records.is_empty() || page.next.is_none() {
                    self.pages.push_back(Held { shard, page, _permit: permit });
                }
                Ok(())
            }
        }
    }

    /// What is held, within the budget.
    fn take(&mut self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let mut positions: Vec<(Arc<str>, Progress)> = std::mem::take(&mut self.announced);
        let mut rows = Rows::new(self.settings.headers);
        let fits =
            |rows: &Rows| rows.count < budget.max_records.max(1) && rows.bytes < budget.max_bytes.max(1);
        while fits(&rows)
            && let Some(held) = self.pages.front_mut()
        {
            let shard = held.shard.clone();
            let mut progress = None;
            while fits(&rows)
                && let Some(record) = held.page.records.pop_front()
            {
                rows.push(&shard, &record);
                progress = Some(record.progress());
            }
            if held.page.records.is_empty() {
                if held.page.next.is_none() {
                    progress = Some(Progress::End);
                    self.ended(&shard);
                }
                self.pages.pop_front();
            }
            if let Some(progress) = progress {
                positions.retain(|(id, _)| *id != shard);
                positions.push((shard, progress));
            }
        }
        if rows.count == 0 && positions.is_empty() {
            return Ok(None);
        }
        self.token += 1;
        let mut runs = Vec::new();
        if rows.count > 0 {
            let (run, origins) = rows.finish(&self.settings.topic)?;
            self.places.keep(self.token, origins);
            runs.push(run);
        }
        let stream = &self.settings.stream;
        let positions = positions.iter().map(|(shard, progress)| progress.position(stream, shard)).collect();
        Ok(Some(SourceBatch::new(runs, SourceOffset { token: self.token, positions })))
    }

    fn ended(&mut self, shard: &Arc<str>) {
        tracing::info!(stream = &*self.settings.stream, shard = &**shard, "a shard was read to its end");
        if let Some(entry) = self.shards.get_mut(shard) {
            entry.state = State::Ended;
        }
        self.figures.ended(shard);
        self.list_now.notify_one();
    }
}

/// Waits until the shard may be asked and there is room for a page.
async fn fetch(fetcher: Fetcher, mut cursor: Cursor, due: Instant, permits: Arc<Semaphore>) -> Event {
    sleep_until(due).await;
    let permit = permits.acquire_owned().await;
    let begun = Instant::now();
    let page = match permit {
        Ok(permit) => fetcher.page(&mut cursor).await.map(|page| (page, permit)),
        Err(_) => Err(ConnectError::internal("kinesis.read", "the source is closing")),
    };
    Event::Fetched { shard: fetcher.shard, cursor, begun, page }
}
