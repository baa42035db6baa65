use connector_core::schema::{Datum, array};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(json: &Value) -> Result<Typed, String> {
    schema::parse(json, "", &mut Names::new())
}

fn order() -> Schema {
    let text = r#"{"type":"struct","name":"com.acme.Order","version":3,"fields":[
        {"field":"id","type":"int64"},{"field":"small","type":"int8"},{"field":"note","type":"string","optional":true},
        {"field":"n","type":"int32","default":7},
        {"field":"price","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"}},
        {"field":"at","type":"int64","optional":true,"name":"org.apache.kafka.connect.data.Timestamp","version":1},
        {"field":"tags","type":"array","items":{"type":"string"}},
        {"field":"counts","type":"map","keys":{"type":"string"},"values":{"type":"int32"}},
        {"field":"by_number","type":"map","keys":{"type":"int32"},"values":{"type":"double"}},
        {"field":"inner","type":"struct","optional":true,"fields":[{"field":"ok","type":"boolean"}]}]}"#;
    Schema::parse(&serde_json::from_str(text).unwrap()).unwrap()
}

/// A value of each field of [`order`].
fn orders() -> impl proptest::strategy::Strategy<Value = Datum> {
    let optional = |s: BoxedStrategy<Datum>| prop_oneof![Just(Datum::Null), s].boxed();
    let text = || "\\PC{0,8}".prop_map(Datum::Text).boxed();
    let int = || any::<i32>().prop_map(|n| Datum::Integer(n.into())).boxed();
    (
        (any::<i64>().prop_map(Datum::Integer), any::<i8>().prop_map(|n| Datum::Integer(n.into()))),
        (optional(text()), int(), (-10i128.pow(37)..10i128.pow(37)).prop_map(Datum::Decimal)),
        optional(any::<i64>().prop_map(Datum::Integer).boxed()),
        prop::collection::vec(text(), 0..4).prop_map(Datum::List),
        prop::collection::vec((text(), int()), 0..3).prop_map(Datum::Map),
        prop::collection::vec((int(), any::<f64>().prop_map(Datum::Float)), 0..3).prop_map(Datum::Map),
        optional(any::<bool>().prop_map(|b| Datum::Struct(vec![Datum::Boolean(b)])).boxed()),
    )
        .prop_map(|((id, small), (note, n, price), at, tags, counts, by_number, inner)| {
            Datum::Struct(vec![id, small, note, n, price, at, tags, counts, by_number, inner])
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(order_value in orders()) {
        let schema = order();
        let typed = parsed(&schema::to_avro(&schema, true)).unwrap();
        let column = array(&schema, &[Some(&order_value)]).unwrap();
        let mut bytes = Vec::new();
        Cells::of(&typed.shape, &Arc::new(schema.field("")), &column).unwrap().write(0, &mut bytes);
        prop_assert_eq!(data::read(&typed.shape, &bytes), Ok(order_value));
        // Cut off anywhere, it is refused.
        prop_assert!(data::read(&typed.shape, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let typed = parsed(&schema::to_avro(&order(), true)).unwrap();
        _ = data::read(&typed.shape, &bytes);
        _ = framed(&bytes);
    }
}

#[test]
fn connects_schema_comes_back_from_avros() {
    let schema = order();
    let mut back = parsed(&schema::to_avro(&schema, true)).unwrap().schema;
    let connector_core::schema::Kind::Struct(fields) = &mut back.kind else { panic!() };
    // As in Connect: what had no name has the one that Avro wanted.
    assert_eq!(fields[9].1.name.take().as_deref(), Some("io.confluent.connect.avro.ConnectDefault2"));
    assert_eq!(back.to_json(None), schema.to_json(None));
}

#[test]
fn avros_own_types_are_connects() {
    let avro = json!({ "type": "record", "name": "R", "namespace": "a.b", "doc": "about", "fields": [
        { "name": "suit", "type": { "type": "enum", "name": "Suit", "symbols": ["S", "H"] } },
        { "name": "again", "type": ["null", "Suit"], "default": null },
        { "name": "either", "type": ["int", "string", "null"] },
        { "name": "hash", "type": { "type": "fixed", "name": "Md5", "size": 2 } },
        { "name": "day", "type": { "type": "int", "logicalType": "date" } }
    ] });
    let typed = parsed(&avro).unwrap();
    let found = typed.schema.to_json(None);
    assert_eq!((&found["name"], &found["doc"]), (&json!("a.b.R"), &json!("about")));
    assert_eq!(found["fields"][1]["optional"], json!(true));
    assert_eq!(found["fields"][2]["fields"][1]["field"], json!("string"));
    assert_eq!(found["fields"][4]["name"], json!("org.apache.kafka.connect.data.Date"));
    // H, S, the text "x", two bytes, day 1.
    let bytes = [2, 2, 0, 2, 2, b'x', 0xab, 0xcd, 2];
    let expected = Datum::Struct(vec![
        Datum::Text("H".to_owned()),
        Datum::Text("S".to_owned()),
        Datum::Struct(vec![Datum::Null, Datum::Text("x".to_owned())]),
        Datum::Bytes(vec![0xab, 0xcd]),
        Datum::Integer(1),
    ]);
    assert_eq!(data::read(&typed.shape, &bytes), Ok(expected));
}

#[test]
fn what_no_column_can_hold_is_told() {
    let list =
        json!({ "type": "record", "name": "List", "fields": [{ "name": "next", "type": ["null", "List"] }] });
    assert_eq!(parsed(&list).unwrap_err(), "the Avro type `List` contains itself, which columns cannot hold");
    assert_eq!(
        parsed(&json!("Nowhere")).unwrap_err(),
        "the Avro schema uses the type `Nowhere`, which it does not define"
    );
}

#[test]
fn a_message_without_the_registrys_head_is_refused() {
    let error = held(&HashMap::new(), b"{}").err().unwrap();
    assert!(error.message.starts_with("Unknown magic byte!"), "{}", error.message);
    let error = held(&HashMap::new(), &[0, 0, 0, 0, 9, 1]).err().unwrap();
    assert_eq!(error.message, "no schema with the id 9");
    assert!(matches!(held(&HashMap::new(), b""), Ok(Held::Null)));
}

#[test]
fn subjects_are_named_as_connect_names_them() {
    let avro = schema::to_avro(&order(), true);
    for (strategy, expected) in [
        (SubjectNameStrategy::Topic, "t-value"),
        (SubjectNameStrategy::Record, "com.acme.Order"),
        (SubjectNameStrategy::TopicRecord, "t-com.acme.Order"),
    ] {
        assert_eq!(strategy.subject("t", "value", &avro).unwrap(), expected);
    }
    assert!(SubjectNameStrategy::Record.subject("t", "value", &json!("string")).is_err());
}

/// The address refuses: a call that may pass, so that the task waits.
#[tokio::test]
async fn a_registry_that_is_down_is_no_fault_of_a_record() {
    let config = [("schema.registry.url".to_owned(), "http://127.0.0.1:9".to_owned())].into();
    let converter = super::super::converter("AvroConverter", &config, false).unwrap();
    let values = Arc::new(BinaryArray::from(vec![[0, 0, 0, 0, 1, 2].as_slice()]));
    let records =
        connector_core::envelope::EnvelopeBuilder::new().value(Form::Bytes, values).build().unwrap();
    let error = converter.decode(records, "value", &Needs::Document).await.err().unwrap();
    assert_eq!((error.code.as_str(), error.is_retriable()), ("registry.unreachable", true));
}
