//! An HTTP proxy before a Kinesis stand-in, because none of those throttles, fails single entries of PutRecords, or
//! loses an answer: what happens to each call is a closure of the test.
//!
//! Crates outside of this package include it by its path; it needs serde_json and nothing else.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

// A test binary may have it as a module of its own too.
#[allow(clippy::duplicate_mod)]
#[path = "http_faults.rs"]
mod http_faults;

use http_faults::{Message, Reply};

/// One call of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// `PutRecords`
    pub action: String,
    pub body: Value,
    /// `AWS4-HMAC-SHA256 Credential=…`
    pub authorization: String,
}

impl Call {
    /// Partition keys of the entries of PutRecords.
    pub fn partition_keys(&self) -> Vec<String> {
        let entries = self.body["Records"].as_array().into_iter().flatten();
        entries.map(|entry| entry["PartitionKey"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: the service answers.
    Pass,
    /// These entries of PutRecords (index, error code) fail; the others reach the service.
    Entries(Vec<(usize, &'static str)>),
    /// The service does not see the call; the error's name, such as `ProvisionedThroughputExceededException`.
    Refuse(&'static str),
    /// The service does not see the call, and the connection is closed.
    Drop,
    /// The service does what it is asked, and the connection is closed instead of an answer.
    LoseAnswer,
    /// The service does not see the call; this is its answer.
    Answer(Value),
    /// Something else, after a while.
    Late(Duration, Box<Fault>),
}

/// Runs until the process of the test ends.
pub struct KinesisFaults {
    /// `http://127.0.0.1:port`
    pub url: String,
}

impl KinesisFaults {
    /// Before the service at `target` (`http://host:port`); `script` is asked once for each call, one at a time.
    pub fn before(target: &str, script: impl FnMut(&Call) -> Fault + Send + 'static) -> Self {
        let script = Mutex::new(script);
        let url = http_faults::listen(target, move |request, target| {
            let call = call(request);
            let fault = script.lock().unwrap()(&call);
            serve(request, call, fault, target)
        });
        Self { url }
    }
}

fn call(request: &Message) -> Call {
    let action = request.field("x-amz-target").and_then(|name| name.rsplit('.').next()).unwrap_or("");
    let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let authorization = request.field("authorization").unwrap_or_default().to_owned();
    Call { action: action.to_owned(), body, authorization }
}

fn serve(request: &Message, call: Call, mut fault: Fault, target: &str) -> io::Result<Reply> {
    while let Fault::Late(time, then) = fault {
        thread::sleep(time);
        fault = *then;
    }
    let answer = match fault {
        Fault::Pass => request.forward(target)?,
        Fault::Entries(failed) => put_records(request, call.body, &failed, target)?,
        Fault::Refuse(name) => refusal(name),
        Fault::Answer(body) => answer("200 OK", &body),
        Fault::LoseAnswer => {
            request.forward(target)?;
            return Ok(Reply::Nothing);
        }
        Fault::Drop | Fault::Late(..) => return Ok(Reply::Nothing),
    };
    Ok(Reply::Whole(answer))
}

/// PutRecords of the entries that are not in `failed`, and the answer as Kinesis gives it: one result for each entry.
fn put_records(
    request: &Message,
    mut body: Value,
    failed: &[(usize, &'static str)],
    target: &str,
) -> io::Result<Message> {
    let code = |index: usize| failed.iter().find(|(at, _)| *at == index).map(|(_, code)| *code);
    let entries = body["Records"].as_array().cloned().unwrap_or_default();
    let passed: Vec<_> = (0..entries.len()).filter(|index| code(*index).is_none()).collect();
    let (mut results, mut failures) = (Vec::new().into_iter(), 0);
    if !passed.is_empty() {
        body["Records"] = passed.iter().map(|index| entries[*index].clone()).collect();
        let answer = request.with_body(body.to_string().into_bytes()).forward(target)?;
        if !answer.is_ok() {
            return Ok(answer);
        }
        let answer: Value = serde_json::from_slice(&answer.body)?;
        failures = answer["FailedRecordCount"].as_u64().unwrap_or(0);
        results = answer["Records"].as_array().cloned().unwrap_or_default().into_iter();
    }
    let results: Vec<_> = (0..entries.len())
        .filter_map(|index| match code(index) {
            Some(code) => {
                let message =
                    "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.";
                Some(json!({"ErrorCode": code, "ErrorMessage": message}))
            }
            None => results.next(),
        })
        .collect();
    let body = json!({"FailedRecordCount": failures + failed.len() as u64, "Records": results});
    Ok(answer("200 OK", &body))
}

fn refusal(name: &str) -> Message {
    let status = match name {
        "InternalFailure" => "500 Internal Server Error",
        "ServiceUnavailable" => "503 Service Unavailable",
        _ => "400 Bad Request",
    };
    answer(status, &json!({"__type": name, "message": "as the test asks"}))
}

fn answer(status: &str, body: &Value) -> Message {
    Message::answer(status, "application/x-amz-json-1.1", body.to_string())
}
