//! One record on its way, and what knows when all records of a batch are stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use connector_core::Offset;

/// A record that is not stored yet.
#[derive(Debug)]
pub struct Entry {
    pub partition_key: Arc<str>,
    /// The place in the range of all shards.
    pub hash: u128,
    /// Whether `hash` is not the partition key's own, and so has to be told to the service.
    pub explicit_hash: bool,
    /// Waits for earlier records of its partition key.
    pub ordered: bool,
    pub data: Vec<u8>,
    pub ticket: Arc<Ticket>,
}

impl Entry {
    /// Bytes that count for the service's limits.
    pub fn size(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// Counts the records of one `write` that are not stored.
#[derive(Debug)]
pub struct Ticket {
    /// Offset of the first record.
    pub first: Offset,
    left: AtomicUsize,
    dropped: AtomicBool,
}

impl Ticket {
    pub fn new(first: Offset) -> Arc<Self> {
        Arc::new(Self { first, left: AtomicUsize::new(0), dropped: AtomicBool::new(false) })
    }

    pub fn add(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub fn stored(&self) {
        self.left.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// What is not sent yet need not be: the partition was taken away.
    pub fn drop_rest(&self) {
        self.dropped.store(true, Ordering::Relaxed);
    }

    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed)
    }
}
