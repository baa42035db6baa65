//! Bookkeeping of one assigned partition: what was written, where a range may end, what memory it holds. Pure.

use std::collections::VecDeque;

use arrow::array::Int64Array;
use connector_core::{FlushRange, MemoryPermit, Offset, TopicPartition, Written};

/// From assignment to revocation of one partition.
#[derive(Debug)]
pub struct Ledger {
    partition: TopicPartition,
    /// The assignment whose batches count; others are stale.
    pub epoch: u64,
    /// First offset that is not published; `None` before the first record.
    start: Option<Offset>,
    /// Offset after the last record that was handed to the sink or dropped on the way.
    read_end: Option<Offset>,
    /// Last offset at which the sink lets a range end.
    cut: Option<Offset>,
    /// Offsets of the records that the sink was given, batch by batch, and how many of them it drops on purpose.
    written: VecDeque<(Int64Array, usize)>,
    /// Memory of each batch, with the offset after its last record.
    permits: VecDeque<(Offset, MemoryPermit)>,
    /// End of the range that is being published.
    publishing: Option<Offset>,
}

impl Ledger {
    pub fn new(partition: TopicPartition, epoch: u64) -> Self {
        Self {
            partition,
            epoch,
            start: None,
            read_end: None,
            cut: None,
            written: VecDeque::new(),
            permits: VecDeque::new(),
            publishing: None,
        }
    }

    /// Takes note of a batch before it is processed. Offsets below the last read are a repetition: the number of rows
    /// to skip is returned.
    pub fn read(&mut self, offsets: &Int64Array, permit: MemoryPermit) -> usize {
        let skip = match self.read_end {
            Some(end) => offsets.values().partition_point(|&o| o < end),
            None => 0,
        };
        if let Some(&first) = offsets.values().get(skip) {
            self.start.get_or_insert(first);
            let end = offsets.values().last().map_or(first, |&last| last) + 1;
            self.read_end = Some(end);
            self.permits.push_back((end, permit));
        }
        skip
    }

    /// The sink was given these records, and answered this.
    pub fn wrote(&mut self, offsets: Int64Array, answer: &Written) {
        if !offsets.is_empty() {
            self.written.push_back((offsets, answer.filtered));
        }
        self.cut = self.cut.max(answer.cut);
        let mut spilled_kib = usize::try_from(answer.spilled_bytes / 1024).unwrap_or(usize::MAX);
        for (_, permit) in &mut self.permits {
            if spilled_kib == 0 {
                break;
            }
            spilled_kib -= permit.release(spilled_kib);
        }
    }

    /// The range that is due: up to the last cut, or with `force` up to everything the sink has.
    pub fn due(&mut self, force: bool) -> Option<FlushRange> {
        if self.publishing.is_some() {
            return None;
        }
        let start = self.start?;
        let end = if force && !self.written.is_empty() { self.read_end } else { self.cut };
        let end = end.filter(|&end| end > start)?;
        self.publishing = Some(end);
        Some(FlushRange::new(self.partition.clone(), start..end))
    }

    /// The range is published and committed; the number of records that were delivered with it.
    pub fn published(&mut self) -> usize {
        let Some(end) = self.publishing.take() else { return 0 };
        self.start = Some(end);
        let mut count = 0;
        while let Some((offsets, filtered)) = self.written.front_mut() {
            let before = offsets.values().partition_point(|&o| o < end);
            // Which rows were dropped is not known, only how many: they are taken off the first ones.
            let dropped = before.min(*filtered);
            count += before - dropped;
            *filtered -= dropped;
            if before < offsets.len() {
                *offsets = offsets.slice(before, offsets.len() - before);
                break;
            }
            self.written.pop_front();
        }
        while self.permits.front().is_some_and(|(batch_end, _)| *batch_end <= end) {
            self.permits.pop_front();
        }
        count
    }

    /// Whether the sink holds records that are not published.
    pub fn is_open(&self) -> bool {
        !self.written.is_empty()
    }

    /// Memory that waits for a publish, in KiB.
    pub fn held_kib(&self) -> usize {
        self.permits.iter().map(|(_, permit)| permit.kib()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(from: i64, to: i64) -> Int64Array {
        (from..to).collect::<Vec<_>>().into()
    }

    fn ledger() -> Ledger {
        Ledger::new(TopicPartition::new("t", 0), 1)
    }

    fn write(ledger: &mut Ledger, from: i64, to: i64, cut: Option<i64>) {
        assert_eq!(ledger.read(&offsets(from, to), MemoryPermit::none()), 0);
        ledger.wrote(offsets(from, to), &Written { cut, ..Written::default() });
    }

    #[test]
    fn a_range_ends_at_the_last_cut_and_the_next_begins_there() {
        let mut l = ledger();
        write(&mut l, 5, 12, Some(10));
        let range = l.due(false).unwrap();
        assert_eq!((range.start, range.end), (5, 10));
        assert!(l.due(false).is_none(), "one publish cycle at a time");
        assert_eq!(l.published(), 5);
        assert!(l.due(false).is_none());
        write(&mut l, 12, 16, Some(15));
        let range = l.due(false).unwrap();
        assert_eq!((range.start, range.end), (10, 15));
        assert_eq!(l.published(), 5);
    }

    #[test]
    fn a_forced_range_takes_everything_the_sink_has_and_dropped_records_before_it() {
        let mut l = ledger();
        write(&mut l, 0, 3, None);
        assert_eq!(l.read(&offsets(3, 5), MemoryPermit::none()), 0);
        assert!(l.due(false).is_none());
        let range = l.due(true).unwrap();
        assert_eq!((range.start, range.end), (0, 5));
        assert_eq!(l.published(), 3);
        assert!(l.due(true).is_none());
    }

    #[test]
    fn records_that_the_sink_drops_are_not_delivered() {
        let mut l = ledger();
        assert_eq!(l.read(&offsets(0, 6), MemoryPermit::none()), 0);
        l.wrote(offsets(0, 6), &Written { cut: Some(4), filtered: 2, ..Written::default() });
        assert!(l.due(false).is_some());
        assert_eq!(l.published(), 2);
        assert!(l.due(true).is_some());
        assert_eq!(l.published(), 2);
    }

    #[test]
    fn records_seen_before_are_skipped() {
        let mut l = ledger();
        write(&mut l, 0, 10, None);
        assert_eq!(l.read(&offsets(6, 14), MemoryPermit::none()), 4);
        assert_eq!(l.read(&offsets(6, 9), MemoryPermit::none()), 3);
    }

    #[test]
    fn records_filtered_on_the_way_alone_are_nothing_to_publish() {
        let mut l = ledger();
        assert_eq!(l.read(&offsets(0, 4), MemoryPermit::none()), 0);
        l.wrote(Int64Array::from(Vec::<i64>::new()), &Written::default());
        assert!(l.due(true).is_none());
        assert!(!l.is_open());
    }
}
