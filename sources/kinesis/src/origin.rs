//! Where a record comes from, for errors.

use std::sync::Arc;

use crate::fetch::Record;

/// Shares its texts with what was read anyway.
#[derive(Debug)]
pub struct Origin {
    shard: Arc<str>,
    sequence: Arc<str>,
    /// Its place in an aggregated record, from 0.
    sub: Option<u64>,
}

impl Origin {
    pub fn of(shard: &Arc<str>, record: &Record) -> Self {
        let sub = record.sub.map(|(at, _)| at);
        Self { shard: shard.clone(), sequence: record.sequence.clone(), sub }
    }

    pub fn place(&self, stream: &str) -> String {
        let Self { shard, sequence, sub } = self;
        let within = sub.map(|at| format!(" sub-sequence number {at}")).unwrap_or_default();
        format!("stream `{stream}` shard `{shard}` sequence number {sequence}{within}")
    }
}
