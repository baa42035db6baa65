//! Sets of offsets that can be counted quickly within a range.

use std::ops::Range;

use connector_core::Offset;

/// Offsets, as ascending ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    ranges: Vec<Range<Offset>>,
    /// Offsets in the ranges before each one.
    before: Vec<u64>,
}

impl Offsets {
    /// In any order; ranges may overlap.
    pub fn new(ranges: impl IntoIterator<Item = Range<Offset>>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|range| range.start < range.end).collect();
        sorted.sort_by_key(|range| range.start);
        let mut ranges: Vec<Range<Offset>> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        let mut sum = 0;
        let before = ranges.iter().map(|range| {
            let before = sum;
            sum = u64::saturating_add(sum, length(range));
            before
        });
        let before = before.collect();
        Self { ranges, before }
    }

    pub fn ranges(&self) -> &[Range<Offset>] {
        &self.ranges
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn len(&self) -> u64 {
        self.below(Offset::MAX)
    }

    /// Offsets in `range`.
    pub fn count(&self, range: &Range<Offset>) -> u64 {
        self.below(range.end).saturating_sub(self.below(range.start))
    }

    fn below(&self, end: Offset) -> u64 {
        let at = self.ranges.partition_point(|range| range.start < end);
        let Some(last) = at.checked_sub(1) else { return 0 };
        let range = &self.ranges[last];
        self.before[last] + length(&(range.start..range.end.min(end)))
    }

    /// These and those.
    pub fn and(&self, others: &Self) -> Self {
        Self::new(self.ranges.iter().chain(&others.ranges).cloned())
    }

    /// These that are not among those.
    pub fn without(&self, others: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.ranges {
            let mut start = range.start;
            let from = others.ranges.partition_point(|other| other.end <= range.start);
            for other in others.ranges[from..].iter().take_while(|other| other.start < range.end) {
                left.push(start..other.start);
                start = start.max(other.end);
            }
            left.push(start..range.end);
        }
        Self::new(left)
    }
}

impl FromIterator<Offset> for Offsets {
    fn from_iter<I: IntoIterator<Item = Offset>>(offsets: I) -> Self {
        Self::new(offsets.into_iter().map(|offset| offset..offset.saturating_add(1)))
    }
}

/// Offsets from the start to the end of `range`; 0 when it is turned around.
pub fn length(range: &Range<Offset>) -> u64 {
    u64::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_as_a_set_does(
            ranges in prop::collection::vec((0..60_i64, 0..12_i64), 0..12),
            others in prop::collection::vec((0..60_i64, 0..12_i64), 0..12),
            window in (0..70_i64, 0..70_i64),
        ) {
            let made = |pairs: &[(i64, i64)]| {
                let ranges: Vec<_> = pairs.iter().map(|&(start, len)| start..start + len).collect();
                let set: BTreeSet<i64> = ranges.iter().cloned().flatten().collect();
                (Offsets::new(ranges), set)
            };
            let ((offsets, set), (more, other_set)) = (made(&ranges), made(&others));
            let window = window.0..window.1;
            prop_assert_eq!(offsets.count(&window), set.iter().filter(|o| window.contains(o)).count() as u64);
            prop_assert_eq!(offsets.len(), set.len() as u64);
            prop_assert_eq!(&offsets, &set.iter().copied().collect::<Offsets>());
            prop_assert_eq!(offsets.and(&more), set.union(&other_set).copied().collect::<Offsets>());
            prop_assert_eq!(offsets.without(&more), set.difference(&other_set).copied().collect::<Offsets>());
        }
    }
}
