//! What became of the offsets of one topic-partition: arithmetic over what the store, the consumer group, the topic and
//! the queue of dead letters say. Pure.
//!
//! A Delta table says which ranges it has and what became of each record in them. An object of the S3 sink says less:
//! the offset of its first record (in its key) and how many records it holds. A record is in exactly one object, all
//! objects that are open at a time end together (at a cut), and the next ones of the same directory begin behind that
//! cut. So from cut to cut the records of the objects are as many as the offsets, without those that the topic does not
//! have, that were refused, or that were left out on purpose. [`sections`] finds the cuts again.

use std::collections::HashMap;
use std::ops::Range;

use connector_core::{Extent, Offset, RangeCounts};
use serde::Serialize;

use super::offsets::{Offsets, length};

/// What is known of a topic-partition.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// From the first offset that Kafka has to the one after the last.
    pub log: Range<Offset>,
    /// The group's offset.
    pub committed: Option<Offset>,
    /// End of a range whose publication had begun when the group's offset was committed.
    pub intended: Option<Offset>,
    /// The group began at the beginning of the topic (`auto.offset.reset: earliest`).
    pub from_beginning: bool,
    pub extents: Vec<Extent>,
    /// Records that are in the queue of dead letters.
    pub rejected: Offsets,
    /// Such a record is not delivered (`errors.tolerance: all`); otherwise its task failed, and it may have been
    /// delivered later.
    pub rejected_for_good: bool,
    /// Offsets that Kafka does not have, as far as it was asked: ends of transactions, aborted and compacted records.
    pub absent: Offsets,
    /// The topic is compacted: an absent record may have been delivered before it went.
    pub compacted: bool,
    /// Something may leave records out on purpose, and the store does not say which.
    pub filtering: bool,
}

/// Numbers of records or offsets. Without the doubled ones, their sum is the number of offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// In the store; what is there twice counts twice.
    pub delivered: u64,
    /// In the queue of dead letters, or refused as the store says.
    pub rejected: u64,
    /// Left out on purpose, as the store says.
    pub filtered: u64,
    /// Offsets that the topic does not have.
    pub gaps: u64,
    /// Offsets before the position that the store keeps, whose records it no longer lists.
    pub noted: u64,
    /// Left out on purpose, or missing: it cannot be told.
    pub unexplained: u64,
    pub missing: u64,
    pub doubled: u64,
}

impl Tally {
    pub fn is_clean(&self) -> bool {
        (self.missing, self.doubled) == (0, 0)
    }

    pub fn add(&mut self, other: &Self) {
        let sum = |number: &mut u64, more: u64| *number = number.saturating_add(more);
        sum(&mut self.delivered, other.delivered);
        sum(&mut self.rejected, other.rejected);
        sum(&mut self.filtered, other.filtered);
        sum(&mut self.gaps, other.gaps);
        sum(&mut self.noted, other.noted);
        sum(&mut self.unexplained, other.unexplained);
        sum(&mut self.missing, other.missing);
        sum(&mut self.doubled, other.doubled);
    }
}

/// Offsets `start` (inclusive) to `end` (exclusive) and what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    pub start: Offset,
    pub end: Offset,
    #[serde(flatten)]
    pub tally: Tally,
    /// What the store has of it.
    #[serde(skip)]
    pub places: Vec<String>,
}

/// The whole of a topic-partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Offsets for which the connector has answered: from where it began to what it has acknowledged.
    pub range: Range<Offset>,
    pub total: Tally,
    /// In order; those with nothing wrong between two others are one.
    pub sections: Vec<Section>,
    /// Records in the store behind the group's offset: published, not acknowledged yet.
    pub unacknowledged: u64,
    /// Offsets before the connector's beginning, which it was told not to read.
    pub not_read: u64,
    /// Offsets that Kafka deleted before the connector had acknowledged them.
    pub expired: u64,
    /// Offsets that are to come.
    pub behind: u64,
    /// Records that begin behind the topic's end.
    pub foreign: u64,
    /// There is something in the store, and the group has no offset.
    pub no_offset: bool,
    /// The group's offset lies behind the topic's end.
    pub beyond_end: bool,
}

impl Account {
    pub fn is_clean(&self) -> bool {
        self.total.is_clean() && (self.expired, self.foreign) == (0, 0) && !self.no_offset && !self.beyond_end
    }

