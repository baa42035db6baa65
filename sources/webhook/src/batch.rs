//! From waiting requests to runs, and from acknowledgements back to the answers of the requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, StringArray};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::transform::Run;
use connector_core::{Ack, Form, Result};

use crate::answer::RecordAnswer;
use crate::intake::{Produce, Reply};
use crate::records::{Format, Record};

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
        let (key, value) = match self.format {
            Format::Json => (Form::Document, Form::Document),
            Format::Binary | Format::StreamText => (Form::Bytes, Form::Bytes),
            Format::StreamJson => (Form::Bytes, Form::Document),
        };
        let mut records = EnvelopeBuilder::new();
        if self.keys.any {
            records = records.key(key, self.keys.finish(key)?);
        }
        let records = records.value(value, self.values.finish(value)?).build()?;
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
                let answers = std::mem::take(begun);
                if complete {
                    // A client that is gone gets no answer; its records are in Kafka all the same.
                    let _ = reply.send(Ok(answers));
                }
            }
        }
    }
}
