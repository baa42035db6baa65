use std::collections::HashSet;
use std::time::Duration;

use connector_aws::kinesis::hash_key;
use proptest::prelude::*;

use super::*;
use crate::entry::Ticket;

const LIMITS: Limits = Limits { record: 1000, request: 3000 };

fn shards(count: u128) -> Vec<Shard> {
    (1..=count).map(|n| Shard::new(format!("shard-{n}"), u128::MAX / count * n)).collect()
}

fn entry(key: &str, data: &str, ticket: &Arc<Ticket>) -> Entry {
    Entry {
        partition_key: key.into(),
        hash: hash_key(key),
        explicit_hash: false,
        ordered: true,
        data: data.into(),
        ticket: Arc::clone(ticket),
    }
}

/// Keys and data of a request.
fn shown(request: &[Unit]) -> Vec<(String, String)> {
    let text = |unit: &Unit| String::from_utf8(unit.data.clone()).unwrap();
    request.iter().map(|unit| (unit.head().partition_key.to_string(), text(unit))).collect()
}

fn stored(queue: &mut Queue, request: Vec<Unit>, now: Instant) {
    let shard_of = |unit: &Unit, queue: &mut Queue| queue.shards.of(unit.head().hash).id.clone();
    let results = request.into_iter().map(|unit| (shard_of(&unit, queue), unit));
    let results: Vec<_> =
        results.collect::<Vec<_>>().into_iter().map(|(id, unit)| (unit, Outcome::Stored(id))).collect();
    queue.answered(results, now);
}

#[test]
fn a_request_holds_one_record_of_a_key_and_the_next_waits_for_its_answer_k_02() {
    let (mut queue, ticket, now) = (Queue::new(LIMITS, false, shards(1)), Ticket::new(0), Instant::now());
    for (key, data) in [("a", "1"), ("a", "2"), ("b", "3")] {
        queue.push(entry(key, data, &ticket));
    }
    let first = queue.take(now).unwrap();
    assert_eq!(shown(&first), [("a".into(), "1".into()), ("b".into(), "3".into())]);
    assert!(queue.take(now).is_none() && queue.wake_at(now).is_none(), "`2` waits for an answer");
    stored(&mut queue, first, now);
    let second = queue.take(now).unwrap();
    assert_eq!(shown(&second), [("a".into(), "2".into())]);
    stored(&mut queue, second, now);
    assert!(ticket.is_done() && queue.bytes() == 0 && queue.lanes.is_empty());
}

#[test]
fn a_failed_record_is_sent_again_before_later_ones_of_its_key_and_its_shard_alone_pauses() {
    let (mut queue, ticket, now) = (Queue::new(LIMITS, false, shards(2)), Ticket::new(0), Instant::now());
    let in_first = |key: &&str| hash_key(key) <= u128::MAX / 2;
    let keys = ["a", "b", "c", "d", "e", "f"];
    let slow = keys.iter().find(|key| in_first(key)).unwrap();
    let fast = keys.iter().find(|key| !in_first(key)).unwrap();
    for (key, data) in [(slow, "1"), (slow, "2"), (fast, "3"), (fast, "4")] {
        queue.push(entry(key, data, &ticket));
    }
    let request = queue.take(now).unwrap();
    assert_eq!(request.len(), 2);
    let results = request.into_iter().map(|unit| {
        let failed = &*unit.head().partition_key == *slow;
        let outcome =
            if failed { Outcome::Failed(Trouble::Throttled) } else { Outcome::Stored("shard-2".into()) };
        (unit, outcome)
    });
    let results = results.collect();
    queue.answered(results, now);
    let request = queue.take(now).unwrap();
    assert_eq!(shown(&request), [(fast.to_string(), "4".into())], "the other shard goes on");
    stored(&mut queue, request, now);
    assert!(queue.take(now).is_none());
    let wake = queue.wake_at(now).unwrap();
    assert!(wake > now && wake <= now + Duration::from_millis(100));
    assert_eq!(shown(&queue.take(wake).unwrap()), [(slow.to_string(), "1".into())]);
    assert_eq!(queue.throttled, BTreeMap::from([("shard-1".to_owned(), 1)]));
}

