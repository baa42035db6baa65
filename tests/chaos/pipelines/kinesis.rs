//! Kafka to Kinesis, which has no way to tell a record that it has already: none may be lost.

use std::ops::Range;

use serde_json::{Value, json};

use super::Pipeline;
use super::input::{Input, text};
use crate::account::{Account, Arrived};
use crate::stream::Stream;
use crate::support::{block_on, services};

pub struct Kinesis {
    input: Input,
    stream: Stream,
    url: String,
}

impl Kinesis {
    pub fn new() -> Self {
        let url = services().kinesalite;
        let stream = block_on(Stream::create(&url, "chaos", 2));
        Self { input: Input::new("chaos-kinesis", 2), stream, url }
    }
}

impl Pipeline for Kinesis {
    fn connector(&self) -> &str {
        &self.input.id
    }

    fn yaml(&self) -> String {
        let Self { input: Input { id, .. }, stream, url } = self;
        format!(
            "connectors:
  {id}:
    connector.class: kinesis-sink
    topics: {id}
    tasks.max: 2
    kinesis: {{stream: {}, endpoint: \"{url}\", region: us-east-1}}
",
            stream.name
        )
    }

    fn env(&self) -> Vec<(&str, &str)> {
        vec![("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]
    }

    fn put(&self, numbers: Range<i64>) {
        self.input.put(numbers, |n| json!({"n": n, "text": text(n)}).to_string());
    }

    fn is_settled(&self, count: i64) -> bool {
        self.input.is_committed(count)
    }

    fn account(&self, count: i64) -> Account {
        let mut arrived = Arrived::new();
        for data in block_on(self.stream.data()) {
            let row: Value = serde_json::from_str(&data).unwrap();
            *arrived.entry(row["n"].as_i64().unwrap()).or_default() += 1;
        }
        Account::of(0..count, arrived)
    }
}
