//! What every sink keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use futures::future::BoxFuture;

use super::{check_configuration, ok, records_with, unique};
use crate::batch::{Assignment, Batch, Offset, TopicPartition};
use crate::component::{Component, TaskInfo};
use crate::config::ConfigMap;
use crate::envelope::{Envelope, Form, Needs};
use crate::sink::{Delivery, FlushRange, Sink, Written};

type Records = Arc<dyn Fn(&TopicPartition, Range<Offset>) -> RecordBatch + Send + Sync>;
type ReadBack = Arc<dyn Fn() -> BoxFuture<'static, Vec<(TopicPartition, Offset)>> + Send + Sync>;

/// A sink, a configuration that works, and a way to see what its target holds.
#[derive(Clone)]
pub struct SinkCase {
    component: Component,
    config: ConfigMap,
    records: Option<Records>,
    form: Option<Form>,
    read_back: ReadBack,
}

impl SinkCase {
    /// `read_back` lists each record that a reader of the target would see now, in any order (nothing when the target
    /// does not exist yet). [`super::position_of`] tells it from a value, unless [`SinkCase::records`] makes others.
    pub fn new<F>(
        component: Component,
        config: ConfigMap,
        read_back: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<(TopicPartition, Offset)>> + Send + 'static,
    {
        Self {
            component,
            config,
            records: None,
            form: None,
            read_back: Arc::new(move || Box::pin(read_back())),
        }
    }

    /// For a sink that takes what the converter makes, but not every form of it: the form of the suite's values.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = Some(form);
        self
    }

    /// For a sink that needs columns: one record for each offset, such that `read_back` can tell them apart.
    #[must_use]
    pub fn records(
        mut self,
        records: impl Fn(&TopicPartition, Range<Offset>) -> RecordBatch + Send + Sync + 'static,
    ) -> Self {
        self.records = Some(Arc::new(records));
        self
    }
}

/// Runs the suite on the sink as it is, then through the loopback of the plugin boundary.
pub async fn run_both(case: &SinkCase) {
    run(case).await;
    run(&SinkCase { component: crate::abi::loopback(case.component.clone()), ..case.clone() }).await;
}

/// Runs the suite. Each scenario uses a topic of its own, so one target serves many runs.
pub async fn run(case: &SinkCase) {
    let before = (case.read_back)().await;
    check_configuration(&case.component, &case.config);
    assert_eq!(
        before,
        (case.read_back)().await,
        "conformance: validating a configuration changed the target"
    );

    let suite = Suite { case, run: unique() };
    suite.publishes_each_flushed_record().await;
    suite.later_records_may_come_between_flush_and_commit().await;
    suite.a_cut_is_a_function_of_the_records().await;
    suite.a_range_may_end_at_a_cut().await;
    suite.the_same_range_again_after_a_crash().await;
    suite.close_drops_the_tail().await;
    suite.partitions_come_and_go().await;
    suite.nulls_are_accounted_for().await;
}

struct Suite<'a> {
    case: &'a SinkCase,
    run: u32,
}

