//! How far a task of a direct pipeline is, stored beside its source's positions: exactly-once without Kafka.
//!
//! A table keeps one number a task (`txn` of Delta), and a source's position is no number. So each publish first stores an
//! *intent*, counter → positions, and then commits under that counter. Whoever comes next asks the table for its counter
//! and goes on at the positions that belong to it: those of the intent, or if the table has an older counter, those that
//! were acknowledged before.

use std::collections::BTreeMap;

use connector_core::{ConnectError, Offset, Position, Result, TopicPartition};
use serde_json::{Map, Value};

/// Source partitions with this key are ours.
const TASK: &str = "sidestream.task";
const PART: &str = "part";
/// Positions in one stored record, and bytes of them: a broker takes no more than a mebibyte.
const PER_PART: usize = 500;
const PART_BYTES: usize = 512 << 10;

/// Where one task stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Counter up to which the source's positions are stored as such.
    pub acknowledged: Offset,
    pub intent: Option<Intent>,
}

/// What will be true once the sink has `end`.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    pub end: Offset,
    /// Source partitions that have moved since `acknowledged`.
    pub positions: Vec<Position>,
}

/// The source's positions and the tasks' progress, as they are stored together.
#[derive(Debug, Default, PartialEq)]
pub struct Stored {
    pub positions: Vec<Position>,
    pub tasks: BTreeMap<usize, Progress>,
}

fn ours(task: usize) -> Map<String, Value> {
    Map::from_iter([(TASK.to_owned(), task.into())])
}

impl Progress {
    /// What to store, in this order: the last one makes it valid.
    pub fn records(&self, task: usize) -> (Vec<Position>, Position) {
        let mut head = Map::from_iter([("acknowledged".to_owned(), self.acknowledged.into())]);
        let mut parts = Vec::new();
        if let Some(Intent { end, positions }) = &self.intent {
            for (at, chunk) in chunks(positions).into_iter().enumerate() {
                let mut partition = ours(task);
                partition.insert(PART.to_owned(), at.into());
                let chunk = serde_json::to_value(chunk).unwrap_or_default();
                let offset =
                    Map::from_iter([("end".to_owned(), (*end).into()), ("positions".to_owned(), chunk)]);
                parts.push(Position { partition, offset });
            }
            head.insert("end".to_owned(), (*end).into());
            head.insert("parts".to_owned(), parts.len().into());
        }
        (parts, Position { partition: ours(task), offset: head })
    }
}

/// What fits into one stored record each; a position that alone is larger has one of its own.
fn chunks(positions: &[Position]) -> Vec<&[Position]> {
    let (mut chunks, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, position) in positions.iter().enumerate() {
        let size = serde_json::to_vec(position).map_or(0, |text| text.len());
        if at > from && (at - from == PER_PART || bytes + size > PART_BYTES) {
            chunks.extend(positions.get(from..at));
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    chunks.extend(positions.get(from..).filter(|rest| !rest.is_empty()));
    chunks
}

impl Stored {
    /// Tells our own records from the source's.
    pub fn read(all: Vec<Position>) -> Result<Self> {
        let (own, positions): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|p| p.partition.contains_key(TASK));
        let number = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_i64);
        let task_of = |p: &Position| usize::try_from(number(&p.partition, TASK).unwrap_or(-1)).ok();
        let (parts, heads): (Vec<_>, Vec<_>) = own.into_iter().partition(|p| p.partition.contains_key(PART));
        let mut tasks = BTreeMap::new();
        for head in heads {
            let Some(task) = task_of(&head) else { continue };
            let acknowledged = number(&head.offset, "acknowledged").unwrap_or(0);
            let intent = number(&head.offset, "end").map(|end| {
                let count = number(&head.offset, "parts").unwrap_or(0);
                let mut positions = Vec::new();
                for at in 0..count {
                    let part = parts.iter().find(|p| {
                        task_of(p) == Some(task)
                            && number(&p.partition, PART) == Some(at)
                            && number(&p.offset, "end") == Some(end)
                    });
                    let list = part.and_then(|p| p.offset.get("positions")).cloned().unwrap_or_default();
                    let list: Vec<Position> = serde_json::from_value(list).map_err(|_| damaged(task))?;
                    positions.extend(list);
                }
                Ok::<_, ConnectError>(Intent { end, positions })
            });
            tasks.insert(task, Progress { acknowledged, intent: intent.transpose()? });
        }
        Ok(Self { positions, tasks })
    }

    /// Settles what a crash left open: `table` says which counter the sink has, `None` for a sink that keeps none.
    /// Returns the counter at which each task goes on.
    pub fn settle(&mut self, partition: &TopicPartition, task: usize, table: Table) -> Result<Offset> {
        let progress = self.tasks.entry(task).or_default();
        let intent = progress.intent.take();
        match table {
            // Counters that were used once are never used again: what they named may be there.
            Table::KeepsNone => {
                progress.acknowledged = intent.map_or(progress.acknowledged, |intent| intent.end);
            }
            Table::Has(None) if progress.acknowledged > 0 => {
                tracing::warn!(
                    %partition,
                    "the table knows nothing of this connector, though {} records were written before: it is another \
                     table now; going on with what comes next",
                    progress.acknowledged
                );
            }
            Table::Has(None) => {}
            Table::Has(Some(counter)) if counter == progress.acknowledged => {}
            Table::Has(Some(counter)) => match intent {
                Some(intent) if intent.end == counter => {
                    let both = self.positions.iter().chain(&intent.positions);
                    self.positions = super::positions::last(both);
                    progress.acknowledged = counter;
                }
                _ => return Err(unknown(partition, counter, progress.acknowledged)),
            },
        }
        Ok(progress.acknowledged)
    }
}

