//! The bodies that the routes of streams take, read as API Gateway's usual mapping templates read them, and checked in
//! Kinesis' words.

use std::fmt;

use axum::http::StatusCode;
use connector_core::json::compact;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::records::{Format, Records, Row, Span, span};
use crate::refusal::Refusal;

/// Kinesis takes no more in one request.
const MOST_RECORDS: usize = 500;
/// Kinesis takes partition keys of up to 256 characters.
const TOO_LONG: usize = 257;
const DEFAULT_SHARDS: i32 = 5;

const ONE: &str = r#"{"Data": …, "PartitionKey": "…"}"#;
const MANY: &str = r#"{"records": [{"data": …, "partition-key": "…"}]}"#;

/// Other fields, such as `StreamName`, mean nothing.
#[derive(Deserialize)]
struct PutRecord<'a> {
    #[serde(rename = "Data", borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "PartitionKey", borrow)]
    key: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PutRecords<'a> {
    #[serde(borrow, default, deserialize_with = "first_records")]
    records: (Vec<Entry<'a>>, usize),
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "partition-key", borrow)]
    key: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CreateStream<'a> {
    #[serde(rename = "ShardCount", borrow)]
    shards: Option<&'a RawValue>,
}

/// A body of [`ONE`]'s form. The record is `Data` as JSON, also when it is a string.
pub fn one_record(body: &[u8]) -> Result<Records, Refusal> {
    let request: PutRecord = read(body, ONE)?;
    let mut text = Vec::with_capacity(body.len());
    let data = request.data.map(|data| json(data, &mut text)).transpose()?;
    let row = row(data, request.key, &mut text, "", ONE)?;
    Ok(Records::new(Format::StreamJson, vec![row], text))
}

/// A body of [`MANY`]'s form. A string in `data` is the record's text as it stands, which clients send that encode rows
/// themselves; anything else is written as JSON.
pub fn many_records(body: &[u8]) -> Result<Records, Refusal> {
    let PutRecords { records: (entries, count) } = read(body, MANY)?;
    let length = |constraint: &str| {
        format!("Value at 'records' failed to satisfy constraint: Member must have length {constraint}")
    };
    if entries.is_empty() {
        return Err(invalid(&[length("greater than or equal to 1")], MANY));
    }
    if count > MOST_RECORDS {
        return Err(invalid(&[length("less than or equal to 500")], "send several requests"));
    }
    let mut text = Vec::with_capacity(body.len());
    let (mut rows, mut format) = (Vec::with_capacity(count), Format::StreamJson);
    for (index, entry) in entries.iter().enumerate() {
        let data = match entry.data {
            Some(data) if data.get().starts_with('"') => {
                format = Format::StreamText;
                Some(bare(data, &mut text)?)
            }
            data => data.map(|data| json(data, &mut text)).transpose()?,
        };
        rows.push(row(data, entry.key, &mut text, &format!("records.{}.member.", index + 1), MANY)?);
    }
    Ok(Records::new(format, rows, text))
}

/// A body of the form `{"ShardCount": n}`; 5 when it says nothing.
pub fn shard_count(body: &[u8]) -> Result<i32, Refusal> {
    let form = r#"{"ShardCount": 1}"#;
    let CreateStream { shards: Some(shards) } = read(body, form)? else { return Ok(DEFAULT_SHARDS) };
    shards.get().trim_matches('"').parse().map_err(|_| {
        let constraint = "Value at 'shardCount' failed to satisfy constraint: Member must be a whole number";
        invalid(&[constraint.to_owned()], form)
    })
}

/// No body at all has no fields.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, Refusal> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("at line {} column {} of the body", error.line(), error.column());
        match error.classify() {
            // What serde says of wrong data repeats it.
            Category::Data => malformed(format!("the body is not of the form {form} {place}")),
            _ => {
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                malformed(format!("{what} {place}"))
            }
        }
    })
}

/// Reads no more entries than Kinesis takes, but counts them all.
fn first_records<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(Vec<Entry<'a>>, usize), D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = (Vec<Entry<'de>>, usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok((Vec::new(), 0))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while entries.len() < MOST_RECORDS
                && let Some(entry) = items.next_element()?
            {
                entries.push(entry);
            }
            let mut count = entries.len();
            while items.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok((entries, count))
        }
    }
    deserializer.deserialize_any(First)
}