impl Suite<'_> {
    fn partition(&self, scenario: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(format!("{scenario}-{}", self.run), partition)
    }

    fn sink(&self) -> Arc<dyn Sink> {
        let SinkCase { component, config, .. } = self.case;
        let task = TaskInfo { connector: "conformance".to_owned(), ..TaskInfo::default() };
        let made = component.check(config).and_then(|config| component.create_sink(&config, &task));
        made.unwrap_or_else(|problems| panic!("conformance: creating the sink failed: {problems:?}"))
    }

    fn form(&self, sink: &dyn Sink) -> Form {
        self.case.form.unwrap_or_else(|| match sink.needs() {
            Needs::Any | Needs::Bytes => Form::Bytes,
            Needs::Document => Form::Document,
            Needs::Columns(_) => Form::Columns,
        })
    }

    fn batch(&self, sink: &dyn Sink, partition: &TopicPartition, offsets: Range<Offset>) -> Batch {
        let records = match &self.case.records {
            Some(records) => records(partition, offsets),
            None => records_with(self.form(sink), partition, offsets, |_| false),
        };
        Batch::new(partition.clone(), records)
    }

    async fn write(&self, sink: &dyn Sink, partition: &TopicPartition, offsets: Range<Offset>) -> Written {
        let batch = self.batch(sink, partition, offsets.clone());
        let written = ok(sink.write(batch).await, format_args!("writing {partition} {offsets:?}"));
        assert!(
            written.rejected.is_empty() && written.filtered == 0,
            "conformance: {partition} {offsets:?}: the suite's own records were rejected or filtered: {written:?}"
        );
        if let Some(cut) = written.cut {
            assert!(
                cut <= offsets.end,
                "conformance: {partition}: cut {cut} lies past the last record written"
            );
        }
        written
    }

    async fn publish(&self, sink: &dyn Sink, ranges: &[(&TopicPartition, Range<Offset>)]) {
        let staged = ok(sink.flush(&flush_ranges(ranges)).await, format_args!("flushing {ranges:?}"));
        ok(sink.commit(&staged).await, format_args!("committing {ranges:?}"));
    }

    /// Opens partitions; where reading starts, which is 0 unless the sink says otherwise.
    async fn open(
        &self,
        sink: &dyn Sink,
        partitions: &[&TopicPartition],
    ) -> BTreeMap<TopicPartition, Offset> {
        let partitions: Vec<_> = partitions.iter().map(|&p| p.clone()).collect();
        let assigned: Vec<_> = partitions.iter().cloned().map(Assignment::from).collect();
        let resume = ok(sink.open(&assigned).await, format_args!("opening {partitions:?}"));
        for partition in resume.keys() {
            assert!(
                partitions.contains(partition),
                "conformance: open names {partition}, which was not opened"
            );
        }
        partitions.into_iter().map(|p| (p.clone(), resume.get(&p).copied().unwrap_or(0))).collect()
    }

    async fn visible(&self, partition: &TopicPartition) -> Vec<Offset> {
        let all = (self.case.read_back)().await;
        let mut offsets: Vec<_> = all.into_iter().filter(|(p, _)| p == partition).map(|(_, o)| o).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Exactly these records are visible, or for an at-least-once sink at least these.
    async fn expect(&self, sink: &dyn Sink, partition: &TopicPartition, wanted: Range<Offset>, when: &str) {
        let found = self.visible(partition).await;
        if sink.delivery() == Delivery::AtLeastOnce {
            let found: BTreeSet<_> = found.into_iter().collect();
            let lost: Vec<_> = wanted.filter(|offset| !found.contains(offset)).collect();
            assert!(lost.is_empty(), "conformance: {when}: {partition} lacks offsets {lost:?}");
        } else {
            let wanted: Vec<_> = wanted.collect();
            assert_eq!(
                found, wanted,
                "conformance: {when}: {partition} does not hold each record exactly once"
            );
        }
    }

    async fn publishes_each_flushed_record(&self) {
        let sink = self.sink();
        let (a, b) = (self.partition("publish", 0), self.partition("publish", 1));
        self.open(&*sink, &[&a, &b]).await;
        let mut cuts = BTreeMap::new();
        for (partition, offsets) in [(&a, 0..4), (&b, 0..3), (&a, 4..4), (&a, 4..9), (&b, 3..8), (&a, 9..10)]
        {
            let written = self.write(&*sink, partition, offsets).await;
            let last = cuts.entry(partition).or_insert(0);
            let cut = written.cut.unwrap_or(*last);
            assert!(cut >= *last, "conformance: {partition}: the cut went back from {last} to {cut}");
            *last = cut;
        }
        let ranges = [(&a, 0..10), (&b, 0..8)];
        // A retry repeats a step with the same arguments.
        ok(sink.flush(&flush_ranges(&ranges)).await, "flushing");
        let staged = ok(sink.flush(&flush_ranges(&ranges)).await, "flushing the same ranges again");
        ok(sink.commit(&staged).await, "committing");
        ok(sink.commit(&staged).await, "committing the same token again");
        self.expect(&*sink, &a, 0..10, "after flush and commit").await;
        self.expect(&*sink, &b, 0..8, "after flush and commit").await;
        ok(sink.close(&[a.clone(), b.clone()]).await, "closing");
        self.expect(&*sink, &a, 0..10, "after close").await;
    }

    async fn later_records_may_come_between_flush_and_commit(&self) {
        let (sink, a) = (self.sink(), self.partition("overlap", 0));
        self.open(&*sink, &[&a]).await;
        self.write(&*sink, &a, 0..5).await;
        let staged = ok(sink.flush(&flush_ranges(&[(&a, 0..5)])).await, "flushing");
        self.write(&*sink, &a, 5..9).await;
        ok(sink.commit(&staged).await, "committing after a later write");
        self.expect(&*sink, &a, 0..5, "a commit publishes its range and nothing beyond").await;
        self.publish(&*sink, &[(&a, 5..9)]).await;
        self.expect(&*sink, &a, 0..9, "after the second commit").await;
        ok(sink.close(&[a]).await, "closing");
    }

    async fn a_cut_is_a_function_of_the_records(&self) {
        let mut cuts = Vec::new();
        for step in [1, 4, 20] {
            let (sink, a) = (self.sink(), self.partition("cut", step));
            self.open(&*sink, &[&a]).await;
            let mut cut = None;
            for start in (0..20).step_by(step as usize) {
                let written = self.write(&*sink, &a, start..(start + Offset::from(step)).min(20)).await;
                cut = written.cut.or(cut);
            }
            cuts.push(cut);
            ok(sink.close(&[a]).await, "closing");
        }
        assert!(
            cuts.iter().all(|cut| *cut == cuts[0]),
            "conformance: 20 records in steps of 1, 4 and 20 end at different cuts: {cuts:?}"
        );
    }

    async fn a_range_may_end_at_a_cut(&self) {
        let (sink, a) = (self.sink(), self.partition("ends", 0));
        self.open(&*sink, &[&a]).await;
        let Some(cut) = self.write(&*sink, &a, 0..20).await.cut.filter(|cut| (1..20).contains(cut)) else {
            ok(sink.close(&[a]).await, "closing");
            return;
        };
        self.publish(&*sink, &[(&a, 0..cut)]).await;
        self.expect(&*sink, &a, 0..cut, "a range that ends at a cut").await;
        self.publish(&*sink, &[(&a, cut..20)]).await;
        self.expect(&*sink, &a, 0..20, "the rest after a cut").await;
        ok(sink.close(&[a]).await, "closing");
    }

    /// Both crashes that can leave work half done: before the commit, and before the offsets were stored.
    async fn the_same_range_again_after_a_crash(&self) {
        for committed in [false, true] {
            let scenario = if committed { "crash-after-commit" } else { "crash-before-commit" };
            let (first, a) = (self.sink(), self.partition(scenario, 0));
            self.open(&*first, &[&a]).await;
            self.write(&*first, &a, 0..6).await;
            let staged = ok(first.flush(&flush_ranges(&[(&a, 0..6)])).await, "flushing");
            if committed {
                ok(first.commit(&staged).await, "committing");
            }
            drop((staged, first));

            let sink = self.sink();
            let resume = self.open(&*sink, &[&a]).await[&a];
            if sink.delivery() == Delivery::SinkOffsets {
                let wanted = if committed { 6 } else { 0 };
                assert_eq!(resume, wanted, "conformance: {scenario}: open resumes at the wrong offset");
            }
            if resume < 6 {
                self.write(&*sink, &a, resume..6).await;
                self.publish(&*sink, &[(&a, resume..6)]).await;
            }
            self.expect(&*sink, &a, 0..6, scenario).await;
            self.write(&*sink, &a, 6..10).await;
            self.publish(&*sink, &[(&a, 6..10)]).await;
            self.expect(&*sink, &a, 0..10, scenario).await;
            ok(sink.close(&[a]).await, "closing");
        }
    }

    async fn close_drops_the_tail(&self) {
        let (sink, a) = (self.sink(), self.partition("tail", 0));
        self.open(&*sink, &[&a]).await;
        self.write(&*sink, &a, 0..5).await;
        self.publish(&*sink, &[(&a, 0..5)]).await;
        self.write(&*sink, &a, 5..8).await;
        ok(sink.close(std::slice::from_ref(&a)).await, "closing with an open tail");
        self.expect(&*sink, &a, 0..5, "what was not flushed is dropped by close").await;
        drop(sink);

        let sink = self.sink();
        let resume = self.open(&*sink, &[&a]).await[&a];
        let start = if sink.delivery() == Delivery::SinkOffsets { resume } else { 5 };
        assert_eq!(start, 5, "conformance: a sink that stores offsets resumes at the last commit");
        self.write(&*sink, &a, 5..9).await;
        self.publish(&*sink, &[(&a, 5..9)]).await;
        self.expect(&*sink, &a, 0..9, "after the tail was read again").await;
        ok(sink.close(&[a]).await, "closing");
    }

    async fn partitions_come_and_go(&self) {
        let sink = self.sink();
        let (a, b) = (self.partition("assign", 0), self.partition("assign", 1));
        self.open(&*sink, &[&a]).await;
        self.write(&*sink, &a, 0..4).await;
        self.open(&*sink, &[&b]).await;
        self.write(&*sink, &b, 0..4).await;
        self.write(&*sink, &a, 4..6).await;
        ok(sink.close(std::slice::from_ref(&b)).await, "closing one of two partitions");
        self.publish(&*sink, &[(&a, 0..6)]).await;
        self.expect(&*sink, &a, 0..6, "the partition that stayed").await;
        if sink.delivery() != Delivery::AtLeastOnce {
            self.expect(&*sink, &b, 0..0, "the partition that was revoked before its flush").await;
        }
        self.open(&*sink, &[&b]).await;
        self.write(&*sink, &b, 0..7).await;
        self.publish(&*sink, &[(&b, 0..7)]).await;
        self.expect(&*sink, &b, 0..7, "the partition that came back").await;
        ok(sink.close(&[a, b]).await, "closing");
        ok(sink.close(&[]).await, "closing nothing");
    }

    /// Tombstones may fail the task (an error that names the offset), be rejected, filtered or written.
    async fn nulls_are_accounted_for(&self) {
        let (sink, a) = (self.sink(), self.partition("null", 0));
        let form = self.form(&*sink);
        if form == Form::Columns {
            return;
        }
        self.open(&*sink, &[&a]).await;
        let records = records_with(form, &a, 0..6, |offset| offset == 2 || offset == 3);
        let nulls = ok(Envelope::of(&records), "reading the suite's records").value().null_count();
        match sink.write(Batch::new(a.clone(), records)).await {
            Err(error) => {
                assert!(
                    !error.is_retriable() && error.to_string().contains('2'),
                    "conformance: an error for a null value is final and names the offset (2), not: {error}"
                );
            }
            Ok(written) => {
                let rejected: BTreeSet<_> = written.rejected.iter().map(|r| r.row).collect();
                assert_eq!(rejected.len(), written.rejected.len(), "conformance: a row was rejected twice");
                assert!(
                    rejected.iter().all(|row| (2..4).contains(row))
                        && written.filtered + rejected.len() <= nulls,
                    "conformance: records with a value were rejected or filtered because of null ones: {written:?}"
                );
                self.publish(&*sink, &[(&a, 0..6)]).await;
                let found: BTreeSet<_> = self.visible(&a).await.into_iter().collect();
                assert!(
                    [0, 1, 4, 5].iter().all(|offset| found.contains(offset)),
                    "conformance: records with a value beside null ones were lost: {found:?}"
                );
            }
        }
        ok(sink.close(&[a]).await, "closing");
    }
}

fn flush_ranges(ranges: &[(&TopicPartition, Range<Offset>)]) -> Vec<FlushRange> {
    ranges.iter().map(|(partition, offsets)| FlushRange::new((*partition).clone(), offsets.clone())).collect()
}
