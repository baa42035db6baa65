//! A host that writes to memory in place of Kafka, and a client that speaks HTTP on a plain socket.
#![allow(dead_code)] // Each test binary uses a part of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use connector_core::source::AckError;
use connector_core::{
    Ack, Acks, Envelope, Form, Plugin, PollBudget, Source, SourceBatch, SourceContext, TaskConfig, TaskInfo,
    TopicDirectory,
};
use serde_json::{Value, json};
use source_webhook::{Config, WebhookSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub const JSON: &str = "application/vnd.kafka.json.v2+json";
pub const BINARY: &str = "application/vnd.kafka.binary.v2+json";
pub const BUDGET: PollBudget = PollBudget { max_records: 500, max_bytes: 1 << 20 };

/// Three topics of one partition and one of three.
pub struct Topics;

impl TopicDirectory for Topics {
    fn partitions(&self, topic: &str) -> Option<u32> {
        match topic {
            "id.pin" | "id.geo" | "id.user" | "private" => Some(1),
            "wide" => Some(3),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        ["id.geo", "id.pin", "id.user", "private", "wide"].map(str::to_owned).to_vec()
    }
}

pub fn source(overrides: Value) -> Arc<WebhookSource> {
    source_of(overrides, &TaskInfo::default())
}

pub fn source_of(overrides: Value, task: &TaskInfo) -> Arc<WebhookSource> {
    let mut config = json!({"webhook.listen": "127.0.0.1:0", "webhook.topics": ["id.*", "wide", "missing"]});
    config.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    let config: Config = serde_json::from_value(config).unwrap();
    Arc::new(WebhookSource::create(config, task).unwrap())
}

pub async fn open(source: &WebhookSource) -> SocketAddr {
    let task = TaskConfig::new();
    source.open(SourceContext { task, positions: Vec::new(), topics: Arc::new(Topics) }).await.unwrap();
    source.address().unwrap()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub form: Form,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Written {
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap()).unwrap()
    }
}

fn datum(column: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.as_string_opt::<i32>() {
        Some(texts) => texts.value(row).as_bytes().to_vec(),
        None => column.as_binary::<i32>().value(row).to_vec(),
    })
}

/// What Kafka is in these tests: partition 0 unless one is named; a value with `too large` in it is refused.
#[derive(Clone, Default)]
pub struct Log {
    next: Arc<Mutex<BTreeMap<(String, i32), i64>>>,
    written: Arc<Mutex<Vec<Written>>>,
}

impl Log {
    pub fn write(&self, batch: &SourceBatch) -> Acks {
        let mut acks = Acks::default();
        for run in &batch.runs {
            let envelope = Envelope::of(&run.records).unwrap();
            for row in 0..run.records.num_rows() {
                let topic = run.topic.as_deref().unwrap().to_owned();
                let partition = run.partition.unwrap_or(0);
                let value = datum(envelope.value(), row);
                if value.as_ref().is_some_and(|v| String::from_utf8_lossy(v).contains("too large")) {
                    let message = "Broker: Message size too large".to_owned();
                    let error = Some(AckError { code: 10, message, retriable: false });
                    let destination = topic.into();
                    acks.rows.push(Ack {
                        destination,
                        partition: String::new(),
                        offset: String::new(),
                        error,
                    });
                    continue;
                }
                let mut next = self.next.lock().unwrap();
                let offset = next.entry((topic.clone(), partition)).or_insert(0);
                acks.rows.push(Ack {
                    destination: topic.clone().into(),
                    partition: partition.to_string(),
                    offset: offset.to_string(),
                    error: None,
                });
                acks.delivered += 1;
                let (key, form) = (envelope.key().and_then(|k| datum(k, row)), envelope.value_form());
                self.written.lock().unwrap().push(Written {
                    topic,
                    partition,
                    offset: *offset,
                    form,
                    key,
                    value,
                });
                *offset += 1;
            }
        }
        acks
    }

    pub fn written(&self) -> Vec<Written> {
        self.written.lock().unwrap().clone()
    }
}

/// Polls, writes and commits until it is dropped.
pub struct Host {
    pub source: Arc<WebhookSource>,
    pub address: SocketAddr,
    pub log: Log,
    task: JoinHandle<()>,
}

pub async fn run(overrides: Value) -> Host {
    let source = source(overrides);
    let address = open(&source).await;
    let log = Log::default();
    let task = tokio::spawn(serve(Arc::clone(&source), log.clone(), BUDGET));
    Host { source, address, log, task }
}

pub async fn serve(source: Arc<WebhookSource>, log: Log, budget: PollBudget) {
    while let Some(batch) = source.poll(budget).await.unwrap() {
        let acks = log.write(&batch);
        source.commit(&batch.offset, &acks).await.unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn error(&self) -> (u16, i64, String) {
        let body = self.json();
        let keys: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error_code", "message"]);
        (self.status, body["error_code"].as_i64().unwrap(), body["message"].as_str().unwrap().to_owned())
    }
}

impl Answer {
    /// Status, `__type` and message of a refusal in Kinesis' words.
    pub fn exception(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(header(&self.head, "content-type"), Some("application/json"), "{self:?}");
        let keys: Vec<_> = body.as_object().unwrap().keys().filter(|key| *key != "__type").collect();
        assert_eq!(keys, ["message"]);
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        (self.status, text("__type"), text("message"))
    }
}

pub struct Client(TcpStream);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, head: &str, body: &[u8]) {
        let head = format!("{head}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        self.write(&[head.as_bytes(), body].concat()).await;
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub async fn receive(&mut self) -> Answer {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "closed without an answer");
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length = header(&head, "content-length").unwrap().parse::<usize>().unwrap();
        while bytes.len() < end + length {
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "closed within an answer");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, body: String::from_utf8(bytes[end..].to_vec()).unwrap(), head }
    }

    pub async fn call(&mut self, head: &str, body: &[u8]) -> Answer {
        self.send(head, body).await;
        tokio::time::timeout(Duration::from_secs(20), self.receive()).await.expect("no answer")
    }

    pub async fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.call(&format!("POST {path} HTTP/1.1\r\nContent-Type: {content_type}"), body).await
    }
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// One request of a JSON client on a connection of its own, such as `call(address, "PUT /streams/s/record", body)`.
pub async fn call(address: SocketAddr, line: &str, body: &str) -> Answer {
    let head = format!("{line} HTTP/1.1\r\nContent-Type: application/json");
    Client::connect(address).await.call(&head, body.as_bytes()).await
}

/// One connection, one request.
pub async fn post(address: SocketAddr, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
    Client::connect(address).await.post(path, content_type, body.as_ref()).await
}
