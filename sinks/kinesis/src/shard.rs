//! What may be sent to each shard, and when.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use crate::queue::Item;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Growing pauses after failures.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub fn failed(&mut self, now: Instant) {
        // Answers of requests that were under way together count as one failure.
        if self.paused_until(now).is_none() {
            let full = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
            self.failures += 1;
            // Tasks must not come back all at once.
            self.until = Some(now + full / 2 + (full / 2).mul_f64((random() % 1024) as f64 / 1024.0));
        }
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

/// A random number, of the quality that a hash table needs.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// An open shard and the records for it that wait for nothing else.
#[derive(Debug)]
pub struct Shard {
    pub id: String,
    /// Last hash key of its range.
    pub last: u128,
    pub ready: VecDeque<Item>,
    pub backoff: Backoff,
}

impl Shard {
    pub fn new(id: String, last: u128) -> Self {
        Self { id, last, ready: VecDeque::new(), backoff: Backoff::default() }
    }
}

/// The open shards by their ranges.
#[derive(Debug)]
pub struct Shards(Vec<Shard>);

impl Shards {
    /// Of an unordered list; without any, one that stands for all.
    pub fn new(mut shards: Vec<Shard>) -> Self {
        shards.sort_by_key(|shard| shard.last);
        if shards.is_empty() {
            shards.push(Shard::new(String::new(), u128::MAX));
        }
        Self(shards)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn index(&self, hash: u128) -> usize {
        self.0.partition_point(|shard| shard.last < hash).min(self.0.len() - 1)
    }

    /// The shard to which a hash key belongs.
    pub fn of(&mut self, hash: u128) -> &mut Shard {
        let index = self.index(hash);
        &mut self.0[index]
    }

    /// By number; they go round.
    pub fn nth(&mut self, number: usize) -> &mut Shard {
        let index = number % self.0.len();
        &mut self.0[index]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter()
    }

    /// Other shards after a split or merge; what is ready moves, and shards that stayed keep their pauses.
    pub fn replace(&mut self, new: Vec<Shard>) {
        let old = std::mem::replace(&mut self.0, Self::new(new).0);
        for mut shard in old {
            for item in std::mem::take(&mut shard.ready) {
                self.of(item.hash()).ready.push_back(item);
            }
            if let Some(same) = self.0.iter_mut().find(|new| new.id == shard.id) {
                same.backoff = shard.backoff;
            }
        }
    }
}
