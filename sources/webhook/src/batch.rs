//! From waiting requests to runs, and from acknowledgements back to the answers of the requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, StringArray};
use axum::http::StatusCode;
use connector_core::envelope::EnvelopeBuilder;
use connector_core::transform::Run;
use connector_core::{Ack, Form, Result};
use serde::Serialize;

use crate::intake::{Answer, Produce, Reply};
use crate::records::{Format, Record};
use crate::refusal::code;

/// Puts the records of several requests together: one run for each topic, explicit partition and format.
#[derive(Default)]
pub struct Assembly {
    runs: Vec<Group>,
    by_destination: HashMap<(Arc<str>, Option<i32>, Format), usize>,
    places: Vec<Place>,
    parts: Vec<Part>,
}

struct Group {
    topic: Arc<str>,
    partition: Option<i32>,
    format: Format,
    keys: Column,
    values: Column,
    rows: usize,
}

#[derive(Clone, Copy)]
struct Place {
    run: usize,
    row: usize,
}

/// The records of one request within a batch.
struct Part {
    records: usize,
    /// Of the request: those of this part and of the parts before it.
    records_so_far: usize,
    reply: Option<Reply>,
}

impl Assembly {
    pub fn add(&mut self, request: Produce) {
        let records = request.records.len();
        for record in request.records.iter() {
            let partition = record.partition.or(request.partition);
            let run = self.run(&request.topic, partition, request.records.format);
            if let Some(group) = self.runs.get_mut(run) {
                self.places.push(Place { run, row: group.rows });
                group.push(&record);
            }
        }
        self.parts.push(Part { records, records_so_far: request.polled + records, reply: request.reply });
    }

    fn run(&mut self, topic: &Arc<str>, partition: Option<i32>, format: Format) -> usize {
        // Most requests go where the one before went.
        if let Some(last) = self.places.last().map(|place| place.run)
            && self
                .runs
                .get(last)
                .is_some_and(|g| g.partition == partition && g.format == format && g.topic == *topic)
        {
            return last;
        }
        match self.by_destination.entry((Arc::clone(topic), partition, format)) {
            Entry::Occupied(run) => *run.get(),
            Entry::Vacant(entry) => {
                let (keys, values, topic) = (Column::default(), Column::default(), Arc::clone(topic));
                self.runs.push(Group { topic, partition, format, keys, values, rows: 0 });
                *entry.insert(self.runs.len() - 1)
            }
        }
    }

    pub fn finish(self) -> Result<(Vec<Run>, InFlight)> {
        let mut rows = 0;
        let starts: Vec<usize> = self.runs.iter().map(|group| (rows, rows += group.rows).0).collect();
        let ack_rows = self
            .places
            .iter()
            .map(|place| starts.get(place.run).map_or(0, |start| start + place.row))
            .collect();
        let runs = self.runs.into_iter().map(Group::finish).collect::<Result<_>>()?;
        Ok((runs, InFlight { ack_rows, parts: self.parts }))
    }
}

impl Group {
    fn push(&mut self, record: &Record<'_>) {
        self.keys.push(record.key);
        self.values.push(record.value);
        self.rows += 1;
    }

    fn finish(self) -> Result<Run> {
        let form = match self.format {
            Format::Json => Form::Document,
            Format::Binary => Form::Bytes,
        };
        let mut records = EnvelopeBuilder::new();
        if self.keys.any {
            records = records.key(form, self.keys.finish(form)?);
        }
        let records = records.value(form, self.values.finish(form)?).build()?;
        Ok(Run { partition: self.partition, ..Run::to_topic(self.topic, records) })
    }
}

#[derive(Default)]
struct Column {
    builder: BinaryBuilder,
    /// Whether there is anything but nulls.
    any: bool,
}

impl Column {
    fn push(&mut self, datum: Option<&[u8]>) {
        self.any |= datum.is_some();
        self.builder.append_option(datum);
    }

    fn finish(mut self, form: Form) -> Result<ArrayRef> {
        let bytes = self.builder.finish();
        Ok(if form == Form::Document {
            Arc::new(StringArray::try_from_binary(bytes)?)
        } else {
            Arc::new(bytes)
        })
    }
}

/// A batch that the host has, with the requests that wait for it.
pub struct InFlight {
    /// For each record, in the order of the requests: its row in the acknowledgements.
    ack_rows: Vec<usize>,
    parts: Vec<Part>,
}

impl InFlight {
    pub fn records(&self) -> usize {
        self.ack_rows.len()
    }