#[test]
fn a_request_keeps_to_the_services_limits_k_01() {
    let (mut queue, ticket, now) = (Queue::new(LIMITS, false, shards(3)), Ticket::new(0), Instant::now());
    for n in 0..600 {
        queue.push(entry(&format!("key-{n}"), "x", &ticket));
    }
    let request = queue.take(now).unwrap();
    assert!(request.iter().map(Unit::size).sum::<usize>() <= 3000 && request.len() > 300);
    queue.call_failed(request, now);
    queue.limits.request = 1 << 20;
    assert_eq!(queue.take(queue.wake_at(now).unwrap()).unwrap().len(), MOST_RECORDS);
}

#[test]
fn what_was_taken_away_is_not_sent() {
    let (mut queue, now) = (Queue::new(LIMITS, false, shards(1)), Instant::now());
    let (kept, dropped) = (Ticket::new(0), Ticket::new(0));
    queue.push(entry("a", "1", &dropped));
    queue.push(entry("a", "2", &kept));
    queue.push(Entry { ordered: false, ..entry("r", "3", &dropped) });
    dropped.drop_rest();
    assert_eq!(shown(&queue.take(now).unwrap()), [("a".into(), "2".into())]);
    assert!(dropped.is_done() && !kept.is_done());
}

#[test]
fn after_a_split_what_waits_goes_to_the_new_shards() {
    let (mut queue, ticket, now) = (Queue::new(LIMITS, false, shards(1)), Ticket::new(0), Instant::now());
    for n in 0..20 {
        queue.push(entry(&format!("key-{n}"), "x", &ticket));
    }
    let request = queue.take(now).unwrap();
    let results = request.into_iter().map(|unit| (unit, Outcome::Stored("another".into()))).collect();
    queue.answered(results, now);
    assert!(queue.shards_changed() && !queue.shards_changed());
    (0..20).for_each(|n| queue.push(entry(&format!("key-{n}"), "x", &ticket)));
    queue.replace_shards(shards(4));
    assert!(queue.shards.iter().filter(|shard| !shard.ready.is_empty()).count() > 1);
    assert_eq!(queue.take(now).unwrap().len(), 20);
}

#[test]
fn with_aggregation_a_hot_key_travels_in_one_record_k_07() {
    let limits = Limits { record: 1 << 20, request: 5 << 20 };
    let (mut queue, ticket, now) = (Queue::new(limits, true, shards(1)), Ticket::new(0), Instant::now());
    let long = "x".repeat(60_000);
    for data in ["1", "2", "3", &long, "5"] {
        queue.push(entry("a", data, &ticket));
    }
    let request = queue.take(now).unwrap();
    let packed = connector_aws::kpl::decode(&request[0].data).unwrap();
    assert_eq!(packed.iter().map(|record| record.data.as_slice()).collect::<Vec<_>>(), [b"1", b"2", b"3"]);
    queue.call_failed(request, now);
    let now = queue.wake_at(now).unwrap();
    for wanted in [3, 1, 1] {
        let request = queue.take(now).unwrap();
        assert_eq!(request[0].entries.len(), wanted);
        stored(&mut queue, request, now);
    }
    assert!(ticket.is_done());
}

/// What the service of the simulation does with a request.
#[derive(Clone, Debug)]
enum Step {
    Push {
        key: u8,
        ordered: bool,
    },
    /// Takes a request, if there is one.
    Take,
    /// Answers the n-th request under way; entries fail where the bits say so.
    Answer {
        which: usize,
        failed: u64,
    },
    /// Loses the n-th request, after or before its records were stored.
    Lose {
        which: usize,
        after: bool,
    },
    Reshard(u128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6_u8, prop::bool::weighted(0.8)).prop_map(|(key, ordered)| Step::Push { key, ordered }),
        6 => Just(Step::Take),
        6 => (0..4_usize, any::<u64>()).prop_map(|(which, bits)| Step::Answer { which, failed: bits & (bits >> 7) }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(which, after)| Step::Lose { which, after }),
        1 => (1..5_u128).prop_map(Step::Reshard),
    ]
}

