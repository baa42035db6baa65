//! A stream of the test's own.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{Shard, StreamStatus};
use connector_aws::access::Access;
use connector_aws::kinesis::{self, Client};
use connector_core::{ConfigMap, Secret, testing};

pub struct Stream {
    client: Client,
    pub name: String,
    pub endpoint: String,
}

pub fn kinesalite() -> String {
    variable("SIDESTREAM_TEST_KINESALITE")
}

pub fn moto() -> String {
    variable("SIDESTREAM_TEST_MOTO")
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run it as `make test` does: tests/services/with-services.sh cargo nextest run …")
    })
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in 20 s"));
}

impl Stream {
    /// With open shards of equal ranges.
    pub async fn create(endpoint: &str, shards: i32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("source-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let access = Access {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(endpoint.to_owned()),
            key: Some((Secret::new("test"), Secret::new("test"))),
            ..Access::default()
        };
        let stream = Self { client: kinesis::client(&access, 5).await, name, endpoint: endpoint.to_owned() };
        stream.recreate(shards).await;
        stream
    }

    pub async fn recreate(&self, shards: i32) {
        self.client.create_stream().stream_name(&self.name).shard_count(shards).send().await.unwrap();
        self.active().await;
    }

    async fn status(&self) -> Option<StreamStatus> {
        let answer = self.client.describe_stream_summary().stream_name(&self.name).send().await.ok()?;
        answer.stream_description_summary.map(|summary| summary.stream_status)
    }

    async fn active(&self) {
        until("the stream is active", || async { self.status().await == Some(StreamStatus::Active) }).await;
    }

    pub async fn delete(&self) {
        self.client.delete_stream().stream_name(&self.name).send().await.unwrap();
        until("the stream is gone", || async { self.status().await.is_none() }).await;
    }

    /// The sequence number.
    pub async fn put(&self, key: &str, data: impl Into<Vec<u8>>) -> String {
        let call = self.client.put_record().stream_name(&self.name).partition_key(key);
        call.data(Blob::new(data)).send().await.unwrap().sequence_number
    }

    /// Into the shard that has this hash key.
    pub async fn put_at(&self, hash_key: u128, key: &str, data: &str) {
        let call = self.client.put_record().stream_name(&self.name).partition_key(key);
        call.explicit_hash_key(hash_key.to_string()).data(Blob::new(data)).send().await.unwrap();
    }

    /// Open shards, by their first hash key.
    pub async fn open_shards(&self) -> Vec<Shard> {
        let answer = self.client.list_shards().stream_name(&self.name).send().await.unwrap();
        let ended = |shard: &Shard| {
            shard.sequence_number_range.as_ref().is_some_and(|range| range.ending_sequence_number.is_some())
        };
        let mut shards: Vec<_> = answer.shards().iter().filter(|shard| !ended(shard)).cloned().collect();
        shards.sort_by_key(first_key);
        shards
    }

    /// Splits the open shard at this place into halves.
    pub async fn split(&self, place: usize) {
        let shard = &self.open_shards().await[place];
        let middle = first_key(shard) + (last_key(shard) - first_key(shard)) / 2;
        let call = self.client.split_shard().stream_name(&self.name).shard_to_split(&shard.shard_id);
        call.new_starting_hash_key(middle.to_string()).send().await.unwrap();
        self.active().await;
    }

    /// Merges the open shard at this place with the next one.
    pub async fn merge(&self, place: usize) {
        let shards = self.open_shards().await;
        let call = self.client.merge_shards().stream_name(&self.name).shard_to_merge(&shards[place].shard_id);
        call.adjacent_shard_to_merge(&shards[place + 1].shard_id).send().await.unwrap();
        self.active().await;
    }

    /// A configuration that reads it, without much waiting.
    pub fn config(&self, more: &[(&str, &str)]) -> ConfigMap {
        let mut map = testing::config(&[
            ("kinesis.stream", &self.name),
            ("kafka.topic", "rows"),
            ("kinesis.region", "us-east-1"),
            ("kinesis.endpoint", &self.endpoint),
            ("aws.access.key.id", "test"),
            ("aws.secret.access.key", "test"),
            ("kinesis.empty.records.backoff.ms", "200"),
            ("kinesis.throughput.exceeded.backoff.ms", "200"),
            ("kinesis.shard.discovery.interval.ms", "200"),
        ]);
        map.extend(testing::config(more));
        map
    }
}

pub fn first_key(shard: &Shard) -> u128 {
    shard.hash_key_range.as_ref().unwrap().starting_hash_key.parse().unwrap()
}

fn last_key(shard: &Shard) -> u128 {
    shard.hash_key_range.as_ref().unwrap().ending_hash_key.parse().unwrap()
}
