//! What every transform keeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};

use super::{check_configuration, ok, rows};
use crate::batch::TopicPartition;
use crate::component::{Component, TaskInfo};
use crate::config::ConfigMap;
use crate::envelope::Envelope;
use crate::transform::{Meta, Transform, Transformed};

/// A transform, a configuration that works, and records in the form that it needs.
#[derive(Clone)]
pub struct TransformCase {
    component: Component,
    config: ConfigMap,
    records: RecordBatch,
    partition: TopicPartition,
}

impl TransformCase {
    /// `records` has an offset column and, best, some rows that pass, some that are dropped and some that are refused.
    pub fn new(component: Component, config: ConfigMap, records: RecordBatch) -> Self {
        Self { component, config, records, partition: TopicPartition::new("conformance", 0) }
    }

    /// Where the records come from, for a transform that looks at it.
    #[must_use]
    pub fn partition(mut self, partition: TopicPartition) -> Self {
        self.partition = partition;
        self
    }
}

/// Runs the suite on the transform as it is, then through the loopback of the plugin boundary.
pub fn run_both(case: &TransformCase) {
    run(case);
    run(&TransformCase { component: crate::abi::loopback(case.component.clone()), ..case.clone() });
}

/// Runs the suite.
pub fn run(case: &TransformCase) {
    check_configuration(&case.component, &case.config);
    let (transform, records) = (case.transform(), &case.records);
    let indices = UInt32Array::from_iter_values(0..u32::try_from(records.num_rows()).unwrap_or(u32::MAX));
    let before = ok(arrow::compute::take_record_batch(records, &indices), "copying the records");

    let whole = case.apply(&*transform, records.clone());
    let seen = outcome(records, &whole);
    assert_eq!(&before, records, "conformance: the transform changed its input");

    assert!(
        transform.filters() || seen.len() == records.num_rows(),
        "conformance: {} of {} records came out or were rejected, and it says that it leaves out none",
        seen.len(),
        records.num_rows()
    );

    let empty = outcome(&records.slice(0, 0), &case.apply(&*transform, records.slice(0, 0)));
    assert!(empty.is_empty(), "conformance: records came out of an empty batch: {empty:?}");

    if transform.deterministic() {
        let again = outcome(records, &case.apply(&*case.transform(), records.clone()));
        same(&seen, &again, "made by another instance");
        for size in [1, records.num_rows().div_ceil(2).max(1)] {
            let mut parts = Vec::new();
            for start in (0..records.num_rows()).step_by(size) {
                let part = records.slice(start, size.min(records.num_rows() - start));
                parts.extend(outcome(&part, &case.apply(&*transform, part.clone())));
            }
            parts.sort();
            same(&seen, &parts, &format!("in batches of {size}"));
        }
    }
}

impl TransformCase {
    fn transform(&self) -> Arc<dyn Transform> {
        let task = TaskInfo { connector: "conformance".to_owned(), ..TaskInfo::default() };
        let made =
            self.component.check(&self.config).and_then(|c| self.component.create_transform(&c, &task));
        made.unwrap_or_else(|problems| panic!("conformance: creating the transform failed: {problems:?}"))
    }

    fn apply(&self, transform: &dyn Transform, records: RecordBatch) -> Transformed {
        ok(transform.apply(records, &Meta { partition: self.partition.clone() }), "applying")
    }
}

/// The same records became the same.
fn same(wanted: &[(i64, String)], found: &[(i64, String)], when: &str) {
    let differs = wanted.iter().zip(found).find(|(wanted, found)| wanted != found);
    assert!(
        differs.is_none() && wanted.len() == found.len(),
        "conformance: {when} they become something else: {} and {} records, first difference {differs:?}",
        wanted.len(),
        found.len()
    );
}

fn offsets_of(records: &RecordBatch, what: &str) -> Int64Array {
    let envelope = ok(Envelope::of(records), format_args!("reading {what}"));
    envelope.offsets().unwrap_or_else(|| panic!("conformance: {what} has no offset column")).clone()
}

/// What became of each record, by offset; checks the promises that hold for any single answer.
fn outcome(input: &RecordBatch, answer: &Transformed) -> Vec<(i64, String)> {
    let offsets = offsets_of(input, "the case's batch");
    let (mut out, mut seen) = (Vec::new(), BTreeSet::new());
    for run in &answer.runs {
        let (place, mut last) = (format!("{:?}/{:?}", run.topic, run.partition), None);
        for (offset, row) in offsets_of(&run.records, "a run").values().iter().zip(rows(&run.records)) {
            assert!(last < Some(*offset), "conformance: a run is out of order at offset {offset}");
            assert!(offsets.values().contains(offset), "conformance: offset {offset} was not in the input");
            assert!(seen.insert(*offset), "conformance: offset {offset} came out twice");
            last = Some(*offset);
            out.push((*offset, format!("{place} {row}")));
        }
    }
    for rejection in &answer.rejected {
        assert!(
            rejection.row < offsets.len(),
            "conformance: row {} was rejected, of {}",
            rejection.row,
            offsets.len()
        );
        let offset = offsets.value(rejection.row);
        assert!(seen.insert(offset), "conformance: offset {offset} was rejected twice, or came out too");
        out.push((offset, format!("rejected at {:?}: {}", rejection.stage, rejection.error)));
    }
    out.sort();
    out
}
