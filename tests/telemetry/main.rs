//! Metrics and logs of a worker that does real work.

mod board;
mod logs;
mod metrics;
#[path = "../support/mod.rs"]
mod support;
mod traces;

use std::time::Duration;

use serde_json::json;
use support::{Record, Services, Sidestream, services, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// A source, a sink with a dead letter queue that is used, and a connector that fails.
struct Working {
    worker: Sidestream,
    source: String,
    sink: String,
    failing: String,
}

impl Working {
    fn start(worker: &str) -> Self {
        Self::start_with(worker, &[])
    }

    fn start_with(worker: &str, env: &[(&str, &str)]) -> Self {
        let Services { kafka, s3, .. } = services();
        let [source, sink, failing] = ["source", "sink", "failing"].map(unique);
        let bucket = unique("telemetry-bucket");
        s3.create_bucket(&bucket);
        kafka.create_topics([
            (format!("{source}.pin").as_str(), 1),
            (sink.as_str(), 2),
            (format!("{sink}-dead").as_str(), 1),
        ]);
        let yaml = format!(
            "worker: {{{worker}}}
connectors:
  {source}: {{connector.class: datagen-source, datagen.tables: pin, datagen.rows: 500, topic.prefix: '{source}.'}}
  {sink}:
    connector.class: s3-sink
    topics: {sink}
    flush.size: 10
    s3: {{bucket.name: {bucket}, region: us-east-1}}
    store.url: {url}
    errors.tolerance: all
    errors.deadletterqueue.topic.name: {sink}-dead
    errors.deadletterqueue.topic.replication.factor: 1
  {failing}: {{connector.class: s3-sink, topics: {sink}, flush.size: 1, s3.bucket.name: no-such-bucket, s3.region: us-east-1,
    store.url: {url}, restart.max.attempts: 0}}
",
            url = s3.url,
        );
        let worker = Sidestream::start(&[("a.yaml", &yaml)], &[&s3.credentials(), env].concat());
        kafka.produce((0..200).map(|n| Record::new(&sink, json!({"n": n}).to_string()).partition(n % 2)));
        kafka.produce([Record::new(&sink, "no json").partition(0)]);
        let working = Self { worker, source, sink, failing };
        wait_until(SOON, "the sink has delivered", || {
            (working.worker.metrics().records(&working.sink)[1] == 200).then_some(())
        });
        wait_until(SOON, "the source has delivered", || {
            (working.worker.metrics().records(&working.source)[1] == 500).then_some(())
        });
        working.worker.wait_state(&working.failing, "FAILED", SOON);
        working
    }
}
