//! The well-behaved library.

use std::fs;
use std::path::{Path, PathBuf};

use connector_core::testing::{self, SinkCase, SourceCase, TransformCase};
use connector_core::{Component, Form, Kind, Offset, TopicPartition};
use connector_runtime::plugin::library;

use crate::{libraries, log};

pub fn path() -> PathBuf {
    libraries::file(&libraries::build("plugin-echo"), "plugin_echo")
}

fn component(name: &str) -> Component {
    let all = library::load(&path(), None).unwrap();
    all.into_iter().find(|component| component.name == name).unwrap()
}

#[test]
fn a_library_says_what_it_offers() {
    let loaded = library::scan(&path()).remove(0).unwrap();
    assert_eq!((loaded.name.as_str(), loaded.version.as_str()), ("plugin-echo", "1.2.3"));
    let offers: Vec<_> = loaded.components.iter().map(|c| (c.kind(), c.name.as_str())).collect();
    assert_eq!(
        offers,
        [(Kind::Source, "echo-source"), (Kind::Transform, "shout"), (Kind::Sink, "echo-sink")]
    );
    let source = &loaded.components[0];
    assert_eq!((source.version.as_str(), source.summary.as_str()), ("1.2.3", "Counts."));
    assert!(source.answers_to("EchoSource") && source.answers_to("org.example.EchoSourceConnector"));
    assert_eq!(source.schema["properties"]["count"]["default"], 100);
    assert_eq!(source.schema["properties"]["topic"]["description"], "Topic to write to.");
}

#[test]
fn a_wrong_configuration_is_reported_as_for_a_built_in_plugin() {
    let problems = component("echo-source").validate(&testing::config(&[("count", "many")])).unwrap_err();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "topic: is required and has no default (Topic to write to.)",
            "count: is not a whole number (write a whole number)",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_conforms_and_its_log_reaches_the_worker() {
    log::record();
    let config = testing::config(&[("topic", "numbers"), ("count", "23")]);
    testing::source::run(&SourceCase::new(component("echo-source"), config, 23).topic("numbers", 1)).await;
    assert!(!log::lines(&["INFO", "plugin_echo", "counting next=0 topics=1"]).is_empty());
}

#[test]
fn the_transform_conforms() {
    let words = TopicPartition::new("words", 0);
    let records = testing::records_with(Form::Bytes, &words, 0..12, |offset| offset == 5);
    let case = TransformCase::new(component("shout"), testing::config(&[("suffix", "!")]), records);
    testing::transform::run(&case);
}

fn read_back(directory: &Path) -> Vec<(TopicPartition, Offset)> {
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let lines: Vec<_> =
        files.flat_map(|t| t.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()).collect();
    lines.iter().filter_map(|line| testing::position_of(line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_path_buf();
    let config = testing::config(&[("directory", place.to_str().unwrap())]);
    let case = SinkCase::new(component("echo-sink"), config, move || {
        let place = place.clone();
        async move { read_back(&place) }
    });
    testing::sink::run(&case).await;
}
