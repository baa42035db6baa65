//! The source: one step sends one row of each table.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::StructArray;
use async_trait::async_trait;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::source::TaskConfig;
use connector_core::{
    Acks, ConfigProblem, ConnectError, Form, Plugin, PollBudget, Position, Result, Run, Source, SourceBatch,
    SourceContext, SourceOffset, TaskInfo,
};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::columns::columns;
use crate::config::{Config, Table};
use crate::rows::{is_missent, row_of_step};

/// Steps of one poll at most, so that the first records are out early.
const MAX_STEPS: u64 = 2_000;

/// Bytes of a pin, the longest of the rows, in memory; roughly.
const ROW_BYTES: usize = 800;

/// `datagen-source`: made-up rows of a pin board.
pub struct DatagenSource {
    config: Config,
    state: Mutex<State>,
}

struct State {
    /// Each table of the task and its next step.
    next: Vec<(Table, u64)>,
    started: Instant,
    first: u64,
    token: u64,
}

impl Plugin for DatagenSource {
    type Config = Config;

    const NAME: &'static str = "datagen-source";
    const SUMMARY: &'static str = "Makes up rows of a pin board: the same seed, the same rows.";
    const DELIVERY: &'static str = "exactly once for readers of committed records with `exactly.once.source.support: enabled`; otherwise at least once, without \
         repetition after a stop.";

    fn create(config: Config, _task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        for (key, share) in [("datagen.duplicates", config.duplicates), ("datagen.missent", config.missent)] {
            if !(0.0..=1.0).contains(&share) {
                problems.push(ConfigProblem::new(key, "is not a share", "write a number from 0 to 1"));
            }
        }
        if !(0.0..1e9).contains(&config.rate) {
            problems.push(ConfigProblem::new("datagen.rate", "is out of range", "write rows a second, or 0"));
        }
        if config.tables.is_empty() {
            problems.push(ConfigProblem::new(
                "datagen.tables",
                "is empty",
                "write pin, geo, user or some of them",
            ));
        }
        for name in config.topic_mapping.keys().filter(|name| name.parse::<Table>().is_err()) {
            let key = format!("topic.mapping.{name}");
            problems.push(ConfigProblem::new(key, "is for no table", "the tables are pin, geo and user"));
        }
        let state = State { next: Vec::new(), started: Instant::now(), first: 0, token: 0 };
        if problems.is_empty() { Ok(Self { config, state: Mutex::new(state) }) } else { Err(problems) }
    }
}

#[async_trait]
impl Source for DatagenSource {
    async fn plan(&self, max_tasks: usize) -> Result<Vec<TaskConfig>> {
        let mut tables = self.config.tables.clone();
        tables.sort_unstable();
        tables.dedup();
        let tasks = tables.len().min(max_tasks.max(1));
        let (mut left, mut plan) = (tables.as_slice(), Vec::new());
        for task in 0..tasks {
            let (mine, rest) = left.split_at(left.len().div_ceil(tasks - task));
            plan.push([("tables".to_owned(), json!(mine))].into_iter().collect());
            left = rest;
        }
        Ok(plan)
    }

    async fn open(&self, context: SourceContext) -> Result<()> {
        let tables = context.task.get("tables").cloned().unwrap_or_default();
        let tables: Vec<Table> = serde_json::from_value(tables)
            .map_err(|e| ConnectError::internal("datagen.task", "the task names no tables").caused_by(e))?;
        let row =
            |table| context.offset_of(&partition(table)).and_then(|o| o.get("row")).and_then(Value::as_u64);
        let next: Vec<_> = tables.into_iter().map(|table| (table, row(table).unwrap_or(0))).collect();
        let first = next.iter().map(|(_, step)| *step).min().unwrap_or(0);
        *self.state.lock().await = State { next, started: Instant::now(), first, token: 0 };
        Ok(())
    }

    fn exactly_once(&self) -> bool {
        true
    }

    fn bounded(&self) -> bool {
        self.config.rows != 0
    }

    async fn poll(&self, budget: PollBudget) -> Result<Option<SourceBatch>> {
        let mut state = self.state.lock().await;
        let end = if self.config.rows == 0 { u64::MAX } else { self.config.rows };
        loop {
            let least = state.next.iter().map(|(_, step)| *step).min().unwrap_or(u64::MAX);
            if least >= end {
                return Ok(None);
            }
            let due = self.due(&state).min(end);
            if due > least {
                return self.batch(&mut state, due, budget).map(Some);
            }
            let seconds = (least - state.first) as f64 / self.config.rate;
            tokio::time::sleep_until(state.started + Duration::from_secs_f64(seconds)).await;
        }
    }

    async fn commit(&self, _offset: &SourceOffset, _acks: &Acks) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl DatagenSource {
    /// The step before which the rate allows all steps to be sent by now.
    fn due(&self, state: &State) -> u64 {
        if self.config.rate == 0.0 {
            return u64::MAX;
        }
        let seconds = state.started.elapsed().as_secs_f64();
        state.first.saturating_add((seconds * self.config.rate) as u64).saturating_add(1)
    }

    /// Steps before `due`, as many of each table as the budget allows, but at least one record.
    fn batch(&self, state: &mut State, due: u64, budget: PollBudget) -> Result<SourceBatch> {
        let room = budget.max_records.min(budget.max_bytes / ROW_BYTES).max(1) as u64;
        let records_a_step = |table| 1 + u64::from(table == Table::User && self.config.missent > 0.0);
        let whole: u64 = state.next.iter().map(|(table, _)| records_a_step(*table)).sum();
        let mut steps = room / whole.max(1);
        let mut only = None;
        if steps == 0 {
            // Not even one step of all tables: one of the table that is furthest behind.
            steps = 1;
            only = state.next.iter().min_by_key(|(_, step)| *step).map(|(table, _)| *table);
        }
        let (mut runs, mut positions) = (Vec::new(), Vec::new());
        for (table, next) in &mut state.next {
            let range = *next..due.min(*next + steps.min(MAX_STEPS));
            if range.is_empty() || only.is_some_and(|only| only != *table) {
                continue;
            }
            let row = |step| row_of_step(self.config.seed, step, self.config.duplicates);
            runs.push(self.run(*table, columns(*table, self.config.seed, range.clone().map(row))?)?);
            if *table == Table::User && self.config.missent > 0.0 {
                let missent =
                    range.clone().filter(|step| is_missent(self.config.seed, *step, self.config.missent));
                let pins = columns(Table::Pin, self.config.seed, missent.map(row))?;
                if arrow::array::Array::len(&pins) > 0 {
                    runs.push(self.run(Table::User, pins)?);
                }
            }
            *next = range.end;
            let offset = Map::from_iter([("row".to_owned(), range.end.into())]);
            positions.push(Position { partition: partition(*table), offset });
        }
        state.token += 1;
        Ok(SourceBatch::new(runs, SourceOffset { token: state.token, positions }))
    }

    fn run(&self, table: Table, rows: StructArray) -> Result<Run> {
        let topic = match self.config.topic_mapping.get(table.name()) {
            Some(topic) => topic.clone(),
            None => format!("{}{table}", self.config.topic_prefix),
        };
        let records = EnvelopeBuilder::new().value(Form::Columns, Arc::new(rows)).build()?;
        Ok(Run::to_topic(topic, records))
    }
}

fn partition(table: Table) -> Map<String, Value> {
    Map::from_iter([("table".to_owned(), table.name().into())])
}