    /// Answers the requests. `begun` holds the records of a request whose last part comes with a later batch.
    pub fn answer(self, acks: &[Ack], begun: &mut Vec<RecordAnswer>) {
        let mut rows = self.ack_rows.iter();
        for part in self.parts {
            begun.extend(
                rows.by_ref().take(part.records).filter_map(|&row| acks.get(row)).map(RecordAnswer::of),
            );
            if let Some(reply) = part.reply {
                let complete = begun.len() == part.records_so_far;
                let answer = answer_of(&std::mem::take(begun));
                if complete {
                    // A client that is gone gets no answer; its records are in Kafka all the same.
                    let _ = reply.send(Ok(answer));
                }
            }
        }
    }
}

/// One entry of `offsets`.
#[derive(Debug, Serialize)]
pub struct RecordAnswer {
    partition: Option<i64>,
    offset: Option<i64>,
    error_code: Option<i32>,
    error: Option<String>,
}

impl RecordAnswer {
    fn of(ack: &Ack) -> Self {
        match &ack.error {
            None => Self {
                partition: ack.partition.parse().ok(),
                offset: ack.offset.parse().ok(),
                error_code: None,
                error: None,
            },
            Some(error) => Self {
                partition: None,
                offset: None,
                error_code: Some(error_code(error.code, error.retriable)),
                error: Some(error.message.clone()),
            },
        }
    }
}

/// REST Proxy's code for a record that was not written: `number` is one already, or Kafka's, or librdkafka's.
fn error_code(number: i32, retriable: bool) -> i32 {
    match number {
        10_000.. => number,
        // Topic, group, cluster and transactional id authorization.
        29 | 30 | 31 | 53 => code::NOT_AUTHORIZED,
        // SASL_AUTHENTICATION_FAILED, and librdkafka's _AUTHENTICATION.
        58 | -169 => code::NOT_AUTHENTICATED,
        _ if retriable => code::KAFKA_RETRIABLE,
        _ => code::KAFKA,
    }
}

fn answer_of(offsets: &[RecordAnswer]) -> Answer {
    #[derive(Serialize)]
    struct Produced<'a> {
        offsets: &'a [RecordAnswer],
        key_schema_id: Option<i32>,
        value_schema_id: Option<i32>,
    }
    let status = offsets.iter().find_map(|record| match record.error_code? {
        code::NOT_AUTHENTICATED => Some(StatusCode::UNAUTHORIZED),
        code::NOT_AUTHORIZED => Some(StatusCode::FORBIDDEN),
        _ => None,
    });
    let body = Produced { offsets, key_schema_id: None, value_schema_id: None };
    // Plain structs always serialize.
    Answer { status: status.unwrap_or(StatusCode::OK), body: serde_json::to_vec(&body).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_core::source::AckError;

    fn ack(partition: i32, offset: i64) -> Ack {
        Ack {
            destination: "t".into(),
            partition: partition.to_string(),
            offset: offset.to_string(),
            error: None,
        }
    }

    fn failed(code: i32, retriable: bool) -> Ack {
        let error = AckError { code, message: "Broker: no".to_owned(), retriable };
        Ack { destination: "t".into(), partition: String::new(), offset: String::new(), error: Some(error) }
    }

    fn body(acks: &[Ack]) -> (u16, String) {
        let answer = answer_of(&acks.iter().map(RecordAnswer::of).collect::<Vec<_>>());
        (answer.status.as_u16(), String::from_utf8(answer.body).unwrap())
    }

    #[test]
    fn success_is_worded_as_by_the_rest_proxy() {
        let expected = r#"{"offsets":[{"partition":0,"offset":565,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#;
        assert_eq!(body(&[ack(0, 565)]), (200, expected.to_owned()));
    }

    #[test]
    fn failed_records_answer_200_with_their_codes() {
        let (status, text) = body(&[ack(1, 7), failed(-192, true), failed(10, false)]);
        assert_eq!(status, 200);
        assert!(text.contains(r#"{"partition":1,"offset":7,"error_code":null,"error":null}"#), "{text}");
        let retriable = r#"{"partition":null,"offset":null,"error_code":50003,"error":"Broker: no"}"#;
        assert!(text.contains(retriable) && text.contains(r#""error_code":50002"#), "{text}");
    }

    #[test]
    fn a_record_that_may_not_be_written_makes_the_status_401_or_403() {
        assert_eq!(body(&[ack(0, 1), failed(29, false)]).0, 403);
        assert_eq!(body(&[failed(40301, false)]).0, 403);
        assert_eq!(body(&[failed(58, true), failed(29, false)]).0, 401);
    }
}
