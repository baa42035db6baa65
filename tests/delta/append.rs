//! Appended rows: types, nulls, partitions, statistics, columns that come later.

use serde_json::{Value, json};

use crate::lake::Lake;
use crate::readers::read;
use crate::sorted;

const GEO: &str = "ind long, country string, coordinates array<double>, timestamp timestamp";

#[tokio::test]
async fn every_reader_sees_the_types_and_rows_of_the_pipelines_tables() {
    let lake = Lake::new();
    let mut geo = lake.open("geo", "geo", &[("delta.schema", GEO)]).await;
    geo.write(&[
        json!({"ind": 1, "country": "Cote d'Ivoire", "coordinates": [1.5, -2.25], "timestamp": "2020-08-28T03:52:47"}),
        json!({"ind": i64::MAX, "country": null, "coordinates": [], "timestamp": "1969-12-31T23:59:59.999999Z"}),
        json!({"ind": 3, "country": "Åland 🇦🇽", "coordinates": null, "timestamp": "2022-10-01T00:00:00Z"}),
    ])
    .await;
    geo.publish().await;

    let seen = read(&lake.path("geo"));
    let doubles = json!({"type": "array", "elementType": "double", "containsNull": true});
    let types = json!({"ind": "long", "country": "string", "coordinates": doubles, "timestamp": "timestamp"});
    assert_eq!(Value::from(seen.types.clone()), types);
    let expected = vec![
        json!({"ind": 1, "country": "Cote d'Ivoire", "coordinates": [1.5, -2.25], "timestamp": "2020-08-28T03:52:47.000000+00:00"}),
        json!({"ind": i64::MAX, "country": null, "coordinates": [], "timestamp": "1969-12-31T23:59:59.999999+00:00"}),
        json!({"ind": 3, "country": "Åland 🇦🇽", "coordinates": null, "timestamp": "2022-10-01T00:00:00.000000+00:00"}),
    ];
    assert_eq!(seen.rows(), sorted(expected));
    let [file] = seen.files.as_slice() else { panic!("{:?}", seen.files) };
    assert_eq!((&file["num_records"], &file["null_count.country"]), (&json!(3), &json!(1)));
    assert_eq!((&file["min.ind"], &file["max.ind"]), (&json!(1), &json!(i64::MAX)));
    seen.has_statistics(3);
}

#[tokio::test]
async fn every_simple_and_nested_type_survives() {
    let lake = Lake::new();
    let schema = "i integer, s short, b byte, d double, f float, flag boolean, day date, price decimal(10,2), \
                  m map<string, long>, inner struct<x: integer, y: string>, texts array<string>";
    let mut task = lake.open("types", "types", &[("delta.schema", schema)]).await;
    let row = json!({
        "i": -7, "s": 300, "b": -128, "d": 0.1, "f": 0.5, "flag": true, "day": "2020-02-29", "price": 1234.5,
        "m": {"a": 1}, "inner": {"x": 1, "y": "z"}, "texts": ["a", null, ""],
    });
    let rejected = task.write(&[row.clone(), json!({"i": 1})]).await;
    assert!(rejected.is_empty(), "{rejected:?}");
    task.publish().await;

    let seen = read(&lake.path("types"));
    let mut whole = row;
    let found = seen.rows().into_iter().find(|row| row["i"] == -7).unwrap();
    whole["price"] = json!("1234.50");
    assert_eq!(found, whole);
    let nulls = seen.rows().into_iter().find(|row| row["i"] == 1).unwrap();
    assert!(nulls.as_object().unwrap().iter().all(|(name, value)| name == "i" || value.is_null()), "{nulls}");
    seen.has_statistics(8);
}

#[tokio::test]
async fn partition_values_of_any_kind_come_back() {
    let lake = Lake::new();
    let keys =
        [("delta.schema", "id long, place string, day date"), ("delta.partition.columns", "place,day")];
    let mut task = lake.open("places", "places", &keys).await;
    let places = ["São Paulo", "a/b", "100 %", "x=y", "a:b?c#d", "tab\tand\nline", "…\u{a0}", "%2F", " "];
    let mut rows: Vec<_> = places
        .iter()
        .zip(0..)
        .map(|(place, id)| json!({"id": id, "place": place, "day": "2020-01-31"}))
        .collect();
    rows.push(json!({"id": 100, "place": null, "day": null}));
    task.write(&rows).await;
    task.publish().await;

    let seen = read(&lake.path("places"));
    assert_eq!(seen.partition_columns, ["place", "day"]);
    assert_eq!(seen.rows(), sorted(rows.clone()));
    assert_eq!(seen.files.len(), rows.len());
}

#[tokio::test]
async fn a_column_that_comes_later_is_null_in_older_rows() {
    let lake = Lake::new();
    let mut task = lake.open("grows", "grows", &[]).await;
    task.write(&[json!({"id": 1})]).await;
    task.publish().await;
    task.write(&[json!({"id": 2, "name": "b", "tags": ["x"]})]).await;
    task.publish().await;

    let seen = read(&lake.path("grows"));
    let expected =
        vec![json!({"id": 1, "name": null, "tags": null}), json!({"id": 2, "name": "b", "tags": ["x"]})];
    assert_eq!(seen.rows(), sorted(expected));
    assert_eq!(seen.nullable["name"], true);
}
