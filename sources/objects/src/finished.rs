//! Which objects are finished, in 12 bytes each, and how that is stored.
//!
//! A stored position is a page of up to [`PAGE`] objects: partition `{"tasks", "task", "page"}`, offset `{"finished"}` with
//! base64 of 8 bytes of the SHA-256 of each object's address and 4 of its entity tag, and `{"object", "etag", "row"}` of
//! an object that was read up to that row. Only the last page of a task changes.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use connector_core::{ConnectError, Position, Result};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Objects a page: a page is about 8 KiB, because the last one is stored again with each batch.
const PAGE: usize = 512;
const ENTRY: usize = 12;

/// An object by the hash of its address (`s3://bucket/key`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

/// A version of an object by the hash of its entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u32);

impl Id {
    pub fn of(address: &str) -> Self {
        Self(u64::from_be_bytes(first(address)))
    }
}

impl Tag {
    pub fn of(etag: &str) -> Self {
        Self(u32::from_be_bytes(first(etag)))
    }
}

fn first<const N: usize>(text: &str) -> [u8; N] {
    let hash = Sha256::digest(text.as_bytes());
    std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default())
}

/// How far an object was read that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    pub address: String,
    pub etag: String,
    /// Texts that were read, good and bad.
    pub row: u64,
}

/// The objects that are finished, and those that are half read.
#[derive(Debug, Default)]
pub struct Finished {
    objects: HashMap<Id, Tag>,
    halves: HashMap<Id, Half>,
}

impl Finished {
    pub fn get(&self, id: Id) -> Option<Tag> {
        self.objects.get(&id).copied()
    }

    pub fn half(&self, id: Id) -> Option<&Half> {
        self.halves.get(&id)
    }

    pub fn leave(&mut self, id: Id, half: Half) {
        self.halves.insert(id, half);
    }

    pub fn finish(&mut self, id: Id, tag: Tag) {
        self.halves.remove(&id);
        self.objects.insert(id, tag);
    }
}

/// The task's own pages, of which the last one is written on.
#[derive(Debug)]
pub struct Pages {
    tasks: u64,
    task: u64,
    page: u64,
    entries: Vec<u8>,
    /// Full ones that are not in a position yet.
    full: Vec<Position>,
}

impl Pages {
    /// What is stored, by whichever tasks, and the page at which task `task` of `tasks` goes on.
    pub fn load(positions: &[Position], tasks: u64, task: u64) -> Result<(Finished, Self)> {
        let mut finished = Finished::default();
        let mut own = Self { tasks, task, page: 0, entries: Vec::new(), full: Vec::new() };
        let mut halves = Vec::new();
        for position in positions {
            let number = |name: &str| position.partition.get(name).and_then(Value::as_u64);
            let (Some(of), Some(by), Some(page)) = (number("tasks"), number("task"), number("page")) else {
                return Err(unreadable(position));
            };
            let text = position.offset.get("finished").and_then(Value::as_str).unwrap_or_default();
            let entries = BASE64.decode(text).map_err(|_| unreadable(position))?;
            let (whole, rest) = entries.as_chunks::<ENTRY>();
            if !rest.is_empty() {
                return Err(unreadable(position));
            }
            for [a, b, c, d, e, f, g, h, tag @ ..] in whole {
                let id = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                finished.objects.insert(Id(id), Tag(u32::from_be_bytes(*tag)));
            }
            if position.offset.contains_key("object") {
                halves.push(half(position)?);
            }
            if (of, by) == (tasks, task) && page >= own.page {
                (own.page, own.entries) = (page, entries);
            }
        }
        for half in halves {
            let id = Id::of(&half.address);
            // Other numbers of tasks may have left older ones.
            let further = finished.halves.get(&id).is_none_or(|known| known.row < half.row);
            if further && !finished.objects.contains_key(&id) {
                finished.halves.insert(id, half);
            }
        }
        Ok((finished, own))
    }

    pub fn add(&mut self, id: Id, tag: Tag) {
        if self.entries.len() >= PAGE * ENTRY {
            let full = self.position(None);
            self.full.push(full);
            self.page += 1;
            self.entries.clear();
        }
        self.entries.extend_from_slice(&id.0.to_be_bytes());
        self.entries.extend_from_slice(&tag.0.to_be_bytes());
    }

    /// What has to be stored now.
    pub fn take(&mut self, half: Option<&Half>) -> Vec<Position> {
        let mut positions = std::mem::take(&mut self.full);
        positions.push(self.position(half));
        positions
    }

