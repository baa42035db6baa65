//! Which task reads which shard.

use connector_core::source::TaskConfig;
use connector_core::{ConnectError, Result};
use serde_json::Value;

use crate::shard::Shard;

const FROM: &str = "hash.key.from";
const TO: &str = "hash.key.to";

/// A range of hash keys: a task reads the shards that begin in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    from: u128,
    /// Included.
    to: u128,
}

impl Slice {
    pub fn owns(&self, shard: &Shard) -> bool {
        (self.from..=self.to).contains(&shard.start)
    }

    /// Texts: JSON readers elsewhere know no numbers of that size.
    pub fn to_task(self) -> TaskConfig {
        let text = |key: u128| Value::from(key.to_string());
        TaskConfig::from_iter([(FROM.to_owned(), text(self.from)), (TO.to_owned(), text(self.to))])
    }

    pub fn of_task(task: &TaskConfig) -> Result<Self> {
        let key = |name: &str| task.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
        match (key(FROM), key(TO)) {
            (Some(from), Some(to)) => Ok(Self { from, to }),
            _ => Err(ConnectError::internal("kinesis.task", "the task has no range of hash keys")),
        }
    }
}

/// Cuts the hash keys into at most `max_tasks` slices with about as many open shards each. A border is put only where no
/// shard reaches across, so that parents and children stay together.
pub fn plan(shards: &[Shard], max_tasks: usize) -> Vec<Slice> {
    let mut starts: Vec<u128> =
        shards.iter().filter(|shard| !shard.closed).map(|shard| shard.start).collect();
    starts.sort_unstable();
    let crossed = |key: u128| shards.iter().any(|shard| shard.start < key && key <= shard.end);
    let tasks = max_tasks.clamp(1, starts.len().max(1));
    let mut borders: Vec<u128> = Vec::new();
    let candidates: Vec<(usize, u128)> =
        starts.into_iter().enumerate().filter(|(_, key)| !crossed(*key)).collect();
    let open = shards.iter().filter(|shard| !shard.closed).count();
    for task in 1..tasks {
        let fair = (task * open).div_ceil(tasks);
        let after = borders.last().copied().unwrap_or(0);
        let border = candidates.iter().find(|(before, key)| *before >= fair && *key > after);
        borders.extend(border.map(|(_, key)| *key));
    }
    let froms = std::iter::once(0).chain(borders.iter().copied());
    let tos = borders.iter().map(|border| border - 1).chain([u128::MAX]);
    froms.zip(tos).map(|(from, to)| Slice { from, to }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shard(id: usize, start: u128, end: u128, parents: &[usize], closed: bool) -> Shard {
        let name = |id: usize| format!("shardId-{id:012}").into();
        Shard { id: name(id), start, end, parents: parents.iter().map(|&id| name(id)).collect(), closed }
    }

    fn even(count: u128) -> Vec<Shard> {
        let width = u128::MAX / count;
        (0..count)
            .map(|at| {
                let end = if at + 1 == count { u128::MAX } else { (at + 1) * width - 1 };
                shard(usize::try_from(at).unwrap(), at * width, end, &[], false)
            })
            .collect()
    }

    fn owned(slices: &[Slice], shards: &[Shard]) -> Vec<usize> {
        slices.iter().map(|slice| shards.iter().filter(|shard| slice.owns(shard)).count()).collect()
    }

    #[test]
    fn shards_are_divided_evenly() {
        let shards = even(10);
        assert_eq!(owned(&plan(&shards, 1), &shards), [10]);
        assert_eq!(owned(&plan(&shards, 3), &shards), [4, 3, 3]);
        assert_eq!(plan(&shards, 99).len(), 10);
        assert_eq!(plan(&[], 3).len(), 1);
    }

    #[test]
    fn parents_and_children_stay_in_one_task() {
        let half = u128::MAX / 2;
        let mut shards = vec![
            shard(0, 0, half, &[], true),
            shard(1, half + 1, u128::MAX, &[], false),
            shard(2, 0, 99, &[0], false),
            shard(3, 100, half, &[0], false),
        ];
        let slices = plan(&shards, 3);
        assert_eq!(owned(&slices, &shards), [3, 1]);
        // The closed parent is gone at last.
        shards.remove(0);
        assert_eq!(plan(&shards, 3).len(), 3);
    }

    #[test]
    fn a_task_keeps_its_slice_through_json() {
        let slice = plan(&even(3), 3)[1];
        assert_eq!(Slice::of_task(&slice.to_task()).unwrap(), slice);
        assert!(Slice::of_task(&TaskConfig::new()).is_err());
    }

    /// A stream after splits and merges at random: `ops` picks a neighbour to merge with, or a key to split at.
    fn reshard(mut shards: Vec<Shard>, ops: Vec<(bool, u16, u16)>) -> Vec<Shard> {
        for (split, which, at) in ops {
            let mut open: Vec<usize> = (0..shards.len()).filter(|&i| !shards[i].closed).collect();
            open.sort_by_key(|&i| shards[i].start);
            let slot = usize::from(which) % open.len();
            let (id, chosen) = (shards.len(), shards[open[slot]].clone());
            if split && chosen.end - chosen.start > 1 {
                let key = chosen.start + 1 + (chosen.end - chosen.start - 1) / 65_536 * u128::from(at);
                shards[open[slot]].closed = true;
                shards.push(shard(id, chosen.start, key - 1, &[open[slot]], false));
                shards.push(shard(id + 1, key, chosen.end, &[open[slot]], false));
            } else if let Some(&next) = open.get(slot + 1).filter(|_| !split) {
                let end = shards[next].end;
                shards[open[slot]].closed = true;
                shards[next].closed = true;
                shards.push(shard(id, chosen.start, end, &[open[slot], next], false));
            }
        }
        shards
    }

    proptest! {
        #[test]
        fn each_shard_has_one_owner_and_lineage_never_crosses_a_border(
            count in 1u128..6,
            ops in prop::collection::vec(any::<(bool, u16, u16)>(), 0..12),
            later in prop::collection::vec((Just(true), any::<u16>(), any::<u16>()), 0..6),
            tasks in 1usize..6,
        ) {
            let shards = reshard(even(count), ops);
            let slices = plan(&shards, tasks);
            prop_assert!((1..=tasks).contains(&slices.len()));
            for slice in &slices {
                prop_assert!(shards.iter().any(|shard| !shard.closed && slice.owns(shard)));
            }
            // Splits after the plan stay in their parent's task too.
            let shards = reshard(shards, later);
            let owner = |shard: &Shard| {
                let owners: Vec<usize> = (0..slices.len()).filter(|&i| slices[i].owns(shard)).collect();
                assert_eq!(owners.len(), 1, "{shard:?}");
                owners[0]
            };
            for child in &shards {
                for parent in shards.iter().filter(|s| child.parents.contains(&s.id)) {
                    prop_assert_eq!(owner(parent), owner(child));
                }
            }
        }
    }
}
