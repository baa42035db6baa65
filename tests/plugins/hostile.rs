//! The library that does everything wrong: each call ends with an error that names the plugin and what it did, later
//! calls are not made, and another instance works.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_core::abi::import::{Options, abandoned_total};
use connector_core::{
    Batch, Component, ConnectError, FlushRange, Form, Meta, NoTopics, PollBudget, Result, Sink, Source,
    SourceContext, TaskConfig, TaskInfo, TopicPartition, Transform, testing,
};
use connector_runtime::plugin::library;
use serde_json::json;

use crate::{libraries, log};

fn path() -> PathBuf {
    libraries::file(&libraries::build("plugin-hostile"), "plugin_hostile")
}

fn component(name: &str) -> Component {
    let mut options = Options::new("");
    options.timeout = Duration::from_millis(1000);
    let all = library::load_with(&path(), None, options).unwrap().components;
    all.into_iter().find(|component| component.name == name).unwrap()
}

fn sink(name: &str, misdeed: &str) -> Arc<dyn Sink> {
    component(name).create_sink(&json!({"do": misdeed}), &TaskInfo::default()).unwrap()
}

fn topic() -> TopicPartition {
    TopicPartition::new("t", 0)
}

async fn write(sink: &dyn Sink) -> Result<()> {
    let records = testing::records(Form::Bytes, &topic(), 0..5);
    sink.write(Batch::new(topic(), records)).await.map(drop)
}

/// All calls of a sink, in order, until one fails.
async fn use_it(sink: &dyn Sink) -> Result<()> {
    sink.open(&[topic().into()]).await?;
    write(sink).await?;
    let staged = sink.flush(&[FlushRange::new(topic(), 0..5)]).await?;
    sink.commit(&staged).await?;
    sink.commit(&staged).await?;
    sink.close(&[topic()]).await
}

fn names(error: &ConnectError, plugin: &str, misdeed: &str) {
    let right =
        error.message.starts_with(&format!("plugin `{plugin}` (/")) && error.message.contains(misdeed);
    assert!(right, "{error}");
    assert!(!error.is_retriable() && !error.hint.is_empty(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_any_call_of_a_sink_is_contained() {
    log::record();
    for entry in ["open", "write", "flush", "commit", "close"] {
        let hostile = sink("hostile-sink", entry);
        let error = use_it(&*hostile).await.unwrap_err();
        names(&error, "hostile-sink", &format!("in `{entry}` it panicked at src/panicking.rs:"));
        assert_eq!(error.code, "plugin.panicked");
        let later = write(&*hostile).await.unwrap_err();
        names(&later, "hostile-sink", "is not called any more");
        assert_eq!(later.code, "plugin.poisoned");
    }
    for entry in ["create", "needs"] {
        let config = json!({"do": entry});
        let problems = component("hostile-sink").create_sink(&config, &TaskInfo::default()).err().unwrap();
        assert!(problems[0].message.contains("in `create` it panicked at src/panicking.rs:"), "{problems:?}");
    }
    drop(sink("hostile-sink", "drop"));
    assert!(
        !log::lines(&["ERROR", "plugin-hostile", "panicked at src/panicking.rs", "on purpose"]).is_empty()
    );
    use_it(&*sink("hostile-sink", "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_ends_or_blocks_its_thread_abandons_the_instance() {
    for misdeed in ["never-write", "block-write"] {
        let before = abandoned_total();
        let (hostile, start) = (sink("hostile-sink", misdeed), Instant::now());
        let error = use_it(&*hostile).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(2500), "{misdeed}");
        names(&error, "hostile-sink", "in `write` it did not answer within 1000 ms");
        assert_eq!(error.code, "plugin.timeout");
        assert_eq!(write(&*hostile).await.unwrap_err().code, "plugin.abandoned");
        assert!(abandoned_total() > before);
    }
    use_it(&*sink("hostile-sink", "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_is_ignored_and_logged() {
    log::record();
    use_it(&*sink("hostile-twice", "")).await.unwrap();
    assert!(!log::lines(&["WARN", "plugin `hostile-twice`", "answered `write` a second time"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_other_minor_versions_work() {
    use_it(&*sink("hostile-smaller", "")).await.unwrap();
    use_it(&*sink("hostile-larger", "")).await.unwrap();
}

fn apply(misdeed: &str) -> (Arc<dyn Transform>, ConnectError) {
    let component = component("hostile-transform");
    let careless = component.create_transform(&json!({"do": misdeed}), &TaskInfo::default()).unwrap();
    let (records, meta) = (testing::records(Form::Bytes, &topic(), 0..5), Meta { partition: topic() });
    let error = careless.apply(records, &meta).unwrap_err();
    (careless, error)
}

#[test]
fn a_transform_that_panics_doubles_or_loses_is_stopped() {
    for (misdeed, message) in [
        ("panic", "in `apply` it panicked at src/panicking.rs"),
        ("double", "in `apply` it made 10 records and 0 rejections of 5 records"),
        ("lose-offsets", "in `apply` it lost the `offset` column"),
    ] {
        let (careless, error) = apply(misdeed);
        names(&error, "hostile-transform", message);
        let records = testing::records(Form::Bytes, &topic(), 0..5);
        let later = careless.apply(records, &Meta { partition: topic() }).unwrap_err();
        assert_eq!(later.code, "plugin.poisoned");
    }
}

async fn poll(misdeed: &str) -> (Arc<dyn Source>, Result<usize>) {
    let component = component("hostile-source");
    let source = component.create_source(&json!({"do": misdeed}), &TaskInfo::default()).unwrap();
    let context =
        SourceContext { task: TaskConfig::new(), positions: Vec::new(), topics: Arc::new(NoTopics) };
    source.open(context).await.unwrap();
    let batch = source.poll(PollBudget { max_records: 10, max_bytes: 1000 }).await;
    (source, batch.map(|batch| batch.unwrap().runs[0].records.num_rows()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_batch_is_refused_before_it_is_looked_into() {
    for (misdeed, message) in [
        ("negative-offsets", "column `value`: its offset -7 at row 1 is negative"),
        ("descending-offsets", "column `value`: its offsets descend from 8 to 3 at row 2"),
        ("negative-length", "column `value`: -1 rows"),
        ("bad-utf8", "UTF"),
        ("no-value", "no column `value`"),
        ("no-topic", "a run without a topic"),
        ("no-batch", "0 batches for 1 runs"),
        ("not-json", "is not the JSON that it should be"),
        ("status", "status 99 is unknown"),
    ] {
        let (source, answer) = poll(misdeed).await;
        names(&answer.unwrap_err(), "hostile-source", message);
        let later = source.poll(PollBudget { max_records: 10, max_bytes: 1000 }).await.unwrap_err();
        assert_eq!(later.code, "plugin.poisoned", "{misdeed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_answers_too_often_goes_on() {
    log::record();
    for misdeed in ["", "twice", "invented-ticket"] {
        assert_eq!(poll(misdeed).await.1.unwrap(), 10, "{misdeed}");
    }
    assert!(!log::lines(&["plugin `hostile-source`", "answered `poll` a second time"]).is_empty());
    assert!(!log::lines(&["WARN", "which was never given out"]).is_empty());
}

#[test]
fn a_create_that_does_not_answer_is_a_problem_of_the_configuration() {
    let config = json!({"do": "create-silently"});
    let problems = component("hostile-source").create_source(&config, &TaskInfo::default()).err().unwrap();
    assert!(problems[0].message.contains("in `create` it returned without an answer"), "{problems:?}");
}
