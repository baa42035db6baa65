//! The planner of ranges under any order of events: whatever is read when, forced, interrupted or taken over, the
//! offsets fall into the same files, each once.

use std::collections::BTreeMap;

use connector_core::{MemoryPermit, TopicPartition, Written};
use proptest::prelude::*;

use super::feed::Planned;
use super::flush::{Due, Ledger};

/// Records in the partition, and in a full file.
const END: i64 = 60;
const FULL: i64 = 7;

/// Something that happens to the task.
#[derive(Clone, Debug)]
enum Event {
    /// So many records are read.
    Poll(i64),
    /// The clock or the memory wants a cut.
    Force,
    /// A cycle begins and comes so far: 0 staged, 1 intended, 2 visible, 3 acknowledged. Less than 3 is a crash.
    Publish(u8),
    /// The group refuses the intent, and the partition stays.
    Refused,
    /// The partition goes to another member, or the process dies between cycles.
    Lost,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..12_i64).prop_map(Event::Poll),
        2 => Just(Event::Force),
        6 => prop_oneof![1 => 0..3_u8, 2 => Just(3)].prop_map(Event::Publish),
        1 => Just(Event::Refused),
        1 => Just(Event::Lost),
    ]
}

/// What outlives the task.
#[derive(Default)]
struct World {
    /// The group's offset, and the end beside it.
    committed: (i64, Option<i64>),
    /// End of each visible file by its start.
    files: BTreeMap<i64, i64>,
}

impl World {
    fn publish(&mut self, files: &[(i64, i64)]) -> Result<(), TestCaseError> {
        for &(start, end) in files {
            if let Some(before) = self.files.insert(start, end) {
                prop_assert_eq!(before, end, "the file of {} is another one now", start);
            }
        }
        Ok(())
    }
}

/// A task with a sink that closes files at `FULL` records, counted from the last cut.
struct Task {
    ledger: Ledger,
    next: i64,
    open: Option<i64>,
    closed: Vec<(i64, i64)>,
}

impl Task {
    fn start(world: &World) -> Self {
        let (offset, owed) = world.committed;
        let mut ledger = Ledger::new(TopicPartition::new("t", 0), 1, false);
        ledger.begins(offset, owed);
        Self { ledger, next: offset, open: None, closed: Vec::new() }
    }

    /// Reads up to `count` records; those behind an owed range wait for it, as in the task.
    fn poll(&mut self, count: i64) {
        let to = (self.next + count).min(END);
        let offsets: arrow::array::Int64Array = (self.next..to).collect::<Vec<_>>().into();
        let rows = self.ledger.owed_rows(&offsets).unwrap_or(offsets.len());
        let offsets = offsets.slice(0, rows);
        assert_eq!(self.ledger.read(&offsets, MemoryPermit::none()), 0);
        let mut cut = None;
        for &offset in offsets.values() {
            let start = *self.open.get_or_insert(offset);
            if offset + 1 - start == FULL {
                self.closed.push((start, offset + 1));
                self.open = None;
                cut = Some(offset + 1);
            }
            self.next = offset + 1;
        }
        self.ledger.wrote(offsets, &Written { cut, ..Written::default() });
    }

    /// The files of a range, as the sink stages them.
    fn stage(&mut self, planned: &Planned) -> Vec<(i64, i64)> {
        let end = planned.range.end;
        if let Some(start) = self.open.filter(|&start| start < end) {
            assert!(self.next <= end, "the open file has grown over the end of the range");
            self.closed.push((start, end));
            self.open = None;
        }
        self.closed.iter().copied().filter(|(_, file_end)| *file_end <= end).collect()
    }
}

fn happen(world: &mut World, task: &mut Task, event: &Event) -> Result<(), TestCaseError> {
    match event {
        Event::Poll(count) => task.poll(*count),
        Event::Force => task.ledger.force(Due::Written),
        Event::Lost => *task = Task::start(world),
        Event::Refused => {
            if let Some(planned) = task.ledger.due(Due::Cut) {
                task.stage(&planned);
                task.ledger.refused();
            }
        }
        Event::Publish(steps) => {
            let Some(planned) = task.ledger.due(Due::Cut) else { return Ok(()) };
            let (start, end) = (planned.range.start, planned.range.end);
            prop_assert_eq!(start, world.committed.0);
            let files = task.stage(&planned);
            if *steps >= 1 {
                world.committed.1 = Some(planned.owed.unwrap_or(end));
            }
            if *steps >= 2 {
                world.publish(&files)?;
            }
            if *steps < 3 {
                *task = Task::start(world);
                return Ok(());
            }
            world.committed = (end, planned.owed);
            task.ledger.published();
            task.closed.retain(|(_, file_end)| *file_end > end);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_offset_is_in_one_file_whatever_happens(events in prop::collection::vec(event(), 0..80)) {
        let mut world = World::default();
        let mut task = Task::start(&world);
        for event in &events {
            happen(&mut world, &mut task, event)?;
        }
        // Then it is left in peace.
        for _ in 0..3 * END {
            for event in [Event::Poll(5), Event::Force, Event::Publish(3)] {
                happen(&mut world, &mut task, &event)?;
            }
        }
        let mut next = 0;
        for (&start, &end) in &world.files {
            prop_assert_eq!(start, next, "files {:?}", &world.files);
            prop_assert!(end - start <= FULL);
            next = end;
        }
        prop_assert_eq!(next, END);
    }
}
