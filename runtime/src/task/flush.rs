//! Bookkeeping of one assigned partition: what was written, where a range may end, what memory it holds. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arrow::array::Int64Array;
use connector_core::{FlushRange, MemoryPermit, Offset, OpenLimits, RangeCounts, TopicPartition, Written};

use super::feed::Planned;

/// What a publish is to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Ranges that have reached a cut.
    Cut,
    /// Everything that the sink has.
    Written,
    /// Everything that was read, even if all of it was dropped on the way.
    Read,
}

/// Records that the sink was given at once.
#[derive(Debug)]
struct Writes {
    offsets: Int64Array,
    /// So many of them it drops on purpose.
    filtered: usize,
    at: Instant,
}

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
    /// Records that the sink was given and that are not published.
    written: VecDeque<Writes>,
    /// Offsets of the records that were read and are not published, and of those that were refused.
    reads: VecDeque<Int64Array>,
    rejected: Vec<Offset>,
    /// The records come from a source of this connector.
    source: bool,
    /// Memory of each batch, with the offset after its last record.
    permits: VecDeque<(Offset, MemoryPermit)>,
    /// End of the range that is being published.
    publishing: Option<Offset>,
    /// End of the range whose publishing was refused.
    again: Option<Offset>,
    /// End of a range that a former owner has begun: the sink may not see a record of it together with one behind it.
    owed: Option<Offset>,
    /// What the next publish takes beyond what is due by itself.
    force: Due,
    last_write: Instant,
}

impl Ledger {
    pub fn new(partition: TopicPartition, epoch: u64, source: bool) -> Self {
        Self {
            reads: VecDeque::new(),
            rejected: Vec::new(),
            source,
            partition,
            epoch,
            start: None,
            read_end: None,
            cut: None,
            written: VecDeque::new(),
            permits: VecDeque::new(),
            publishing: None,
            again: None,
            owed: None,
            force: Due::Cut,
            last_write: Instant::now(),
        }
    }

    /// Reading begins at `offset`, and everything before it is done; `owed`: the end of a range that was begun there.
    pub fn begins(&mut self, offset: Offset, owed: Option<Offset>) {
        self.start = Some(offset);
        self.read_end = Some(offset);
        self.owed = owed.filter(|&end| end > offset);
    }

    /// The records up to `offset` do not exist any more.
    pub fn skips_to(&mut self, offset: Offset) {
        self.read_end = self.read_end.max(Some(offset));
        if self.start.is_some() && !self.is_open() && self.publishing.is_none() {
            self.start = self.start.max(Some(offset));
        }
        self.owed = self.owed.filter(|&end| end > offset);
    }

    /// How many of the rows belong to the range that is owed; `None`: nothing is owed any more, so all go on.
    pub fn owed_rows(&self, offsets: &Int64Array) -> Option<usize> {
        let end = self.owed?;
        Some(offsets.values().partition_point(|&offset| offset < end))
    }

    /// The range that is owed is read to its end.
    pub fn has_read_owed(&self) -> bool {
        self.owed.is_some_and(|end| self.read_end >= Some(end))
    }

    /// There are no more records of the range that is owed.
    pub fn completes_owed(&mut self) {
        self.read_end = self.read_end.max(self.owed);
    }

    pub fn owes(&self) -> bool {
        self.owed.is_some()
    }

    /// The next publish takes at least this.
    pub fn force(&mut self, due: Due) {
        self.force = self.force.max(due);
    }

    /// Cuts that the clock makes.
    pub fn look_at_clock(&mut self, limits: OpenLimits, now: Instant) {
        let passed = |since: Instant, limit: Option<i64>| {
            let limit = limit.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
            limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
        };
        let Some(oldest) = self.written.front() else { return };
        if self.publishing.is_none()
            && (passed(oldest.at, limits.age_ms) || passed(self.last_write, limits.idle_ms))
        {
            self.force(Due::Written);
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
            self.reads.push_back(offsets.slice(skip, offsets.len() - skip));
        }
        skip
    }

