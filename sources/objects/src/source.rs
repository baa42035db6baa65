//! The source: shares the objects among tasks, reads them in the order of their names, remembers which are finished.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex as Shared, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::source::TaskConfig;
use connector_core::{
    Acks, ConfigProblem, ConnectError, Metric, Places, Plugin, PollBudget, Result, Source, SourceBatch,
    SourceContext, SourceOffset, TaskInfo, async_trait,
};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::error;
use crate::finished::{Finished, Half, Pages, Tag};
use crate::input::{Input, Next};
use crate::lines::Lines;
use crate::pass::{Event, Events, Object, Scope};
use crate::pattern::Pattern;
use crate::rows::{InObject, Rows};
use crate::split::Piece;

/// How long rows that are there wait for more, so that slow little objects share a batch.
const LINGER: Duration = Duration::from_millis(20);

/// `objects-source`: the rows of JSON objects in a store or a folder.
pub struct ObjectsSource {
    config: Config,
    pattern: Pattern,
    /// The topic of everything whose path does not name one.
    topic: Arc<str>,
    state: Mutex<Option<State>>,
    counts: Shared<Counts>,
    places: Places<Lines>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    objects: u64,
    rejected: u64,
}

struct State {
    scope: Arc<Scope>,
    pages: Pages,
    /// The pass that is under way, and what it has handed over.
    pass: Option<Events>,
    events: VecDeque<Event>,
    /// When to look for new objects; only between two passes.
    next_pass: Option<Instant>,
    reading: Option<Reading>,
    rows: Rows,
    /// When rows that are there are not kept waiting any longer.
    due: Option<Instant>,
    /// An object was finished since the last batch.
    moved: bool,
    /// What ended the pass; said after the rows that were read before it.
    failed: Option<ConnectError>,
    ended: bool,
    token: u64,
}

/// The object that is read now.
struct Reading {
    object: Object,
    topic: Arc<str>,
    input: Input,
    /// Texts that were taken from it, good and bad.
    row: u64,
    /// The first ones of them were delivered before a restart.
    known: u64,
}

impl Plugin for ObjectsSource {
    type Config = Config;

    const NAME: &'static str = "objects-source";
    const SUMMARY: &'static str = "Reads JSON objects of S3 or a folder, once or as they come";
    const DELIVERY: &'static str = "exactly once for readers of committed records with `exactly.once.source.support: enabled`; otherwise at least once, without \
         repetition after a stop.";

    fn create(config: Config, task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let pattern = Pattern::parse(&config.path);
        let names_topic = pattern.as_ref().is_ok_and(Pattern::names_topic);
        let mut problems = config.problems(names_topic, task.direct);
        match pattern {
            Ok(pattern) if problems.is_empty() => {
                let topic = config.topic().unwrap_or_else(|| task.connector.as_str().into());
                Ok(Self {
                    config,
                    pattern,
                    topic,
                    state: Mutex::default(),
                    counts: Shared::default(),
                    places: Places::default(),
                })
            }
            Ok(_) => Err(problems),
            Err(message) => {
                let hint = "write s3://bucket/folder/*.json, file:///folder/*.json or a path";
                problems.insert(0, ConfigProblem::new("objects.path", message, hint));
                Err(problems)
            }
        }
    }
}

impl ObjectsSource {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topic_of(&self, object: &Object) -> Arc<str> {
        match &object.topic {
            Some(named) => match self.config.topic_mapping.get(&**named) {
                Some(topic) => topic.as_str().into(),
                None => Arc::clone(named),
            },
            None => Arc::clone(&self.topic),
        }
    }

