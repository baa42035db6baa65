//! What lands in the file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use connector_core::arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray, StructArray};
use connector_core::arrow::datatypes::{DataType, Field};
use connector_core::envelope::EnvelopeBuilder;
use connector_core::testing::{self, SinkCase};
use connector_core::{Batch, ConfigMap, Form, Sink, TaskInfo, TopicPartition};

fn keys(file: &Path, more: &[(&str, &str)]) -> ConfigMap {
    let mut map = testing::config(&[("file", file.to_str().unwrap())]);
    map.extend(testing::config(more));
    map
}

fn sink(map: &ConfigMap) -> Arc<dyn Sink> {
    let component = sink_file::component();
    component.create_sink(&component.check(map).unwrap(), &TaskInfo::default()).unwrap()
}

async fn append(sink: &dyn Sink, form: Form, values: ArrayRef) -> Option<i64> {
    let partition = TopicPartition::new("t", 0);
    sink.open(&[partition.clone().into()]).await.unwrap();
    let offsets = Int64Array::from_iter_values(7..7 + values.len() as i64);
    let records = EnvelopeBuilder::new().offsets(offsets).value(form, values).build().unwrap();
    sink.write(Batch::new(partition, records)).await.unwrap().cut
}

#[tokio::test]
async fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("output.txt");
    let read = file.clone();
    let case = SinkCase::new(sink_file::component(), keys(&file, &[]), move || {
        let text = fs::read(&read).unwrap_or_default();
        async move { text.split(|&b| b == b'\n').filter_map(testing::position_of).collect() }
    });
    testing::sink::run_both(&case).await;
}

#[tokio::test]
async fn each_form_of_a_value_is_one_line() {
    let numbers = vec![(
        Arc::new(Field::new("n", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
    )];
    let cases: [(Form, ArrayRef, &[u8]); 4] = [
        (
            Form::Document,
            Arc::new(StringArray::from(vec![Some("{\"a\":1.10}"), None])),
            b"{\"a\":1.10}\nnull\n",
        ),
        (Form::Columns, Arc::new(StringArray::from(vec!["plain text", ""])), b"plain text\n\n"),
        (Form::Bytes, Arc::new(BinaryArray::from(vec![&b"\xff\x00"[..]])), b"\xff\x00\n"),
        (Form::Columns, Arc::new(StructArray::from(numbers)), b"{\"n\":1}\n{\"n\":null}\n"),
    ];
    for (form, values, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("output.txt");
        let count = values.len() as i64;
        assert_eq!(append(&*sink(&keys(&file, &[])), form, values).await, Some(7 + count));
        assert_eq!(fs::read(file).unwrap(), expected);
    }
}

#[tokio::test]
async fn lines_are_added_unless_append_is_false() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("output.txt");
    fs::write(&file, "old\n").unwrap();
    let value = || Arc::new(StringArray::from(vec!["new"]));
    append(&*sink(&keys(&file, &[])), Form::Columns, value()).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "old\nnew\n");
    append(&*sink(&keys(&file, &[("append", "false")])), Form::Columns, value()).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_fails_the_start_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let sink = sink(&keys(&directory.path().join("no/such/output.txt"), &[]));
    let error = sink.open(&[]).await.unwrap_err();
    assert!(!error.is_retriable() && error.message.contains("output.txt"), "{error}");
}

#[test]
fn the_names_of_connect_work() {
    let component = sink_file::component();
    for name in ["file-sink", "FileStreamSink", "org.apache.kafka.connect.file.FileStreamSinkConnector"] {
        assert!(component.answers_to(name), "{name}");
    }
    component.validate(&ConfigMap::new()).unwrap();
    assert_eq!(component.validate(&testing::config(&[("file", "")])).unwrap_err()[0].key, "file");
}
