//! Partitions that come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use connector_core::{
    Assignment, ConnectError, Delivery, MemoryPermit, Offset, Result, Sink, TopicPartition,
};

use super::{Running, SinkTask};
use crate::task::feed::{Fetched, Membership, Piece, Records, Standing, Unfinished};
use crate::task::flush::{Due, Ledger};
use crate::task::pipeline::Pipeline;
use crate::task::recipe::Packed;
use crate::task::retry;
use crate::task::status::{AT_LEAST_ONCE, Counters, EXACTLY_ONCE};

/// Trouble of the consumer is over if it is not repeated for so long.
const HEARD_AGAIN: Duration = Duration::from_secs(90);

/// A sink and what comes before it, as a configuration has them.
pub struct Engine {
    pub sink: Arc<dyn Sink>,
    pub pipeline: Pipeline,
}

/// Partitions that were asked back.
pub(super) struct Leaving {
    pub partitions: Vec<TopicPartition>,
    /// The group goes on when this is dropped.
    done: std_mpsc::Sender<()>,
}

impl Running {
    pub(super) async fn membership(&mut self, event: Membership) -> Result<()> {
        match event {
            Membership::Assigned { partitions, epoch } => {
                let outcome = self.assigned(partitions, epoch).await;
                self.task.status.rebalanced();
                outcome
            }
            Membership::Revoked { partitions, lost: true, done } => {
                self.forget(&partitions).await;
                drop(done);
                Ok(())
            }
            Membership::Revoked { partitions, lost: false, done } => {
                self.task.status.rebalancing();
                if self.task.flush_on_stop {
                    let given = self.ledgers.iter_mut().filter(|(tp, _)| partitions.contains(tp));
                    given.for_each(|(_, ledger)| ledger.force(Due::Written));
                }
                self.leaving.push(Leaving { partitions, done });
                Ok(())
            }
            Membership::Trouble(error) => {
                let (connector, task) = (&self.task.status.connector, self.task.status.task);
                tracing::warn!(connector, task, "{}", self.task.status.redact(&error.to_string()));
                self.task.status.trouble(error.to_string(), HEARD_AGAIN);
                Ok(())
            }
            Membership::Failed(error) => Err(error),
        }
    }

    /// Gives back partitions of which nothing is due any more; the others go on meanwhile.
    pub(super) async fn see_off(&mut self) {
        if self.publishing.is_some() || self.torn {
            return;
        }
        for Leaving { partitions, done } in std::mem::take(&mut self.leaving) {
            self.forget(&partitions).await;
            drop(done);
        }
    }

    async fn assigned(&mut self, partitions: Vec<TopicPartition>, epoch: u64) -> Result<()> {
        if !self.leaving.is_empty() {
            // The group did not wait for them any longer.
            self.end_publishing().await;
            self.ledgers.values_mut().for_each(Ledger::refused);
            self.see_off().await;
        }
        for tp in &partitions {
            self.ledgers.insert(tp.clone(), Ledger::new(tp.clone(), epoch, self.task.direct));
            self.task.status.set_lag(tp, 0);
        }
        let mut topics: Vec<_> = partitions.iter().map(|tp| tp.topic.clone()).collect();
        topics.dedup();
        let (status, stop) = (self.task.status.clone(), self.task.stop.clone());
        let reader = self.feed.reader.clone();
        let _step = status.pulse.begin("opening partitions");
        let ids = retry::with_backoff(&status, &stop, || reader.topic_ids(&topics)).await?;
        let assignment = |tp: &TopicPartition| Assignment {
            partition: tp.clone(),
            topic_id: ids.get(&tp.topic).cloned().unwrap_or_else(|| "".into()),
        };
        let all: Vec<_> = partitions.iter().map(assignment).collect();
        let resume = retry::with_backoff(&status, &stop, || self.task.sink.open(&all)).await?;
        let standings =
            retry::with_backoff(&status, &stop, || reader.standings(&partitions, &resume)).await?;
        for assignment in &all {
            if let Some(standing) = standings.get(&assignment.partition) {
                self.stands(assignment, standing)?;
            }
        }
        for only in all.chunks(1).filter(|only| self.former.contains_key(&only[0].partition)) {
            let (tp, former) = (&only[0].partition, self.sink_of(&only[0].partition));
            self.task.sink.close(std::slice::from_ref(tp)).await?;
            retry::with_backoff(&status, &stop, || former.open(only)).await?;
        }
        self.tell_delivery();
        let at = |tp: &TopicPartition| resume.get(tp).or(standings.get(tp).map(|s| &s.offset)).copied();
        let at: Vec<(TopicPartition, Option<Offset>)> =
            partitions.iter().map(|tp| (tp.clone(), at(tp))).collect();
        retry::with_backoff(&status, &stop, || reader.resume(at.clone())).await?;
        status.beat();
        Ok(())
    }

