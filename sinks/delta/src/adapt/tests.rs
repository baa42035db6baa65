use arrow::array::{
    Decimal128Array, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array,
    LargeListArray, LargeStringArray, StringArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Fields, Float64Type, Int32Type, Int64Type, Schema, TimeUnit};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use proptest::prelude::*;

use super::*;
use crate::ddl;

fn schema(text: &str) -> SchemaRef {
    let schema: Schema = (&ddl::parse(text).unwrap()).try_into_arrow().unwrap();
    Arc::new(schema)
}

fn one(name: &str, values: ArrayRef) -> StructArray {
    StructArray::from(vec![(Arc::new(Field::new(name, values.data_type().clone(), true)), values)])
}

fn refused(adapted: &Adapted) -> Vec<usize> {
    adapted.rejected.iter().map(|(row, _)| *row).collect()
}

/// The column `n` of that type, and the rows that it refuses.
fn into(data_type: &str, values: ArrayRef) -> (ArrayRef, Vec<usize>) {
    let adapted = adapt(&one("n", values), &schema(&format!("n {data_type}"))).unwrap();
    assert_eq!(
        adapted.rows.schema().field(0).data_type(),
        schema(&format!("n {data_type}")).field(0).data_type()
    );
    (Arc::clone(adapted.rows.column(0)), refused(&adapted))
}

#[test]
fn values_become_what_holds_them_exactly_and_others_are_refused() {
    let longs =
        || Arc::new(Int64Array::from(vec![Some(1), None, Some(1 << 53), Some((1 << 53) + 1)])) as ArrayRef;
    assert_eq!(into("double", longs()).1, [3]);
    assert_eq!(into("integer", longs()).1, [2, 3]);
    assert_eq!(into("string", longs()).1, [0, 2, 3]);
    assert_eq!(into("decimal(20,2)", longs()).1, [0_usize; 0]);
    assert_eq!(into("decimal(4,2)", longs()).1, [2, 3]);
    let doubles = Arc::new(Float64Array::from(vec![1.0, 0.1])) as ArrayRef;
    assert_eq!(into("float", Arc::clone(&doubles)).1, [1]);
    assert_eq!(into("long", doubles).1, [0, 1], "a fraction is no whole number, even if it is zero");
    let unsigned = Arc::new(UInt64Array::from(vec![1, u64::MAX])) as ArrayRef;
    assert_eq!(into("long", unsigned).1, [1]);
    let cents = Decimal128Array::from(vec![150, 155]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(into("decimal(10,1)", Arc::new(cents)).1, [1]);
    let nanos = Arc::new(TimestampNanosecondArray::from(vec![1_500]));
    let (micros, refused) = into("timestamp", nanos);
    assert!(
        refused.is_empty()
            && micros.data_type() == &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
    let (texts, refused) = into("string", Arc::new(LargeStringArray::from(vec!["x"])));
    assert!(refused.is_empty() && texts.as_string::<i32>().value(0) == "x");
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let (texts, refused) = into("string", Arc::new(words));
    assert!(refused.is_empty() && texts.is_null(1) && texts.as_string::<i32>().value(2) == "a");
}

#[test]
fn an_element_refuses_its_record_wherever_it_is() {
    let lists = LargeListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        None,
        Some(vec![]),
        Some(vec![Some(3), Some(1 << 40)]),
    ]);
    let (column, refused) = into("array<integer>", Arc::new(lists.clone()));
    assert_eq!(refused, [3]);
    assert_eq!(column.as_list::<i32>().value(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert!(column.is_null(1) && column.as_list::<i32>().value(2).is_empty());
    // A slice has offsets that do not begin at zero.
    let (column, refused) = into("array<integer>", Arc::new(lists.slice(2, 2)));
    assert_eq!((column.len(), refused), (2, vec![1]));
    let pairs =
        FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1.0), Some(2.0)])], 2);
    let (column, refused) = into("array<double>", Arc::new(pairs));
    assert!(refused.is_empty() && column.as_list::<i32>().value(0).len() == 2);
}

#[test]
fn a_null_struct_hides_its_fields() {
    let fields =
        Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1 << 40, 1 << 40, 7])),
        Arc::new(StringArray::from(vec!["x", "y", "z"])),
    ];
    let nulls = NullBuffer::from(vec![false, true, true]);
    let values = StructArray::try_new(fields, columns, Some(nulls)).unwrap();
    let adapted = adapt(&one("s", Arc::new(values)), &schema("s struct<a: integer>")).unwrap();
    assert_eq!(refused(&adapted), [1, 2]);
    let said = adapted.rejected[1].1.to_string();
    assert!(said.contains("`s.b`") && said.contains("string"), "{said}");
    assert!(adapted.rejected[0].1.to_string().contains("`s.a`"));
}

#[test]
fn a_required_column_refuses_records_without_it() {
    let adapted =
        adapt(&one("x", Arc::new(Int32Array::from(vec![None, Some(1)]))), &schema("x int not null")).unwrap();
    assert_eq!(refused(&adapted), [0]);
    let adapted =
        adapt(&one("y", Arc::new(Int32Array::from(vec![None::<i32>]))), &schema("x int not null")).unwrap();
    assert_eq!(refused(&adapted), [0]);
}

proptest! {
    #[test]
    fn what_is_not_refused_has_the_same_value(values in prop::collection::vec(prop::option::of(any::<i64>()), 0..20)) {
        for (to, back) in [("double", DataType::Int64), ("integer", DataType::Int64), ("decimal(19,0)", DataType::Int64)] {
            let column: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let (made, refused) = into(to, column);
            let made = cast(&made, &back).unwrap();
            for (row, value) in values.iter().enumerate().filter(|(row, _)| !refused.contains(row)) {
                let made = made.as_primitive::<Int64Type>();
                prop_assert_eq!(made.is_valid(row).then(|| made.value(row)), *value);
            }
        }
    }
}