/// What the sink knows of a task.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    /// It stores offsets with its data; `None`: not of this task.
    Has(Option<Offset>),
    KeepsNone,
}

fn damaged(task: usize) -> ConnectError {
    ConnectError::internal("pipeline.damaged", format!("the stored progress of task {task} is damaged"))
        .hint("restore the file or topic of source positions from a copy")
}

fn unknown(partition: &TopicPartition, counter: Offset, known: Offset) -> ConnectError {
    let text = format!(
        "{partition}: the table has {counter} records of this connector, and the stored positions tell of {known}: \
         where to go on is not known"
    );
    ConnectError::user("pipeline.positions_lost", text).hint(
        "bring back the stored source positions that belong to this table, or give the connector another name to begin \
         anew (its rows are then written again)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(shard: &str, sequence: i64) -> Position {
        Position {
            partition: Map::from_iter([("shard".to_owned(), shard.into())]),
            offset: Map::from_iter([("sequenceNumber".to_owned(), sequence.into())]),
        }
    }

    fn tp() -> TopicPartition {
        TopicPartition::new("users", 0)
    }

    /// Stores records in a map, as a compacted topic does.
    fn stored(writes: &[Position]) -> Stored {
        Stored::read(super::super::positions::last(writes)).unwrap()
    }

    fn crashed() -> Stored {
        let intent = Intent { end: 30, positions: vec![position("a", 30), position("c", 4)] };
        let (parts, head) = Progress { acknowledged: 20, intent: Some(intent) }.records(0);
        let before = [position("a", 20), position("b", 7)];
        stored(&[before.as_slice(), &parts, &[head]].concat())
    }

    fn sequences(stored: &Stored) -> Vec<i64> {
        let mut all = stored.positions.clone();
        all.sort_by_key(|p| p.partition["shard"].to_string());
        all.iter().map(|p| p.offset["sequenceNumber"].as_i64().unwrap()).collect()
    }

    #[test]
    fn killed_after_the_commit_the_intent_says_where_the_source_stands() {
        let mut stored = crashed();
        assert_eq!(stored.settle(&tp(), 0, Table::Has(Some(30))).unwrap(), 30);
        assert_eq!(sequences(&stored), [30, 7, 4]);
        assert_eq!(stored.tasks[&0], Progress { acknowledged: 30, intent: None });
    }

    #[test]
    fn killed_before_the_commit_the_intent_is_dropped() {
        let mut stored = crashed();
        assert_eq!(stored.settle(&tp(), 0, Table::Has(Some(20))).unwrap(), 20);
        assert_eq!(sequences(&stored), [20, 7]);
    }

    #[test]
    fn a_counter_that_nobody_stored_is_an_error_and_not_a_guess() {
        for counter in [10, 25, 31] {
            let error = crashed().settle(&tp(), 0, Table::Has(Some(counter))).unwrap_err();
            assert_eq!(error.code, "pipeline.positions_lost");
        }
        let lost = Stored::default().settle(&tp(), 0, Table::Has(Some(5))).unwrap_err();
        assert_eq!(lost.code, "pipeline.positions_lost");
    }

    #[test]
    fn a_sink_without_offsets_gets_counters_that_were_never_used() {
        let mut stored = crashed();
        assert_eq!(stored.settle(&tp(), 0, Table::KeepsNone).unwrap(), 30);
        assert_eq!(sequences(&stored), [20, 7], "what was not acknowledged comes again");
    }

    #[test]
    fn a_new_table_gets_what_comes_next() {
        assert_eq!(Stored::default().settle(&tp(), 0, Table::Has(None)).unwrap(), 0);
        assert_eq!(crashed().settle(&tp(), 0, Table::Has(None)).unwrap(), 20);
    }

    #[test]
    fn many_positions_are_stored_in_parts() {
        let positions: Vec<_> = (0..1200).map(|n| position(&format!("s{n}"), n)).collect();
        let progress = Progress { acknowledged: 3, intent: Some(Intent { end: 9, positions }) };
        let (parts, head) = progress.records(2);
        assert_eq!(parts.len(), 3);
        let read = stored(&[parts.as_slice(), std::slice::from_ref(&head)].concat());
        assert_eq!(read.tasks[&2], progress);
        // Few and large ones too: what one record holds, a broker takes.
        let large: Vec<_> = (0..200).map(|n| position(&"x".repeat(8 << 10), n)).collect();
        let (few, _) =
            Progress { acknowledged: 3, intent: Some(Intent { end: 9, positions: large }) }.records(2);
        let sizes = few.iter().map(|part| serde_json::to_vec(&part.offset).unwrap().len());
        assert_eq!((few.len(), sizes.max().unwrap() < 1_000_000), (4, true));
        // A part of another intent does not belong to this head.
        let mut other = parts.clone();
        other[1].offset["end"] = 10.into();
        let damaged = Stored::read([other.as_slice(), &[head]].concat()).unwrap_err();
        assert_eq!(damaged.code, "pipeline.damaged");
    }
}
