//! The records of an S3 case, to be produced before it starts.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;

use crate::support::Record;

/// One recorded record.
#[derive(Deserialize)]
pub struct Input {
    pub topic: String,
    pub partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    #[serde(flatten)]
    data: BTreeMap<String, Value>,
    #[serde(default)]
    headers: Vec<BTreeMap<String, Value>>,
}

/// The records to produce; `rule` says in words which there are when `inputs` shows only the first.
pub fn records(inputs: &[Input], rule: Option<&str>) -> Result<Vec<Record>, String> {
    let mut next = BTreeMap::new();
    let mut records = Vec::new();
    for input in inputs {
        let next = next.entry((&input.topic, input.partition)).or_insert(0);
        if input.offset != *next {
            return Err("offsets with gaps cannot be produced".to_owned());
        }
        *next += 1;
        records.push(Record {
            topic: input.topic.clone(),
            partition: Some(input.partition),
            offset: input.offset,
            timestamp: input.timestamp,
            key: bytes(&input.data, "key"),
            value: bytes(&input.data, "value"),
            headers: input.headers.iter().map(header).collect(),
        });
    }
    match (rule, records.first()) {
        (Some(rule), Some(first)) => padded(rule, first).ok_or_else(|| format!("input_rule: {rule}")),
        _ => Ok(records),
    }
}

/// `name` as text, or `name_b64` as bytes.
fn bytes(of: &BTreeMap<String, Value>, name: &str) -> Option<Vec<u8>> {
    match (of.get(name).and_then(Value::as_str), of.get(&format!("{name}_b64")).and_then(Value::as_str)) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(base64)) => Some(BASE64.decode(base64).unwrap()),
        (None, None) => None,
    }
}

fn header(header: &BTreeMap<String, Value>) -> (String, Option<Vec<u8>>) {
    (header["key"].as_str().unwrap().to_owned(), bytes(header, "value"))
}

/// The one kind of rule: `600 records, i = 0..599: value {"id":i,"pad":10000 times the letter chr(97 + i mod 26)}`.
fn padded(rule: &str, first: &Record) -> Option<Vec<Record>> {
    let count: usize = rule.split_once(" records, i = 0..")?.0.parse().ok()?;
    let (_, value) = rule.split_once(": value {\"id\":i,\"pad\":")?;
    let (times, _) = value.split_once(" times the letter chr(97 + i mod 26)}")?;
    let times: usize = times.parse().ok()?;
    let record = |i: usize| {
        let letter = char::from(b'a' + (i % 26) as u8).to_string();
        let value = format!("{{\"id\":{i},\"pad\":\"{}\"}}", letter.repeat(times));
        Record { value: Some(value.into_bytes()), offset: i as i64, ..first.clone() }
    };
    Some((0..count).map(record).collect())
}
