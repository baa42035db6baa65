//! The rows of a batch as entries; what Kinesis cannot take is rejected.

use std::sync::Arc;

use arrow::array::Array;
use connector_aws::kinesis::hash_key;
use connector_core::envelope::VALUE;
use connector_core::{Batch, ConnectError, Envelope, Rejection, Result, Stage, Written};

use crate::column::Column;
use crate::config::{Config, KeyFallback, NullValues, Ordering};
use crate::entry::{Entry, Ticket};
use crate::key::PartitionKeys;
use crate::queue::Limits;
use crate::shard::random;

/// With aggregation, as many records without a key have the same random one: they can be packed.
const KEYLESS_RUN: usize = 256;

/// The entries of a batch, which share a ticket, and the answer for the host.
pub fn entries(batch: &Batch, config: &Config, limits: Limits) -> Result<(Vec<Entry>, Written)> {
    let envelope = Envelope::of(&batch.records)?;
    let lacks = |what: &str| ConnectError::internal("envelope", format!("a batch for a sink has no {what}"));
    let offsets = envelope.offsets().ok_or_else(|| lacks("offsets"))?.values();
    let (_, field) = batch.records.schema_ref().fields().find(VALUE).ok_or_else(|| lacks("value"))?;
    let nulls = envelope.value().logical_nulls();
    let mut values = Column::of(field, envelope.value())?;
    let mut keys = Keys::of(batch, config)?;

    let mut entries = Vec::with_capacity(offsets.len());
    let mut written = Written { cut: offsets.last().map(|last| last + 1), ..Written::default() };
    let Some(first) = offsets.first() else { return Ok((entries, written)) };
    let ticket = Ticket::new(*first);
    for (row, offset) in offsets.iter().enumerate() {
        let entry = if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            if config.null_values == NullValues::Ignore {
                written.filtered += 1;
                continue;
            }
            Err(null_value())
        } else {
            keys.get(row).and_then(|(partition_key, ordered)| {
                let data = values.get(row);
                let size = partition_key.len() + data.len();
                if size > limits.record {
                    return Err(too_large(size, limits.record));
                }
                let (hash, explicit_hash) = keys.hash(&partition_key);
                let partition_key = partition_key.into();
                Ok(Entry {
                    partition_key,
                    hash,
                    explicit_hash,
                    ordered,
                    data: data.to_vec(),
                    ticket: Arc::clone(&ticket),
                })
            })
        };
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                let error = error.at(format_args!("{} offset {offset}", batch.partition));
                written.rejected.push(Rejection::new(row, Stage::TaskPut, error));
            }
        }
    }
    Ok((entries, written))
}

/// The partition key that a record is sent with, and its place.
struct Keys<'a> {
    own: PartitionKeys<'a>,
    /// Whether a record waits for earlier ones of its key; what is packed does in any case.
    ordered: bool,
    fallback: KeyFallback,
    partition: String,
    /// With aggregation: the last random key.
    shared: Option<String>,
    explicit_hash: Option<u128>,
}

impl<'a> Keys<'a> {
    fn of(batch: &'a Batch, config: &'a Config) -> Result<Self> {
        let partition = batch.partition.partition.to_string();
        Ok(Self {
            own: PartitionKeys::of(batch, config)?,
            ordered: config.ordering == Ordering::Key || config.aggregation,
            fallback: config.key_fallback,
            shared: config.aggregation.then(random_key),
            // awslabs' sink takes the number itself for the hash key, which puts all partitions into the first shard.
            explicit_hash: config.partition_as_hash_key.then(|| hash_key(&partition)),
            partition,
        })
    }

    /// The key of `row`, whose value is not null, and whether the record waits for earlier ones of this key.
    fn get(&mut self, row: usize) -> Result<(String, bool)> {
        if let Some(key) = self.own.get(row)? {
            return Ok((key, self.ordered));
        }
        Ok(match (self.fallback, &mut self.shared) {
            (KeyFallback::Partition, _) => (self.partition.clone(), self.ordered),
            (KeyFallback::Random, None) => (random_key(), false),
            (KeyFallback::Random, Some(shared)) => {
                if row.is_multiple_of(KEYLESS_RUN) {
                    *shared = random_key();
                }
                (shared.clone(), true)
            }
        })
    }

    /// The place of a record with this key, and whether the service has to be told.
    fn hash(&self, partition_key: &str) -> (u128, bool) {
        match self.explicit_hash {
            Some(hash) => (hash, true),
            None => (hash_key(partition_key), false),
        }
    }
}

fn random_key() -> String {
    format!("{:016x}", random())
}

fn null_value() -> ConnectError {
    ConnectError::user("kinesis.null_value", "a record without a value cannot be put into a stream")
        .hint("set `behavior.on.null.values: ignore` to skip such records")
}

fn too_large(size: usize, largest: usize) -> ConnectError {
    let message = format!("{size} bytes of partition key and value, and the stream takes {largest}");
    ConnectError::user("kinesis.record_too_large", message)
        .hint("raise the stream's MaxRecordSizeInKiB (up to 10240), or make the record smaller")
}
