//! Batches across the boundary: what is right arrives unchanged, what is wrong is refused with a reason.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DictionaryArray, Int32Array, Int64Array, ListArray,
    MapBuilder, RecordBatch, StringArray, StringBuilder, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};

use super::super::Batch;
use super::super::data::{export, import};
use crate::TopicPartition;
use crate::envelope::Form;
use crate::testing;

fn round_trip(records: &RecordBatch) -> RecordBatch {
    import(export(records).unwrap(), false).unwrap()
}

fn text_batch() -> RecordBatch {
    testing::records(Form::Document, &TopicPartition::new("t", 0), 0..10)
}

#[test]
fn records_and_their_metadata_arrive_unchanged() {
    let records = text_batch();
    let metadata = HashMap::from([("connect.topic".to_owned(), "t".to_owned())]);
    let schema = Schema::new_with_metadata(records.schema().fields().clone(), metadata);
    let records = records.with_schema(Arc::new(schema)).unwrap();
    for part in [records.clone(), records.slice(3, 4), records.slice(2, 0), records.slice(9, 1)] {
        let arrived = round_trip(&part);
        assert_eq!(part, arrived);
        assert_eq!(part.schema(), arrived.schema());
    }
}

#[test]
fn nested_types_arrive_unchanged() {
    let list =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for key in ["a", "b", "c"] {
        map.keys().append_value(key);
        map.values().append_option((key != "b").then_some("v"));
        map.append(key != "c").unwrap();
    }
    let map = map.finish();
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("z")]));
    let fields = Fields::from(vec![Field::new("inner", DataType::Utf8, true)]);
    let row = StructArray::new(fields, vec![inner], Some(vec![true, true, false].into()));
    let dictionary: DictionaryArray<Int32Type> = [Some("p"), None, Some("p")].into_iter().collect();
    let decimal =
        Decimal128Array::from(vec![Some(125), None, Some(-1)]).with_precision_and_scale(9, 2).unwrap();
    let time = TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]).with_timezone("+02:00");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("list", Arc::new(list)),
        ("map", Arc::new(map)),
        ("row", Arc::new(row)),
        ("dictionary", Arc::new(dictionary)),
        ("decimal", Arc::new(decimal)),
        ("time", Arc::new(time)),
    ];
    let records =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    assert_eq!(round_trip(&records), records);
    assert_eq!(round_trip(&records.slice(1, 2)), records.slice(1, 2));
}

#[test]
fn an_empty_slice_inside_a_list_arrives() {
    let none = StringArray::from(vec!["a", "bc", "d"]).slice(2, 0);
    let field = Arc::new(Field::new("item", DataType::Utf8, true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([0, 0]);
    let list: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(none), None));
    let records = RecordBatch::try_from_iter([("value", list)]).unwrap();
    assert_eq!(round_trip(&records), records);
}

#[test]
fn a_type_that_does_not_cross_is_refused_on_its_own_side() {
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
    let error = export(&RecordBatch::try_from_iter([("value", views)]).unwrap()).err().unwrap();
    assert!(error.to_string().contains("column `value` holds Utf8View"), "{error}");
}

/// A batch whose column `value` has been tampered with.
fn tampered(tamper: impl FnOnce(&mut arrow::ffi::FFI_ArrowArray)) -> Result<RecordBatch, String> {
    let batch = export(&text_batch()).unwrap();
    let at = text_batch().schema().index_of("value").unwrap();
    tamper(unsafe { &mut **batch.array.children.add(at) });
    import(batch, true)
}

/// Puts other offsets into a column; they live as long as the process.
fn with_offsets(column: &mut arrow::ffi::FFI_ArrowArray, offsets: Vec<i32>) {
    let offsets: &'static [i32] = offsets.leak();
    unsafe { *column.buffers.add(1) = offsets.as_ptr().cast::<c_void>() };
}

