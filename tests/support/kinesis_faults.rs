//! An HTTP proxy before a Kinesis stand-in, because none of those throttles, fails single entries of PutRecords, or
//! loses an answer: what happens to each call is a closure of the test.
//!
//! Crates outside of this package include it by its path; it needs serde_json and nothing else.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

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

type Script = Arc<Mutex<dyn FnMut(&Call) -> Fault + Send>>;

/// Runs until the process of the test ends.
pub struct KinesisFaults {
    /// `http://127.0.0.1:port`
    pub url: String,
}

impl KinesisFaults {
    /// Before the service at `target` (`http://host:port`); `script` is asked once for each call, one at a time.
    pub fn before(target: &str, script: impl FnMut(&Call) -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = target.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let script: Script = Arc::new(Mutex::new(script));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, script) = (target.clone(), Arc::clone(&script));
                thread::spawn(move || serve(client, &target, &script));
            }
        });
        Self { url }
    }
}

/// Answers the calls of one connection until one of both sides closes it.
fn serve(client: TcpStream, target: &str, script: &Script) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut writer = client.try_clone()?;
    while let Some(request) = Message::read(&mut reader)? {
        let action = request.field("x-amz-target").and_then(|name| name.rsplit('.').next()).unwrap_or("");
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let authorization = request.field("authorization").unwrap_or_default().to_owned();
        let call = Call { action: action.to_owned(), body, authorization };
        let mut fault = script.lock().unwrap()(&call);
        while let Fault::Late(time, then) = fault {
            thread::sleep(time);
            fault = *then;
        }
        let answer = match fault {
            Fault::Pass => request.forward(target)?,
            Fault::Entries(failed) => put_records(&request, call.body, &failed, target)?,
            Fault::Refuse(name) => refusal(name),
            Fault::Answer(body) => Message::answer("200 OK", &body),
            Fault::LoseAnswer => {
                request.forward(target)?;
                return client.shutdown(Shutdown::Both);
            }
            Fault::Drop | Fault::Late(..) => return client.shutdown(Shutdown::Both),
        };
        writer.write_all(&answer.bytes())?;
    }
    Ok(())
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
        let answer = Message { body: body.to_string().into_bytes(), ..request.clone() }.forward(target)?;
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
    Ok(Message::answer("200 OK", &body))
}

fn refusal(name: &str) -> Message {
    let status = match name {
        "InternalFailure" => "500 Internal Server Error",
        "ServiceUnavailable" => "503 Service Unavailable",
        _ => "400 Bad Request",
    };
    Message::answer(status, &json!({"__type": name, "message": "as the test asks"}))
}

/// A request or an answer of HTTP/1.1.
#[derive(Clone)]
struct Message {
    first: String,
    /// Without `Content-Length` and `Connection`.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    fn answer(status: &str, body: &Value) -> Self {
        let content_type = ("Content-Type".to_owned(), "application/x-amz-json-1.1".to_owned());
        let body = body.to_string().into_bytes();
        Self { first: format!("HTTP/1.1 {status}"), fields: vec![content_type], body }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn is_ok(&self) -> bool {
        self.first.split(' ').nth(1) == Some("200")
    }

    /// `None` at the end of the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let (mut fields, mut length) = (Vec::new(), None);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok(),
                "transfer-encoding" => panic!("this proxy knows no chunks: {first} {line}"),
                "connection" => {}
                _ => fields.push((name.to_owned(), value.trim().to_owned())),
            }
        }
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Some(Self { first: first.trim_end().to_owned(), fields, body }))
    }

    /// On a connection of its own.
    fn forward(&self, target: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target)?;
        stream.write_all(&self.bytes())?;
        Self::read(&mut BufReader::new(stream))?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn bytes(&self) -> Vec<u8> {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{}\r\n{fields}Content-Length: {}\r\n\r\n", self.first, self.body.len());
        [head.as_bytes(), &self.body].concat()
    }
}
