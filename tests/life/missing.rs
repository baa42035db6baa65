//! A plugin that is not there costs its own connectors only, and can still come.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Record, Services, Sidestream, services, sidestream, unique, wait_until};
use crate::{SOON, libraries, readiness, since};

#[test]
fn a_plugin_that_is_missing_fails_its_connector_and_comes_with_a_reload() {
    let Services { kafka, .. } = services();
    let (lines, numbers) = (unique("lines"), unique("numbers"));
    kafka.create_topics([(lines.as_str(), 1), (numbers.as_str(), 1)]);
    kafka.produce((0..20).map(|n| Record::new(&lines, json!({ "n": n }).to_string())));
    let plugins = tempfile::tempdir().unwrap();
    let yaml = format!(
        "worker: {{plugin.path: '{}'}}
connectors:
  {lines}: {{connector.class: file-sink, topics: {lines}, file: out.txt}}
  {numbers}: {{connector.class: echo-source, topic: {numbers}, count: 7}}
",
        plugins.path().display()
    );
    let worker = Sidestream::start(&[("a.yaml", &yaml)], &[]);
    let failed = worker.wait_state(&numbers, "FAILED", SOON);
    assert!(
        failed[0].reason.contains("echo-source") && failed[0].reason.contains("plugin.path"),
        "{failed:?}"
    );
    worker.wait_state(&lines, "RUNNING", SOON);
    wait_until(SOON, "the other connector works", || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        (text.lines().count() == 20).then_some(())
    });
    let (status, answer) = readiness(&worker);
    assert_eq!((status, &answer["status"]), (503, &Value::from("waiting")), "{answer}");
    assert_eq!(answer["waiting"][0]["connector"], numbers.as_str(), "{answer}");
    assert_eq!(worker.get("/health").0, 200, "as Connect: the worker itself is well");

    // To check a file beforehand is to want to know of it.
    let checked = sidestream(worker.dir.path(), &["validate", "a.yaml"], &[]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");

    let before = since(&worker, &lines);
    let built = libraries::file(&libraries::build("plugin-echo"), "plugin_echo");
    let whole = plugins.path().join("coming");
    fs::copy(&built, &whole).unwrap();
    fs::rename(whole, plugins.path().join("libplugin_echo.so")).unwrap();
    worker.signal("HUP");
    worker.wait_log(&format!("reload: connector {numbers}: starts"), SOON);
    wait_until(SOON, "its records are there", || (kafka.read(&numbers).len() == 7).then_some(()));
    wait_until(SOON, "the worker is ready", || (readiness(&worker).0 == 200).then_some(()));
    assert_eq!(since(&worker, &lines), before, "the other connector ran on");
}
