//! Which rows of a sequence of batches stand, when a key occurs more than once. Pure.

use arrow::array::BooleanArray;

use super::key::{Key, KeySet};

/// `true` at the last row of each key: what an upsert leaves.
pub fn last_of_each(batches: &[Vec<Key>]) -> Vec<BooleanArray> {
    let mut seen = KeySet::default();
    let mut masks: Vec<_> = batches
        .iter()
        .rev()
        .map(|keys| {
            let mut mask: Vec<bool> = keys.iter().rev().map(|&key| seen.insert(key)).collect();
            mask.reverse();
            BooleanArray::from(mask)
        })
        .collect();
    masks.reverse();
    masks
}

/// `true` at the first row of each key that is not `present` before the first batch: what de-duplication leaves.
pub fn first_of_each(batches: &[Vec<Key>], present: &KeySet) -> Vec<BooleanArray> {
    let mut seen = KeySet::default();
    let mut first = |key: &Key| !present.contains(key) && seen.insert(*key);
    batches.iter().map(|keys| keys.iter().map(&mut first).collect::<Vec<bool>>().into()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(batches: &[Vec<Key>], masks: &[BooleanArray]) -> Vec<(usize, usize)> {
        let rows = |(batch, keys): (usize, &Vec<Key>)| {
            (0..keys.len()).map(move |row| (batch, row)).collect::<Vec<_>>()
        };
        batches.iter().enumerate().flat_map(rows).filter(|&(batch, row)| masks[batch].value(row)).collect()
    }

    proptest! {
        #[test]
        fn the_last_row_of_each_key_stands(batches in prop::collection::vec(prop::collection::vec(0u128..8, 0..6), 0..6)) {
            let mut naive = std::collections::BTreeMap::new();
            for (batch, keys) in batches.iter().enumerate() {
                for (row, &key) in keys.iter().enumerate() {
                    naive.insert(key, (batch, row));
                }
            }
            let mut expected: Vec<_> = naive.into_values().collect();
            expected.sort_unstable();
            prop_assert_eq!(kept(&batches, &last_of_each(&batches)), expected);
        }

        #[test]
        fn the_first_row_of_each_key_that_the_table_lacks_stands(
            batches in prop::collection::vec(prop::collection::vec(0u128..8, 0..6), 0..6),
            present in prop::collection::vec(0u128..8, 0..4),
        ) {
            let mut naive: Vec<u128> = present.clone();
            let mut expected = Vec::new();
            for (batch, keys) in batches.iter().enumerate() {
                for (row, &key) in keys.iter().enumerate() {
                    if !naive.contains(&key) {
                        naive.push(key);
                        expected.push((batch, row));
                    }
                }
            }
            let masks = first_of_each(&batches, &present.into_iter().collect());
            prop_assert_eq!(kept(&batches, &masks), expected);
        }
    }
}
