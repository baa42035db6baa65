//! Streams of Kinesis: each request becomes one call, and its answer goes back as it is.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use connector_aws::access::Access;
use connector_aws::kinesis::{Client, Trouble, client, explain};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::{answer, body};
use crate::config::Patterns;
use crate::records::Record;
use crate::refusal::{JSON_TYPE, Refusal, json_response};
use crate::request::Action;

/// The SDK's usual number: clients such as the pipeline's never send again themselves.
const ATTEMPTS: u32 = 3;
/// Of ListStreams, the most that Kinesis allows.
const PAGE: i32 = 10_000;

pub struct Kinesis {
    access: Access,
    client: OnceCell<Client>,
    /// Longest wait for an answer.
    patience: Duration,
}

impl Kinesis {
    pub fn new(access: Access, patience: Duration) -> Self {
        Self { access, client: OnceCell::new(), patience }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| client(&self.access, ATTEMPTS)).await
    }

    /// All pages of ListStreams, with the streams that may be used.
    pub async fn list(&self, allowed: &Patterns) -> Result<Response, Refusal> {
        let client = self.client().await;
        let (mut names, mut summaries, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let call = client.list_streams().limit(PAGE).set_exclusive_start_stream_name(after);
            let page =
                self.relay("listing streams", |body| call.customize().interceptor(body).send()).await?;
            let mut page: Value = serde_json::from_slice(&page).unwrap_or_default();
            let listed = take_array(&mut page, "StreamNames");
            summaries.extend(take_array(&mut page, "StreamSummaries"));
            after = listed.last().and_then(Value::as_str).map(str::to_owned);
            names.extend(listed);
            if after.is_none() || page.get("HasMoreStreams") != Some(&Value::Bool(true)) {
                break;
            }
        }
        let allow =
            |name: Option<&Value>| name.and_then(Value::as_str).is_some_and(|name| allowed.allow(name));
        names.retain(|name| allow(Some(name)));
        summaries.retain(|summary| allow(summary.get("StreamName")));
        let mut all = json!({"HasMoreStreams": false, "StreamNames": names});
        if !summaries.is_empty() {
            all["StreamSummaries"] = summaries.into();
        }
        Ok(json_response(StatusCode::OK, JSON_TYPE, &all))
    }

    pub async fn act(&self, stream: String, action: Action, request: Bytes) -> Result<Response, Refusal> {
        let client = self.client().await;
        let answered = match action {
            Action::Describe => {
                let call = client.describe_stream().stream_name(&stream);
                let place = format!("describing stream `{stream}`");
                self.relay(&place, |body| call.customize().interceptor(body).send()).await
            }
            Action::Create => {
                let shards = body::shard_count(&request)?;
                let call = client.create_stream().stream_name(&stream).shard_count(shards);
                let place = format!("creating stream `{stream}`");
                self.relay(&place, |body| call.customize().interceptor(body).send()).await
            }
            Action::Delete => {
                let call = client.delete_stream().stream_name(&stream);
                let place = format!("deleting stream `{stream}`");
                self.relay(&place, |body| call.customize().interceptor(body).send()).await
            }
            Action::PutRecord => {
                let records = body::one_record(&request)?;
                let (data, key) = records.iter().next().map(datum).unzip();
                let call = client.put_record().stream_name(&stream).set_data(data).set_partition_key(key);
                let place = format!("putting a record into stream `{stream}`");
                self.relay(&place, |body| call.customize().interceptor(body).send()).await
            }
            Action::PutRecords => {
                let entries = body::many_records(&request)?.iter().filter_map(entry).collect();
                let call = client.put_records().stream_name(&stream).set_records(Some(entries));
                let place = format!("putting records into stream `{stream}`");
                self.relay(&place, |body| call.customize().interceptor(body).send()).await
            }
        };
        answered.map(|body| answer(StatusCode::OK, body))
    }

    /// The body of Kinesis' answer to a call, which is `sent` with an interceptor that keeps it.
    async fn relay<O, E, Sent>(&self, place: &str, send: impl FnOnce(Kept) -> Sent) -> Result<Bytes, Refusal>
    where
        Sent: Future<Output = Result<O, SdkError<E>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let kept = Kept::default();
        match timeout(self.patience, send(kept.clone())).await {
            Ok(Ok(_)) => Ok(std::mem::take(&mut *kept.0.lock().unwrap_or_else(PoisonError::into_inner))),
            Ok(Err(error)) => Err(refusal(place, &error)),
            Err(_) => {
                let message =
                    "Kinesis has not answered within webhook.ack.timeout.ms; records may have been written";
                Err(Refusal::kinesis(StatusCode::GATEWAY_TIMEOUT, "", message))
            }
        }
    }
}

/// The body of the last answer.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Bytes>>);

impl Intercept for Kept {
    fn name(&self) -> &'static str {
        "the webhook's copy of the answer"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = Bytes::copy_from_slice(context.response().body().bytes().unwrap_or_default());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body;
        Ok(())
    }
}

/// Kinesis' refusal, with its status. What the connector's own access causes is for its operator, not for the client.
fn refusal<E>(place: &str, error: &SdkError<E>) -> Refusal
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let (Some(code), Some(raw)) = (error.code(), error.raw_response())
        && !matches!(
            Trouble::of(code),
            Trouble::BadCredentials | Trouble::ExpiredCredentials | Trouble::Clock
        )
    {
        let exception = code.rsplit('#').next().unwrap_or(code).to_owned();
        let status = StatusCode::from_u16(raw.status().as_u16()).unwrap_or(StatusCode::BAD_REQUEST);
        return Refusal::kinesis(status, exception, error.message().unwrap_or_default().to_owned());
    }
    let error = explain(place, error);
    tracing::warn!(code = error.code, "{error}");
    let message = format!(
        "Kinesis cannot be asked ({}; see the connector's log); records may have been written",
        error.code
    );
    Refusal::kinesis(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
}

fn datum(record: Record<'_>) -> (Blob, String) {
    let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
    (Blob::new(record.value.unwrap_or_default()), key)
}

/// Always an entry: both of its fields are there.
fn entry(record: Record<'_>) -> Option<PutRecordsRequestEntry> {
    let (data, key) = datum(record);
    PutRecordsRequestEntry::builder().data(data).partition_key(key).build().ok()
}

fn take_array(page: &mut Value, name: &str) -> Vec<Value> {
    match page.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
