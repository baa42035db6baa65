//! What holds for all of Connect's transforms.

use std::sync::Arc;

use arrow::array::TimestampMillisecondArray;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field};
use connector_core::envelope::{self, EnvelopeBuilder, KEY, VALUE};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::testing::{self, TransformCase};
use connector_core::{Component, ConfigMap, Form, Kind, Meta, TaskInfo, TopicPartition};
use proptest::prelude::*;

use crate::components;

/// A configuration for each class that works on the rows below.
const CONFIGURATIONS: [(&str, &[(&str, &str)]); 12] = [
    ("Cast", &[("spec", "a:string,c:int32")]),
    ("ExtractField", &[("field", "b")]),
    ("Flatten", &[]),
    ("HoistField", &[("field", "whole")]),
    (
        "InsertField",
        &[("topic.field", "t"), ("static.field", "s"), ("static.value", "x"), ("timestamp.field", "at")],
    ),
    ("MaskField", &[("fields", "b")]),
    ("MaskField", &[("fields", "a,b"), ("replacement", "7")]),
    ("ReplaceField", &[("exclude", "c"), ("renames", "a:z")]),
    (
        "TimestampConverter",
        &[("field", "a"), ("target.type", "string"), ("format", "yyyy-MM-dd HH:mm:ss.SSS")],
    ),
    ("TimestampConverter", &[("field", "a"), ("target.type", "unix"), ("unix.precision", "seconds")]),
    ("HeaderFrom", &[("fields", "b"), ("headers", "h"), ("operation", "move")]),
    ("ReplaceField", &[("include", "a,b")]),
];

type Row = (Option<i64>, Option<String>, Option<f64>);

fn component(name: &str) -> Component {
    components().into_iter().find(|component| component.name == name).unwrap()
}

fn config(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Rows as documents and as columns, in the key or the value.
fn batches(rows: &[Row], column: &str) -> [RecordBatch; 2] {
    let text = |(a, b, c): &Row| serde_json::json!({"a": a, "b": b, "c": c}).to_string();
    let documents: ArrayRef = Arc::new(rows.iter().map(|row| Some(text(row))).collect::<StringArray>());
    let columns: Vec<(Arc<Field>, ArrayRef)> = vec![
        (
            Arc::new(Field::new("a", DataType::Int64, true)),
            Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(rows.iter().map(|r| r.1.clone()).collect::<StringArray>()),
        ),
        (
            Arc::new(Field::new("c", DataType::Float64, true)),
            Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>()),
        ),
    ];
    let typed: ArrayRef = Arc::new(StructArray::from(columns));
    let batch = |form: Form, array: ArrayRef| {
        let count = i64::try_from(rows.len()).unwrap();
        let times = TimestampMillisecondArray::from_iter_values((0..count).map(|n| 1_700_000_000_000 + n));
        let other: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("{{\"n\":{n}}}"))));
        let records = EnvelopeBuilder::new()
            .offsets(Int64Array::from_iter_values(0..count))
            .timestamps(times)
            .value(Form::Document, other)
            .build()
            .unwrap();
        envelope::with_column(&records, form.field(column, array.data_type().clone()), array).unwrap()
    };
    [batch(Form::Document, documents), batch(Form::Columns, typed)]
}

fn rows() -> Vec<Row> {
    vec![
        (Some(1), Some("x".to_owned()), Some(1.5)),
        (None, None, None),
        (Some(1_700_000_000_123), Some("é\"".to_owned()), Some(-2.0)),
        (Some(-1), Some(String::new()), Some(1e9)),
    ]
}

#[test]
fn every_class_conforms_with_and_without_a_schema_natively_and_behind_the_boundary() {
    for (class, pairs) in CONFIGURATIONS {
        for (part, column) in [("Key", KEY), ("Value", VALUE)] {
            for records in batches(&rows(), column) {
                let component = component(&format!("{class}${part}"));
                testing::transform::run_both(&TransformCase::new(component, config(pairs), records));
            }
        }
    }
    let others: [(&str, &[(&str, &str)]); 6] = [
        ("DropHeaders", &[("headers", "h")]),
        ("Filter", &[]),
        ("InsertHeader", &[("header", "h"), ("value.literal", "1.5")]),
        ("RegexRouter", &[("regex", "con(.*)"), ("replacement", "$1")]),
        ("TimestampRouter", &[("timestamp.format", "SSS")]),
        ("ValueToKey", &[("fields", "b,a")]),
    ];
    for (class, pairs) in others {
        for records in batches(&rows(), VALUE) {
            testing::transform::run_both(&TransformCase::new(component(class), config(pairs), records));
        }
    }
}

