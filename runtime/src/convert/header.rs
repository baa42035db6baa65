//! Header converters. Headers stay the bytes that they are; a converter that cannot read one refuses its record, as in
//! Connect.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use connector_core::config::{ConfigMap, ConfigProblem};
use connector_core::envelope::{self, EnvelopeBuilder, VALUE};
use connector_core::{Envelope, Form, Needs, Rejection, Result, Run, Stage, Transformed};

use super::{Converter, converter};

/// Reads anything, so there is nothing to check.
const SIMPLE: [&str; 3] =
    ["SimpleHeaderConverter", "org.apache.kafka.connect.storage.SimpleHeaderConverter", "Simple"];

/// A converter that may refuse headers.
pub struct HeaderConverter(Arc<dyn Converter>);

/// Makes a header converter from its keys; `None`: the class takes any header.
pub fn header_converter(
    class: &str,
    config: &ConfigMap,
) -> Result<Option<HeaderConverter>, Vec<ConfigProblem>> {
    if SIMPLE.contains(&class) {
        return Ok(None);
    }
    let converter = converter(class, config, false)?;
    let takes_all =
        ["StringConverter", "ByteArrayConverter"].iter().any(|name| converter.class().ends_with(name));
    Ok((!takes_all).then_some(HeaderConverter(converter)))
}

impl HeaderConverter {
    /// Connect's class name.
    pub fn class(&self) -> &'static str {
        self.0.class()
    }

    /// Refuses records of which a header cannot be read.
    pub async fn check(&self, records: RecordBatch) -> Result<Transformed> {
        let Some(headers) = Envelope::of(&records)?.headers().cloned() else {
            return Ok(Transformed::one(records));
        };
        let offsets = headers.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        let values = headers.values().as_struct().column(1).slice(first, last - first);
        let all = EnvelopeBuilder::new().value(Form::Bytes, values).build()?;
        let mut refused: Vec<Rejection> = Vec::new();
        for Rejection { row, error, .. } in self.0.decode(all, VALUE, &Needs::Document).await?.rejected {
            // The record that this header belongs to: the last that begins at or before it.
            let record = offsets.partition_point(|begin| *begin as usize <= first + row) - 1;
            if refused.last().is_none_or(|known| known.row != record) {
                refused.push(Rejection::new(record, Stage::HeaderConverter, error));
            }
        }
        let rows: Vec<usize> = refused.iter().map(|rejection| rejection.row).collect();
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&records, &rows)?)], rejected: refused })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array, ListBuilder, StructBuilder};
    use arrow::array::{BinaryBuilder, StringBuilder};
    use arrow::datatypes::{DataType, Int64Type};
    use connector_core::envelope::{OFFSET, headers_type};

    use super::*;

    fn records(headers: &[&[Option<&[u8]>]]) -> RecordBatch {
        let DataType::List(item) = headers_type() else { unreachable!() };
        let DataType::Struct(fields) = item.data_type().clone() else { unreachable!() };
        let mut list = ListBuilder::new(StructBuilder::from_fields(fields, 0)).with_field(item);
        for record in headers {
            for value in *record {
                let entry = list.values();
                entry.field_builder::<StringBuilder>(0).unwrap().append_value("h");
                entry.field_builder::<BinaryBuilder>(1).unwrap().append_option(*value);
                entry.append(true);
            }
            list.append(true);
        }
        let n = headers.len();
        EnvelopeBuilder::new()
            .offsets(Int64Array::from_iter_values(0..n as i64))
            .value(Form::Bytes, Arc::new(BinaryArray::from(vec![None; n])))
            .headers(Arc::new(list.finish()))
            .build()
            .unwrap()
    }

    #[tokio::test]
    async fn a_record_is_refused_once_for_headers_that_cannot_be_read_dlq_04() {
        let converter = header_converter("IntegerConverter", &ConfigMap::new()).unwrap().unwrap();
        let five: Option<&[u8]> = Some(&[0, 0, 0, 5]);
        let bad: Option<&[u8]> = Some(b"abc");
        let all = records(&[&[five], &[], &[five, bad, bad], &[None], &[bad]]);
        let check = async |records| {
            let out = converter.check(records).await.unwrap();
            let left = out.runs[0].records[OFFSET].as_primitive::<Int64Type>().values().to_vec();
            (left, out.rejected.iter().map(|r| r.row).collect::<Vec<_>>())
        };
        assert_eq!(check(all.clone()).await, (vec![0, 1, 3], vec![2, 4]));
        assert_eq!(check(all.slice(2, 2)).await, (vec![3], vec![0]));
    }

    #[test]
    fn connects_default_takes_everything() {
        for class in ["SimpleHeaderConverter", "StringConverter", "ByteArrayConverter"] {
            assert!(header_converter(class, &ConfigMap::new()).unwrap().is_none());
        }
        assert!(header_converter("Nope", &ConfigMap::new()).is_err());
    }
}
