//! The way of records through a sink task: from the feed through the pipeline into the sink, or refused.

use std::time::Instant;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use connector_core::{
    Batch, ConnectError, Envelope, Rejection, Result, Run, Stage, TopicPartition, failpoint,
};
use tracing::Instrument;

use super::Running;
use crate::config::Tolerance;
use crate::kafka::dead_letters::Letter;
use crate::task::errors::Whereabouts;
use crate::task::feed::{Fetched, Piece, Records};
use crate::task::flush::Due;
use crate::task::pipeline::Refused;
use crate::task::retry;
use crate::task::status::Counters;
use crate::telemetry::traces::step;

impl Running {
    pub(super) async fn take(&mut self, fetched: Fetched) -> Result<()> {
        let Fetched { epoch, partition: tp, what } = fetched;
        let Some(ledger) = self.ledgers.get_mut(&tp).filter(|l| l.epoch == epoch) else { return Ok(()) };
        let Records { records, permit, last_offset, high_watermark, whole } = match what {
            Piece::Records(records) => records,
            Piece::Refused(errors) => {
                return self.task.status.unreadable(self.task.tolerance, &format!("{tp}: "), errors);
            }
            Piece::End => {
                self.at_end.insert(tp);
                if self.task.direct {
                    self.source_ended();
                }
                return Ok(());
            }
            // See `receive`.
            Piece::OutOfRange => return Ok(()),
        };
        self.torn = !whole;
        let Some(offsets) = Envelope::of(&records)?.offsets() else {
            return Err(ConnectError::internal("feed", "a batch has no offsets"));
        };
        let skip = ledger.read(offsets, permit);
        let records = records.slice(skip, records.num_rows() - skip);
        if records.num_rows() == 0 {
            return Ok(());
        }
        Counters::add(&self.task.status.counters.read, records.num_rows());
        self.task.status.sample_read(records.num_rows());
        if high_watermark >= 0 {
            self.task.status.set_lag(&tp, (high_watermark - last_offset - 1).max(0));
        }
        failpoint::reach("sink.read");
        let status = &self.task.status;
        let (connector, task) = (status.connector.as_str(), status.task);
        let (topic, partition, count) = (&*tp.topic, tp.partition, records.num_rows());
        let span = step!("batch", connector, task, topic, partition, last_offset, records = count);
        self.write(&tp, records).instrument(span).await
    }

    fn source_ended(&mut self) {
        self.force = Due::Read;
        let (connector, task) = (&self.task.status.connector, self.task.status.task);
        tracing::info!(connector, task, "the source has come to its end");
        self.task.status.remark("the source has come to its end");
    }

    async fn write(&mut self, tp: &TopicPartition, records: RecordBatch) -> Result<()> {
        let status = self.task.status.clone();
        let counters = &status.counters;
        // The columns are shared: what a stage replaces is kept for the dead letter queue until the batch is written.
        let input = records.clone();
        let processed = self.pipeline_of(tp).process(Run::new(records), tp).await.map_err(|e| e.at(tp))?;
        Counters::add(&counters.filtered, processed.filtered);
        let mut rejected = processed.rejected;
        // Stages see whole batches; the first record that cannot go on is the one that a task fails of.
        rejected.sort_by_key(|(offset, _)| *offset);
        for (offset, refused) in rejected {
            self.reject(tp, &input, offset, refused).await?;
        }
        let direct = self.task.direct;
        for run in processed.runs {
            if let Some(topic) = run.topic.filter(|topic| !direct && **topic != *tp.topic) {
                let message = format!("{tp}: a transform sends records to topic `{topic}`");
                return Err(ConnectError::user("sink.topic", message).hint(
                    "a sink writes records under the topic that they were read from; drop the router",
                ));
            }
            let offsets = offsets_of(&run.records)?;
            let sink = self.sink_of(tp);
            let (step, began) = (status.pulse.begin("writing to the sink"), Instant::now());
            let mut written = retry::with_backoff(&status, &self.task.stop, || {
                sink.write(Batch::new(tp.clone(), run.records.clone()))
            })
            .instrument(step!("write", records = run.records.num_rows()))
            .await
            .map_err(|e| e.at(tp))?;
            drop(step);
            status.samples.put_ms.record_since(began);
            Counters::add(&counters.filtered, written.filtered);
            let rejected = std::mem::take(&mut written.rejected);
            let taken = without(&offsets, &rejected)?;
            for rejection in rejected {
                let offset = offsets.values().get(rejection.row).copied();
                self.reject(tp, &input, offset, Refused::by_sink(rejection.error)).await?;
            }
            if let Some(ledger) = self.ledgers.get_mut(tp) {
                ledger.wrote(taken, &written);
            }
        }
        Ok(())
    }

