//! The keys of the table's files, remembered between commits: 16 bytes a key, up to a fixed size.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::key::{Key, KeySet};

/// Files that found room stay as long as they are part of the table; the others are read again at each commit whose keys
/// their statistics cannot exclude. Turning out the least recently used one would serve nobody: each commit looks at all
/// candidates in the same order, so it would always be the next one needed.
#[derive(Debug)]
pub struct KeyIndex {
    capacity: usize,
    files: Mutex<HashMap<String, Arc<[Key]>>>,
}

impl KeyIndex {
    /// `bytes` of memory at most.
    pub fn new(bytes: usize) -> Self {
        Self { capacity: bytes / size_of::<Key>(), files: Mutex::default() }
    }

    /// Ascending keys of `path`, if they are remembered.
    pub fn get(&self, path: &str) -> Option<Arc<[Key]>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Remembers the keys of `path` if there is room, and gives them back ascending.
    pub fn put(&self, path: &str, mut keys: Vec<Key>) -> Arc<[Key]> {
        keys.sort_unstable();
        let keys: Arc<[Key]> = keys.into();
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.values().map(|keys| keys.len()).sum::<usize>() + keys.len() <= self.capacity {
            files.insert(path.to_owned(), Arc::clone(&keys));
        }
        keys
    }

    /// Forgets the files that are no longer part of the table.
    pub fn retain(&self, live: &HashSet<&str>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|path, _| live.contains(path.as_str()));
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.values().map(|keys| keys.len() * size_of::<Key>()).sum()
    }
}

/// The keys that are in both; `file` ascends.
pub fn shared(file: &[Key], wanted: &KeySet) -> Vec<Key> {
    // The smaller side is walked, the other one asked.
    if file.len() < wanted.len() {
        let mut found: Vec<Key> = file.iter().copied().filter(|key| wanted.contains(key)).collect();
        found.dedup();
        found
    } else {
        wanted.iter().copied().filter(|key| file.binary_search(key).is_ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_index_answers_without_remembering_and_has_room_again_when_a_file_goes() {
        let index = KeyIndex::new(3 * 16);
        assert_eq!(&*index.put("a", vec![2, 1]), [1, 2]);
        assert_eq!(&*index.put("b", vec![4, 3]), [3, 4]);
        assert!(index.get("a").is_some() && index.get("b").is_none());
        assert_eq!(index.bytes(), 32);
        index.retain(&HashSet::from(["b"]));
        index.put("b", vec![4, 3]);
        assert_eq!(index.get("b").as_deref(), Some([3, 4].as_slice()));
    }

    proptest! {
        #[test]
        fn shared_keys_are_the_intersection(
            file in prop::collection::vec(0u128..20, 0..20),
            wanted in prop::collection::hash_set(0u128..20, 0..20),
        ) {
            let mut expected: Vec<_> = wanted.iter().copied().filter(|key| file.contains(key)).collect();
            expected.sort_unstable();
            let mut sorted = file;
            sorted.sort_unstable();
            let mut found = shared(&sorted, &wanted.into_iter().collect());
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
