use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, Schema, TimestampMicrosecondType};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;
use proptest::prelude::*;

use super::*;
use crate::ddl;

fn schema(columns: &StructType) -> SchemaRef {
    let schema: Schema = columns.try_into_arrow().unwrap();
    Arc::new(schema)
}

fn declared(text: &str) -> SchemaRef {
    schema(&ddl::parse(text).unwrap())
}

fn types(texts: &[&str]) -> Vec<String> {
    let objects: Vec<Object> = texts.iter().map(|text| parse(text).unwrap()).collect();
    columns(&objects).fields().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
}

#[test]
fn types_are_those_of_json_and_records_complete_each_other() {
    assert_eq!(
        types(&[r#"{"a":1,"b":1.5,"c":"x","d":true,"e":null,"f":[],"g":{}}"#]),
        ["a long", "b double", "c string", "d boolean"]
    );
    assert_eq!(
        types(&[r#"{"a":1}"#, r#"{"a":1.5,"l":[null,1]}"#, r#"{"l":[2.5]}"#]),
        ["a double", "l array<double>"]
    );
    assert_eq!(types(&[r#"{"a":18446744073709551615}"#]), ["a double"], "no long holds it");
    assert_eq!(
        types(&[r#"{"a":"x"}"#, r#"{"a":1}"#]),
        ["a string"],
        "the first one decides, the other is refused"
    );
    assert_eq!(types(&[r#"{"a":1,"A":2,"b c":3}"#]), ["a long"]);
}

#[test]
fn instants_are_iso_texts_or_what_connect_writes() {
    let schema = declared("t timestamp, d date");
    let objects = [
        r#"{"t":"2020-08-28T03:52:47","d":"2020-08-28"}"#,
        r#"{"t":"2020-08-28 03:52:47.5Z","d":18502}"#,
        r#"{"t":1598586767000}"#,
    ]
    .map(|text| parse(text).unwrap());
    objects.iter().for_each(|object| check(object, &schema).unwrap());
    let rows = rows(&objects.iter().collect::<Vec<_>>(), &schema).unwrap();
    let instants = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(instants.values(), &[1_598_586_767_000_000, 1_598_586_767_500_000, 1_598_586_767_000_000]);
    let days = rows.column(1).as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!((days.value(0), days.value(1), days.is_null(2)), (18_502, 18_502, true));
}

#[test]
fn nested_and_exact_values() {
    let schema = declared("m map<string, array<long>>, s struct<x: decimal(6,2), y: binary>, f float");
    let object = parse(r#"{"m":{"a":[1,null],"b":null},"s":{"x":-1.50,"y":"aGk="},"f":0.5}"#).unwrap();
    check(&object, &schema).unwrap();
    let rows = rows(&[&object], &schema).unwrap();
    let map = rows.column(0).as_map();
    assert_eq!(map.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
    let list = map.values().as_list::<i32>();
    assert!(list.is_null(1) && list.value(0).as_primitive::<Int64Type>().value(0) == 1);
    check(&parse(r#"{"new":[],"s":{"new":{"e":null}}}"#).unwrap(), &schema).unwrap();
    let both = rows.column(1).as_struct();
    assert_eq!(both.column(0).as_primitive::<Decimal128Type>().value(0), -150);
    assert_eq!(both.column(1).as_binary::<i32>().value(0), b"hi");
    for (text, path) in [
        (r#"{"s":{"x":1.005}}"#, "`s.x`"),
        (r#"{"s":{"x":123456}}"#, "`s.x`"),
        (r#"{"s":{"y":"?"}}"#, "`s.y`"),
        (r#"{"s":{"z":1}}"#, "`s.z`"),
        (r#"{"z":[[1]]}"#, "`z`"),
        (r#"{"m":{"a":["1"]}}"#, "`m.value.element`"),
        (r#"{"m":[1]}"#, "`m`"),
        (r#"{"f":0.1}"#, "`f`"),
    ] {
        let error = check(&parse(text).unwrap(), &schema).unwrap_err();
        assert!(error.message.contains(path), "{text}: {error}");
    }
}

fn json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zé0-9:. -]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-cA =]{0,2}", inner), 0..4)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Object>())),
        ]
    })
}

fn object() -> impl Strategy<Value = Object> {
    prop::collection::vec(("[a-dA]{1,2}", json(3)), 0..5).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn any_records_are_rows_or_refusals_and_a_row_has_what_the_record_said(
        objects in prop::collection::vec(object(), 0..8),
    ) {
        let columns = columns(&objects);
        let schema = schema(&columns);
        let fit: Vec<&Object> = objects.iter().filter(|object| check(object, &schema).is_ok()).collect();
        let rows = rows(&fit, &schema).unwrap();
        prop_assert_eq!(rows.num_rows(), fit.len());
        for (column, field) in rows.columns().iter().zip(columns.fields()) {
            for (row, object) in fit.iter().enumerate() {
                let said = object.get(field.name()).is_some_and(|value| !value.is_null());
                prop_assert_eq!(column.is_valid(row), said, "no value is lost on the way");
                if let (DataType::Primitive(PrimitiveType::Long), true) = (field.data_type(), said) {
                    let long = column.as_primitive::<Int64Type>().value(row);
                    prop_assert_eq!(Some(long), object.get(field.name()).and_then(Value::as_i64));
                }
            }
        }
    }

    #[test]
    fn records_fit_into_any_declared_columns_or_are_refused(objects in prop::collection::vec(object(), 0..8)) {
        let schema = declared(
            "a map<string, double>, b array<timestamp>, c struct<a: decimal(5,1), b: date>, d binary, aa float",
        );
        let fit: Vec<&Object> = objects.iter().filter(|object| check(object, &schema).is_ok()).collect();
        prop_assert_eq!(rows(&fit, &schema).unwrap().num_rows(), fit.len());
    }
}
