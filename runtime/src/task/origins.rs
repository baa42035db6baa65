//! A record of a direct pipeline that is refused is named with the place that its source knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use async_trait::async_trait;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::*;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::budget::MemoryBudget;
use super::direct::{self, DirectOptions};
use super::goal::Goal;
use super::pipeline::Pipeline;
use super::positions::Positions;
use super::sink::SinkTask;
use super::status::StatusBoard;
use crate::config::{SecretSet, Tolerance};
use crate::convert;

/// Batches of runs of texts; it knows where the rows of a batch that is not committed are.
#[derive(Default)]
struct Told {
    batches: Mutex<Vec<Vec<Vec<&'static str>>>>,
    polls: AtomicU64,
    places: Places<usize>,
}

#[async_trait]
impl Source for Told {
    async fn plan(&self, _: usize) -> Result<Vec<TaskConfig>> {
        Ok(vec![TaskConfig::new()])
    }

    async fn open(&self, _: SourceContext) -> Result<()> {
        Ok(())
    }

    async fn poll(&self, _: PollBudget) -> Result<Option<SourceBatch>> {
        let mut batches = self.batches.lock().unwrap();
        let Some(texts) = batches.pop() else { return Ok(None) };
        let token = 100 + self.polls.fetch_add(1, Ordering::Relaxed);
        self.places.keep(token, texts.iter().map(Vec::len).sum());
        let run = |texts: Vec<&str>| {
            let values: ArrayRef = Arc::new(StringArray::from(texts));
            Ok(Run::new(EnvelopeBuilder::new().value(Form::Document, values).build()?))
        };
        let runs = texts.into_iter().map(run).collect::<Result<_>>()?;
        Ok(Some(SourceBatch::new(runs, SourceOffset { token, positions: Vec::new() })))
    }

    async fn commit(&self, offset: &SourceOffset, _: &Acks) -> Result<()> {
        self.places.committed(offset.token);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn place(&self, token: u64, row: usize) -> Option<String> {
        self.places.find(token, |rows| (row < *rows).then(|| format!("batch {token} row {row}")))
    }
}

/// Refuses the text `bad`, as sinks do: with the offset, which is all they know.
struct Picky;

#[async_trait]
impl Sink for Picky {
    fn needs(&self) -> Needs {
        Needs::Document
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    async fn open(&self, _: &[Assignment]) -> Result<Resume> {
        Ok(Resume::new())
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        let envelope = Envelope::of(&batch.records)?;
        let (values, offsets) = (envelope.value().as_string::<i32>(), envelope.offsets().unwrap());
        let refuse = |row| {
            let place = format!("{} offset {}", batch.partition, offsets.value(row));
            Rejection::new(row, Stage::TaskPut, ConnectError::user("picky", "is bad").at(place))
        };
        let bad = (0..values.len()).filter(|row| values.value(*row) == "\"bad\"");
        let cut = offsets.values().last().map(|last| last + 1);
        Ok(Written { cut, rejected: bad.map(refuse).collect(), ..Written::default() })
    }

    async fn flush(&self, _: &[FlushRange]) -> Result<Committable> {
        Ok(Committable::new(()))
    }

    async fn commit(&self, _: &Committable) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _: &[TopicPartition]) -> Result<()> {
        Ok(())
    }
}

struct Forgetful;

#[async_trait]
impl Positions for Forgetful {
    async fn load(&self) -> Result<Vec<Position>> {
        Ok(Vec::new())
    }

    async fn store(&self, _: &[Position]) -> Result<()> {
        Ok(())
    }
}

/// How a pipeline over these batches ends that has delivered 40 records before.
async fn run(mut batches: Vec<Vec<Vec<&'static str>>>) -> Result<()> {
    batches.reverse();
    let source = Arc::new(Told { batches: Mutex::new(batches), ..Told::default() });
    let tp = TopicPartition::new("c", 0);
    let status = StatusBoard::default().register("c", 0, (Kind::Sink, "picky"), &SecretSet::default());
    let (budget, stop) = (MemoryBudget::new(64 << 20), CancellationToken::new());
    let feed = direct::start(DirectOptions {
        source,
        context: SourceContext { task: TaskConfig::new(), positions: Vec::new(), topics: Arc::new(NoTopics) },
        partition: tp.clone(),
        counter: 40,
        positions: Arc::new(Forgetful),
        tolerance: Tolerance::None,
        budget: budget.clone(),
        status: status.clone(),
        stop: stop.clone(),
    });
    let class = |class: &str| {
        let config = [("schemas.enable".to_owned(), "false".to_owned())].into();
        convert::converter(class, &config, false).unwrap()
    };
    let (_topics, topics) = watch::channel(Vec::new());
    let sink = Arc::new(Picky);
    let task = SinkTask {
        pipeline: Pipeline::direct(
            class("StringConverter"),
            class("JsonConverter"),
            Vec::new(),
            &sink.needs(),
        ),
        sink,
        tolerance: Tolerance::None,
        flush_on_stop: false,
        status,
        budget,
        stop,
        drain_timeout: Duration::from_secs(5),
        topics,
        goal: Some(Arc::new(Goal::new([(tp, None)]))),
        direct: true,
        dead_letters: None,
        recipe: None,
        restore: None,
    };
    task.run(feed).await
}

const GOOD: &str = "\"good\"";
const BAD: &str = "\"bad\"";

#[tokio::test]
async fn a_refused_record_is_named_by_its_number_and_its_row_in_the_polled_batch() {
    run(vec![vec![vec![GOOD; 3]]]).await.unwrap();
    // Rows count over the runs of a batch, one without rows among them.
    let batches =
        || vec![vec![vec![GOOD; 3]], vec![vec![GOOD; 2], vec![], vec![GOOD, BAD]], vec![vec![GOOD]]];
    let error = run(batches()).await.unwrap_err();
    assert_eq!(error.message, "c-0 offset 46 (batch 101 row 3): is bad");
    let error = run(vec![vec![vec![BAD, GOOD]]]).await.unwrap_err();
    assert_eq!(error.message, "c-0 offset 40 (batch 100 row 0): is bad");
}
