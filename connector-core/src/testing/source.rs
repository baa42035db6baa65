//! What every source keeps.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, poll};

use super::{check_configuration, ok, rows};
use crate::component::{Component, TaskInfo};
use crate::config::ConfigMap;
use crate::envelope::Envelope;
use crate::source::{
    Ack, Acks, PollBudget, Position, Source, SourceBatch, SourceContext, SourceOffset, TaskConfig,
    TopicDirectory,
};

type Feed = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Longest wait for one batch.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source, a configuration that works, and how many records it yields.
#[derive(Clone)]
pub struct SourceCase {
    component: Component,
    config: ConfigMap,
    records: usize,
    topics: Vec<(String, u32)>,
    feed: Option<Feed>,
}

impl SourceCase {
    /// The source yields at least `records` records (six or more; the same ones to each instance that starts anew);
    /// those past that number are not read.
    pub fn new(component: Component, config: ConfigMap, records: usize) -> Self {
        assert!(records >= 6, "conformance: a case of fewer than six records shows too little");
        Self { component, config, records, topics: Vec::new(), feed: None }
    }

    /// A destination topic that exists, with its number of partitions.
    #[must_use]
    pub fn topic(mut self, name: &str, partitions: u32) -> Self {
        self.topics.push((name.to_owned(), partitions));
        self
    }

    /// For a source that others push into: pushes the records; runs beside the polls of each instance.
    #[must_use]
    pub fn feed<F>(mut self, feed: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.feed = Some(Arc::new(move || Box::pin(feed())));
        self
    }
}

/// Runs the suite on the source as it is, then through the loopback of the plugin boundary.
pub async fn run_both(case: &SourceCase) {
    run(case).await;
    run(&SourceCase { component: crate::abi::loopback(case.component.clone()), ..case.clone() }).await;
}

/// Runs the suite.
pub async fn run(case: &SourceCase) {
    check_configuration(&case.component, &case.config);
    let task = plan(case).await;

    let mut all = Reader::open(case, &task, Vec::new()).await;
    all.read_to(case.records).await;
    let (everything, again) = (all.close().await, !all.positions.is_empty());

    let mut impatient = Reader::open(case, &task, Vec::new()).await;
    impatient.drops_polls = true;
    impatient.read_to(case.records).await;
    assert_same(&everything, &impatient.close().await, "when polls are dropped half-way");

    if !again {
        return; // A source without positions cannot be read again.
    }
    let mut first = Reader::open(case, &task, Vec::new()).await;
    first.read_to(case.records / 2).await;
    // Read, never committed: the next instance reads it again.
    first.next(2).await;
    let mut records = first.close().await;

    let mut second = Reader::open(case, &task, first.positions).await;
    second.read_to(case.records - records.len()).await;
    records.extend(second.close().await);
    assert_same(&everything, &records, "when a second instance goes on at the first one's positions");
}

async fn plan(case: &SourceCase) -> TaskConfig {
    let planner = create(case);
    for max_tasks in [3, 1] {
        let tasks = ok(planner.plan(max_tasks).await, format_args!("planning {max_tasks} tasks"));
        let count = tasks.len();
        assert!((1..=max_tasks).contains(&count), "conformance: plan({max_tasks}) made {count} tasks");
        let again = ok(planner.plan(max_tasks).await, "planning again");
        assert_eq!(tasks, again, "conformance: two plans for the same number of tasks differ");
    }
    let mut tasks = ok(planner.plan(1).await, "planning one task");
    tasks.remove(0)
}

fn create(case: &SourceCase) -> Arc<dyn Source> {
    let task = TaskInfo { connector: "conformance".to_owned(), ..TaskInfo::default() };
    let made = case.component.check(&case.config).and_then(|c| case.component.create_source(&c, &task));
    made.unwrap_or_else(|problems| panic!("conformance: creating the source failed: {problems:?}"))
}

fn assert_same(wanted: &[String], found: &[String], when: &str) {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    let (wanted, found) = (sorted(wanted), sorted(found));
    let lost: Vec<_> = wanted.iter().filter(|row| found.binary_search(row).is_err()).collect();
    assert!(lost.is_empty(), "conformance: {when}, records are lost: {lost:?}");
    assert_eq!(wanted, found, "conformance: {when}, records come twice");
}

