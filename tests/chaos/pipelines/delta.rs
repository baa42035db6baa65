//! Kafka to a Delta table on S3.

use std::ops::Range;

use serde_json::json;

use super::input::{Input, text};
use super::{Pipeline, parquet};
use crate::account::{Account, Arrived};
use crate::support::{S3, services, unique};

pub struct Delta {
    pub input: Input,
    bucket: String,
    s3: S3,
}

impl Delta {
    pub fn new() -> Self {
        let (s3, bucket) = (services().s3, unique("chaos-lake"));
        s3.create_bucket(&bucket);
        Self { input: Input::new("chaos-delta", 4), bucket, s3 }
    }
}

impl Pipeline for Delta {
    fn connector(&self) -> &str {
        &self.input.id
    }

    fn yaml(&self) -> String {
        let Self { input: Input { id, .. }, bucket, s3 } = self;
        format!(
            "connectors:
  {id}:
    connector.class: delta-sink
    topics: {id}
    tasks.max: 2
    delta: {{table.path: \"s3://{bucket}/table\", schema: \"n long, text string\"}}
    store.url: {}
    s3.region: us-east-1
    flush.size: 60
    rotate.interval.ms: 300
",
            s3.url
        )
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.s3.credentials().to_vec()
    }

    fn put(&self, numbers: Range<i64>) {
        self.input.put(numbers, |n| json!({"n": n, "text": text(n)}).to_string());
    }

    fn is_settled(&self, count: i64) -> bool {
        self.input.is_committed(count)
    }

    fn account(&self, count: i64) -> Account {
        let mut arrived = Arrived::new();
        for n in parquet::numbers_of_table(self.s3.objects(&self.bucket), "table") {
            *arrived.entry(n).or_default() += 1;
        }
        Account::of(0..count, arrived)
    }
}
