//! Records as the columns of a batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, ListBuilder, StringBuilder, StructBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::DataType;
use connector_core::envelope::{EnvelopeBuilder, headers_type};
use connector_core::{Form, Result, Run};

use crate::fetch::Record;
use crate::origin::Origin;

pub struct Rows {
    keys: BinaryBuilder,
    values: BinaryBuilder,
    timestamps: TimestampMillisecondBuilder,
    headers: Option<ListBuilder<StructBuilder>>,
    origins: Vec<Origin>,
    pub count: usize,
    pub bytes: usize,
}

impl Rows {
    pub fn new(with_headers: bool) -> Self {
        Self {
            keys: BinaryBuilder::new(),
            values: BinaryBuilder::new(),
            timestamps: TimestampMillisecondBuilder::new(),
            headers: with_headers.then(headers).flatten(),
            origins: Vec::new(),
            count: 0,
            bytes: 0,
        }
    }

    pub fn push(&mut self, shard: &Arc<str>, record: &Record) {
        self.keys.append_option(record.key.as_deref());
        self.values.append_value(&record.data);
        self.timestamps.append_option(record.arrived);
        if let Some(list) = &mut self.headers {
            let entries = list.values();
            let mut put = |name: &str, value: &str| {
                if let Some(names) = entries.field_builder::<StringBuilder>(0) {
                    names.append_value(format!("aws.kinesis.{name}"));
                }
                if let Some(values) = entries.field_builder::<BinaryBuilder>(1) {
                    values.append_value(value);
                }
                entries.append(true);
            };
            if let Some(key) = &record.key {
                put("partition.key", key);
            }
            put("sequence.number", &record.sequence);
            if let Some((at, _)) = record.sub {
                put("sub.sequence.number", &at.to_string());
            }
            put("shard.id", shard);
            list.append(true);
        }
        self.origins.push(Origin::of(shard, record));
        self.count += 1;
        self.bytes += record.size();
    }

    /// The records, and where each comes from.
    pub fn finish(mut self, topic: &Arc<str>) -> Result<(Run, Vec<Origin>)> {
        let mut envelope = EnvelopeBuilder::new()
            .timestamps(self.timestamps.finish())
            .key(Form::Bytes, Arc::new(self.keys.finish()))
            .value(Form::Bytes, Arc::new(self.values.finish()));
        if let Some(mut headers) = self.headers {
            let headers: ArrayRef = Arc::new(headers.finish());
            envelope = envelope.headers(headers);
        }
        Ok((Run::to_topic(topic.clone(), envelope.build()?), self.origins))
    }
}

fn headers() -> Option<ListBuilder<StructBuilder>> {
    let DataType::List(item) = headers_type() else { return None };
    let DataType::Struct(fields) = item.data_type() else { return None };
    Some(ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0)).with_field(item))
}