    /// Skips the record, or fails the task, as `errors.tolerance` says; either way it goes to the dead letter queue, if
    /// there is one. What a sink itself refuses is skipped only where the record leaves a trace, in a queue or the log, as
    /// in Connect. `input`: what the task was given, with the record in it.
    async fn reject(
        &mut self,
        tp: &TopicPartition,
        input: &RecordBatch,
        offset: Option<i64>,
        refused: Refused,
    ) -> Result<()> {
        let status = self.task.status.clone();
        let record = offset.map_or_else(|| tp.to_string(), |offset| format!("{tp} offset {offset}"));
        let origin = offset.and_then(|offset| self.feed.reader.place(offset));
        let answered = offset.is_some_and(|offset| self.feed.reader.refuse(offset, &refused.error));
        let own = offset.and_then(|offset| record_at(input, offset));
        status.record_failed(&refused, whereabouts(tp, own.as_ref(), origin.as_deref()));
        let place = origin.map_or_else(|| record.clone(), |origin| format!("{record} ({origin})"));

        let traced = refused.stage != Stage::TaskPut || status.has_reporter(self.task.dead_letters.is_some());
        let tolerated = answered || (self.task.tolerance == Tolerance::All && traced);
        // Whoever waits for the record was told, and has it.
        if let (Some(queue), Some(own), false) = (&self.task.dead_letters, own, answered) {
            let own = self.pipeline_of(tp).in_kafka(own).await?;
            let letter = Letter::of(tp, &own, &refused)?;
            match tolerated {
                true => queue.send(&letter).await?,
                false => queue.send_fatal(&letter).await?,
            }
        }
        if tolerated {
            Counters::add(&status.counters.rejected, 1);
            if !status.errors.log().enabled {
                status.told_skipped(&format!("{place}: "), &refused.error);
            }
            if let (Some(offset), Some(ledger)) = (offset, self.ledgers.get_mut(tp)) {
                ledger.rejected(offset);
            }
            return Ok(());
        }
        let is_put = refused.stage == Stage::TaskPut;
        let mut error = refused.error.no_retry();
        // A sink says the offset, but does not know where the record came from.
        if let Some(said) = error.message.strip_prefix(&format!("{record}: ")) {
            error.message = said.to_owned();
        }
        error = error.at(place);
        Err(match is_put {
            true => error,
            false => error.hint_if_none("errors.tolerance: all skips such records"),
        })
    }
}

/// The record with this offset, alone.
fn record_at(input: &RecordBatch, offset: i64) -> Option<RecordBatch> {
    let envelope = Envelope::of(input).ok()?;
    let row = envelope.offsets()?.values().binary_search(&offset).ok()?;
    Some(input.slice(row, 1))
}

fn whereabouts<'a>(
    partition: &'a TopicPartition,
    record: Option<&RecordBatch>,
    origin: Option<&'a str>,
) -> Option<Whereabouts<'a>> {
    if let Some(origin) = origin {
        return Some(Whereabouts::Polled(origin));
    }
    let envelope = Envelope::of(record?).ok()?;
    let timestamp = envelope.timestamps().and_then(|timestamps| timestamps.iter().next().flatten());
    Some(Whereabouts::Consumed { partition, offset: envelope.offsets()?.value(0), timestamp })
}

/// The offsets of the rows that were not refused.
fn without(offsets: &Int64Array, rejected: &[Rejection]) -> Result<Int64Array> {
    if rejected.is_empty() {
        return Ok(offsets.clone());
    }
    let mut keep = vec![true; offsets.len()];
    for rejection in rejected {
        if let Some(row) = keep.get_mut(rejection.row) {
            *row = false;
        }
    }
    let kept = arrow::compute::filter(offsets, &BooleanArray::from(keep))?;
    Ok(kept.as_primitive::<Int64Type>().clone())
}

fn offsets_of(records: &RecordBatch) -> Result<Int64Array> {
    Envelope::of(records)?.offsets().cloned().ok_or_else(|| {
        ConnectError::internal("transform", "a transform dropped the `offset` column")
            .hint("keep the envelope columns that are not changed")
    })
}
