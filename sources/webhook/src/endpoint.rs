//! The HTTP side: reads a request, checks it, lines it up, and waits for its answer.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use connector_core::TopicDirectory;
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use tokio::time::timeout;

use crate::answer::produced;
use crate::config::Patterns;
use crate::counts::Counts;
use crate::intake::{Intake, Room};
use crate::records::Records;
use crate::refusal::{ANSWER_TYPE, Refusal, code, json_response};
use crate::request::{self, Action, Call};
use crate::streams::Streams;

/// A client that sends nothing for so long is given up.
const IDLE_BODY: Duration = Duration::from_secs(30);
/// How long the rest of a refused body is read.
const DRAIN: Duration = Duration::from_secs(5);

/// Answers requests; what the server calls for each of them. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) intake: Arc<Intake>,
    pub(crate) topics: Arc<dyn TopicDirectory>,
    pub(crate) writable: Patterns,
    pub(crate) max_body_bytes: usize,
    pub(crate) streams: Arc<Streams>,
    pub(crate) counts: Arc<Counts>,
}

impl Endpoint {
    /// Answers a request; for records that is after the host, or Kinesis, has them.
    pub async fn answer(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let mut body = body.into_data_stream();
        let call = Call::of(&head.method, head.uri.path());
        let route = call.as_ref().map_or("other", Call::route);
        let response = match self.respond(call, &head, &mut body).await {
            Ok(response) => response,
            Err(refusal) => {
                tracing::debug!(path = head.uri.path(), code = refusal.code, "refused: {}", refusal.message);
                // Many clients look at the answer only after they have sent everything.
                let _ = timeout(DRAIN, drain(&mut body, self.max_body_bytes)).await;
                refusal.into_response()
            }
        };
        self.counts.add(route, response.status());
        response
    }

    async fn respond(
        &self,
        call: Result<Call, Refusal>,
        head: &Parts,
        body: &mut BodyDataStream,
    ) -> Result<Response, Refusal> {
        match call? {
            Call::ListTopics => {
                request::accepts(&head.headers)?;
                Ok(json_response(StatusCode::OK, ANSWER_TYPE, &self.topics.names()))
            }
            Call::Produce { topic, partition } => self.produce(topic, partition, &head.headers, body).await,
            Call::ListStreams => self.streams.list().await,
            Call::Stream { name, action } => {
                let answered = self.stream(name, action, &head.headers, body).await;
                answered.map_err(Refusal::in_kinesis_words)
            }
        }
    }

    async fn stream(
        &self,
        name: String,
        action: Action,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
    ) -> Result<Response, Refusal> {
        self.streams.admit(&name)?;
        request::json(headers)?;
        let mut room = self.intake.room();
        let bytes = self.read(headers, body, &mut room).await?;
        self.streams.act(name, action, bytes, room).await
    }

    async fn produce(
        &self,
        topic: String,
        partition: Option<i32>,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
    ) -> Result<Response, Refusal> {
        let format = request::format(headers)?;
        request::accepts(headers)?;
        let partitions = self.partitions(&topic)?;
        if let Some(partition) = partition {
            check_partition(&topic, partition, partitions)?;
        }
        let mut room = self.intake.room();
        let bytes = self.read(headers, body, &mut room).await?;
        let records = Records::parse(&bytes, format, self.intake.capacity().records)?;
        drop(bytes);
        for partition in records.iter().filter_map(|record| record.partition) {
            check_partition(&topic, partition, partitions)?;
        }
        let answers = self.intake.deliver(topic.into(), partition, records, room).await?;
        Ok(produced(&answers))
    }

    /// Number of partitions of a topic that may be written.
    fn partitions(&self, topic: &str) -> Result<u32, Refusal> {
        if !self.writable.allow(topic) {
            let message =
                format!("Not authorized to write to topic {topic}: webhook.topics does not name it");
            return Err(Refusal::new(StatusCode::FORBIDDEN, code::NOT_AUTHORIZED, message));
        }
        self.topics.partitions(topic).ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, code::TOPIC_NOT_FOUND, format!("Topic not found: {topic}"))
        })
    }

    async fn read(
        &self,
        headers: &HeaderMap,
        body: &mut BodyDataStream,
        room: &mut Room,
    ) -> Result<Bytes, Refusal> {
        let too_long = || {
            let why =
                format!("the body is longer than {} bytes (webhook.max.body.bytes)", self.max_body_bytes);
            Refusal::http(StatusCode::PAYLOAD_TOO_LARGE, &why)
        };
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.max_body_bytes) {
            return Err(too_long());
        }
        let mut whole = Bytes::new();
        let mut joined = BytesMut::new();
        loop {
            let chunk = timeout(IDLE_BODY, body.next());
            let chunk = chunk.await.map_err(|_| Refusal::http(StatusCode::REQUEST_TIMEOUT, ""))?;
            let Some(chunk) = chunk else { break };
            let chunk = chunk
                .map_err(|_| Refusal::http(StatusCode::BAD_REQUEST, "the body ends before its length"))?;
            room.grow(chunk.len())?;
            if whole.len() + joined.len() + chunk.len() > self.max_body_bytes {
                return Err(too_long());
            }
            // Most bodies come in one piece and are not copied.
            if whole.is_empty() && joined.is_empty() {
                whole = chunk;
            } else {
                joined.extend_from_slice(&std::mem::take(&mut whole));
                joined.extend_from_slice(&chunk);
            }
        }
        let body = if joined.is_empty() { whole } else { joined.freeze() };
        match headers.get(CONTENT_ENCODING).map(|name| name.to_str().unwrap_or_default().trim()) {
            None | Some("" | "identity") => Ok(body),
            Some(name) if name.eq_ignore_ascii_case("gzip") => {
                let text = unzip(&body, self.max_body_bytes)?.ok_or_else(too_long)?;
                room.grow(text.len())?;
                Ok(text.into())
            }
            Some(_) => {
                let why = "send the body as it is, or with Content-Encoding: gzip";
                Err(Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
            }
        }
    }
}

/// What a gzip body holds; `None`: more than `longest` bytes.
fn unzip(body: &[u8], longest: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let mut text = Vec::new();
    let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(most)
        .read_to_end(&mut text)
        .map_err(|_| Refusal::http(StatusCode::BAD_REQUEST, "the body is not gzip, or not all of it"))?;
    Ok((text.len() <= longest).then_some(text))
}

fn check_partition(topic: &str, partition: i32, partitions: u32) -> Result<(), Refusal> {
    match u32::try_from(partition) {
        Ok(number) if number < partitions => Ok(()),
        _ => {
            let message =
                format!("Partition not found: {topic} has {partitions} partitions, and no {partition}");
            Err(Refusal::new(StatusCode::NOT_FOUND, code::PARTITION_NOT_FOUND, message))
        }
    }
}

async fn drain(body: &mut BodyDataStream, max_bytes: usize) {
    let mut read = 0;
    while let Some(Ok(chunk)) = body.next().await {
        read += chunk.len();
        if read > max_bytes {
            break;
        }
    }
}