#[test]
fn offsets_that_are_negative_or_descend_are_refused() {
    let negative = tampered(|column| with_offsets(column, vec![0, -4, 5, 6, 7, 8, 9, 10, 11, 12, 13]));
    assert!(negative.unwrap_err().contains("column `value`: its offset -4 at row 1 is negative"));
    let descending = tampered(|column| with_offsets(column, vec![0, 5, 3, 6, 7, 8, 9, 10, 11, 12, 13]));
    assert!(descending.unwrap_err().contains("column `value`: its offsets descend from 5 to 3 at row 2"));
    let missing = tampered(|column| unsafe { *column.buffers.add(1) = std::ptr::null() });
    assert!(missing.unwrap_err().contains("missing or not aligned"));
    let crooked = tampered(|column| unsafe { *column.buffers.add(1) = (*column.buffers.add(1)).byte_add(1) });
    assert!(crooked.unwrap_err().contains("missing or not aligned"));
}

#[test]
fn impossible_numbers_are_refused() {
    type Tamper = fn(&mut arrow::ffi::FFI_ArrowArray);
    let cases: [(Tamper, &str); 6] = [
        (|column| column.length = -1, "-1 rows"),
        (|column| column.offset = i64::MAX, "cannot be"),
        (|column| column.null_count = 11, "11 nulls in 10 rows"),
        (|column| column.null_count = 1, "no validity buffer"),
        (|column| column.n_buffers = 2, "2 buffers instead of 3"),
        (|column| column.length = 4, "a child of 4 rows is too short for 10"),
    ];
    for (tamper, message) in cases {
        let error = tampered(tamper).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn content_that_does_not_fit_its_type_is_refused_unless_trusted() {
    let broken = || {
        let records = text_batch();
        let batch = export(&records).unwrap();
        let at = records.schema().index_of("value").unwrap();
        let bytes: &'static [u8] = vec![0xff; 4096].leak();
        let column = unsafe { &mut **batch.array.children.add(at) };
        unsafe { *column.buffers.add(2) = bytes.as_ptr().cast::<c_void>() };
        batch
    };
    let error = import(broken(), false).unwrap_err();
    assert!(error.contains("UTF8") || error.contains("UTF-8"), "{error}");
    assert!(import(broken(), true).is_ok_and(|records| records.num_rows() == 10));
}

#[test]
fn a_released_batch_and_one_that_is_no_struct_are_refused() {
    let mut batch = export(&text_batch()).unwrap();
    let taken = unsafe { Batch::take(&raw mut batch) };
    assert!(import(batch, true).unwrap_err().contains("released"));
    assert!(import(taken, true).is_ok());

    let numbers = Int64Array::from(vec![1, 2]).into_data();
    let (array, schema) = arrow::ffi::to_ffi(&numbers).unwrap();
    assert!(import(Batch { schema, array }, true).unwrap_err().contains("not a struct"));
}

#[test]
fn null_rows_are_refused() {
    let fields = Fields::from(vec![Field::new("value", DataType::Int32, true)]);
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let rows = StructArray::new(fields, vec![column], Some(vec![true, false].into()));
    let (array, schema) = arrow::ffi::to_ffi(&rows.into_data()).unwrap();
    assert!(import(Batch { schema, array }, true).unwrap_err().contains("null rows"));
}

#[test]
fn buffers_are_shared_and_released_with_the_last_use() {
    let values: ArrayRef = Arc::new(StringArray::from(vec!["a value that is long enough to matter"]));
    let weak = Arc::downgrade(&values);
    let records = RecordBatch::try_from_iter([("value", values)]).unwrap();
    let address = records.column(0).as_string::<i32>().value_data().as_ptr();
    let arrived = round_trip(&records);
    assert_eq!(arrived.column(0).as_string::<i32>().value_data().as_ptr(), address, "it was copied");
    drop(records);
    assert_eq!(weak.strong_count(), 0);
    assert_eq!(arrived.column(0).as_string::<i32>().value(0), "a value that is long enough to matter");
}
