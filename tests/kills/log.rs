//! The table's log as files: what each commit says that it consumed, and which data files belong to the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What was consumed of one partition of one topic, commit by commit.
pub type Ranges = BTreeMap<Consumed, Vec<Range>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumed {
    pub topic: String,
    pub topic_id: String,
    pub partition: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    pub start: i64,
    /// Offset after the last one.
    pub end: i64,
    pub delivered: i64,
}

/// The commits' files, in their order.
pub fn entries(table: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = match fs::read_dir(table.join("_delta_log")) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    entries.retain(|path| path.extension().is_some_and(|end| end == "json"));
    entries.sort();
    entries
}

/// The actions of all commits, in their order.
fn actions(table: &Path) -> Vec<Value> {
    let entries = entries(table);
    let texts = entries.iter().map(|path| fs::read_to_string(path).unwrap());
    let actions = texts.flat_map(|text| text.lines().map(parse).collect::<Vec<_>>());
    actions.collect()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("not an action of a log: {e}: {line}"))
}

pub fn ranges(table: &Path) -> Ranges {
    let mut all = Ranges::new();
    for action in actions(table) {
        for range in action["commitInfo"]["sidestream"]["ranges"].as_array().into_iter().flatten() {
            let text = |key: &str| range[key].as_str().unwrap().to_owned();
            let number = |key: &str| range[key].as_i64().unwrap();
            let of =
                Consumed { topic: text("topic"), topic_id: text("topicId"), partition: number("partition") };
            let range = Range { start: number("start"), end: number("end"), delivered: number("delivered") };
            all.entry(of).or_default().push(range);
        }
    }
    all
}

/// Rows that the commits speak of.
pub fn delivered(table: &Path) -> usize {
    ranges(table).values().flatten().map(|range| range.delivered as usize).sum()
}

/// Where each partition of one topic goes on.
pub fn ends(ranges: &Ranges) -> BTreeMap<i64, i64> {
    ranges.iter().map(|(of, ranges)| (of.partition, ranges.last().map_or(0, |range| range.end))).collect()
}

/// Each partition's ranges join: no offset is in two of them, none is left out.
#[track_caller]
pub fn assert_gapless(ranges: &Ranges) {
    for (of, ranges) in ranges {
        let mut next = 0;
        for range in ranges {
            assert_eq!(range.start, next, "{of:?}: {range:?} does not follow");
            assert!(
                range.end > range.start && range.delivered <= range.end - range.start,
                "{of:?}: {range:?}"
            );
            next = range.end;
        }
    }
}

/// Data files that no commit has: a kill fell between staging and the commit.
pub fn orphans(table: &Path) -> usize {
    let added: BTreeSet<String> =
        actions(table).iter().filter_map(|action| Some(action["add"]["path"].as_str()?.to_owned())).collect();
    data_files(table).iter().filter(|&name| !added.contains(name)).count()
}

/// Names of what is in the table's directory, whether commits have it or not.
pub fn data_files(table: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(table) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".parquet")).collect()
}