    /// Takes note of where a partition begins, and of a range that somebody else began there.
    fn stands(&mut self, assignment: &Assignment, standing: &Standing) -> Result<()> {
        let tp = &assignment.partition;
        let Some(ledger) = self.ledgers.get_mut(tp) else { return Ok(()) };
        let end = standing.unfinished.as_ref().map(|unfinished| unfinished.end);
        ledger.begins(standing.offset, end);
        let Some(Unfinished { end, recipe, how }) = &standing.unfinished else { return Ok(()) };
        let (connector, task, start) = (&self.task.status.connector, self.task.status.task, standing.offset);
        tracing::info!(
            connector,
            task,
            "{tp}: publishing of the records {start} to {end} was interrupted, it is done again"
        );
        let ours = self.task.recipe.as_ref().map(|ours| &ours.fingerprint);
        let Some(fingerprint) = recipe.as_ref().filter(|recipe| Some(*recipe) != ours) else { return Ok(()) };
        let Some((text, restore)) = how.as_ref().zip(self.task.restore.as_ref()) else {
            let text = format!(
                "{tp}: the records {start} to {end} were being published with another configuration ({fingerprint}), which is \
                 too large to be kept"
            );
            return Err(ConnectError::user("recipe.unknown", text)
                .hint("start the connector once with its former configuration, then with the new one"));
        };
        tracing::info!(connector, task, "{tp}: up to {end} the former configuration holds");
        let engine = restore(text).map_err(|e| e.at(tp))?;
        let recipe = Packed { fingerprint: fingerprint.clone(), text: text.clone() };
        self.former.insert(tp.clone(), Formerly { engine, recipe, assignment: assignment.clone() });
        Ok(())
    }

    /// Nothing of a former configuration is left to do for this partition.
    pub(super) async fn end_former(&mut self, tp: &TopicPartition) -> Result<()> {
        let Some(Formerly { engine, assignment, .. }) = self.former.remove(tp) else { return Ok(()) };
        engine.sink.close(std::slice::from_ref(tp)).await?;
        let (status, stop) = (self.task.status.clone(), self.task.stop.clone());
        let opened = [assignment];
        retry::with_backoff(&status, &stop, || self.task.sink.open(&opened)).await.map(drop)
    }

    pub(super) fn sink_of(&self, tp: &TopicPartition) -> Arc<dyn Sink> {
        self.former.get(tp).map_or_else(|| self.task.sink.clone(), |former| former.engine.sink.clone())
    }

    pub(super) fn recipe_of(&self, tp: &TopicPartition) -> Option<Packed> {
        self.former.get(tp).map(|former| former.recipe.clone()).or_else(|| self.task.recipe.clone())
    }

    pub(super) fn pipeline_of(&self, tp: &TopicPartition) -> &Pipeline {
        self.former.get(tp).map_or(&self.task.pipeline, |former| &former.engine.pipeline)
    }

    fn tell_delivery(&self) {
        let SinkTask { sink, pipeline, status, direct, .. } = &self.task;
        let (delivery, reason) = match sink.delivery() {
            Delivery::SinkOffsets => (EXACTLY_ONCE, String::new()),
            Delivery::AtLeastOnce => (AT_LEAST_ONCE, String::new()),
            Delivery::StableRange if *direct => {
                (AT_LEAST_ONCE, "the positions of a source do not say where a range has ended".to_owned())
            }
            Delivery::StableRange => match (pipeline.unstable(), self.feed.reader.keeps_intents()) {
                (Some(transform), _) => (
                    AT_LEAST_ONCE,
                    format!("the transform `{transform}` does not always make the same of the same record"),
                ),
                (None, Some(false)) => (AT_LEAST_ONCE, "the brokers keep no commit metadata".to_owned()),
                (None, _) => (EXACTLY_ONCE, String::new()),
            },
        };
        status.set_delivery(delivery, reason);
    }