/// The row of a record, if it keeps the constraints. `place` is where it is in the request.
fn row(
    data: Option<Span>,
    key: Option<&RawValue>,
    text: &mut Vec<u8>,
    place: &str,
    form: &str,
) -> Result<Row, Refusal> {
    let mut violations = Vec::new();
    let mut violated = |value: &str, member: &str, constraint: &str| {
        violations.push(format!(
            "Value{value} at '{place}{member}' failed to satisfy constraint: Member must {constraint}"
        ));
    };
    if data.is_none() {
        violated(" null", "data", "not be null");
    }
    let key = key.map(|key| bare(key, text)).transpose()?;
    let characters = key.as_ref().map(|key| {
        let bytes = text.get(key.start as usize..key.end as usize).unwrap_or_default();
        String::from_utf8_lossy(bytes).chars().count()
    });
    match characters {
        None => violated(" null", "partitionKey", "not be null"),
        Some(0) => violated("", "partitionKey", "have length greater than or equal to 1"),
        Some(TOO_LONG..) => violated("", "partitionKey", "have length less than or equal to 256"),
        Some(_) => {}
    }
    if violations.is_empty() {
        return Ok(Row { key, value: data, partition: None });
    }
    Err(invalid(&violations, form))
}

/// A JSON value, made compact: order of keys, number text and escapes stay.
fn json(value: &RawValue, text: &mut Vec<u8>) -> Result<Span, Refusal> {
    let start = text.len();
    compact(value.get().as_bytes(), text)
        .map_err(|error| malformed(format!("{} at byte {} of the record", error.kind, error.position)))?;
    Ok(span(start, text))
}

/// The content of a string; anything else as it is written.
fn bare(value: &RawValue, text: &mut Vec<u8>) -> Result<Span, Refusal> {
    let start = text.len();
    if value.get().starts_with('"') {
        let content: String = serde_json::from_str(value.get())
            .map_err(|_| malformed("a string has half of a surrogate pair".to_owned()))?;
        text.extend_from_slice(content.as_bytes());
    } else {
        text.extend_from_slice(value.get().as_bytes());
    }
    Ok(span(start, text))
}

fn malformed(what: String) -> Refusal {
    Refusal::kinesis(StatusCode::BAD_REQUEST, "SerializationException", what)
}