    /// The sink was given these records, and answered this.
    pub fn wrote(&mut self, offsets: Int64Array, answer: &Written) {
        if !offsets.is_empty() {
            let at = Instant::now();
            self.last_write = at;
            self.written.push_back(Writes { offsets, filtered: answer.filtered, at });
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

    /// The range that is due. Ranges end only where the feed is whole, so the end is a cut, or all that was read; one that
    /// is owed ends where it was to end.
    pub fn due(&mut self, due: Due) -> Option<Planned> {
        if self.publishing.is_some() {
            return None;
        }
        let start = self.start?;
        let due = due.max(std::mem::replace(&mut self.force, Due::Cut));
        let cut = self.cut.filter(|&cut| cut > start);
        let end = match due {
            // Positions of a source are known at the ends of its batches alone.
            Due::Cut if self.source => cut.and(self.read_end),
            // What is owed ends nowhere else, except at cuts that its first owner has made too.
            _ if self.has_read_owed() => self.owed,
            _ if self.owes() => cut,
            Due::Cut => cut,
            Due::Written if self.written.is_empty() => cut,
            Due::Written | Due::Read => self.read_end,
        };
        let end = self.again.take().or(end).filter(|&end| end > start)?;
        self.publishing = Some(end);
        let counts = self.counts(end);
        let range = FlushRange { counts, ..FlushRange::new(self.partition.clone(), start..end) };
        Some(Planned { range, epoch: self.epoch, owed: self.owed.filter(|&owed| owed > end), recipe: None })
    }

    /// Nothing of it will be published any more.
    pub fn gives_up(&mut self) {
        self.start = None;
        self.again = None;
    }

    /// Nothing of the range was published. It ends at the same place the next time: the sink has cut there.
    pub fn refused(&mut self) {
        self.again = self.publishing.take().or(self.again);
    }

    /// Whether the sink has named this end itself.
    pub fn is_cut(&self, end: Offset) -> bool {
        self.cut == Some(end)
    }

    /// What became of the records before `end`, as far as it is known when their range is published.
    fn counts(&self, end: Offset) -> RangeCounts {
        let mut delivered = 0;
        for Writes { offsets, filtered, .. } in &self.written {
            let before = offsets.values().partition_point(|&o| o < end);
            delivered += before - before.min(*filtered);
        }
        let rejected = self.rejected.partition_point(|&offset| offset < end);
        let read: usize = self.reads.iter().map(|read| read.values().partition_point(|&o| o < end)).sum();
        let filtered = read.saturating_sub(delivered + rejected);
        RangeCounts { delivered: delivered as u64, filtered: filtered as u64, rejected: rejected as u64 }
    }

    /// A record was refused on the way and skipped.
    pub fn rejected(&mut self, offset: Offset) {
        let at = self.rejected.partition_point(|&o| o <= offset);
        self.rejected.insert(at, offset);
    }

    /// Offset after the last record that was read; `None` before the first.
    pub fn read_end(&self) -> Option<Offset> {
        self.read_end
    }

    /// Whether something was read that is not published.
    pub fn is_behind(&self) -> bool {
        self.start.zip(self.read_end).is_some_and(|(start, end)| end > start)
    }

    /// The range is published and committed; the number of records that were delivered with it.
    pub fn published(&mut self) -> usize {
        let Some(end) = self.publishing.take() else { return 0 };
        self.start = Some(end);
        let mut count = 0;
        self.owed = self.owed.filter(|&owed| owed > end);
        while let Some(Writes { offsets, filtered, .. }) = self.written.front_mut() {
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
        while let Some(read) = self.reads.front_mut() {
            let before = read.values().partition_point(|&o| o < end);
            if before < read.len() {
                *read = read.slice(before, read.len() - before);
                break;
            }
            self.reads.pop_front();
        }
        self.rejected.retain(|&offset| offset >= end);
        while self.permits.front().is_some_and(|(batch_end, _)| *batch_end <= end) {
            self.permits.pop_front();
        }
        count
    }

    /// Records that the sink was given for nothing if the partition goes away now.
    pub fn given_back(&self) -> usize {
        self.written
            .iter()
            .map(|writes| writes.offsets.len() - writes.filtered.min(writes.offsets.len()))
            .sum()
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
        Ledger::new(TopicPartition::new("t", 0), 1, false)
    }

    fn write(ledger: &mut Ledger, from: i64, to: i64, cut: Option<i64>) {
        assert_eq!(ledger.read(&offsets(from, to), MemoryPermit::none()), 0);
        ledger.wrote(offsets(from, to), &Written { cut, ..Written::default() });
    }

    #[test]
    fn a_range_ends_at_the_last_cut_and_the_next_begins_there() {
        let mut l = ledger();
        write(&mut l, 5, 12, Some(10));
        let range = l.due(Due::Cut).unwrap().range;
        assert_eq!((range.start, range.end), (5, 10));
        assert!(l.due(Due::Cut).is_none(), "one publish cycle at a time");
        assert_eq!(l.published(), 5);
        assert!(l.due(Due::Cut).is_none());
        write(&mut l, 12, 16, Some(15));
        let range = l.due(Due::Cut).unwrap().range;
        assert_eq!((range.start, range.end), (10, 15));
        assert_eq!(l.published(), 5);
    }

    #[test]
    fn a_forced_range_takes_everything_the_sink_has_and_dropped_records_before_it() {
        let mut l = ledger();
        write(&mut l, 0, 3, None);
        assert_eq!(l.read(&offsets(3, 5), MemoryPermit::none()), 0);
        assert!(l.due(Due::Cut).is_none());
        let range = l.due(Due::Written).unwrap().range;
        assert_eq!((range.start, range.end), (0, 5));
        assert_eq!(l.published(), 3);
        assert!(l.due(Due::Written).is_none());
    }

    #[test]
    fn records_that_the_sink_drops_are_not_delivered() {
        let mut l = ledger();
        assert_eq!(l.read(&offsets(0, 6), MemoryPermit::none()), 0);
        l.wrote(offsets(0, 6), &Written { cut: Some(4), filtered: 2, ..Written::default() });
        assert!(l.due(Due::Cut).is_some());
        assert_eq!(l.published(), 2);
        assert!(l.due(Due::Written).is_some());
        assert_eq!(l.published(), 2);
    }

    #[test]
    fn a_range_that_was_refused_ends_there_the_next_time_whatever_is_refused_meanwhile() {
        let mut l = ledger();
        write(&mut l, 0, 5, None);
        assert_eq!(l.due(Due::Written).unwrap().range.end, 5);
        l.refused();
        // A cycle of other partitions.
        l.refused();
        write(&mut l, 5, 9, None);
        assert_eq!(l.due(Due::Cut).unwrap().range.end, 5);
        assert_eq!(l.published(), 5);
        assert!(l.due(Due::Cut).is_none());
        assert_eq!(l.due(Due::Written).unwrap().range.end, 9);
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
        assert!(l.due(Due::Written).is_none());
        assert!(!l.is_open() && l.is_behind());
        let range = l.due(Due::Read).unwrap().range;
        assert_eq!((range.start, range.end, range.counts.filtered), (0, 4, 4));
        assert_eq!(l.published(), 0);
        assert!(!l.is_behind());
    }

    #[test]
    fn a_range_says_what_became_of_its_records() {
        let mut l = ledger();
        assert_eq!(l.read(&offsets(0, 10), MemoryPermit::none()), 0);
        l.rejected(7);
        l.rejected(3);
        // 3 and 7 were refused, 5 was dropped by a transform, one is dropped by the sink.
        let given = Int64Array::from(vec![0, 1, 2, 4, 6, 8, 9]);
        l.wrote(given, &Written { cut: Some(8), filtered: 1, ..Written::default() });
        let counts = |delivered, filtered, rejected| RangeCounts { delivered, filtered, rejected };
        assert_eq!(l.due(Due::Cut).unwrap().range.counts, counts(4, 2, 2));
        assert_eq!(l.published(), 4);
        assert_eq!(l.due(Due::Written).unwrap().range.counts, counts(2, 0, 0));
    }

    #[test]
    fn a_range_of_a_source_ends_where_its_positions_are_known() {
        let mut l = Ledger::new(TopicPartition::new("users", 0), 1, true);
        write(&mut l, 0, 12, Some(10));
        assert_eq!(l.due(Due::Cut).unwrap().range.end, 12);
        assert_eq!(l.published(), 12);
        write(&mut l, 12, 15, None);
        assert!(l.due(Due::Cut).is_none());
    }
}
