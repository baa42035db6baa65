//! One memory budget for the process: whoever reads takes a share, and gives it back when its records are published.

use std::sync::Arc;

use connector_core::MemoryPermit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::memory_limit::MemoryLimit;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Counts KiB. Clones share the same budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    free: Arc<Semaphore>,
    total_kib: usize,
}

impl MemoryBudget {
    pub fn new(bytes: usize) -> Self {
        let total_kib = (bytes / KIB).clamp(4 * KIB, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { free: Arc::new(Semaphore::new(total_kib)), total_kib }
    }

    /// Half of the control group's limit; without one half of the memory, at most 512 MiB.
    pub fn of_this_process() -> Self {
        let bytes = match MemoryLimit::of_this_process() {
            MemoryLimit { group: Some(limit), .. } => limit / 2,
            MemoryLimit { machine, .. } => (machine.unwrap_or(1 << 30) / 2).min(512 * MIB as u64),
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self::new(bytes)
    }

    pub fn total_bytes(&self) -> usize {
        self.total_kib * KIB
    }

    pub fn used_bytes(&self) -> usize {
        (self.total_kib - self.free.available_permits().min(self.total_kib)) * KIB
    }

    /// A share of `bytes`, if it is free now.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let kib = u32::try_from(bytes.div_ceil(KIB).min(self.total_kib / 2)).ok()?;
        Some(Reservation {
            permit: self.free.clone().try_acquire_many_owned(kib).ok()?,
            budget: self.free.clone(),
        })
    }
}

/// A share that was taken before its use was known.
pub struct Reservation {
    permit: OwnedSemaphorePermit,
    budget: Arc<Semaphore>,
}

impl Reservation {
    /// A permit of `bytes` out of this share. What the share lacks is taken from the budget if it is free: the memory
    /// is in use already, so waiting would not help.
    pub fn split_off(&mut self, bytes: usize) -> MemoryPermit {
        let kib = bytes.div_ceil(KIB);
        let mut permit = self.permit.split(kib.min(self.permit.num_permits()));
        if let Some(own) = permit.as_mut() {
            let missing = kib.saturating_sub(own.num_permits());
            if missing > 0
                && let Ok(more) =
                    self.budget.clone().try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX))
            {
                own.merge(more);
            }
        }
        permit.take().map_or_else(MemoryPermit::none, MemoryPermit::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_counts_until_it_is_dropped() {
        let budget = MemoryBudget::new(16 * MIB);
        let mut share = budget.try_reserve(MIB).unwrap();
        let permit = share.split_off(300 * KIB);
        drop(share);
        assert_eq!(budget.used_bytes(), 300 * KIB);
        drop(permit);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn more_than_the_share_is_taken_from_the_budget() {
        let budget = MemoryBudget::new(16 * MIB);
        let mut share = budget.try_reserve(MIB).unwrap();
        let permit = share.split_off(3 * MIB);
        assert_eq!(permit.kib(), 3 * KIB);
        drop((share, permit));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn nothing_is_granted_when_all_is_in_use() {
        let budget = MemoryBudget::new(4 * MIB);
        let held: Vec<_> = (0..4).map(|_| budget.try_reserve(MIB).unwrap()).collect();
        assert!(budget.try_reserve(MIB).is_none());
        drop(held);
        assert!(budget.try_reserve(MIB).is_some());
    }
}