/// Kinesis' words, without the values that it repeats, and the remedy after them.
fn invalid(violations: &[String], remedy: &str) -> Refusal {
    let (count, many) = (violations.len(), if violations.len() == 1 { "" } else { "s" });
    let message = format!("{count} validation error{many} detected: {} ({remedy})", violations.join("; "));
    Refusal::kinesis(StatusCode::BAD_REQUEST, "ValidationException", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Texts = Vec<(String, String)>;

    fn texts(records: &Records) -> Texts {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        records.iter().map(|record| (text(record.key), text(record.value))).collect()
    }

    fn one(body: &str) -> Texts {
        texts(&one_record(body.as_bytes()).unwrap())
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn data_is_compact_json_that_keeps_key_order_number_text_and_escapes() {
        let body = r#"{"StreamName": "ignored", "Data": {"b": 1.10, "a": "x\u2026  y", "c": [-0, 1e3 , null]}, "PartitionKey": "p 1"}"#;
        assert_eq!(one(body), [pair("p 1", r#"{"b":1.10,"a":"x\u2026  y","c":[-0,1e3,null]}"#)]);
    }

    #[test]
    fn data_that_was_encoded_before_stays_a_json_string() {
        for data in [r#""{\"ind\": 41}""#, r#""eyJpbmQiOiA0MX0=""#, "7", "false"] {
            assert_eq!(one(&format!(r#"{{"PartitionKey":"p","Data":{data}}}"#)), [pair("p", data)]);
        }
    }

    #[test]
    fn a_partition_key_is_a_text_and_anything_else_counts_as_it_is_written() {
        assert_eq!(one(r#"{"Data":1,"PartitionKey":"a\u00e9\n"}"#), [pair("a\u{e9}\n", "1")]);
        assert_eq!(one(r#"{"Data":1,"PartitionKey":17.0}"#), [pair("17.0", "1")]);
        assert_eq!(one(&format!(r#"{{"Data":1,"PartitionKey":"{}"}}"#, "é".repeat(256))).len(), 1);
    }

    #[test]
    fn several_records_are_json_and_strings_are_their_text() {
        let rows = r#"{"records": [{"data": {"ind": 1.0}, "partition-key": "a"}, {"partition-key": "b", "data": [2]}]}"#;
        let records = many_records(rows.as_bytes()).unwrap();
        assert_eq!(records.format, Format::StreamJson);
        assert_eq!(texts(&records), [pair("a", r#"{"ind":1.0}"#), pair("b", "[2]")]);
        let encoded = r#"{"records":[{"data":"{\"ind\": 1}","partition-key":"a"},{"data":{"ind": 2},"partition-key":"b"}]}"#;
        let records = many_records(encoded.as_bytes()).unwrap();
        assert_eq!(records.format, Format::StreamText);
        assert_eq!(texts(&records), [pair("a", r#"{"ind": 1}"#), pair("b", r#"{"ind":2}"#)]);
    }

    #[test]
    fn what_is_missing_or_too_long_is_refused_in_kinesis_words_by_place_and_never_shown() {
        let long = format!(r#"{{"Data":1,"PartitionKey":"hunter2{}"}}"#, "k".repeat(250));
        let cases = [
            (
                "",
                "2 validation errors detected: Value null at 'data' failed to satisfy constraint: Member must not be null; Value null at 'partitionKey'",
            ),
            (r#"{"index": {"title": "hunter2"}}"#, "2 validation errors detected"),
            (
                r#"{"Data": {"title": "hunter2"}}"#,
                "1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be null",
            ),
            (r#"{"Data": null, "PartitionKey": "hunter2"}"#, "Value null at 'data'"),
            (r#"{"Data": 1, "PartitionKey": ""}"#, "length greater than or equal to 1"),
            (&long, "length less than or equal to 256"),
        ];
        for (body, message) in cases {
            let refusal = one_record(body.as_bytes()).unwrap_err();
            let exception = refusal.exception.as_deref();
            assert_eq!((refusal.status.as_u16(), exception), (400, Some("ValidationException")), "{body}");
            assert!(refusal.message.contains(message), "{body}: {refusal:?}");
            assert!(!refusal.message.contains("hunter2"), "{body}: {refusal:?}");
        }
        let many = |body: &str| many_records(body.as_bytes()).unwrap_err().message.into_owned();
        let second = r#"{"records":[{"data":1,"partition-key":"a"},{"partition-key":"hunter2"}]}"#;
        assert!(many(second).contains("Value null at 'records.2.member.data'"));
        for empty in ["{}", r#"{"records":[]}"#, r#"{"records":null}"#, r#"{"ind": 41}"#] {
            assert!(many(empty).contains("at 'records' failed"), "{empty}");
        }
        let entries = vec![r#"{"data":1,"partition-key":"a"}"#; 501].join(",");
        assert!(many(&format!(r#"{{"records":[{entries}]}}"#)).contains("less than or equal to 500"));
    }

    #[test]
    fn what_is_no_json_object_is_refused_by_place_and_never_shown() {
        for (body, message) in [
            (r#""hunter2""#, "not of the form"),
            (r#"[{"Data":1}]"#, "not of the form"),
            (r#"{"Data": hunter2}"#, "expected value at line 1 column 10"),
            (r#"{"Data": {"a": "hunter2}"#, "EOF while parsing a string at line 1"),
            (r#"{"Data": 1, "PartitionKey": "\ud800"}"#, "surrogate"),
            (r#"{"Data":1,"Data":2}"#, "not of the form"),
            (r#"{"Data":1,"PartitionKey":"p"} x"#, "trailing characters at line 1"),
        ] {
            let refusal = one_record(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.exception.as_deref(), Some("SerializationException"), "{body}: {refusal:?}");
            assert!(refusal.message.contains(message), "{body}: {refusal:?}");
            assert!(!refusal.message.contains("hunter2"), "{body}: {refusal:?}");
        }
        let deep = format!(r#"{{"Data":{}"#, "[".repeat(100_000));
        assert!(one_record(deep.as_bytes()).is_err() && one_record(b"{\"Data\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_stream_has_five_shards_unless_the_body_says_so() {
        for (body, count) in [("", 5), ("{}", 5), (r#"{"ShardCount":null}"#, 5), (r#"{"ShardCount": 2}"#, 2)]
        {
            assert_eq!(shard_count(body.as_bytes()).unwrap(), count, "{body}");
        }
        assert_eq!(shard_count(br#"{"ShardCount":"3"}"#).unwrap(), 3);
        for body in [r#"{"ShardCount":1.5}"#, r#"{"ShardCount":"many"}"#, r#"{"ShardCount":{}}"#] {
            assert!(shard_count(body.as_bytes()).unwrap_err().message.contains("'shardCount'"), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_json_comes_through_as_the_same_json(text in "[\\[\\]{}\":,0-9a-z \\\\-]{0,40}") {
            let body = format!(r#"{{"Data":{text},"PartitionKey":"p","records":[{{"data":{text},"partition-key":1}}]}}"#);
            let (one, many) = (one_record(body.as_bytes()), many_records(body.as_bytes()));
            if let Ok(was) = serde_json::from_str::<serde_json::Value>(&text)
                && !was.is_null()
            {
                let is: serde_json::Value = serde_json::from_str(&texts(&one.unwrap())[0].1).unwrap();
                prop_assert_eq!(was, is);
                prop_assert!(many.is_ok());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let refusals = [one_record(&body).err(), many_records(&body).err(), shard_count(&body).err()];
            prop_assert!(refusals.iter().flatten().all(|refusal| refusal.status == StatusCode::BAD_REQUEST));
        }
    }
}
