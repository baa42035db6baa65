//! Which small files are worth being written again as one. Pure.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// A bin is worth a rewrite from this many files on, ...
const FILES: usize = 2;
/// ... and a file that has this share of the target is large enough to stay as it is.
const LARGE_ENOUGH: f64 = 0.75;

/// Groups of positions in `files` (partition, bytes), each of one partition, with at least two files and together about
/// `target` bytes at most. Files of nearly that size are left alone, so that a second run finds nothing to do.
pub fn bins<P: Ord>(files: &[(P, u64)], target: u64) -> Vec<Vec<usize>> {
    let small = |size: u64| (size as f64) < target as f64 * LARGE_ENOUGH;
    let mut partitions: BTreeMap<&P, Vec<usize>> = BTreeMap::new();
    for (at, (partition, size)) in files.iter().enumerate() {
        if small(*size) {
            partitions.entry(partition).or_default().push(at);
        }
    }
    let mut bins = Vec::new();
    for files_of_one in partitions.into_values() {
        // In the order of the log: what was written together stays together, and minimum and maximum stay narrow.
        let (mut bin, mut bytes) = (Vec::new(), 0_u64);
        for at in files_of_one {
            let size = files.get(at).map_or(0, |(_, size)| *size);
            if bytes.saturating_add(size) > target && !bin.is_empty() {
                bins.push(std::mem::take(&mut bin));
                bytes = 0;
            }
            bytes.add_assign(size);
            bin.push(at);
        }
        bins.push(bin);
    }
    bins.retain(|bin| bin.len() >= FILES);
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_files_of_a_partition_meet_and_large_ones_stay() {
        let files = [("a", 10), ("b", 10), ("a", 30), ("a", 90), ("b", 75), ("c", 1)];
        assert_eq!(bins(&files, 100), [vec![0, 2]]);
    }

    #[test]
    fn a_bin_is_full_at_the_target() {
        let files: Vec<_> = (0..10).map(|_| ((), 40)).collect();
        assert_eq!(bins(&files, 100), [vec![0, 1], vec![2, 3], vec![4, 5], vec![6, 7], vec![8, 9]]);
    }

    proptest! {
        #[test]
        fn bins_are_disjoint_of_one_partition_and_no_larger_than_the_target(
            files in prop::collection::vec((0u8..3, 0u64..200), 0..40),
            target in 1u64..300,
        ) {
            let bins = bins(&files, target);
            let mut all: Vec<_> = bins.iter().flatten().copied().collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), count);
            for bin in &bins {
                prop_assert!(bin.len() >= 2);
                prop_assert!(bin.iter().map(|&at| files[at].1).sum::<u64>() <= target);
                prop_assert!(bin.iter().all(|&at| files[at].0 == files[bin[0]].0));
            }
        }

        #[test]
        fn a_second_run_over_the_results_does_less_until_nothing_is_left(
            sizes in prop::collection::vec(0u64..200, 0..40),
            target in 1u64..300,
        ) {
            let mut files: Vec<_> = sizes.into_iter().map(|size| ((), size)).collect();
            for _ in 0..50 {
                let found = bins(&files, target);
                if found.is_empty() {
                    return Ok(());
                }
                let rewritten: Vec<_> = found.iter().map(|bin| ((), bin.iter().map(|&at| files[at].1).sum())).collect();
                let gone: std::collections::HashSet<_> = found.into_iter().flatten().collect();
                files = files.into_iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, file)| file).collect();
                files.extend(rewritten);
            }
            prop_assert!(false, "still at work after 50 runs");
        }
    }
}
