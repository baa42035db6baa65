//! Step × pipeline: kills, lost, doubled; as Markdown and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::account::Account;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub kills: usize,
    pub records: usize,
    pub lost: usize,
    pub doubled: usize,
    /// Rounds that ended with another complaint.
    pub failures: usize,
}

impl Cell {
    pub fn add(&mut self, other: Cell) {
        self.kills += other.kills;
        self.records += other.records;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.failures += other.failures;
    }

    pub fn of(kills: usize, account: &Account) -> Self {
        let (records, doubled) = (account.records, account.doubled.len());
        Self { kills, records, lost: account.lost.len(), doubled, failures: 0 }
    }
}

/// Rows and columns are in the order in which they came.
#[derive(Debug, Default)]
pub struct Table {
    steps: Vec<String>,
    pipelines: Vec<String>,
    cells: BTreeMap<(String, String), Cell>,
}

impl Table {
    pub fn add(&mut self, step: &str, pipeline: &str, cell: Cell) {
        for (all, one) in [(&mut self.steps, step), (&mut self.pipelines, pipeline)] {
            if !all.iter().any(|known| known == one) {
                all.push(one.to_owned());
            }
        }
        self.cells.entry((step.to_owned(), pipeline.to_owned())).or_default().add(cell);
    }

    pub fn total(&self) -> Cell {
        let mut total = Cell::default();
        self.cells.values().for_each(|cell| total.add(*cell));
        total
    }

    /// Steps and cells of one pipeline.
    pub fn column(&self, pipeline: &str) -> impl Iterator<Item = (&str, &Cell)> {
        let of = move |((_, name), _): &(&(String, String), &Cell)| name == pipeline;
        self.cells.iter().filter(of).map(|((step, _), cell)| (step.as_str(), cell))
    }

    pub fn json(&self, seed: u64) -> Value {
        let cell = |((step, pipeline), cell): (&(String, String), &Cell)| {
            json!({"step": step, "pipeline": pipeline, "kills": cell.kills, "records": cell.records,
                   "lost": cell.lost, "doubled": cell.doubled, "failures": cell.failures})
        };
        json!({"seed": seed, "cells": self.cells.iter().map(cell).collect::<Vec<_>>()})
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kills / lost / doubled\n")?;
        writeln!(f, "| killed at | {} |", self.pipelines.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(self.pipelines.len()))?;
        let mut sums = vec![Cell::default(); self.pipelines.len()];
        for step in &self.steps {
            write!(f, "| {step} |")?;
            for (pipeline, sum) in self.pipelines.iter().zip(&mut sums) {
                match self.cells.get(&(step.clone(), pipeline.clone())) {
                    Some(cell) => {
                        sum.add(*cell);
                        write!(f, " {} / {} / {}", cell.kills, cell.lost, cell.doubled)?;
                        if cell.failures > 0 {
                            write!(f, " ({} failed)", cell.failures)?;
                        }
                        write!(f, " |")?;
                    }
                    None => write!(f, " |")?,
                }
            }
            writeln!(f)?;
        }
        write!(f, "| records |")?;
        sums.iter().try_for_each(|sum| write!(f, " {} |", sum.records))?;
        writeln!(f)
    }
}

#[test]
fn a_table_has_a_row_a_step_and_a_column_a_pipeline() {
    let mut table = Table::default();
    let cell = Cell { kills: 2, records: 10, ..Cell::default() };
    table.add("sink.staged", "s3", cell);
    table.add("sink.staged", "delta", cell);
    table.add("random", "s3", Cell { doubled: 1, failures: 1, ..cell });
    table.add("random", "s3", cell);
    let expected = "kills / lost / doubled\n
| killed at | s3 | delta |
|---|---|---|
| sink.staged | 2 / 0 / 0 | 2 / 0 / 0 |
| random | 4 / 0 / 1 (1 failed) | |
| records | 30 | 10 |
";
    assert_eq!(table.to_string(), expected);
    assert_eq!(table.total().kills, 8);
    assert_eq!(table.json(1)["cells"].as_array().unwrap().len(), 3);
}
