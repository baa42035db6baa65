//! Geolocations: latitude and longitude become one column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Float64Builder, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type};
use connector_core::{ConfigProblem, Meta, Needs, Plugin, Result, TaskInfo, Transform, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::rows::{Rows, instant, key, needed};

#[derive(Deserialize, JsonSchema)]
pub struct Config {}

/// Cleans rows of the table `geolocation_data`.
pub struct GeoCleaner;

impl Plugin for GeoCleaner {
    type Config = Config;

    const NAME: &'static str = "geo-cleaner";
    const SUMMARY: &'static str =
        "Cleans geolocations: coordinates in one array, timestamps in UTC, columns ordered.";

    fn create(_: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        Ok(Self)
    }
}

impl Transform for GeoCleaner {
    fn needs(&self) -> Needs {
        let fields = vec![
            key("ind"),
            needed("timestamp", instant()),
            needed("latitude", DataType::Float64),
            needed("longitude", DataType::Float64),
            needed("country", DataType::Utf8),
        ];
        Needs::Columns(fields.into())
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let rows = Rows::of(&records)?;
        let coordinates = pairs(rows.numbers::<Float64Type>("latitude")?, rows.numbers("longitude")?)?;
        let columns = vec![
            (key("ind"), rows.column("ind")?.clone()),
            (Field::new("country", DataType::Utf8, true), rows.column("country")?.clone()),
            (
                Field::new("coordinates", coordinates.data_type().clone(), true),
                Arc::new(coordinates) as ArrayRef,
            ),
            (Field::new("timestamp", instant(), true), rows.column("timestamp")?.clone()),
        ];
        rows.cleaned(columns, Vec::new())
    }
}

/// `[latitude, longitude]` a row; a coordinate that is null stays null.
fn pairs(latitudes: &Float64Array, longitudes: &Float64Array) -> Result<ListArray> {
    let mut both = Float64Builder::with_capacity(latitudes.len() * 2);
    for (latitude, longitude) in latitudes.iter().zip(longitudes) {
        both.append_option(latitude);
        both.append_option(longitude);
    }
    let item = Arc::new(Field::new("item", DataType::Float64, true));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(2, latitudes.len()));
    Ok(ListArray::try_new(item, offsets, Arc::new(both.finish()), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::testing::{case, clean};
    use connector_core::{Component, testing};

    fn component() -> Component {
        Component::transform::<GeoCleaner>("0")
    }

    const ROWS: [&str; 3] = [
        r#"{"ind":1,"timestamp":"2020-08-28T03:52:47","latitude":-81.0108,"longitude":12,"country":"Cote d'Ivoire"}"#,
        r#"{"ind":2,"timestamp":"2020-08-28 03:52:47","latitude":null,"longitude":0.5,"country":null}"#,
        "null",
    ];

    #[test]
    fn coordinates_become_an_array_and_timestamps_instants() {
        let (rows, rejected) = clean(&component(), &[], &ROWS);
        assert_eq!(rejected, [""; 0]);
        assert_eq!(
            rows,
            [
                r#"{"ind":1,"country":"Cote d'Ivoire","coordinates":[-81.0108,12.0],"timestamp":"2020-08-28T03:52:47Z"}"#,
                r#"{"ind":2,"country":null,"coordinates":[null,0.5],"timestamp":"2020-08-28T03:52:47Z"}"#,
                "null",
            ]
        );
    }

    #[test]
    fn a_row_of_another_kind_or_with_another_timestamp_is_rejected_by_name() {
        let bad = r#"{"ind":1,"timestamp":"28.08.2020","latitude":1,"longitude":2,"country":"Chad"}"#;
        let (rows, rejected) = clean(&component(), &[], &[r#"{"index":1}"#, bad]);
        assert_eq!(rows, [""; 0]);
        assert_eq!(rejected[0], "field `ind` is missing");
        assert!(rejected[1].starts_with("field `timestamp` is not "), "{rejected:?}");
    }

    #[test]
    fn it_conforms() {
        testing::transform::run_both(&case(component(), &ROWS));
    }
}
