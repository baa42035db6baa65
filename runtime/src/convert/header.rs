//! Header converters. Headers from Kafka stay the bytes that they are; a converter that cannot read one refuses its record,
//! as in Connect. Those that a transform makes are written at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use connector_core::config::{ConfigMap, ConfigProblem};
use connector_core::envelope::{self, EnvelopeBuilder, HEADERS, VALUE};
use connector_core::headers;
use connector_core::schema::{Schema, array, datum};
use connector_core::{ConnectError, Envelope, Form, Needs, Rejection, Result, Run, Stage, Transformed};
use serde_json::value::RawValue;

use super::simple_header::SimpleHeaderConverter;
use super::stretch::typed_field;
use super::{Converter, converter};

/// Connect's default.
const SIMPLE: [&str; 3] =
    ["SimpleHeaderConverter", "org.apache.kafka.connect.storage.SimpleHeaderConverter", "Simple"];

/// Reads and writes headers.
pub struct HeaderConverter {
    converter: Arc<dyn Converter>,
    /// It can read whatever comes.
    takes_all: bool,
}

impl Default for HeaderConverter {
    fn default() -> Self {
        Self { converter: Arc::new(SimpleHeaderConverter), takes_all: true }
    }
}

/// Makes a header converter from its keys.
pub fn header_converter(class: &str, config: &ConfigMap) -> Result<HeaderConverter, Vec<ConfigProblem>> {
    let converter: Arc<dyn Converter> = if SIMPLE.contains(&class) {
        Arc::new(SimpleHeaderConverter)
    } else {
        converter(class, config, false)?
    };
    let takes_all = ["SimpleHeaderConverter", "StringConverter", "ByteArrayConverter"]
        .iter()
        .any(|name| converter.class().ends_with(name));
    Ok(HeaderConverter { converter, takes_all })
}

impl HeaderConverter {
    /// Connect's class name.
    pub fn class(&self) -> &'static str {
        self.converter.class()
    }

    /// The converter of single values.
    pub fn values(&self) -> Arc<dyn Converter> {
        self.converter.clone()
    }

    /// Whether there are headers that it cannot read.
    pub fn may_refuse(&self) -> bool {
        !self.takes_all
    }

    /// Makes bytes of the headers that transforms have made, as they go to Kafka or to a sink.
    pub async fn write(&self, records: RecordBatch) -> Result<RecordBatch> {
        let Some(headers) = Envelope::of(&records)?.headers().cloned() else { return Ok(records) };
        let Some(schemas) = headers::schemas(&headers) else { return Ok(records) };
        let entries = headers.values().as_struct();
        let (keys, given) = (entries.column(0), entries.column(1).as_binary::<i32>());
        let mut groups = BTreeMap::<&str, Vec<usize>>::new();
        for (at, schema) in schemas.iter().enumerate() {
            if let Some(schema) = schema {
                groups.entry(schema).or_default().push(at);
            }
        }
        let mut bytes: Vec<Option<Vec<u8>>> = given.iter().map(|value| value.map(<[u8]>::to_vec)).collect();
        for (schema, places) in groups {
            let payloads: Vec<_> = places.iter().map(|at| bytes[*at].take()).collect();
            for (at, written) in places.iter().zip(self.written(schema, &payloads).await?) {
                bytes[*at] = written;
            }
        }
        let DataType::List(item) = envelope::headers_type() else { return Ok(records) };
        let DataType::Struct(fields) = item.data_type().clone() else { return Ok(records) };
        let values: BinaryArray = bytes.iter().map(Option::as_ref).collect();
        let entries = StructArray::try_new(fields, vec![keys.clone(), Arc::new(values)], None)?;
        let (_, offsets, _, nulls) = headers.into_parts();
        let list = ListArray::try_new(item, offsets, Arc::new(entries), nulls)?;
        envelope::with_column(&records, Field::new(HEADERS, list.data_type().clone(), true), Arc::new(list))
    }

    /// Payloads of one schema as bytes.
    async fn written(&self, schema: &str, payloads: &[Option<Vec<u8>>]) -> Result<Vec<Option<Vec<u8>>>> {
        let wrong = |message: String| ConnectError::internal("header.schema", message);
        let texts = payloads.iter().map(|text| text.as_ref().map(|text| String::from_utf8_lossy(text)));
        let (field, array): (Field, ArrayRef) = if schema.is_empty() {
            (Form::Document.field(VALUE, DataType::Utf8), Arc::new(texts.collect::<StringArray>()))
        } else {
            let json = serde_json::from_str(schema).map_err(|e| wrong(e.to_string()))?;
            let schema = Schema::parse(&json).map_err(wrong)?;
            let datums = texts.map(|text| match text {
                None => Ok(None),
                Some(text) => {
                    let raw: &RawValue = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
                    datum(&schema, Some(raw), false).map(Some).map_err(wrong)
                }
            });
            let datums = datums.collect::<Result<Vec<_>>>()?;
            let array = array(&schema, &datums.iter().map(Option::as_ref).collect::<Vec<_>>())?;
            (typed_field(VALUE, &schema), array)
        };
        let placeholder = Arc::new(BinaryArray::from(vec![None; payloads.len()]));
        let records = EnvelopeBuilder::new().value(Form::Bytes, placeholder).build()?;
        let records = envelope::with_column(&records, field, array)?;
        let mut written = Vec::with_capacity(payloads.len());
        for run in self.converter.encode(records, VALUE).await?.runs {
            let bytes = run.records[VALUE].as_binary::<i32>().clone();
            written.extend(bytes.iter().map(|value| value.map(<[u8]>::to_vec)));
        }
        Ok(written)
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
        for Rejection { row, error, .. } in
            self.converter.decode(all, VALUE, &Needs::Document).await?.rejected
        {
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
    use arrow::array::{BinaryBuilder, Int64Array, ListBuilder, StringBuilder, StructBuilder};
    use arrow::datatypes::Int64Type;
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
        let converter = header_converter("IntegerConverter", &ConfigMap::new()).unwrap();
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
            assert!(!header_converter(class, &ConfigMap::new()).unwrap().may_refuse());
        }
        assert!(header_converter("Nope", &ConfigMap::new()).is_err());
    }
}
