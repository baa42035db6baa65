//! Kafka to objects in S3, in directories by the records' time; files are closed by the clock.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::DateTime;
use serde_json::{Value, json};

use super::input::{Input, text};
use super::{Pipeline, parquet};
use crate::account::{Account, Arrived};
use crate::support::{Kafka, S3, services, unique};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Without a schema; closed by `rotate.schedule.interval.ms`. Some records are no JSON.
    Json,
    /// With a schema; closed by `rotate.interval.ms` and the idle clock.
    Parquet,
}

pub struct S3Sink {
    pub input: Input,
    pub bucket: String,
    pub s3: S3,
    /// Where the worker finds the service.
    pub url: String,
    format: Format,
    /// Bytes that make each record longer.
    pub pad: usize,
    /// Further keys of the connector, as lines of YAML.
    more: String,
}

impl S3Sink {
    pub fn new(format: Format) -> Self {
        Self::on(&services().kafka, format)
    }

    pub fn on(kafka: &Kafka, format: Format) -> Self {
        let s3 = services().s3;
        let bucket = unique("chaos-bucket");
        s3.create_bucket(&bucket);
        let what = if format == Format::Json { "chaos-json" } else { "chaos-parquet" };
        let (input, url) = (Input::on(kafka, what, 4), s3.url.clone());
        Self { input, bucket, s3, url, format, pad: 0, more: String::new() }
    }

    /// With further keys of the connector, as lines of YAML.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        self.more += more;
        self
    }

    fn is_bad(&self, n: i64) -> bool {
        self.format == Format::Json && n % 499 == 7
    }

    fn row(&self, n: i64) -> Value {
        json!({"n": n, "text": text(n) + &"x".repeat(self.pad)})
    }

    fn value(&self, n: i64) -> String {
        let row = self.row(n);
        match self.format {
            Format::Json if self.is_bad(n) => format!("{{\"n\": {n}, \"text"),
            Format::Json => row.to_string(),
            Format::Parquet => {
                let field = |name, of| json!({"field": name, "type": of, "optional": false});
                let fields = [field("n", "int64"), field("text", "string")];
                let schema = json!({"type": "struct", "optional": false, "fields": fields});
                json!({"schema": schema, "payload": row}).to_string()
            }
        }
    }

    /// The numbers in each object, by its key.
    fn numbers(&self) -> BTreeMap<String, Vec<i64>> {
        let objects = self.s3.objects(&self.bucket);
        match self.format {
            Format::Parquet => parquet::numbers(objects),
            Format::Json => {
                objects.into_iter().map(|(key, body)| (key.clone(), self.lines(&key, &body))).collect()
            }
        }
    }

    fn lines(&self, key: &str, body: &[u8]) -> Vec<i64> {
        let text = std::str::from_utf8(body).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert!(text.ends_with('\n'), "{key}: the last line has no end");
        let number = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{key}: {e}"));
            let n = row["n"].as_i64().unwrap();
            assert!(row == self.row(n), "{key}: record {n} is not what was sent");
            n
        };
        text.lines().map(number).collect()
    }

    /// Where record `n` belongs.
    fn directory(&self, n: i64) -> String {
        let time = DateTime::from_timestamp_millis(Input::timestamp(n)).unwrap();
        let time = time.format("dt=%Y-%m-%d/hour=%H/minute=%M");
        format!("topics/{}/{time}", self.input.id)
    }
}

impl Pipeline for S3Sink {
    fn connector(&self) -> &str {
        &self.input.id
    }

    fn yaml(&self) -> String {
        let Self { input: Input { id, .. }, bucket, url, more, .. } = self;
        let format = match self.format {
            Format::Json => {
                "format.class: json
    flush.size: 1000000
    rotate.schedule.interval.ms: 400
    errors.tolerance: all
"
            }
            Format::Parquet => {
                "format.class: parquet
    value.converter: org.apache.kafka.connect.json.JsonConverter
    value.converter.schemas.enable: true
    flush.size: 150
    rotate.interval.ms: 800
"
            }
        };
        format!(
            "connectors:
  {id}:
    connector.class: s3-sink
    topics: {id}
    tasks.max: 2
    errors.retry.delay.max.ms: 300
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {url}
    partitioner.class: io.confluent.connect.storage.partitioner.TimeBasedPartitioner
    path.format: \"'dt'=yyyy-MM-dd/'hour'=HH/'minute'=mm\"
    partition.duration.ms: 60000
    timestamp.extractor: Record
    locale: en-US
    timezone: UTC
    {format}{more}"
        )
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.s3.credentials().to_vec()
    }

    fn put(&self, numbers: Range<i64>) {
        self.input.put(numbers, |n| self.value(n));
    }

    fn is_settled(&self, count: i64) -> bool {
        self.input.is_committed(count)
    }

    fn account(&self, count: i64) -> Account {
        let (mut arrived, id) = (Arrived::new(), &self.input.id);
        for (key, numbers) in self.numbers() {
            let first = *numbers.first().unwrap_or_else(|| panic!("{key} is empty"));
            let (partition, offset) = self.input.place(first);
            let named = format!("{}/{id}+{partition}+{offset:010}.", self.directory(first));
            assert!(key.starts_with(&named), "{key} begins with record {first}, which belongs to {named}");
            for n in &numbers {
                assert_eq!(
                    (self.directory(*n), self.input.place(*n).0),
                    (self.directory(first), partition),
                    "{key}"
                );
                *arrived.entry(*n).or_default() += 1;
            }
            assert!(numbers.is_sorted_by(|a, b| a < b), "{key}: {numbers:?}");
        }
        Account::of((0..count).filter(|n| !self.is_bad(*n)), arrived)
    }
}
