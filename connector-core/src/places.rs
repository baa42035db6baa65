//! What a source remembers to say where a record came from.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Batches that are remembered: a record is refused on its way through the transforms to the sink, a few polls after its
/// own, however long the batch then waits to be committed.
const KEPT: usize = 8;

/// By the token of its batch, what names the places of the records ([`Source::place`](crate::Source::place)): a `T` each
/// for the last batches that have records and are not committed.
#[derive(Debug)]
pub struct Places<T> {
    batches: Mutex<VecDeque<(u64, T)>>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { batches: Mutex::default() }
    }
}

impl<T> Places<T> {
    fn batches(&self) -> MutexGuard<'_, VecDeque<(u64, T)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a batch that has records; tokens rise.
    pub fn keep(&self, token: u64, places: T) {
        let mut batches = self.batches();
        batches.push_back((token, places));
        if batches.len() > KEPT {
            batches.pop_front();
        }
    }

    /// What is remembered of a batch, if anything is.
    pub fn find(&self, token: u64, name: impl FnOnce(&T) -> Option<String>) -> Option<String> {
        let batches = self.batches();
        batches.iter().find(|(kept, _)| *kept == token).and_then(|(_, places)| name(places))
    }

    /// Forgets a batch and those before it.
    pub fn committed(&self, token: u64) {
        self.batches().retain(|(kept, _)| *kept > token);
    }

    pub fn clear(&self) {
        self.batches().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_known_until_it_is_committed_and_only_the_last_ones_are() {
        let places = Places::default();
        let known = |token| places.find(token, |text: &&str| Some((*text).to_owned()));
        places.keep(1, "a");
        places.keep(3, "b");
        assert_eq!((known(1).as_deref(), known(2), known(3).as_deref()), (Some("a"), None, Some("b")));
        places.committed(2);
        assert_eq!((known(1), known(3).as_deref()), (None, Some("b")));
        (4..4 + KEPT as u64).for_each(|token| places.keep(token, "c"));
        assert_eq!((known(3), known(4).as_deref()), (None, Some("c")));
        places.clear();
        assert_eq!(known(4), None);
    }
}
