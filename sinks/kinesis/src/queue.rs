//! Which records may be sent now: the order of each partition key, the pauses of each shard, the service's limits.
//!
//! Records of one key stand in a lane. Only the head of a lane can be sent, and nothing else of the lane before the
//! answer for it is here; a head that failed is the head again. So neither a request nor two requests at once hold two
//! records of a key, unless they are packed into one Kinesis record, which fails or is stored as a whole.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use connector_aws::kinesis::Trouble;
use connector_aws::kpl::Aggregate;

use crate::entry::Entry;
use crate::shard::{Backoff, Shard, Shards};

/// PutRecords takes no more records (K-01).
const MOST_RECORDS: usize = 500;
/// The size up to which the Kinesis Producer Library packs records.
const AGGREGATE: usize = 51_200;

/// What the service takes, in bytes of data and partition keys.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub record: usize,
    pub request: usize,
}

type LaneKey = (u128, Arc<str>);

/// Something that can be sent.
#[derive(Debug)]
pub enum Item {
    /// The head of a lane.
    Lane(LaneKey),
    Single(Entry),
}

impl Item {
    pub fn hash(&self) -> u128 {
        match self {
            Self::Lane((hash, _)) => *hash,
            Self::Single(entry) => entry.hash,
        }
    }
}

/// One record of a request.
#[derive(Debug)]
pub struct Unit {
    /// At least one, all of one partition key; more only when they are packed.
    entries: Vec<Entry>,
    pub data: Vec<u8>,
}

impl Unit {
    pub fn head(&self) -> &Entry {
        // Never empty: made of a first entry.
        &self.entries[0]
    }

    fn size(&self) -> usize {
        self.head().partition_key.len() + self.data.len()
    }
}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In this shard.
    Stored(String),
    Failed(Trouble),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub records_stored: u64,
    /// Bytes of data of stored or dropped records since somebody asked.
    pub bytes_gone: u64,
    /// Entries of requests that had to be sent again.
    pub retried: u64,
}

/// Everything that is not stored and not in a request under way.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    aggregation: bool,
    lanes: HashMap<LaneKey, VecDeque<Entry>>,
    shards: Shards,
    /// Of calls as a whole.
    backoff: Backoff,
    next_shard: usize,
    /// Bytes of what waits or is under way.
    bytes: usize,
    shards_changed: bool,
    pub counters: Counters,
    /// Entries refused for their rate, by shard.
    pub throttled: BTreeMap<String, u64>,
}

impl Queue {
    pub fn new(limits: Limits, aggregation: bool, shards: Vec<Shard>) -> Self {
        Self {
            limits,
            aggregation,
            lanes: HashMap::new(),
            shards: Shards::new(shards),
            backoff: Backoff::default(),
            next_shard: 0,
            bytes: 0,
            shards_changed: false,
            counters: Counters::default(),
            throttled: BTreeMap::new(),
        }
    }

