//! A stream of a test's own, and everything that is in it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::types::{ShardIteratorType, StreamStatus};
use connector_aws::access::Access;
use connector_aws::kinesis::{Client, client};
use connector_core::Secret;

/// The address of kinesalite; without the services there is nothing to test against.
pub fn kinesalite() -> Option<String> {
    service("SIDESTREAM_TEST_KINESALITE")
}

pub fn moto() -> Option<String> {
    service("SIDESTREAM_TEST_MOTO")
}

fn service(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        eprintln!("skipped: {variable} is not set, run by tests/services/with-services.sh");
    }
    url
}

#[derive(Clone)]
pub struct Stream {
    pub client: Client,
    pub name: String,
}

/// What a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub shard: String,
    pub key: String,
    pub data: String,
}

impl Stream {
    pub async fn create(url: &str, purpose: &str, shards: i32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sink-{purpose}-{}-{number}", std::process::id());
        let access = Access {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(url.to_owned()),
            key: Some((Secret::new("test"), Secret::new("test-secret"))),
            ..Access::default()
        };
        let stream = Self { client: client(&access, 3).await, name };
        stream.client.create_stream().stream_name(&stream.name).shard_count(shards).send().await.unwrap();
        stream.settle().await;
        stream
    }

    /// Waits until it is neither being created nor changed.
    pub async fn settle(&self) {
        loop {
            let call = self.client.describe_stream_summary().stream_name(&self.name);
            let answer = call.send().await.unwrap();
            if *answer.stream_description_summary().unwrap().stream_status() == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Everything in it: parents before children, each shard in its order.
    pub async fn records(&self) -> Vec<Record> {
        let listed = self.client.list_shards().stream_name(&self.name).send().await.unwrap();
        let mut ids: Vec<_> = listed.shards().iter().map(|shard| shard.shard_id().to_owned()).collect();
        ids.sort();
        let mut records = Vec::new();
        for id in ids {
            let call = self.client.get_shard_iterator().stream_name(&self.name).shard_id(&id);
            let answer = call.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
            let mut iterator = answer.shard_iterator;
            while let Some(at) = iterator {
                let answer = self.client.get_records().shard_iterator(at).send().await.unwrap();
                let last = answer.records().is_empty() && answer.millis_behind_latest().unwrap_or(0) == 0;
                records.extend(answer.records().iter().map(|record| Record {
                    shard: id.clone(),
                    key: record.partition_key().unwrap_or_default().to_owned(),
                    data: String::from_utf8_lossy(record.data().as_ref()).into_owned(),
                }));
                iterator = answer.next_shard_iterator.filter(|_| !last);
            }
        }
        records
    }

    /// Data of all records, sorted.
    pub async fn data(&self) -> Vec<String> {
        let mut data: Vec<_> = self.records().await.into_iter().map(|record| record.data).collect();
        data.sort();
        data
    }
}
