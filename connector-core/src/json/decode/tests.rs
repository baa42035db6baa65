use super::super::connect::REQUIRED;
use super::super::{DecimalFormat, Encoder};
use super::*;
use arrow::array::{BinaryArray, RecordBatch};
use arrow::datatypes::{Field, TimeUnit};
use proptest::prelude::*;

fn fields() -> Fields {
    let required = |f: Field| f.with_metadata([(REQUIRED.to_owned(), "true".to_owned())].into());
    Fields::from(vec![
        Field::new("id", DataType::Int64, false),
        required(Field::new("name", DataType::Utf8, true)),
        Field::new("small", DataType::Int32, true),
        Field::new("ratio", DataType::Float64, true),
        Field::new("single", DataType::Float32, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ])
}

fn read(texts: &[&str]) -> (Vec<String>, Vec<(usize, String)>) {
    let texts = BinaryArray::from_iter_values(texts);
    let decoded = decode(&texts, &fields()).unwrap();
    let columns = decoded.values.fields().iter().zip(decoded.values.columns());
    let mut cells: Vec<_> =
        columns.map(|(field, array)| Encoder::new(field, array, DecimalFormat::default()).unwrap()).collect();
    let rows = (0..decoded.values.len()).map(|row| {
        let mut text = Vec::new();
        if decoded.values.is_null(row) {
            return "no row".to_owned();
        }
        for cell in &mut cells {
            cell.encode(row, &mut text);
            text.push(b'|');
        }
        String::from_utf8(text).unwrap()
    });
    (rows.collect(), decoded.rejected.into_iter().map(|(row, e)| (row, e.message)).collect())
}

#[test]
fn each_type_is_read_in_any_order_of_keys() {
    let (rows, rejected) = read(&[
        r#"{"id":1,"name":"é😀","small":-2,"ratio":0.5,"single":1.25,"flag":true,"at":"2020-08-28 03:52:47.5"}"#,
        r#" { "flag" : false , "unknown" : [{"id":9}] , "name" : "x" , "id" : 9223372036854775807 , "ratio" : 7 } "#,
    ]);
    assert_eq!(rejected, []);
    assert_eq!(
        rows,
        [
            r#"1|"é😀"|-2|0.5|1.25|true|"2020-08-28T03:52:47.500Z"|"#,
            r#"9223372036854775807|"x"|null|7.0|null|false|null|"#,
        ]
    );
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let (rows, rejected) = read(&[r#"{"id":"wrong","name":"a","id":2,"name":"b"}"#]);
    assert_eq!((rows, rejected), (vec![r#"2|"b"|null|null|null|null|null|"#.to_owned()], vec![]));
}

#[test]
fn escapes_are_resolved_in_keys_and_values() {
    let (rows, _) =
        read(&[r#"{"\u0069d":3,"name":"\"\\\/\b\n\u00e9\ud83d\ude00\ud83d-\ude00\ud83d\u0041"}"#]);
    assert_eq!(rows, ["3|\"\\\"\\\\/\\b\\né😀\u{fffd}-\u{fffd}\u{fffd}A\"|null|null|null|null|null|"]);
}

#[test]
fn a_missing_field_is_named() {
    let (rows, rejected) = read(&[
        r#"{"name":"x"}"#,
        r#"{"id":null,"name":"x"}"#,
        r#"{"id":1}"#,
        r#"{"id":1,"name":null}"#,
        "{}",
    ]);
    assert_eq!(rows, ["1|null|null|null|null|null|null|"]);
    let expected = [
        (0, "field `id` is missing"),
        (1, "field `id` is missing"),
        (2, "field `name` is missing"),
        (4, "field `id` is missing"),
    ];
    assert_eq!(rejected, expected.map(|(row, text)| (row, text.to_owned())));
}

#[test]
fn a_wrong_type_names_field_and_type_but_not_the_value() {
    for (json, expected) in [
        (r#"{"id":"1","name":"x"}"#, "field `id` is not a whole number of 64 bits"),
        (r#"{"id":1.0,"name":"x"}"#, "field `id` is not a whole number of 64 bits"),
        (r#"{"id":9223372036854775808,"name":"x"}"#, "field `id` is not a whole number of 64 bits"),
        (r#"{"id":1,"name":5}"#, "field `name` is not a string"),
        (r#"{"id":1,"name":{"a":[1]}}"#, "field `name` is not a string"),
        (r#"{"id":1,"name":"x","small":3000000000}"#, "field `small` is not a whole number of 32 bits"),
        (r#"{"id":1,"name":"x","ratio":"1"}"#, "field `ratio` is not a number"),
        (r#"{"id":1,"name":"x","ratio":1e400}"#, "field `ratio` is not a number"),
        (r#"{"id":1,"name":"x","single":1e39}"#, "field `single` is not a number"),
        (r#"{"id":1,"name":"x","flag":1}"#, "field `flag` is not true or false"),
        (
            r#"{"id":1,"name":"x","at":"yesterday"}"#,
            "field `at` is not a string such as \"2020-08-28T03:52:47\" or \"2020-08-28 03:52:47\"",
        ),
    ] {
        assert_eq!(read(&[json]), (vec![], vec![(0, expected.to_owned())]), "{json}");
    }
}

#[test]
fn what_is_not_an_object_is_rejected_and_null_is_a_null_row() {
    let (rows, rejected) =
        read(&["null", "", "[1]", "5", r#"{"id":1,"name":"x",}"#, r#"{"id":01,"name":"x"} y"#]);
    assert_eq!(rows, ["no row", "no row", r#"1|"x"|null|null|null|null|null|"#]);
    let expected = [
        (2, "the JSON value is not an object"),
        (3, "the JSON value is not an object"),
        (4, "the text is not JSON: something else where a double-quoted key should be at byte 19"),
    ];
    assert_eq!(rejected, expected.map(|(row, text)| (row, text.to_owned())));
}

#[test]
fn a_declared_type_that_json_does_not_have_is_an_error() {
    let fields = Fields::from(vec![Field::new("d", DataType::Date32, true)]);
    let error = decode(&BinaryArray::from_iter_values([b"{}"]), &fields).unwrap_err();
    assert!(error.message.contains("`d`"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_rejected_and_no_row_is_lost(
        texts in prop::collection::vec(".{0,30}|[{}\":,\\\\u0-9adeilnmtrs \\[\\]]{0,40}", 0..6),
    ) {
        let array = BinaryArray::from_iter_values(&texts);
        let decoded = decode(&array, &fields()).unwrap();
        prop_assert_eq!(decoded.values.len() + decoded.rejected.len(), texts.len());
    }

    #[test]
    fn strings_and_numbers_come_back(id in any::<i64>(), name in any::<String>(), ratio in any::<f64>()) {
        let json = serde_json::json!({"id": id, "name": name, "ratio": ratio}).to_string();
        let decoded = decode(&BinaryArray::from_iter_values([json]), &fields()).unwrap();
        let batch = RecordBatch::from(decoded.values);
        prop_assert_eq!(batch["id"].as_primitive::<arrow::datatypes::Int64Type>().value(0), id);
        prop_assert_eq!(batch["name"].as_string::<i32>().value(0), name);
        let read = batch["ratio"].as_primitive::<arrow::datatypes::Float64Type>();
        prop_assert_eq!(read.is_valid(0).then(|| read.value(0)), ratio.is_finite().then_some(ratio));
    }
}
