//! The shards that a stream has.

use std::sync::Arc;

use aws_sdk_kinesis::types;
use connector_aws::kinesis::{Client, explain};
use connector_core::{ConnectError, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: Arc<str>,
    /// First hash key.
    pub start: u128,
    /// Last hash key.
    pub end: u128,
    /// What was split into it (one) or merged into it (two).
    pub parents: Vec<Arc<str>>,
    /// Gets no more records.
    pub closed: bool,
}

impl Shard {
    fn of(shard: &types::Shard) -> Result<Self> {
        let key = |text: Option<&str>| text.and_then(|text| text.parse::<u128>().ok());
        let range = shard.hash_key_range.as_ref();
        let start = key(range.map(|range| range.starting_hash_key.as_str()));
        let end = key(range.map(|range| range.ending_hash_key.as_str()));
        let (Some(start), Some(end)) = (start, end) else {
            let message = format!("shard `{}` has no range of hash keys", shard.shard_id);
            return Err(ConnectError::external("kinesis.no_answer", message)
                .hint("check `kinesis.endpoint`: this is no answer of Kinesis")
                .no_retry());
        };
        let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
        Ok(Self {
            id: shard.shard_id.as_str().into(),
            start,
            end,
            parents: parents.into_iter().flatten().map(|id| id.as_str().into()).collect(),
            closed: shard
                .sequence_number_range
                .as_ref()
                .is_some_and(|range| range.ending_sequence_number.is_some()),
        })
    }
}

/// All shards of the stream whose records it may still have, the closed ones too.
pub async fn list(client: &Client, stream: &str) -> Result<Vec<Shard>> {
    let failed = |e| explain(&format!("listing the shards of stream `{stream}`"), &e);
    let (mut shards, mut next) = (Vec::new(), None::<String>);
    loop {
        let call = match &next {
            Some(token) => client.list_shards().next_token(token),
            None => client.list_shards().stream_name(stream),
        };
        let answer = call.send().await.map_err(failed)?;
        for shard in answer.shards() {
            shards.push(Shard::of(shard).map_err(|e| e.at(format_args!("stream `{stream}`")))?);
        }
        next = answer.next_token;
        if next.is_none() {
            return Ok(shards);
        }
    }
}
