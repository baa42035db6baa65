//! One polled batch on its way to Kafka: transformed and encoded once, sent as often as it takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use connector_core::envelope::OFFSET;
use connector_core::{
    Ack, ConnectError, Envelope, Offset, Result, Run, SourceBatch, SourceOffset, TopicPartition,
};

use super::SourceTask;
use super::sender::Sender;
use super::sent::{Failure, Origins, Sent, proxy_code, refuse};
use crate::config::Tolerance;
use crate::kafka::producer::Record;
use crate::task::errors::Whereabouts;
use crate::task::pipeline::Refused;
use crate::task::status::Counters;

/// The REST proxy's code of a record that cannot be processed.
const UNPROCESSABLE: i32 = 42206;

pub struct Outgoing {
    pub offset: SourceOffset,
    /// Rows that came from the source.
    pub total: usize,
    pub filtered: usize,
    /// Rows that go no further, of a source that does not answer for them.
    pub rejected: usize,
    /// As Kafka takes them.
    pub runs: Vec<Run>,
    pub origins: Arc<Origins>,
    /// One a row of the polled batch, only if the source wants them.
    pub acks: Option<Vec<Ack>>,
    /// Indexes of records that Kafka refuses: they are not sent again.
    pub refused: BTreeSet<usize>,
}

impl SourceTask {
    /// Transforms and encodes what was polled. `numbers`: of the next record, so that a row is known after transforms.
    pub(super) async fn prepare(&self, batch: SourceBatch, numbers: &mut Offset) -> Result<Outgoing> {
        let total: usize = batch.runs.iter().map(|r| r.records.num_rows()).sum();
        Counters::add(&self.status.counters.read, total);
        self.status.sample_read(total);
        let unknown =
            Ack { destination: "".into(), partition: String::new(), offset: String::new(), error: None };
        let base = *numbers;
        let mut outgoing = Outgoing {
            offset: batch.offset,
            total,
            filtered: 0,
            rejected: 0,
            runs: Vec::with_capacity(batch.runs.len()),
            origins: Arc::new(Origins::of(&[], base)?),
            acks: self.source.wants_acks().then(|| vec![unknown; total]),
            refused: BTreeSet::new(),
        };
        self.status.unreadable(self.tolerance, "", batch.rejected)?;
        for run in batch.runs {
            let topic = run.topic.clone().ok_or_else(|| {
                ConnectError::internal("source.topic", "the source gave records without a topic")
            })?;
            let run = Run { records: number(&run.records, *numbers)?, ..run };
            *numbers += i64::try_from(run.records.num_rows()).unwrap_or(0);
            // Which partition it will be is decided when it is written.
            let origin = TopicPartition::new(topic, -1);
            let processed = self.pipeline.process(run, &origin).await?;
            outgoing.filtered += processed.filtered;
            for (number, rejection) in processed.rejected {
                let row = number.and_then(|number| usize::try_from(number - base).ok());
                self.reject(&mut outgoing, &origin.topic, row, rejection, UNPROCESSABLE)?;
            }
            outgoing.runs.extend(processed.runs);
        }
        outgoing.origins = Arc::new(Origins::of(&outgoing.runs, base)?);
        Ok(outgoing)
    }

    /// A record goes no further: its source answers for it, with `code`, or it is skipped, or it ends the task. `row`: of
    /// the polled batch.
    fn reject(
        &self,
        outgoing: &mut Outgoing,
        topic: &Arc<str>,
        row: Option<usize>,
        refused: Refused,
        code: i32,
    ) -> Result<()> {
        let origin = row.and_then(|row| self.source.place(outgoing.offset.token, row));
        self.status.record_failed(&refused, origin.as_deref().map(Whereabouts::Polled));
        outgoing.rejected += 1;
        if let Some(acks) = &mut outgoing.acks {
            if let Some(ack) = acks.get_mut(row.unwrap_or(0)) {
                *ack = refuse(topic.clone(), code, &refused.error);
            }
            return Ok(());
        }
        let place = match origin {
            Some(origin) => format!("a record for topic `{topic}` ({origin})"),
            None => format!("a record for topic `{topic}`"),
        };
        match self.tolerance {
            Tolerance::All => {
                if !self.status.errors.log().enabled {
                    self.status.told_skipped(&format!("{place}: "), &refused.error);
                }
                Ok(())
            }
            Tolerance::None => Err(refused.error.no_retry().at(place)),
        }
    }