    /// Bytes of what waits or is under way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record, not larger than [`Limits::record`].
    pub fn push(&mut self, entry: Entry) {
        entry.ticket.add();
        self.bytes += entry.size();
        let hash = entry.hash;
        if !entry.ordered {
            self.shards.of(hash).ready.push_back(Item::Single(entry));
            return;
        }
        let key = (hash, Arc::clone(&entry.partition_key));
        // A lane is there as long as one of its records waits or is under way.
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| {
            self.shards.of(hash).ready.push_back(Item::Lane(key));
            VecDeque::new()
        });
        lane.push_back(entry);
    }

    /// A request, if something may be sent now. Its units have to be given to [`Queue::answered`] or
    /// to [`Queue::call_failed`].
    pub fn take(&mut self, now: Instant) -> Option<Vec<Unit>> {
        if self.backoff.paused_until(now).is_some() {
            return None;
        }
        let (mut request, mut room) = (Vec::new(), self.limits.request);
        for _ in 0..self.shards.len() {
            self.next_shard = self.next_shard.wrapping_add(1);
            while request.len() < MOST_RECORDS {
                let shard = self.shards.nth(self.next_shard);
                if shard.backoff.paused_until(now).is_some() {
                    break;
                }
                let Some(item) = shard.ready.pop_front() else { break };
                match self.unit(item, room) {
                    Ok(Some(unit)) => {
                        room = room.saturating_sub(unit.size());
                        request.push(unit);
                    }
                    Ok(None) => {}
                    Err(item) => {
                        self.shards.nth(self.next_shard).ready.push_front(item);
                        return Some(request);
                    }
                }
            }
        }
        (!request.is_empty()).then_some(request)
    }

    /// When [`Queue::take`] may give something that it does not give now, if time alone makes the difference.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let waiting = self.shards.iter().filter(|shard| !shard.ready.is_empty());
        let next = waiting.map(|shard| shard.backoff.paused_until(now).unwrap_or(now)).min()?;
        Some(next.max(self.backoff.paused_until(now).unwrap_or(now)))
    }

    /// The unit of an item; the item again when there is no room for it, and nothing when all of it was dropped.
    fn unit(&mut self, item: Item, room: usize) -> Result<Option<Unit>, Item> {
        let key = match item {
            Item::Single(entry) if entry.ticket.is_dropped() => {
                self.forget(&entry);
                return Ok(None);
            }
            Item::Single(entry) if entry.size() > room => return Err(Item::Single(entry)),
            Item::Single(entry) => {
                let data = entry.data.clone();
                return Ok(Some(Unit { entries: vec![entry], data }));
            }
            Item::Lane(key) => key,
        };
        let Some(mut lane) = self.lanes.remove(&key) else { return Ok(None) };
        while let Some(entry) = lane.pop_front_if(|entry| entry.ticket.is_dropped()) {
            self.forget(&entry);
        }
        let Some(head) = lane.front() else { return Ok(None) };
        if head.size() > room {
            self.lanes.insert(key.clone(), lane);
            return Err(Item::Lane(key));
        }
        let (entries, data) = if self.aggregation { packed(&mut lane, room) } else { single(&mut lane) };
        self.lanes.insert(key, lane);
        Ok(Some(Unit { entries, data }))
    }

    /// What became of each unit of a request that was answered.
    pub fn answered(&mut self, results: Vec<(Unit, Outcome)>, now: Instant) {
        self.backoff.succeeded();
        // Of each shard by the end of its range: whether something was stored, and whether something failed.
        let mut shards: BTreeMap<u128, (bool, bool)> = BTreeMap::new();
        for (unit, outcome) in &results {
            let shard = self.shards.of(unit.head().hash);
            let (stored, failed) = shards.entry(shard.last).or_default();
            match outcome {
                Outcome::Stored(shard_id) => {
                    *stored = true;
                    self.shards_changed |= shard.id != *shard_id;
                }
                Outcome::Failed(trouble) => {
                    *failed = true;
                    if *trouble == Trouble::Throttled {
                        *self.throttled.entry(shard.id.clone()).or_default() += 1;
                    }
                }
            }
        }
        for (last, (stored, failed)) in shards {
            let backoff = &mut self.shards.of(last).backoff;
            // A shard that takes a part is not asked more seldom: its rate is what it is.
            if stored {
                backoff.succeeded();
            }
            if failed {
                backoff.failed(now);
            }
        }
        // From the last to the first, so that what goes back stands before what was behind it.
        for (unit, outcome) in results.into_iter().rev() {
            match outcome {
                Outcome::Failed(_) => self.put_back(unit),
                Outcome::Stored(_) => self.stored(unit),
            }
        }
    }

    /// A request was not answered, or refused as a whole in a way that passes.
    pub fn call_failed(&mut self, units: Vec<Unit>, now: Instant) {
        self.backoff.failed(now);
        // From the last to the first, so that each goes before those that were behind it.
        units.into_iter().rev().for_each(|unit| self.put_back(unit));
    }

    /// Records were stored in other shards than the known ones: whoever asks should list them again.
    pub fn shards_changed(&mut self) -> bool {
        std::mem::take(&mut self.shards_changed)
    }

    pub fn replace_shards(&mut self, shards: Vec<Shard>) {
        self.shards.replace(shards);
    }

    /// Forgets the unit; the next record of its lane is ready, or the lane ends.
    fn stored(&mut self, unit: Unit) {
        self.counters.records_stored += unit.entries.len() as u64;
        unit.entries.iter().for_each(|entry| self.forget(entry));
        let head = unit.head();
        if !head.ordered {
            return;
        }
        let key = (head.hash, Arc::clone(&head.partition_key));
        if self.lanes.get(&key).is_some_and(|lane| !lane.is_empty()) {
            self.shards.of(key.0).ready.push_back(Item::Lane(key));
        } else {
            self.lanes.remove(&key);
        }
    }

    fn put_back(&mut self, unit: Unit) {
        self.counters.retried += 1;
        let Unit { entries, .. } = unit;
        for entry in entries.into_iter().rev() {
            let hash = entry.hash;
            if !entry.ordered {
                self.shards.of(hash).ready.push_front(Item::Single(entry));
                continue;
            }
            let key = (hash, Arc::clone(&entry.partition_key));
            let lane = self.lanes.entry(key.clone()).or_default();
            lane.push_front(entry);
            // Once for all records of the unit.
            let ready = &mut self.shards.of(hash).ready;
            if !matches!(ready.front(), Some(Item::Lane(first)) if *first == key) {
                ready.push_front(Item::Lane(key));
            }
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(entry.size());
        self.counters.bytes_gone += entry.data.len() as u64;
        entry.ticket.stored();
    }
}

fn single(lane: &mut VecDeque<Entry>) -> (Vec<Entry>, Vec<u8>) {
    let entries: Vec<_> = lane.pop_front().into_iter().collect();
    let data = entries.first().map(|entry| entry.data.clone()).unwrap_or_default();
    (entries, data)
}

/// As many records as an aggregate holds; one that is alone goes as it is.
fn packed(lane: &mut VecDeque<Entry>, room: usize) -> (Vec<Entry>, Vec<u8>) {
    let (mut entries, data) = single(lane);
    let Some(head) = entries.first() else { return (entries, data) };
    let hash = head.explicit_hash.then(|| head.hash.to_string());
    let mut aggregate = Aggregate::new(head.partition_key.to_string(), hash);
    let most = AGGREGATE.min(room.saturating_sub(head.partition_key.len()));
    if aggregate.size_with(data.len()) > most {
        return (entries, data);
    }
    aggregate.push(data.clone());
    while let Some(next) =
        lane.pop_front_if(|next| !next.ticket.is_dropped() && aggregate.size_with(next.data.len()) <= most)
    {
        aggregate.push(next.data.clone());
        entries.push(next);
    }
    let data = if entries.len() == 1 { data } else { aggregate.finish() };
    (entries, data)
}

#[cfg(test)]
mod tests;
