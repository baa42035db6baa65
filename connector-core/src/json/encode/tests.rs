use super::*;
use arrow::array::*;

fn json(field: Field, array: ArrayRef) -> Vec<String> {
    json_with(field, array, DecimalFormat::Base64)
}

fn json_with(field: Field, array: ArrayRef, decimals: DecimalFormat) -> Vec<String> {
    let field = Arc::new(field);
    let mut encoder = Encoder::new(&field, &array, decimals).unwrap();
    let rows = (0..array.len()).map(|row| {
        let mut out = Vec::new();
        encoder.encode(row, &mut out);
        String::from_utf8(out).unwrap()
    });
    rows.collect()
}

fn plain(array: impl Array + 'static) -> Vec<String> {
    json(Field::new("f", array.data_type().clone(), true), Arc::new(array))
}

fn logical(name: &str, array: impl Array + 'static) -> Vec<String> {
    let metadata = [(NAME.to_owned(), name.to_owned())].into();
    json(Field::new("f", array.data_type().clone(), true).with_metadata(metadata), Arc::new(array))
}

#[test]
fn strings_escape_what_json_demands_and_nothing_else() {
    let text = "q\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é😀<&\u{2028}";
    let expected = "\"q\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\u{7f}é😀<&\u{2028}\"";
    assert_eq!(plain(StringArray::from(vec![Some(text), None])), [expected, "null"]);
    assert_eq!(serde_json::from_str::<String>(expected).unwrap(), text);
}

#[test]
fn a_document_is_its_own_text_and_bytes_are_base64() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["{\"a\":1.10}"]));
    assert_eq!(json(Form::Document.field("value", DataType::Utf8), text), ["{\"a\":1.10}"]);
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"\x01\x02\x03\xff".as_slice(), b""]));
    assert_eq!(json(Form::Bytes.field("value", DataType::Binary), bytes), ["\"AQID/w==\"", "\"\""]);
}

#[test]
fn floats_have_their_shortest_text_and_words_are_quoted() {
    let floats = [1.0, 0.1, -81.0108, 1e21, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    assert_eq!(
        plain(Float64Array::from(floats.to_vec())),
        ["1.0", "0.1", "-81.0108", "1e+21", "\"NaN\"", "\"Infinity\"", "\"-Infinity\""]
    );
    assert_eq!(plain(Float32Array::from(vec![0.1, 3.5])), ["0.1", "3.5"]);
}

#[test]
fn plain_dates_and_times_are_iso_text() {
    let micros = TimestampMicrosecondArray::from(vec![1_598_586_767_000_000, 1_598_586_767_250_000]);
    assert_eq!(plain(micros.clone()), ["\"2020-08-28T03:52:47\"", "\"2020-08-28T03:52:47.250\""]);
    assert_eq!(plain(micros.with_timezone("UTC"))[0], "\"2020-08-28T03:52:47Z\"");
    assert_eq!(plain(Date32Array::from(vec![18_502])), ["\"2020-08-28\""]);
    assert_eq!(plain(Date64Array::from(vec![-1])), ["\"1969-12-31\""]);
    assert_eq!(plain(Time32MillisecondArray::from(vec![3_723_004])), ["\"01:02:03.004\""]);
}

#[test]
fn connects_logical_types_are_numbers() {
    let micros = TimestampMicrosecondArray::from(vec![1_700_000_000_123_000]);
    assert_eq!(logical(TIMESTAMP, micros), ["1700000000123"]);
    assert_eq!(logical(DATE, Date32Array::from(vec![19_675])), ["19675"]);
    assert_eq!(logical(TIME, Time64NanosecondArray::from(vec![3_723_004_000_000])), ["3723004"]);
}

#[test]
fn decimals_are_unscaled_bytes_or_numbers_as_java_prints_them() {
    let base64 = |value: i128, scale: i8| {
        let array = Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap();
        logical(DECIMAL, array).remove(0)
    };
    for (value, text) in [
        (1234, "\"BNI=\""),
        (0, "\"AA==\""),
        (-1, "\"/w==\""),
        (1, "\"AQ==\""),
        (128, "\"AIA=\""),
        (-129, "\"/38=\""),
    ] {
        assert_eq!(base64(value, 2), text);
    }
    for (value, scale, text) in [
        (1234, 2, "12.34"),
        (0, 2, "0.00"),
        (-1, 2, "-0.01"),
        (1, -2, "1E+2"),
        (1, 10, "1E-10"),
        (12, 10, "1.2E-9"),
        (1, 6, "0.000001"),
        (1, 7, "1E-7"),
        (7, 0, "7"),
    ] {
        let array = Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap();
        assert_eq!(plain(array.clone()), [text]);
        let metadata = [(NAME.to_owned(), DECIMAL.to_owned())].into();
        let field = Field::new("f", array.data_type().clone(), true).with_metadata(metadata);
        assert_eq!(json_with(field, Arc::new(array), DecimalFormat::Numeric), [text]);
    }
}

#[test]
fn structs_keep_their_order_and_their_nulls() {
    let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1.5), None]), None]);
    let array = StructArray::try_from(vec![("z\"", a), ("l", Arc::new(list) as ArrayRef)]).unwrap();
    assert_eq!(plain(array), [r#"{"z\"":1,"l":[1.5,null]}"#, r#"{"z\"":null,"l":null}"#]);
}

#[test]
fn maps_are_objects_when_their_keys_are_strings() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    builder.keys().append_value("b");
    builder.values().append_null();
    builder.keys().append_value("a");
    builder.values().append_value(2);
    builder.append(true).unwrap();
    builder.append(true).unwrap();
    assert_eq!(plain(builder.finish()), [r#"{"b":null,"a":2}"#, "{}"]);
    let mut builder = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    builder.keys().append_value(1);
    builder.values().append_value("a");
    builder.append(true).unwrap();
    assert_eq!(plain(builder.finish()), [r#"[[1,"a"]]"#]);
}
