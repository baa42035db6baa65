//! Plugins that panic, hang and lie, on the same input as a connector that is well.

use std::time::Duration;

use crate::killing::{Flow, assert_none_failed, stop};
use crate::libraries;
use crate::pipelines::{Format, Pipeline, S3Sink};
use crate::support::{Sidestream, Task, wait_until};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn hostile_plugins_under_load_cost_a_healthy_connector_nothing() {
    let directory = libraries::build("plugin-hostile");
    let library = libraries::file(&directory, "plugin_hostile");
    let pipeline = S3Sink::new(Format::Json);
    let id = pipeline.connector();
    let mut hostile = String::new();
    for misdeed in ["open", "write", "never-write", "block-write"] {
        hostile += &format!(
            "  {id}-{misdeed}: {{connector.class: hostile-sink, topics: {id}, do: {misdeed}, \
             value.converter: ByteArrayConverter}}\n"
        );
    }
    for misdeed in ["panic", "double", "lose-offsets"] {
        hostile += &format!(
            "  {id}-{misdeed}: {{connector.class: file-sink, topics: {id}, file: {misdeed}.txt, \
             value.converter: ByteArrayConverter, transforms: [{{name: bad, type: hostile-transform, do: {misdeed}}}]}}\n"
        );
    }
    let worker = format!("plugin.path: {}", library.display());
    let yaml = format!("{}{hostile}", pipeline.yaml_of("w", &worker));
    let flow = Flow::default();
    let mut worker = Sidestream::spawn(&[("a.yaml", &yaml)], &pipeline.env());
    worker.wait_listening();
    let count = std::thread::scope(|scope| {
        let producer = scope.spawn(|| flow.put_until_stopped(&pipeline));
        let _stop = flow.stop_at_end();
        wait_until(SOON, "the hostile ones have failed, and say why", || {
            let (own, hostile): (Vec<_>, Vec<_>) =
                worker.tasks().into_iter().partition(|task| task.connector == id);
            assert_none_failed(&own);
            // Those that never answer are given a minute.
            let fails = |task: &&Task| {
                !task.connector.ends_with("never-write") && !task.connector.ends_with("block-write")
            };
            let said = |task: &Task| task.state != "RUNNING" && task.reason.contains("hostile");
            hostile.iter().filter(fails).all(said).then_some(())
        });
        flow.stop();
        producer.join().unwrap()
    });
    let accounts = stop(&[&pipeline], &mut worker, count);
    println!("beside seven hostile connectors: {}", accounts[0]);
    assert!(accounts[0].is_clean(true), "{accounts:?}");
}