    /// Reads on as far as what was handed over and the budget allow; whether the batch is full.
    fn fill(&self, state: &mut State, budget: PollBudget) -> Result<bool> {
        loop {
            let texts = state.rows.count + state.rows.rejected.len();
            if texts >= budget.max_records.max(1) || state.rows.bytes >= budget.max_bytes.max(1) {
                return Ok(true);
            }
            let Some(reading) = &mut state.reading else {
                match state.events.pop_front() {
                    None => return Ok(false),
                    Some(Event::Begin(object)) => state.reading = Some(self.begin(&state.scope, object)),
                    Some(Event::Gone(address)) => state.rows.rejected.push(error::gone(&address)),
                    // Of an object that is not read any more.
                    Some(Event::Bytes { .. }) => {}
                }
                continue;
            };
            let address = &reading.object.address;
            match reading.input.next() {
                Next::Piece(piece) => {
                    let row = reading.row;
                    reading.row += 1;
                    match piece {
                        _ if row < reading.known => {}
                        Piece::Row { line, text } => {
                            let at = InObject { row, line };
                            state.rows.push(&reading.topic, &reading.object, at, text)?;
                        }
                        Piece::Bad { line, problem } => {
                            state.rows.rejected.push(error::bad_text(address, line, problem));
                        }
                    }
                }
                Next::Corrupt(line) => {
                    if reading.row >= reading.known {
                        state.rows.rejected.push(error::corrupt_gzip(address, line));
                    }
                    reading.row += 1;
                }
                Next::Hungry => match state.events.pop_front() {
                    None => return Ok(false),
                    Some(Event::Bytes { bytes, last, share }) => {
                        reading.input.feed(bytes, last);
                        // It is no longer ahead.
                        drop(share);
                    }
                    Some(_) => {
                        return Err(ConnectError::internal("objects.order", "an object came within another"));
                    }
                },
                Next::End => self.finish(state),
            }
        }
    }

    fn begin(&self, scope: &Scope, object: Object) -> Reading {
        let known = match finished(scope).half(object.id) {
            Some(half) if half.etag == object.etag => half.row,
            Some(half) => {
                tracing::warn!(
                    object = &*object.address,
                    rows = half.row,
                    "the object was overwritten while it was being read: it is read again from its start"
                );
                0
            }
            None => 0,
        };
        let topic = self.topic_of(&object);
        Reading { topic, input: Input::new(self.config.max_line_bytes), row: 0, known, object }
    }

    fn finish(&self, state: &mut State) {
        let Some(Reading { object, .. }) = state.reading.take() else { return };
        let tag = Tag::of(&object.etag);
        finished(&state.scope).finish(object.id, tag);
        state.pages.add(object.id, tag);
        state.moved = true;
        self.counts().objects += 1;
    }

    /// What was read, with where it stands.
    fn batch(&self, state: &mut State) -> Result<SourceBatch> {
        let (runs, lines, rejected) = state.rows.take()?;
        self.counts().rejected += rejected.len() as u64;
        state.token += 1;
        if !runs.is_empty() {
            self.places.keep(state.token, lines);
        }
        (state.due, state.moved) = (None, false);
        let half = state.reading.as_ref().map(Reading::half);
        let positions = state.pages.take(half.as_ref());
        let offset = SourceOffset { token: state.token, positions };
        Ok(SourceBatch { rejected, ..SourceBatch::new(runs, offset) })
    }
}

impl Reading {
    fn half(&self) -> Half {
        let row = self.row.max(self.known);
        Half { address: self.object.address.to_string(), etag: self.object.etag.clone(), row }
    }
}

fn finished(scope: &Scope) -> MutexGuard<'_, Finished> {
    scope.finished.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Something that a batch has to say.
    fn has_news(&self) -> bool {
        !self.rows.is_empty() || self.moved
    }

    /// Waits for what the pass hands over next; cancel-safe. `false`: there will be nothing more for now.
    async fn receive(&mut self) -> bool {
        let Some(pass) = &mut self.pass else { return false };
        match pass.recv().await {
            Some(Ok(events)) => self.events.extend(events),
            Some(Err(error)) => self.stop(Some(error)),
            None => self.stop(None),
        }
        true
    }

    /// The pass has come to its end, or to an error. Half an object is read on in the next one.
    fn stop(&mut self, error: Option<ConnectError>) {
        self.pass = None;
        self.failed = error;
        self.events.clear();
        if let Some(reading) = self.reading.take() {
            finished(&self.scope).leave(reading.object.id, reading.half());
        }
    }
}

