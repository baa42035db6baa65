//! A plugin directory that is not there, or goes away.

use std::fs;

use serde_json::json;

use crate::support::{Record, Services, Sidestream, services, unique, wait_until};
use crate::{SOON, libraries};

#[test]
fn a_directory_that_goes_away_under_a_worker_costs_nothing_until_its_next_start_which_names_it() {
    let Services { kafka, .. } = services();
    let (lines, numbers) = (unique("stays"), unique("echo"));
    kafka.create_topics([(lines.as_str(), 1), (numbers.as_str(), 1)]);
    let parent = tempfile::tempdir().unwrap();
    let plugins = parent.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    let built = libraries::file(&libraries::build("plugin-echo"), "plugin_echo");
    fs::copy(&built, plugins.join("libplugin_echo.so")).unwrap();
    let yaml = |count: usize| {
        format!(
            "worker: {{plugin.path: '{}'}}
connectors:
  {lines}: {{connector.class: file-sink, topics: {lines}, file: out.txt}}
  {numbers}: {{connector.class: echo-source, topic: {numbers}, count: {count}}}
",
            plugins.display()
        )
    };
    let mut worker = Sidestream::start(&[("a.yaml", &yaml(7))], &[]);
    wait_until(SOON, "the plugin has worked", || (kafka.read(&numbers).len() == 7).then_some(()));
    fs::remove_dir_all(&plugins).unwrap();
    // What is loaded stays, even for a connector that starts again.
    worker.rewrite("a.yaml", &yaml(9));
    worker.signal("HUP");
    worker.wait_log("reload: done", SOON);
    wait_until(SOON, "it works with other keys", || (kafka.read(&numbers).len() == 9).then_some(()));
    worker.wait_log(&format!("{}", plugins.display()), SOON);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());

    let mut worker = worker.restart(&[]);
    let failed = worker.wait_state(&numbers, "FAILED", SOON);
    assert!(
        failed[0].reason.contains("echo-source") && failed[0].reason.contains("plugin.path"),
        "{failed:?}"
    );
    let said = worker.log();
    assert!(
        said.contains("cannot be read") && said.contains("write a directory or a library that exists"),
        "{said}"
    );
    kafka.produce((0..5).map(|n| Record::new(&lines, json!({ "n": n }).to_string())));
    wait_until(SOON, "the other connector works", || {
        let text = fs::read_to_string(worker.dir.path().join("out.txt")).unwrap_or_default();
        (text.lines().count() == 5).then_some(())
    });
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
}
