//! Where a bounded run ends: each partition at the end that it had when the run began.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use connector_core::{Offset, TopicPartition};

/// What all tasks of one connector have left to do.
#[derive(Debug, Default)]
pub struct Goal {
    /// Offset after the last record to read; `None` until the source says that it has no more.
    left: Mutex<BTreeMap<TopicPartition, Option<Offset>>>,
}

impl Goal {
    pub fn new(ends: impl IntoIterator<Item = (TopicPartition, Option<Offset>)>) -> Self {
        Self { left: Mutex::new(ends.into_iter().collect()) }
    }

    /// Whether what was read of a partition is all that is asked for; `at_end`: the reader has met its end.
    pub fn is_reached(&self, tp: &TopicPartition, read_end: Option<Offset>, at_end: bool) -> bool {
        match self.left().get(tp) {
            None => true,
            Some(Some(end)) => at_end || read_end.is_some_and(|read| read >= *end),
            Some(None) => at_end,
        }
    }

    /// Everything of these partitions is published.
    pub fn reached<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        let mut left = self.left();
        for tp in partitions {
            left.remove(tp);
        }
    }

    pub fn is_reached_by_all(&self) -> bool {
        self.left().is_empty()
    }

    fn left(&self) -> std::sync::MutexGuard<'_, BTreeMap<TopicPartition, Option<Offset>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_done_at_its_old_end_or_where_nothing_follows() {
        let tp = |partition| TopicPartition::new("t", partition);
        let goal = Goal::new([(tp(0), Some(10)), (tp(1), None)]);
        assert!(!goal.is_reached(&tp(0), Some(9), false));
        assert!(goal.is_reached(&tp(0), Some(10), false));
        // The records at its end may be gone (compaction, markers of transactions).
        assert!(goal.is_reached(&tp(0), None, true));
        assert!(!goal.is_reached(&tp(1), Some(99), false));
        assert!(goal.is_reached(&tp(1), Some(99), true));
        goal.reached([tp(0)].iter());
        assert!(!goal.is_reached_by_all());
        goal.reached([tp(1)].iter());
        assert!(goal.is_reached_by_all());
    }
}