    /// Where Kafka has to be asked which offsets it has, before a difference means anything.
    pub fn doubts(&self, evidence: &Evidence) -> Offsets {
        let wrong = || self.sections.iter().filter(|section| !section.tally.is_clean());
        let several = evidence.extents.iter().any(|e| evidence.extents[0].series != e.series);
        let ranges: Vec<_> = match wrong().next_back() {
            // Where records of several series mix, a gap shows far from where it is.
            Some(last) if several => std::iter::once(self.range.start..last.end).collect(),
            _ => wrong().filter(|s| s.tally.missing > 0).map(|s| s.start..s.end).collect(),
        };
        let kept =
            |range: Range<Offset>| range.start.max(evidence.log.start)..range.end.min(evidence.log.end);
        Offsets::new(ranges.into_iter().map(kept))
    }
}

/// Adds it all up.
pub fn account(evidence: &Evidence) -> Account {
    let Evidence { log, committed, .. } = evidence;
    let mut extents: Vec<&Extent> = evidence.extents.iter().collect();
    extents.sort_by(|a, b| (a.start, &a.series, &a.place).cmp(&(b.start, &b.series, &b.place)));
    let (ended, open): (Vec<&Extent>, Vec<&Extent>) = extents.iter().partition(|e| e.end.is_some());
    // A store that knows its ranges has the position itself; the group's may be a publish behind.
    let in_store = ended.iter().filter_map(|e| e.end).max();
    let acknowledged = (*committed).max(in_store);
    let first = extents.first().map(|extent| extent.start);
    let mut account = Account::default();
    let start = match first.filter(|&first| acknowledged.is_some_and(|end| first < end)) {
        Some(first) if evidence.from_beginning => first.min(log.start),
        Some(first) => {
            account.not_read = length(&(log.start..first));
            first
        }
        None => log.start,
    };
    let end = acknowledged.unwrap_or(start).max(start);
    let (before, behind): (Vec<&Extent>, Vec<&Extent>) = open.into_iter().partition(|e| e.start < end);
    let (behind, foreign): (Vec<&Extent>, Vec<&Extent>) = behind.into_iter().partition(|e| e.start < log.end);
    account.range = start..end;
    account.unacknowledged = records(&behind);
    account.foreign = records(&foreign);
    account.no_offset = acknowledged.is_none() && first.is_some();
    account.beyond_end = acknowledged.is_some_and(|end| end > log.end);
    account.expired = acknowledged.map_or(0, |end| length(&(end..log.start)));
    account.behind = length(&(acknowledged.unwrap_or(log.start).max(log.start)..log.end));
    let weigher = Weigher::new(evidence);
    let all = if ended.is_empty() {
        sections(&weigher, &before, start..end)
    } else {
        ranges(&weigher, &ended, start..end)
    };
    let quiet = |section: &Section| section.tally.is_clean() && section.tally.unexplained == 0;
    for mut section in all {
        account.total.add(&section.tally);
        if quiet(&section) {
            section.places.clear();
        }
        match account.sections.last_mut() {
            Some(last) if quiet(last) && quiet(&section) => {
                last.end = section.end;
                last.tally.add(&section.tally);
            }
            _ => account.sections.push(section),
        }
    }
    account
}

/// How many records the extents hold.
fn records(extents: &[&Extent]) -> u64 {
    extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.records))
}

/// Compares numbers of records with numbers of offsets.
struct Weigher<'a> {
    evidence: &'a Evidence,
    /// Absent offsets that are not among the rejected ones.
    absent: Offsets,
}

impl<'a> Weigher<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        Self { absent: evidence.absent.without(&evidence.rejected), evidence }
    }

    /// How many records there are more than offsets to hold them, at least.
    fn surplus(&self, range: &Range<Offset>, records: u64) -> i128 {
        let Evidence { rejected_for_good, compacted, .. } = *self.evidence;
        // What cannot have been delivered.
        let rejected = if rejected_for_good { self.evidence.rejected.count(range) } else { 0 };
        let absent = if compacted { 0 } else { self.absent.count(range) };
        i128::from(records) + i128::from(rejected) + i128::from(absent) - i128::from(length(range))
    }

    /// `filtering`: what is not there may have been left out on purpose.
    fn section(&self, range: Range<Offset>, files: &[&Extent], filtering: bool) -> Section {
        let delivered = records(files);
        let Evidence { rejected_for_good, compacted, .. } = *self.evidence;
        let (rejected, gaps) = (self.evidence.rejected.count(&range), self.absent.count(&range));
        let mut tally = Tally { delivered, ..Tally::default() };
        tally.rejected = if rejected_for_good { rejected } else { 0 };
        tally.gaps = if compacted { 0 } else { gaps };
        let held = delivered.saturating_add(tally.rejected + tally.gaps);
        let mut left = length(&range).saturating_sub(held);
        tally.doubled = held.saturating_sub(length(&range));
        let mut take = |most: u64| {
            let taken = left.min(most);
            left -= taken;
            taken
        };
        if compacted {
            tally.gaps = take(gaps);
        }
        if !rejected_for_good {
            tally.rejected = take(rejected);
        }
        if filtering {
            tally.unexplained = left;
        } else {
            tally.missing = left;
        }
        let places = files.iter().map(|file| file.place.clone()).collect();
        Section { start: range.start, end: range.end, tally, places }
    }
}

