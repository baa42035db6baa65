//! Topics of Kafka in the place of streams: partitions are shards, offsets are sequence numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use connector_core::TopicDirectory;
use serde::Serialize;
use serde_json::json;

use super::body;
use crate::answer::RecordAnswer;
use crate::config::Patterns;
use crate::intake::{Intake, Room};
use crate::records::Records;
use crate::refusal::{JSON_TYPE, Refusal, code, json_response};
use crate::request::Action;

pub struct Topics {
    pub intake: Arc<Intake>,
    pub directory: Arc<dyn TopicDirectory>,
    /// The topic of a stream, where it is not the one of the same name.
    pub mapping: BTreeMap<String, String>,
}

impl Topics {
    /// The topics whose streams may be used, by their streams' names. There are never more to come.
    pub fn list(&self, allowed: &Patterns) -> Response {
        let topics = self.directory.names();
        let mut names: Vec<&str> = topics
            .iter()
            .map(|topic| self.mapping.iter().find(|(_, t)| *t == topic).map_or(topic, |(stream, _)| stream))
            .map(String::as_str)
            .filter(|stream| allowed.allow(stream))
            .collect();
        names.sort_unstable();
        ok(&json!({"HasMoreStreams": false, "StreamNames": names}))
    }

    pub async fn act(
        &self,
        stream: &str,
        action: Action,
        body: Bytes,
        room: Room,
    ) -> Result<Response, Refusal> {
        match action {
            Action::Describe => self.describe(stream),
            Action::PutRecord => {
                let answers = self.put(stream, body::one_record(&body)?, room).await?;
                let Some(answer) = answers.into_iter().next() else { return Err(nothing_known()) };
                Outcome::of(answer).map(|put| ok(&put)).map_err(Failure::refusal)
            }
            Action::PutRecords => {
                let answers = self.put(stream, body::many_records(&body)?, room).await?;
                Ok(put_records(answers))
            }
            Action::Create | Action::Delete => {
                let message = "Streams are Kafka topics here: declare them under `topics:` in the configuration, and \
                               delete them with Kafka's own tools";
                Err(Refusal::kinesis(StatusCode::BAD_REQUEST, "InvalidArgumentException", message))
            }
        }
    }

    fn topic<'a>(&'a self, stream: &'a str) -> &'a str {
        self.mapping.get(stream).map_or(stream, String::as_str)
    }

    fn partitions(&self, stream: &str) -> Result<u32, Refusal> {
        let topic = self.topic(stream);
        self.directory.partitions(topic).ok_or_else(|| {
            let message = format!("Stream {stream} not found: there is no topic {topic}");
            Refusal::kinesis(StatusCode::BAD_REQUEST, "ResourceNotFoundException", message)
        })
    }

    /// What is known of the topic; Kafka has no hash ranges of keys, and its retention is not looked up.
    fn describe(&self, stream: &str) -> Result<Response, Refusal> {
        let shard = |partition| {
            let (id, range) = (shard_id(i64::from(partition)), json!({"StartingSequenceNumber": "0"}));
            json!({"ShardId": id, "SequenceNumberRange": range})
        };
        let shards: Vec<_> = (0..self.partitions(stream)?).map(shard).collect();
        Ok(ok(&json!({"StreamDescription": {
            "StreamName": stream,
            "StreamARN": format!("arn:aws:kinesis:::stream/{stream}"),
            "StreamStatus": "ACTIVE",
            "Shards": shards,
            "HasMoreShards": false,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
        }})))
    }

    async fn put(&self, stream: &str, records: Records, room: Room) -> Result<Vec<RecordAnswer>, Refusal> {
        self.partitions(stream)?;
        self.intake.deliver(self.topic(stream).into(), None, records, room).await
    }
}

/// An entry of PutRecords' answer, and PutRecord's answer as a whole.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    /// Null when a transform filtered the record.
    shard_id: Option<String>,
    sequence_number: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    error_code: &'static str,
    error_message: String,
}

impl Outcome {
    fn of(answer: RecordAnswer) -> Result<Self, Failure> {
        let Some(number) = answer.error_code else {
            let sequence_number = answer.offset.map(|offset| offset.to_string());
            return Ok(Self { shard_id: answer.partition.map(shard_id), sequence_number });
        };
        let error_code = match number {
            code::NOT_AUTHENTICATED | code::NOT_AUTHORIZED => "AccessDeniedException",
            code::TOPIC_NOT_FOUND => "ResourceNotFoundException",
            // What Kinesis says of what may pass when it is tried again.
            code::KAFKA_RETRIABLE => "InternalFailure",
            _ => "InvalidArgumentException",
        };
        Err(Failure { error_code, error_message: answer.error.unwrap_or_default() })
    }
}

impl Failure {
    fn refusal(self) -> Refusal {
        let status = match self.error_code {
            "InternalFailure" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Refusal::kinesis(status, self.error_code, self.error_message)
    }
}

fn put_records(answers: Vec<RecordAnswer>) -> Response {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Entry {
        Stored(Outcome),
        Failed(Failure),
    }
    let entries: Vec<_> =
        answers.into_iter().map(|a| Outcome::of(a).map_or_else(Entry::Failed, Entry::Stored)).collect();
    let failed = entries.iter().filter(|entry| matches!(entry, Entry::Failed(_))).count();
    ok(&json!({"FailedRecordCount": failed, "Records": entries}))
}

fn shard_id(partition: i64) -> String {
    format!("shardId-{partition:012}")
}

fn nothing_known() -> Refusal {
    let message = "the host answered for no record; it may have been written";
    Refusal::kinesis(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", message)
}

fn ok(body: &impl Serialize) -> Response {
    json_response(StatusCode::OK, JSON_TYPE, body)
}