/// A queue, requests under way, and a stream that refuses what would break the order.
struct Simulation {
    queue: Queue,
    under_way: Vec<Vec<Unit>>,
    pushed: HashMap<String, u32>,
    /// How many records of each key are there.
    stream: HashMap<String, u32>,
    /// Of records without an order.
    singles: HashSet<String>,
    ticket: Arc<Ticket>,
    now: Instant,
}

impl Simulation {
    fn take(&mut self) -> bool {
        let Some(request) = self.queue.take(self.now) else { return false };
        assert!(!request.is_empty());
        self.under_way.push(request);
        let mut keys = HashSet::new();
        for unit in self.under_way.iter().flatten().filter(|unit| unit.head().ordered) {
            assert!(keys.insert(unit.head().partition_key.clone()), "two records of a key are under way");
        }
        true
    }

    fn store(&mut self, unit: &Unit) {
        for entry in &unit.entries {
            let number: u32 = String::from_utf8(entry.data.clone()).unwrap().parse().unwrap();
            let key = entry.partition_key.to_string();
            if entry.ordered {
                let there = self.stream.entry(key).or_default();
                assert!(number <= *there, "record {number} overtook {there}");
                *there = (*there).max(number + 1);
            } else {
                self.singles.insert(format!("{key}-{number}"));
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push { key, ordered } => {
                let key = format!("{}{key}", if ordered { "ordered" } else { "free" });
                let number = self.pushed.entry(key.clone()).or_default();
                self.queue.push(Entry { ordered, ..entry(&key, &number.to_string(), &self.ticket) });
                *number += 1;
            }
            Step::Take => drop(self.take()),
            Step::Answer { which, failed } if which < self.under_way.len() => {
                let request = self.under_way.remove(which);
                let mut results = Vec::new();
                for (at, unit) in request.into_iter().enumerate() {
                    if failed >> (at % 64) & 1 == 1 {
                        results.push((unit, Outcome::Failed(Trouble::Throttled)));
                    } else {
                        self.store(&unit);
                        results.push((unit, Outcome::Stored("whatever".to_owned())));
                    }
                }
                self.queue.answered(results, self.now);
            }
            Step::Lose { which, after } if which < self.under_way.len() => {
                let request = self.under_way.remove(which);
                if after {
                    request.iter().for_each(|unit| self.store(unit));
                }
                self.queue.call_failed(request, self.now);
            }
            Step::Reshard(count) => self.queue.replace_shards(shards(count)),
            _ => {}
        }
        self.now += Duration::from_millis(40);
    }

    /// Without faults, until nothing is left.
    fn finish(&mut self) {
        loop {
            while !self.under_way.is_empty() {
                self.step(Step::Answer { which: 0, failed: 0 });
            }
            if !self.take() {
                match self.queue.wake_at(self.now) {
                    Some(wake) => self.now = wake.max(self.now + Duration::from_millis(1)),
                    None => break,
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_fails_nothing_is_lost_and_no_record_overtakes_another_of_its_key_k_02(
        steps in prop::collection::vec(step(), 0..300),
        aggregation in any::<bool>(),
    ) {
        let mut simulation = Simulation {
            queue: Queue::new(LIMITS, aggregation, shards(3)),
            under_way: Vec::new(),
            pushed: HashMap::new(),
            stream: HashMap::new(),
            singles: HashSet::new(),
            ticket: Ticket::new(0),
            now: Instant::now(),
        };
        steps.into_iter().for_each(|step| simulation.step(step));
        simulation.finish();
        let Simulation { queue, pushed, stream, singles, ticket, .. } = simulation;
        for (key, count) in pushed {
            if key.starts_with("ordered") {
                prop_assert_eq!(stream.get(&key), Some(&count));
            } else {
                let all = (0..count).all(|number| singles.contains(&format!("{key}-{number}")));
                prop_assert!(all);
            }
        }
        prop_assert!(ticket.is_done() && queue.bytes() == 0 && queue.lanes.is_empty());
    }
}