struct Directory(Vec<(String, u32)>);

impl TopicDirectory for Directory {
    fn partitions(&self, topic: &str) -> Option<u32> {
        self.0.iter().find(|(name, _)| name == topic).map(|(_, partitions)| *partitions)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
}

/// One instance, read batch by batch; keeps what the host would keep.
struct Reader {
    source: Arc<dyn Source>,
    feed: Option<tokio::task::JoinHandle<()>>,
    drops_polls: bool,
    records: Vec<String>,
    positions: Vec<Position>,
}

impl Reader {
    async fn open(case: &SourceCase, task: &TaskConfig, positions: Vec<Position>) -> Self {
        let source = create(case);
        let context = SourceContext {
            task: task.clone(),
            positions: positions.clone(),
            topics: Arc::new(Directory(case.topics.clone())),
        };
        ok(source.open(context).await, "opening");
        let feed = case.feed.as_ref().map(|feed| tokio::spawn(feed()));
        Self { source, feed, drops_polls: false, records: Vec::new(), positions }
    }

    /// The next batch that is not empty, of at most `max_records`; `None` at the end.
    async fn next(&self, max_records: usize) -> Option<SourceBatch> {
        let budget = PollBudget { max_records: max_records.min(4), max_bytes: 1 << 20 };
        loop {
            if self.drops_polls {
                let mut dropped = self.source.poll(budget);
                for _ in 0..2 {
                    if let std::task::Poll::Ready(answer) = poll!(dropped.as_mut()) {
                        match ok(answer, "polling") {
                            Some(batch) if batch.runs.iter().all(|run| run.records.num_rows() == 0) => break,
                            answer => return answer,
                        }
                    }
                    tokio::task::yield_now().await;
                }
            }
            let answer = tokio::time::timeout(PATIENCE, self.source.poll(budget)).await;
            let answer = ok(answer, format_args!("polling after {} records", self.records.len()));
            let batch = ok(answer, "polling")?;
            let count: usize = batch.runs.iter().map(|run| run.records.num_rows()).sum();
            assert!(
                count <= budget.max_records,
                "conformance: {count} records, {} allowed",
                budget.max_records
            );
            if count > 0 {
                return Some(batch);
            }
            self.commit(&batch.offset, &[]).await;
        }
    }

    async fn commit(&self, offset: &SourceOffset, topics: &[Arc<str>]) {
        let ack = |(at, topic): (usize, &Arc<str>)| Ack {
            destination: topic.clone(),
            partition: "0".to_owned(),
            offset: (self.records.len() + at).to_string(),
            error: None,
        };
        let rows =
            if self.source.wants_acks() { topics.iter().enumerate().map(ack).collect() } else { Vec::new() };
        let acks = Acks { delivered: topics.len(), rows };
        ok(self.source.commit(offset, &acks).await, "committing");
    }

    /// Polls and commits until `count` records were read, or the end.
    async fn read_to(&mut self, count: usize) {
        while self.records.len() < count {
            let Some(batch) = self.next(count - self.records.len()).await else { break };
            let (mut topics, mut records) = (Vec::new(), Vec::new());
            for run in &batch.runs {
                ok(Envelope::of(&run.records), "reading a run");
                let topic = run.topic.clone().unwrap_or_else(|| panic!("conformance: a run has no topic"));
                for row in rows(&run.records) {
                    records.push(format!("{topic} {:?} {row}", run.partition));
                    topics.push(topic.clone());
                }
            }
            self.commit(&batch.offset, &topics).await;
            self.records.append(&mut records);
            for position in batch.offset.positions {
                self.positions.retain(|p| p.partition != position.partition);
                self.positions.push(position);
            }
        }
        assert!(
            self.records.len() >= count,
            "conformance: {} records came, {count} wanted",
            self.records.len()
        );
    }

    /// Closes twice, as a task that stops while it fails does; what was read.
    async fn close(&mut self) -> Vec<String> {
        ok(self.source.close().await, "closing");
        ok(self.source.close().await, "closing again");
        if let Some(feed) = self.feed.take() {
            feed.abort();
            // A feed that failed explains more than what it caused.
            if let Some(Err(error)) =
                feed.now_or_never().filter(|end| end.as_ref().is_err_and(|e| e.is_panic()))
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        std::mem::take(&mut self.records)
    }
}
