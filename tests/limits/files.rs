//! Few file descriptors.

use std::fs;

use serde_json::json;

use crate::SOON;
use crate::support::{Record, Services, Sidestream, services, unique, wait_until};

fn run(limit: &str, connectors: usize) -> (Sidestream, String) {
    let Services { kafka, .. } = services();
    let topic = unique("files");
    kafka.create_topic(&topic, 1);
    kafka.produce((0..20).map(|n| Record::new(&topic, json!({ "n": n }).to_string())));
    let sink = |n: usize| {
        format!("  {topic}-{n}: {{connector.class: file-sink, topics: {topic}, file: out-{n}.txt}}\n")
    };
    let yaml = format!("connectors:\n{}", (0..connectors).map(sink).collect::<String>());
    let launcher = ["sh", "-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")].map(str::to_owned);
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let worker = Sidestream::spawn_by(&launcher, &[("a.yaml", &yaml)], &[]);
    worker.wait_listening();
    (worker, topic)
}

fn all_lines(worker: &Sidestream, connectors: usize) {
    wait_until(SOON, "all lines of all connectors", || {
        let whole = |n: usize| {
            let path = worker.dir.path().join(format!("out-{n}.txt"));
            fs::read_to_string(path).is_ok_and(|text| text.lines().count() == 20)
        };
        (0..connectors).all(whole).then_some(())
    });
}

#[test]
fn a_low_soft_limit_is_raised_and_a_low_hard_one_is_told_with_the_remedy() {
    let (worker, _) = run("-Sn 256", 12);
    all_lines(&worker, 12);
    assert!(!worker.log().contains("raise the limit"), "{}", worker.log());
    assert!(worker.metrics().sum("process_max_fds", &[]) > 256);

    let (worker, _) = run("-n 256", 12);
    worker.wait_log("the process may have 256 files open, and 12 connectors may need", SOON);
    assert!(worker.log().contains("LimitNOFILE=65536"), "{}", worker.log());
    // It is enough all the same.
    all_lines(&worker, 12);
    println!("{} files open with 12 connectors", worker.metrics().sum("process_open_fds", &[]));
}