#[async_trait]
impl Source for ObjectsSource {
    fn exactly_once(&self) -> bool {
        true
    }

    fn bounded(&self) -> bool {
        !self.config.follow
    }

    /// Each task takes the objects whose hash falls to it, so that nobody has to say who reads a new one.
    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>> {
        let tasks = max_tasks.max(1);
        let of = |task: usize| {
            let pairs = [("task", task), ("tasks", tasks)];
            pairs.into_iter().map(|(name, number)| (name.to_owned(), Value::from(number))).collect()
        };
        Ok((0..tasks).map(of).collect())
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let number = |name: &str| context.task.get(name).and_then(Value::as_u64);
        let (task, tasks) = (number("task").unwrap_or(0), number("tasks").unwrap_or(1));
        let (finished, pages) = Pages::load(&context.positions, tasks, task)?;
        let location = connector_aws::store::open(&self.pattern.base, &self.config.access()).await?;
        let host = location.url.host_str().unwrap_or_default();
        let scope = Scope {
            store: format!("{}://{host}", location.url.scheme()),
            location,
            pattern: self.pattern.clone(),
            path: self.config.path.clone(),
            task,
            tasks,
            concurrent_reads: self.config.concurrent_reads,
            needs_objects: !self.config.follow,
            finished: Shared::new(finished),
            told_changed: AtomicUsize::new(0),
            told_empty: AtomicBool::new(false),
        };
        self.places.clear();
        *self.state.lock().await = Some(State {
            scope: Arc::new(scope),
            pages,
            pass: None,
            events: VecDeque::new(),
            next_pass: Some(Instant::now()),
            reading: None,
            rows: Rows::new(self.config.headers),
            due: None,
            moved: false,
            failed: None,
            ended: false,
            token: 0,
        });
        Ok(())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let mut guard = self.state.lock().await;
        let Some(state) = guard.as_mut() else {
            return Err(ConnectError::internal("objects.closed", "the source is not open"));
        };
        loop {
            if self.fill(state, budget)? {
                return self.batch(state).map(Some);
            }
            if state.pass.is_some() {
                let due = match state.has_news() {
                    true => Some(*state.due.get_or_insert_with(|| Instant::now() + LINGER)),
                    false => None,
                };
                match due {
                    None => drop(state.receive().await),
                    Some(due) => {
                        if timeout_at(due, state.receive()).await.is_err() {
                            return self.batch(state).map(Some);
                        }
                    }
                }
                if state.pass.is_none() && state.failed.is_none() {
                    state.ended = !self.config.follow;
                    state.next_pass = Some(Instant::now() + self.config.poll_interval());
                }
                continue;
            }
            if state.has_news() {
                return self.batch(state).map(Some);
            }
            if let Some(error) = state.failed.take() {
                // When it is tried again, it is by a new pass.
                state.next_pass = Some(Instant::now());
                return Err(error);
            }
            if state.ended {
                return Ok(None);
            }
            if let Some(at) = state.next_pass {
                tokio::time::sleep_until(at).await;
                state.next_pass = None;
            }
            state.pass = Some(state.scope.start());
        }
    }

    fn place(&self, token: u64, row: usize) -> Option<String> {
        self.places.find(token, |lines| lines.place(row))
    }

    async fn commit(&self, offset: &SourceOffset, _: &Acks) -> Result<()> {
        self.places.committed(offset.token);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        *self.state.lock().await = None;
        Ok(())
    }

    fn metrics(&self) -> Vec<Metric> {
        let Counts { objects, rejected } = *self.counts();
        vec![
            Metric::counter(
                "sidestream_objects_read_total",
                "Objects that were read to their end",
                objects as f64,
            ),
            Metric::counter(
                "sidestream_objects_rejected_total",
                "Parts of objects that could not be read as a record",
                rejected as f64,
            ),
        ]
    }
}
