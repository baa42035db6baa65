//! `make chaos N=1000`: so many kills, spread over all steps of all pipelines.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use std::{env, fs, thread};

use crate::killing::{Death, survive};
use crate::pipelines::{self, Kind};
use crate::support::Random;
use crate::table::{Cell, Table};

const KINDS: [Kind; 5] =
    [pipelines::S3_JSON, pipelines::S3_PARQUET, pipelines::DELTA, pipelines::RDS, pipelines::KINESIS];
/// Kills after which the records are accounted for and a new topic begins.
const ROUND: usize = 20;
/// Rounds that run at once.
const AT_ONCE: usize = 2;

/// Kills of one pipeline at one step, and their seed.
#[derive(Clone, Copy)]
struct Round {
    kind: Kind,
    death: Death,
    kills: usize,
    seed: u64,
}

/// So many kills in all, the same share for each step of each pipeline.
fn rounds(kills: usize, seed: u64) -> Vec<Round> {
    let deaths = |kind: Kind| kind.steps.iter().map(|step| Death::At(step)).chain([Death::Random]);
    let cells: Vec<_> = KINDS.into_iter().flat_map(|kind| deaths(kind).map(move |d| (kind, d))).collect();
    let (mut random, mut rounds) = (Random::new(seed), Vec::new());
    for (at, &(kind, death)) in cells.iter().enumerate() {
        // The last cells take what does not divide.
        let mut left = kills * (at + 1) / cells.len() - kills * at / cells.len();
        while left > 0 {
            let kills = left.min(ROUND);
            rounds.push(Round { kind, death, kills, seed: random.next() });
            left -= kills;
        }
    }
    // Pipelines take turns, so that a run that is ended early has seen all of them.
    for at in (1..rounds.len()).rev() {
        rounds.swap(at, random.within(0..at as u64 + 1) as usize);
    }
    rounds
}

struct Progress {
    table: Mutex<Table>,
    wanted: usize,
    began: Instant,
}

impl Progress {
    fn run(&self, round: Round) {
        let Round { kind, death, kills, seed } = round;
        let mut died = 0;
        let survived = catch_unwind(AssertUnwindSafe(|| {
            survive(&*(kind.make)(), seed, &vec![death; kills], || died += 1)
        }));
        let cell = match &survived {
            Ok(account) => Cell { failures: account.foreign.len().min(1), ..Cell::of(died, account) },
            Err(_) => Cell { kills: died, failures: 1, ..Cell::default() },
        };
        let mut table = self.table.lock().unwrap();
        table.add(death.name(), kind.name, cell);
        let (total, wanted, took) = (table.total(), self.wanted, self.began.elapsed().as_secs());
        println!(
            "chaos: {}/{wanted} kills in {took} s, {} records, {} lost, {} doubled, {} failed; now {} killed at {}, \
             seed {seed}{}",
            total.kills,
            total.records,
            total.lost,
            total.doubled,
            total.failures,
            kind.name,
            death.name(),
            if kind.is_kept(&cell) { "" } else { ": PROMISE BROKEN" },
        );
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let said = env::var(variable).ok().filter(|text| !text.is_empty());
    said.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
#[ignore = "takes minutes to hours: `make chaos N=1000`"]
fn long() {
    let (kills, seed) = (number("CHAOS_KILLS", 200) as usize, number("CHAOS_SEED", 1));
    println!("chaos: {kills} kills, seed {seed}");
    let (rounds, table) = (Mutex::new(rounds(kills, seed).into_iter()), Mutex::new(Table::default()));
    let progress = Progress { table, wanted: kills, began: Instant::now() };
    // The order in which the report has them.
    for kind in KINDS {
        for step in kind.steps.iter().copied().chain([Death::Random.name()]) {
            progress.table.lock().unwrap().add(step, kind.name, Cell::default());
        }
    }
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(round) = rounds.lock().unwrap().next() else { break };
                    progress.run(round);
                }
            });
        }
    });
    let table = progress.table.into_inner().unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../chaos.json");
    fs::write(&file, table.json(seed).to_string()).unwrap();
    println!("\n{table}\nas JSON: {}", file.canonicalize().unwrap().display());
    let broken: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| table.column(kind.name).map(move |(step, cell)| (kind, step, cell)))
        .filter(|(kind, _, cell)| !kind.is_kept(cell))
        .map(|(kind, step, _)| format!("{} killed at {step}", kind.name))
        .collect();
    assert!(broken.is_empty(), "not kept: {broken:?}");
}

#[test]
fn the_kills_of_a_long_run_are_spread_over_all_cells() {
    for kills in [1, 37, 1000] {
        let rounds = rounds(kills, 3);
        assert_eq!(rounds.iter().map(|round| round.kills).sum::<usize>(), kills);
        assert!(rounds.iter().all(|round| (1..=ROUND).contains(&round.kills)));
    }
    let of_parquet = |round: &&Round| round.kind.name == "S3 Parquet" && round.death == Death::Random;
    assert!(rounds(1000, 3).iter().find(of_parquet).is_some());
}
