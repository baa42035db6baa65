//! Reads an offsets topic up to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use connector_core::{ConnectError, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Map, Value};

use super::{Stored, TASKS};
use crate::kafka::client::{self, ClientSettings, Context};
use crate::kafka::kafka_error;

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may come before it is called an error.
const QUIET: Duration = Duration::from_secs(30);

/// What of transactions is read.
#[derive(Clone, Copy, Debug)]
pub enum Isolation {
    /// Only what was committed.
    Committed,
    /// Also what was taken back or may still be.
    Everything,
}

/// Reads the topic from its beginning to its present end.
///
/// The end is that of all records, and not where the first open transaction begins: behind that there may be positions
/// that were committed long ago. Who reads what is committed waits for an open transaction.
pub fn read_all(
    settings: ClientSettings,
    topic: &str,
    partitions: u32,
    isolation: Isolation,
) -> Result<Stored> {
    let mut config = settings.config;
    config.set("group.id", "sidestream-offsets-reader");
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    config.remove("group.instance.id");
    let failed = |e: &KafkaError| kafka_error(&format!("reading stored offsets from `{topic}` failed"), e);
    let consumer = |config: &mut ClientConfig, isolation: &str| -> Result<BaseConsumer<Context>> {
        config.set("isolation.level", isolation);
        let consumer = config.create_with_context(settings.context.clone()).map_err(|e| failed(&e))?;
        client::let_in(&consumer);
        Ok(consumer)
    };
    // The end that a client is told depends on its isolation level.
    let ends = consumer(&mut config, "read_uncommitted")?;
    let mut left = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let (start, end) = ends.fetch_watermarks(topic, partition, TIMEOUT).map_err(|e| failed(&e))?;
        if start < end {
            list.add_partition_offset(topic, partition, Offset::Beginning).map_err(|e| failed(&e))?;
            left.insert(partition, end);
        }
    }
    let consumer = match isolation {
        Isolation::Committed => consumer(&mut config, "read_committed")?,
        Isolation::Everything => ends,
    };
    consumer.assign(&list).map_err(|e| failed(&e))?;
    let (mut all, mut quiet) = (Stored::default(), Duration::ZERO);
    const STEP: Duration = Duration::from_millis(100);
    while !left.is_empty() {
        match consumer.poll(STEP) {
            Some(Ok(message)) => {
                quiet = Duration::ZERO;
                keep(&mut all, message.key(), message.payload());
                continue;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(failed(&error)),
            None => quiet += STEP,
        }
        // The position moves over the marks of transactions too, which are no records.
        let positions = consumer.position().map_err(|e| failed(&e))?;
        left.retain(|partition, end| {
            let at = positions.find_partition(topic, *partition).map(|at| at.offset());
            !matches!(at, Some(Offset::Offset(next)) if next >= *end)
        });
        if quiet > QUIET {
            let (partition, _) = left.first_key_value().unwrap_or((&0, &0));
            let message =
                format!("reading `{topic}` made no progress: partition {partition} is not read to its end");
            return Err(ConnectError::external("kafka.offsets", message).hint(
                "a transaction of another connector is open there, or the partition has no leader; \
                 offsets.storage.topic gives a connector a topic of its own",
            ));
        }
    }
    Ok(all)
}

/// Keeps the newest offset of each source partition; foreign records in the topic are left alone.
fn keep(all: &mut Stored, key: Option<&[u8]>, value: Option<&[u8]>) {
    let Some(key) = key else { return };
    if let Some(connector) = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(TASKS)) {
        let value: Option<Value> = value.and_then(|v| serde_json::from_slice(v).ok());
        let tasks = value.as_ref().and_then(|v| v.get("task-count")).and_then(Value::as_u64);
        let tasks = tasks.and_then(|tasks| usize::try_from(tasks).ok()).unwrap_or(0);
        let most = all.tasks.entry(connector.to_owned()).or_default();
        *most = tasks.max(*most);
        return;
    }
    let Ok((connector, partition)) = serde_json::from_slice::<(String, Map<String, Value>)>(key) else {
        return;
    };
    let offset = value.and_then(|v| serde_json::from_slice::<Map<String, Value>>(v).ok());
    all.positions.put(&connector, partition, offset);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(records: &[(&str, Option<&str>)]) -> Stored {
        let mut all = Stored::default();
        for (key, value) in records {
            keep(&mut all, Some(key.as_bytes()), value.map(str::as_bytes));
        }
        all
    }

    #[test]
    fn the_newest_offset_of_a_source_partition_counts_whatever_the_order_of_keys_d_02() {
        let all = stored(&[
            (r#"["db",{"protocol":"1","table":"a.t"}]"#, Some(r#"{"incrementing":1}"#)),
            (r#"["db",{"table":"a.t","protocol":"1"}]"#, Some(r#"{"incrementing":2}"#)),
            (r#"["other",{"table":"a.t","protocol":"1"}]"#, Some(r#"{"incrementing":9}"#)),
        ]);
        assert_eq!(all.positions.of("db").len(), 1);
        assert_eq!(all.positions.of("db")[0].offset["incrementing"], 2);
    }

    #[test]
    fn the_most_tasks_that_a_connector_ever_had_count_and_are_no_position() {
        let all = stored(&[
            ("tasks-fencing-db", Some(r#"{"task-count":1}"#)),
            ("tasks-fencing-db", Some(r#"{"task-count":4}"#)),
            ("tasks-fencing-db", Some(r#"{"task-count":2}"#)),
            ("tasks-fencing-db", None),
        ]);
        assert_eq!(all.tasks["db"], 4);
        assert!(all.positions.of("db").is_empty());
    }

    #[test]
    fn a_null_value_resets_a_source_partition_and_foreign_records_are_ignored() {
        let all = stored(&[
            (r#"["db",{"table":"t"}]"#, Some(r#"{"incrementing":1}"#)),
            ("not json", Some("{}")),
            (r#"["db",{"table":"t"}]"#, None),
        ]);
        assert!(all.positions.of("db").is_empty());
    }
}
