use std::sync::{Arc, Mutex};

use arrow::array::StringArray;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::envelope::{EnvelopeBuilder, Form};
use crate::testing::{self, SourceCase};
use crate::{
    Acks, Component, ConfigProblem, Plugin, PollBudget, Position, Result, Run, Source, SourceBatch,
    SourceContext, SourceOffset, TaskConfig, TaskInfo,
};

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// Number of records.
    count: u64,
    /// What it does wrong.
    #[serde(default)]
    wrong: String,
}

struct Counter {
    config: Config,
    next: Mutex<u64>,
}

impl Plugin for Counter {
    type Config = Config;
    const NAME: &'static str = "counter";
    const SUMMARY: &'static str = "Counts.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self { config, next: Mutex::new(0) })
    }
}

fn partition() -> Map<String, serde_json::Value> {
    Map::from_iter([("counter".to_owned(), json!("one"))])
}

#[async_trait]
impl Source for Counter {
    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>> {
        Ok(vec![TaskConfig::new(); if self.config.wrong == "plan" { max_tasks + 1 } else { 1 }])
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        assert_eq!(context.topics.partitions("numbers"), Some(3));
        assert_eq!(context.topics.partitions("letters"), None);
        assert_eq!(context.topics.names(), ["numbers"]);
        let at = context.offset_of(&partition()).and_then(|o| o.get("next")?.as_u64());
        *self.next.lock().unwrap() =
            at.unwrap_or(0) + u64::from(self.config.wrong == "resume" && at.is_some());
        Ok(())
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let take = |next: &mut u64| {
            let start = *next;
            *next = (start + budget.max_records as u64).min(self.config.count);
            start..*next
        };
        let mut taken = None;
        if self.config.wrong == "poll" {
            taken = Some(take(&mut self.next.lock().unwrap()));
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let range = taken.unwrap_or_else(|| take(&mut self.next.lock().unwrap()));
        if range.is_empty() {
            return Ok(None);
        }
        let values: Vec<_> = range.clone().map(|n| Some(format!("{{\"n\":{n}}}"))).collect();
        let records =
            EnvelopeBuilder::new().value(Form::Document, Arc::new(StringArray::from(values))).build()?;
        let offset = Map::from_iter([("next".to_owned(), json!(range.end))]);
        let positions = vec![Position { partition: partition(), offset }];
        let runs = vec![Run::to_topic("numbers", records)];
        Ok(Some(SourceBatch::new(runs, SourceOffset { token: range.end, positions })))
    }

    async fn commit(&self, offset: &SourceOffset, acks: &Acks) -> Result<()> {
        assert!(acks.delivered as u64 <= offset.token);
        assert_eq!(acks.rows.len(), acks.delivered);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn wants_acks(&self) -> bool {
        true
    }
}

fn case(wrong: &str) -> SourceCase {
    let config = testing::config(&[("count", "20"), ("wrong", wrong)]);
    SourceCase::new(Component::source::<Counter>("1.0.0"), config, 20).topic("numbers", 3)
}

#[tokio::test]
async fn a_source_conforms() {
    testing::source::run_both(&case("")).await;
}

#[tokio::test]
#[should_panic(expected = "made 4 tasks")]
async fn too_many_tasks_are_caught() {
    testing::source::run(&case("plan")).await;
}

#[tokio::test]
#[should_panic(expected = "0 wanted")]
async fn a_poll_that_loses_records_when_it_is_dropped_is_caught() {
    testing::source::run(&case("poll")).await;
}

#[tokio::test]
#[should_panic(expected = "wanted")]
async fn a_position_that_skips_a_record_is_caught() {
    testing::source::run(&case("resume")).await;
}
