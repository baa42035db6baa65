//! Files that are there, that grow, and that come later.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connector_core::arrow::array::{Array, AsArray};
use connector_core::testing::{self, SourceCase};
use connector_core::{
    ConfigMap, Envelope, Form, NoTopics, PollBudget, Position, Source, SourceBatch, SourceContext,
    TaskConfig, TaskInfo,
};
use serde_json::json;

fn keys(file: &Path, more: &[(&str, &str)]) -> ConfigMap {
    let mut map = testing::config(&[("file", file.to_str().unwrap()), ("topic", "lines")]);
    map.extend(testing::config(more));
    map
}

async fn open(file: &Path, more: &[(&str, &str)], positions: Vec<Position>) -> Arc<dyn Source> {
    let component = source_file::component();
    let config = component.check(&keys(file, more)).unwrap();
    let source = component.create_source(&config, &TaskInfo::default()).unwrap();
    source
        .open(SourceContext { task: TaskConfig::new(), positions, topics: Arc::new(NoTopics) })
        .await
        .unwrap();
    source
}

async fn poll(source: &dyn Source, max_records: usize) -> Option<SourceBatch> {
    source.poll(PollBudget { max_records, max_bytes: 1 << 20 }).await.unwrap()
}

fn lines(batch: &SourceBatch) -> Vec<String> {
    assert_eq!(batch.runs.len(), 1);
    assert_eq!(batch.runs[0].topic.as_deref(), Some("lines"));
    let envelope = Envelope::of(&batch.runs[0].records).unwrap();
    assert_eq!(envelope.value_form(), Form::Columns);
    let values = envelope.value().as_string::<i32>();
    (0..values.len()).map(|row| values.value(row).to_owned()).collect()
}

#[tokio::test]
async fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input.txt");
    let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
    fs::write(&file, text).unwrap();
    let case = SourceCase::new(source_file::component(), keys(&file, &[("file.stop.at.end", "true")]), 40);
    testing::source::run_both(&case).await;
}

#[tokio::test]
async fn positions_are_connects() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input.txt");
    fs::write(&file, "é\nb\nc\n").unwrap();
    let source = open(&file, &[], Vec::new()).await;
    let batch = poll(&*source, 2).await.unwrap();
    assert_eq!(lines(&batch), ["é", "b"]);
    let [position] = &batch.offset.positions[..] else { panic!("{:?}", batch.offset) };
    assert_eq!(json!(position.partition), json!({"filename": file.to_str().unwrap()}));
    assert_eq!(json!(position.offset), json!({"position": 5}));

    let source = open(&file, &[], batch.offset.positions).await;
    assert_eq!(lines(&poll(&*source, 9).await.unwrap()), ["c"]);
}

#[tokio::test]
async fn a_file_that_comes_later_and_grows_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("later.txt");
    let source = open(&file, &[], Vec::new()).await;
    let patience = Duration::from_millis(150);
    assert!(tokio::time::timeout(patience, poll(&*source, 9)).await.is_err(), "there is no file yet");
    fs::write(&file, "one\ntw").unwrap();
    assert_eq!(lines(&poll(&*source, 9).await.unwrap()), ["one"]);
    assert!(
        tokio::time::timeout(patience, poll(&*source, 9)).await.is_err(),
        "a line without its end is waited for"
    );
    OpenOptions::new().append(true).open(&file).unwrap().write_all(b"o\nthree\n").unwrap();
    assert_eq!(lines(&poll(&*source, 9).await.unwrap()), ["two", "three"]);
}

#[tokio::test]
async fn with_stop_at_end_the_last_line_needs_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input.txt");
    fs::write(&file, "one\ntwo").unwrap();
    let source = open(&file, &[("file.stop.at.end", "true"), ("batch.size", "1")], Vec::new()).await;
    assert_eq!(lines(&poll(&*source, 9).await.unwrap()), ["one"]);
    assert_eq!(lines(&poll(&*source, 9).await.unwrap()), ["two"]);
    assert!(poll(&*source, 9).await.is_none());
    assert!(poll(&*source, 9).await.is_none());
}

#[tokio::test]
async fn a_file_that_became_shorter_is_an_error_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input.txt");
    fs::write(&file, "one\n").unwrap();
    let source = open(&file, &[], Vec::new()).await;
    let mut positions = poll(&*source, 9).await.unwrap().offset.positions;
    positions[0].offset.insert("position".to_owned(), 400.into());
    let source = open(&file, &[], positions).await;
    let error = source.poll(PollBudget { max_records: 9, max_bytes: 9 }).await.unwrap_err();
    assert_eq!(error.code, "file.shorter");
    assert!(error.message.contains("input.txt") && error.hint.contains("reset"), "{error}");
}

#[tokio::test]
async fn a_directory_is_not_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let source = open(directory.path(), &[], Vec::new()).await;
    let error = source.poll(PollBudget { max_records: 9, max_bytes: 9 }).await.unwrap_err();
    assert!(!error.is_retriable() && error.hint.contains("text file"), "{error}");
}

#[test]
fn the_configuration_is_checked() {
    let component = source_file::component();
    for name in ["file-source", "FileStreamSource", "org.apache.kafka.connect.file.FileStreamSourceConnector"]
    {
        assert!(component.answers_to(name), "{name}");
    }
    let problems = component.validate(&ConfigMap::new()).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["file", "topic"]);
    let two = testing::config(&[("file", "f"), ("topic", "a,b")]);
    assert_eq!(component.validate(&two).unwrap_err()[0].key, "topic");
}
