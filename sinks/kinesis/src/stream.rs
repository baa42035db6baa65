//! The stream: what it takes, and its calls.

use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use connector_aws::kinesis::{Client, explain};
use connector_core::{ConnectError, Result};

use crate::config::Config;
use crate::queue::{Limits, Unit};
use crate::shard::Shard;

/// What the service takes when a stream does not say (K-01).
const RECORD: usize = 1 << 20;
const REQUEST: usize = 5 << 20;
/// The request of a service that lets a stream's records be larger.
const LARGE_REQUEST: usize = 10 << 20;

#[derive(Clone, Debug)]
pub struct Stream {
    client: Client,
    name: Option<String>,
    arn: Option<String>,
    /// For messages: ``stream `s` at http://…``.
    place: String,
}

impl Stream {
    pub async fn of(config: &Config) -> Self {
        let access = config.access.access();
        let stream = config.stream.trim();
        let mut place = format!("stream `{stream}`");
        if let Some(endpoint) = &access.endpoint {
            place.push_str(&format!(" at {endpoint}"));
        }
        let is_arn = stream.starts_with("arn:");
        Self {
            // The queue decides what is sent again.
            client: connector_aws::kinesis::client(&access, 1).await,
            name: (!is_arn).then(|| stream.to_owned()),
            arn: is_arn.then(|| stream.to_owned()),
            place,
        }
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    /// Looks at the stream, which has to be there and ready.
    pub async fn limits(&self) -> Result<Limits> {
        let place = format!("opening {}", self.place);
        let call = self.client.describe_stream_summary();
        let answer = call.set_stream_name(self.name.clone()).set_stream_arn(self.arn.clone()).send().await;
        let answer = answer.map_err(|error| explain(&place, &error))?;
        // The SDK makes an empty summary of any JSON.
        let summary = answer.stream_description_summary.filter(|summary| !summary.stream_arn.is_empty());
        let Some(summary) = summary else {
            let message = format!("{place}: the answer does not describe a stream");
            return Err(ConnectError::external("kinesis.no_answer", message).hint("check `kinesis.endpoint`"));
        };
        match summary.stream_status {
            StreamStatus::Creating => {
                let message = format!("{place}: it is being created");
                return Err(
                    ConnectError::external("kinesis.stream_in_use", message).hint("it is tried again")
                );
            }
            StreamStatus::Deleting => {
                let message = format!("{place}: it is being deleted");
                return Err(ConnectError::user("kinesis.no_such_stream", message).hint("name another stream"));
            }
            _ => {}
        }
        let largest =
            summary.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok()).filter(|kib| *kib > 0);
        Ok(match largest {
            Some(kib) => {
                Limits { record: kib.saturating_mul(1024).min(LARGE_REQUEST), request: LARGE_REQUEST }
            }
            None => Limits { record: RECORD, request: REQUEST },
        })
    }

    /// The open shards.
    pub async fn shards(&self) -> Result<Vec<Shard>> {
        let place = format!("listing the shards of {}", self.place);
        let (mut shards, mut token) = (Vec::new(), None);
        loop {
            let call = self.client.list_shards();
            // A token stands for the stream too, and the service does not take both.
            let call = match token {
                None => call.set_stream_name(self.name.clone()).set_stream_arn(self.arn.clone()),
                Some(token) => call.next_token(token),
            };
            let answer = call.send().await.map_err(|error| explain(&place, &error))?;
            for shard in answer.shards.unwrap_or_default() {
                let open =
                    shard.sequence_number_range.is_none_or(|range| range.ending_sequence_number.is_none());
                let last = shard.hash_key_range.and_then(|range| range.ending_hash_key.parse().ok());
                if let Some(last) = last.filter(|_| open) {
                    shards.push(Shard::new(shard.shard_id, last));
                }
            }
            token = answer.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    /// One request; an error is about the call as a whole.
    pub async fn put(&self, units: &[Unit]) -> Result<PutRecordsOutput> {
        let place = format!("putting {} records into {}", units.len(), self.place);
        let entry = |unit: &Unit| {
            let head = unit.head();
            PutRecordsRequestEntry::builder()
                .partition_key(&*head.partition_key)
                .set_explicit_hash_key(head.explicit_hash.then(|| head.hash.to_string()))
                .data(Blob::new(unit.data.as_slice()))
                .build()
        };
        let entries: Result<Vec<_>, _> = units.iter().map(entry).collect();
        let entries =
            entries.map_err(|error| ConnectError::internal("kinesis.request", error.to_string()))?;
        let call = self.client.put_records().set_records(Some(entries));
        let call = call.set_stream_name(self.name.clone()).set_stream_arn(self.arn.clone());
        call.send().await.map_err(|error| explain(&place, &error))
    }
}