#[test]
fn all_of_apache_kafkas_transforms_and_predicates_are_here() {
    let both = [
        "Cast",
        "ExtractField",
        "Flatten",
        "HeaderFrom",
        "HoistField",
        "InsertField",
        "MaskField",
        "ReplaceField",
        "SetSchemaMetadata",
        "TimestampConverter",
    ];
    let single = ["DropHeaders", "Filter", "InsertHeader", "RegexRouter", "TimestampRouter", "ValueToKey"];
    let classes = both.iter().flat_map(|name| [format!("{name}$Key"), format!("{name}$Value")]);
    let classes = classes.chain(single.iter().map(|name| (*name).to_owned()));
    for class in classes {
        let full = format!("org.apache.kafka.connect.transforms.{class}");
        assert!(components().iter().any(|c| c.name == class && c.aliases[0] == full), "{class}");
    }
    for class in ["HasHeaderKey", "RecordIsTombstone", "TopicNameMatches"] {
        let full = format!("org.apache.kafka.connect.transforms.predicates.{class}");
        let found = components().into_iter().find(|c| c.name == class).unwrap();
        assert_eq!((found.kind(), found.aliases), (Kind::Predicate, vec![full]));
    }
}

#[test]
fn a_refused_value_in_a_required_field_refuses_its_own_record_only_dlq_26() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "x", "3"]));
    let field = Arc::new(Field::new("a", DataType::Utf8, false));
    let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, texts)]));
    let records = EnvelopeBuilder::new().value(Form::Columns, structs).build().unwrap();
    for (class, pairs) in [
        ("Cast$Value", vec![("spec", "a:int32")]),
        ("TimestampConverter$Value", vec![("field", "a"), ("format", "D"), ("target.type", "unix")]),
    ] {
        let (values, refused) = applied(&component(class), &pairs, &records);
        assert_eq!((values.len(), refused), (2, 1), "{class}");
    }
}

/// The value of each record as JSON, and how many were refused.
fn applied(
    component: &Component,
    pairs: &[(&str, &str)],
    records: &RecordBatch,
) -> (Vec<serde_json::Value>, usize) {
    let config = component.check(&config(pairs)).unwrap();
    let transform = component.create_transform(&config, &TaskInfo::default()).unwrap();
    let out = transform.apply(records.clone(), &Meta { partition: TopicPartition::new("t", 0) }).unwrap();
    let mut texts = Vec::new();
    for run in &out.runs {
        let field = Arc::new(run.records.schema_ref().field_with_name(VALUE).unwrap().clone());
        let array = &run.records[VALUE];
        for row in 0..run.records.num_rows() {
            let text = if Form::of(&field) == Form::Document {
                let texts = array.as_string::<i32>();
                if texts.is_valid(row) { texts.value(row).to_owned() } else { "null".to_owned() }
            } else {
                let mut text = Vec::new();
                Encoder::new(&field, array, DecimalFormat::Base64).unwrap().encode(row, &mut text);
                String::from_utf8(text).unwrap()
            };
            texts.push(serde_json::from_str(&text).unwrap());
        }
    }
    (texts, out.rejected.len())
}

proptest! {
    #[test]
    fn with_and_without_a_schema_the_result_is_the_same(
        rows in prop::collection::vec((any::<Option<i64>>(), any::<Option<String>>(), prop::option::of(-1e9..1e9f64)), 1..6),
        at in 0..CONFIGURATIONS.len(),
    ) {
        let (class, pairs) = CONFIGURATIONS[at];
        let component = component(&format!("{class}$Value"));
        let [documents, columns] = batches(&rows, VALUE);
        prop_assert_eq!(applied(&component, pairs, &documents), applied(&component, pairs, &columns));
    }
}