/// For extents whose ends are not known; sorted by their starts, which are before `range.end`.
///
/// A section is closed at the first start at which records and offsets can be even: a cut may have been there. With too
/// few records, some are missing before that start for certain. With too many the section goes on: objects of other
/// series hold later offsets, until a series comes again. There must have been a cut after its earlier object, so what
/// is too much at the best candidate is doubled.
fn sections(weigher: &Weigher<'_>, files: &[&Extent], range: Range<Offset>) -> Vec<Section> {
    let mut sum = 0u64;
    let mut before = vec![0];
    before.extend(files.iter().map(|file| {
        sum = sum.saturating_add(file.records);
        sum
    }));
    let point = |at: usize| files.get(at).map_or(range.end, |file| file.start);
    let surplus = |from: Offset, first: usize, at: usize| {
        weigher.surplus(&(from..point(at)), before[at] - before[first])
    };
    let mut sections = Vec::new();
    let (mut from, mut first, mut at) = (range.start, 0, 0);
    // Where each series was last seen in the open section.
    let mut seen: HashMap<&str, usize> = HashMap::new();
    loop {
        let here = surplus(from, first, at);
        let repeated = files.get(at).and_then(|file| seen.get(file.series.as_str()).copied());
        let cut = match repeated {
            _ if here <= 0 || at == files.len() => Some(at),
            Some(earlier) => (earlier + 1..=at).min_by_key(|&at| surplus(from, first, at)),
            None => None,
        };
        if let Some(cut) = cut {
            if point(cut) > from || cut > first {
                let filtering = weigher.evidence.filtering;
                sections.push(weigher.section(from..point(cut), &files[first..cut], filtering));
            }
            (from, first, at) = (point(cut), cut, cut);
            seen.clear();
            if cut == files.len() {
                return sections;
            }
        }
        seen.insert(&files[at].series, at);
        at += 1;
    }
}

/// For extents whose ends are known; sorted by their starts.
fn ranges(weigher: &Weigher<'_>, extents: &[&Extent], range: Range<Offset>) -> Vec<Section> {
    let (mut sections, mut at) = (Vec::new(), range.start);
    for extent in extents {
        let end = extent.end.unwrap_or(extent.start).max(extent.start);
        if extent.start > at {
            // Before there was a table, nothing could be noted.
            let filtering = weigher.evidence.filtering && sections.is_empty();
            sections.push(weigher.section(at..extent.start, &[], filtering));
        }
        let again = extent.start..end.min(at);
        let new = extent.start.max(at)..end.max(at);
        sections.push(one(weigher, extent, &again, &new));
        at = at.max(end);
    }
    if at < range.end {
        sections.push(weigher.section(at..range.end, &[], false));
    }
    sections
}

/// The extent holds offsets of `again`, which others have too, and of `new`.
fn one(weigher: &Weigher<'_>, extent: &Extent, again: &Range<Offset>, new: &Range<Offset>) -> Section {
    let Some(RangeCounts { delivered: said, filtered, rejected }) = extent.counts else {
        let tally = Tally {
            delivered: extent.records,
            noted: length(new).saturating_sub(extent.records),
            ..Tally::default()
        };
        let doubled = extent.records.saturating_sub(length(new));
        let tally = Tally { doubled, ..tally };
        return Section { start: new.start, end: new.end, tally, places: vec![extent.place.clone()] };
    };
    // What is there counts, not what was said.
    let lost = said.saturating_sub(extent.records);
    let mut tally =
        Tally { delivered: extent.records, filtered, rejected, missing: lost, ..Tally::default() };
    let counted = [filtered, rejected, lost].iter().fold(extent.records, |sum, n| sum.saturating_add(*n));
    let absent = &weigher.evidence.absent;
    tally.doubled = (length(again) - absent.count(again).min(length(again))).min(counted);
    let (held, room) = (counted - tally.doubled, length(new));
    tally.doubled += held.saturating_sub(room);
    let left = room.saturating_sub(held);
    tally.gaps = left.min(absent.count(new));
    tally.missing += left - tally.gaps;
    let start = extent.start.min(new.start);
    Section { start, end: new.end.max(again.end), tally, places: vec![extent.place.clone()] }
}

#[cfg(test)]
mod tests;