    fn position(&self, half: Option<&Half>) -> Position {
        let partition = [("tasks", self.tasks), ("task", self.task), ("page", self.page)];
        let partition =
            partition.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect();
        let mut offset = Map::new();
        offset.insert("finished".to_owned(), BASE64.encode(&self.entries).into());
        if let Some(Half { address, etag, row }) = half {
            offset.insert("object".to_owned(), address.as_str().into());
            offset.insert("etag".to_owned(), etag.as_str().into());
            offset.insert("row".to_owned(), (*row).into());
        }
        Position { partition, offset }
    }
}

fn half(position: &Position) -> Result<Half> {
    let text = |name: &str| {
        let text = position.offset.get(name).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| unreadable(position))
    };
    let row = position.offset.get("row").and_then(Value::as_u64).ok_or_else(|| unreadable(position))?;
    Ok(Half { address: text("object")?, etag: text("etag")?, row })
}

fn unreadable(position: &Position) -> ConnectError {
    let partition = Value::Object(position.partition.clone());
    ConnectError::user("objects.position", format!("the stored position {partition} cannot be read"))
        .hint("reset the connector's offsets to read all objects again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: usize) -> (Id, Tag) {
        (Id::of(&format!("s3://b/{n}")), Tag::of(&format!("etag-{n}")))
    }

    /// What a host keeps.
    fn store(kept: &mut Vec<Position>, new: Vec<Position>) {
        for position in new {
            kept.retain(|old| old.partition != position.partition);
            kept.push(position);
        }
    }

    #[test]
    fn finished_objects_are_known_after_a_restart_with_any_number_of_tasks() {
        let mut kept = Vec::new();
        let (_, mut pages) = Pages::load(&[], 2, 1).unwrap();
        for n in 0..5000 {
            let (id, tag) = entry(n);
            pages.add(id, tag);
            if n % 700 == 0 {
                store(&mut kept, pages.take(None));
            }
        }
        store(&mut kept, pages.take(None));
        assert_eq!(kept.len(), 10);
        assert!(kept.iter().all(|p| Value::Object(p.offset.clone()).to_string().len() < 8300));
        for (tasks, task) in [(2, 1), (2, 0), (3, 2)] {
            let (finished, mut pages) = Pages::load(&kept, tasks, task).unwrap();
            for n in 0..5000 {
                let (id, tag) = entry(n);
                assert_eq!(finished.get(id), Some(tag));
            }
            assert_eq!(finished.get(entry(5000).0), None);
            let (id, tag) = entry(5000);
            pages.add(id, tag);
            let mut kept = kept.clone();
            store(&mut kept, pages.take(None));
            let (finished, _) = Pages::load(&kept, 1, 0).unwrap();
            assert!((0..=5000).all(|n| finished.get(entry(n).0).is_some()), "{tasks} {task}");
        }
    }

    #[test]
    fn an_object_that_was_half_read_goes_on_until_it_is_finished() {
        let half = |row| Half { address: "s3://b/1".into(), etag: "etag-1".into(), row };
        let (id, tag) = entry(1);
        let mut kept = Vec::new();
        let (_, mut one) = Pages::load(&[], 1, 0).unwrap();
        store(&mut kept, one.take(Some(&half(7))));
        let (finished, mut other) = Pages::load(&kept, 2, 1).unwrap();
        assert_eq!(finished.half(id), Some(&half(7)));
        store(&mut kept, other.take(Some(&half(9))));
        let (finished, mut other) = Pages::load(&kept, 2, 1).unwrap();
        assert_eq!(finished.half(id), Some(&half(9)), "the one that is further");
        other.add(id, tag);
        store(&mut kept, other.take(None));
        let (finished, _) = Pages::load(&kept, 1, 0).unwrap();
        assert_eq!((finished.half(id), finished.get(id)), (None, Some(tag)));
    }

    #[test]
    fn a_position_that_is_not_ours_is_an_error_with_the_remedy() {
        let (_, pages) = Pages::load(&[], 1, 0).unwrap();
        let good = pages.position(None);
        let broken = |change: fn(&mut Position)| {
            let mut position = good.clone();
            change(&mut position);
            Pages::load(&[position], 1, 0).unwrap_err()
        };
        for error in [
            broken(|p| p.partition.clear()),
            broken(|p| drop(p.offset.insert("finished".into(), "?".into()))),
            broken(|p| drop(p.offset.insert("finished".into(), "AAAA".into()))),
            broken(|p| drop(p.offset.insert("object".into(), "s3://b/1".into()))),
        ] {
            assert!(error.code == "objects.position" && error.hint.contains("reset"), "{error}");
        }
    }
}