    /// Takes what was fetched. What belongs to a range that a former owner has begun is published before the rest.
    pub(super) async fn receive(&mut self, fetched: Fetched) -> Result<()> {
        self.task.status.beat();
        let tp = fetched.partition.clone();
        let Some(ledger) = self.ledgers.get_mut(&tp).filter(|l| l.epoch == fetched.epoch) else {
            return Ok(());
        };
        if matches!(fetched.what, Piece::OutOfRange) {
            return self.out_of_range(&tp).await;
        }
        if matches!(fetched.what, Piece::End) && ledger.owes() {
            ledger.completes_owed();
            self.publish_owed(&tp).await?;
            return self.take(fetched).await;
        }
        if !ledger.owes() {
            return self.take(fetched).await;
        }
        let Fetched { epoch, partition, what } = fetched;
        let Piece::Records(records) = what else {
            return self.take(Fetched { epoch, partition, what }).await;
        };
        let owed = {
            let offsets = connector_core::Envelope::of(&records.records)?.offsets().cloned();
            offsets.and_then(|offsets| ledger.owed_rows(&offsets)).unwrap_or(0)
        };
        let rows = records.records.num_rows();
        let Records { records, permit, last_offset, high_watermark, whole } = records;
        let part = |from: usize, to: usize, permit| {
            let records = records.slice(from, to - from);
            Piece::Records(Records { records, permit, last_offset, high_watermark, whole })
        };
        // The memory counts until the last of its records are published.
        let (before, behind) = match owed == rows {
            true => (permit, MemoryPermit::none()),
            false => (MemoryPermit::none(), permit),
        };
        if owed > 0 {
            let head = part(0, owed, before);
            self.take(Fetched { epoch, partition: tp.clone(), what: head }).await?;
        }
        let Some(ledger) = self.ledgers.get_mut(&tp) else { return Ok(()) };
        if owed < rows {
            ledger.completes_owed();
        }
        if ledger.has_read_owed() {
            self.publish_owed(&tp).await?;
        }
        let Some(ledger) = self.ledgers.get(&tp) else { return Ok(()) };
        if owed == rows || ledger.owes() {
            return Ok(());
        }
        self.take(Fetched { epoch, partition, what: part(owed, rows, behind) }).await
    }

    /// The next record is not there: goes on where there is one, or says why not.
    async fn out_of_range(&mut self, tp: &TopicPartition) -> Result<()> {
        let (status, stop, reader) =
            (self.task.status.clone(), self.task.stop.clone(), self.feed.reader.clone());
        let at = self.ledgers.get(tp).and_then(Ledger::read_end).unwrap_or(0);
        let next = retry::with_backoff(&status, &stop, || reader.beyond(tp, at)).await?;
        if let Some(lost) = u64::try_from(next - at).ok().filter(|lost| *lost > 0) {
            let (connector, task) = (&status.connector, status.task);
            tracing::error!(
                connector,
                task,
                lost,
                "{tp}: {lost} records ({at} to {next}) expired in Kafka before they were read; reading goes on at {next} \
                 (raise the topic's retention, or make the connector faster)"
            );
            status.counters.lost_before.fetch_add(lost, std::sync::atomic::Ordering::Relaxed);
        }
        if let Some(ledger) = self.ledgers.get_mut(tp) {
            ledger.skips_to(next);
            if !ledger.owes() {
                self.end_former(tp).await?;
            }
        }
        let to = vec![(tp.clone(), Some(next))];
        retry::with_backoff(&status, &stop, || reader.resume(to.clone())).await
    }

    /// Drops what was not published of these partitions; their next owner reads it again.
    pub(super) async fn forget(&mut self, partitions: &[TopicPartition]) {
        let (mut ours, mut former): (Vec<TopicPartition>, Vec<_>) = (Vec::new(), Vec::new());
        for tp in partitions {
            match self.former.remove(tp) {
                Some(Formerly { engine, .. }) => former.push((engine, tp.clone())),
                None => ours.push(tp.clone()),
            }
        }
        let mut closed = self.task.sink.close(&ours).await;
        for (engine, tp) in former {
            closed = closed.and(engine.sink.close(&[tp]).await);
        }
        if let Err(error) = closed {
            tracing::warn!(connector = self.task.status.connector, "closing partitions failed: {error}");
        }
        for tp in partitions {
            let given_back = self.ledgers.remove(tp).map_or(0, |ledger| ledger.given_back());
            Counters::add(&self.task.status.counters.given_back, given_back);
            self.at_end.remove(tp);
            self.task.status.forget_partition(tp);
        }
    }
}

/// A configuration that still has a range to publish.
pub(super) struct Formerly {
    engine: Engine,
    recipe: Packed,
    assignment: Assignment,
}

/// By partition.
pub(super) type Former = BTreeMap<TopicPartition, Formerly>;
