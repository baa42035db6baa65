//! Connect's S3 layout: which offsets the objects of a bucket hold.

use std::collections::BTreeMap;

use serde_json::Value;

use super::S3;

/// One object of JSON lines.
#[derive(Debug)]
pub struct Object {
    pub start: i64,
    pub lines: Vec<Value>,
}

/// The objects of each topic-partition below `dir`, by their start offsets. Every key has to be exactly Connect's:
/// `<dir>/<topic>/partition=<p>/<topic>+<p>+<start, ten digits>.json`.
pub fn objects(s3: &S3, bucket: &str, dir: &str) -> BTreeMap<(String, i32), Vec<Object>> {
    let mut found: BTreeMap<(String, i32), Vec<Object>> = BTreeMap::new();
    for (key, body) in s3.objects(bucket) {
        if !key.starts_with(&format!("{dir}/")) {
            continue;
        }
        let (topic, partition, start) = parts(&key).unwrap_or_else(|| panic!("not a key of Connect: {key}"));
        assert_eq!(key, format!("{dir}/{topic}/partition={partition}/{topic}+{partition}+{start:010}.json"));
        let text = String::from_utf8(body).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert!(text.ends_with('\n'), "{key}: the last line has no end");
        let lines = text.lines().enumerate().map(|(at, line)| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{key}, line {}: {e}", at + 1))
        });
        found.entry((topic, partition)).or_default().push(Object { start, lines: lines.collect() });
    }
    found.values_mut().for_each(|objects| objects.sort_by_key(|object| object.start));
    found
}

fn parts(key: &str) -> Option<(String, i32, i64)> {
    let name = key.rsplit('/').next()?.strip_suffix(".json")?;
    let (rest, start) = name.rsplit_once('+')?;
    let (topic, partition) = rest.rsplit_once('+')?;
    Some((topic.to_owned(), partition.parse().ok()?, start.parse().ok()?))
}

/// How often each offset is there, when every record from an object's start on is in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub objects: usize,
    /// Offsets that are there at least once.
    pub covered: usize,
    pub duplicates: usize,
    /// Offsets below `end` that no object has.
    pub missing: usize,
    /// Offset after the last one that is there.
    pub end: i64,
}

pub fn coverage(objects: &[Object], end: i64) -> Coverage {
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for object in objects {
        for offset in (object.start..).take(object.lines.len()) {
            *times.entry(offset).or_default() += 1;
        }
    }
    Coverage {
        objects: objects.len(),
        covered: times.len(),
        duplicates: times.values().map(|n| n - 1).sum(),
        missing: (0..end).filter(|offset| !times.contains_key(offset)).count(),
        end: times.keys().next_back().map_or(0, |last| last + 1),
    }
}