    /// As `reject`, of a record that Kafka refuses.
    pub(super) fn refused(&self, outgoing: &mut Outgoing, failure: Failure) -> Result<()> {
        outgoing.refused.insert(failure.index);
        let origins = outgoing.origins.clone();
        let Some((topic, row)) = origins.find(failure.index) else { return Err(failure.error.no_retry()) };
        let code = proxy_code(&failure.error);
        self.reject(outgoing, topic, Some(row), Refused::by_kafka(failure.error), code)
    }
}

impl Outgoing {
    /// Nothing of it has to be stored anywhere.
    pub fn is_empty(&self) -> bool {
        self.records() == 0 && self.offset.positions.is_empty()
    }

    /// Records that are to be sent.
    pub fn records(&self) -> usize {
        self.runs.iter().map(|run| run.records.num_rows()).sum::<usize>() - self.refused.len()
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.records.get_array_memory_size()).sum()
    }

    /// Gives its records to the producer; what becomes of them is in `sent`.
    pub async fn send(&self, sender: &Sender, sent: &Arc<Sent>) -> Result<()> {
        let (mut parts, mut index) = (sender.parts(sent), 0);
        for run in &self.runs {
            let envelope = Envelope::of(&run.records)?;
            let topic = run.topic.as_deref().unwrap_or_default();
            let not_bytes = || ConnectError::internal("source.encode", "a record was not turned into bytes");
            let values = envelope.value().as_binary_opt::<i32>().ok_or_else(not_bytes)?;
            let keys = match envelope.key() {
                Some(keys) => Some(keys.as_binary_opt::<i32>().ok_or_else(not_bytes)?),
                None => None,
            };
            let (timestamps, headers) = (envelope.timestamps(), envelope.headers());
            let rows = run.records.num_rows();
            sent.expect(rows - self.refused.range(index..index + rows).count());
            for row in 0..rows {
                let here = index;
                index += 1;
                if !self.refused.is_empty() && self.refused.contains(&here) {
                    continue;
                }
                let record = Record {
                    topic,
                    partition: run.partition,
                    key: keys.filter(|k| k.is_valid(row)).map(|k| k.value(row)),
                    value: values.is_valid(row).then(|| values.value(row)),
                    timestamp: timestamps.filter(|t| t.is_valid(row)).map(|t| t.value(row)),
                    headers: headers.map(|h| headers_of(h, row)).unwrap_or_default(),
                };
                parts.send(&record, here).await;
            }
        }
        parts.end().await;
        sent.all_sent();
        Ok(())
    }
}

/// The batch with its records numbered from `first`.
pub(in crate::task) fn number(records: &RecordBatch, first: Offset) -> Result<RecordBatch> {
    let rows = i64::try_from(records.num_rows()).unwrap_or(0);
    let numbers: Int64Array = (first..first + rows).collect::<Vec<_>>().into();
    let field = arrow::datatypes::Field::new(OFFSET, arrow::datatypes::DataType::Int64, false);
    connector_core::envelope::with_column(records, field, Arc::new(numbers))
}

fn headers_of(headers: &arrow::array::ListArray, row: usize) -> Vec<(&str, Option<&[u8]>)> {
    let entries = headers.values().as_struct_opt();
    let (Some(entries), Some(range)) =
        (entries, headers.offsets().windows(2).nth(row).map(|w| w[0] as usize..w[1] as usize))
    else {
        return Vec::new();
    };
    let (Some(names), Some(values)) =
        (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_binary_opt::<i32>())
    else {
        return Vec::new();
    };
    range.map(|at| (names.value(at), values.is_valid(at).then(|| values.value(at)))).collect()
}
