//! Other files under a running worker, and what they would change said beforehand.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::layout::{coverage, objects};
use crate::support::{Record, S3, Services, Sidestream, services, sidestream, unique, wait_until};
use crate::{SOON, since};

struct Sinks {
    topic: String,
    bucket: String,
    store: String,
}

impl Sinks {
    fn new(s3: &S3) -> Self {
        let (topic, bucket) = (unique("reload"), unique("reload-bucket"));
        s3.create_bucket(&bucket);
        Self { topic, bucket, store: s3.url.clone() }
    }

    fn name(&self, sink: &str) -> String {
        format!("{}-{sink}", self.topic)
    }

    /// One of its sinks: a name and a flush size.
    fn yaml(&self, worker: &str, sinks: &[(&str, i64)]) -> String {
        let Self { topic, bucket, store } = self;
        let sink = |(name, flush): &(&str, i64)| {
            format!(
                "  {topic}-{name}: {{connector.class: s3-sink, topics: {topic}, flush.size: {flush}, topics.dir: {name}, \
                 s3.bucket.name: {bucket}, s3.region: us-east-1, store.url: '{store}'}}\n"
            )
        };
        let sinks: String = sinks.iter().map(sink).collect();
        format!("worker: {{{worker}}}\nconnectors:\n{sinks}")
    }

    /// Every offset below `end` once, in what the sink wrote.
    fn is_whole(&self, s3: &S3, sink: &str, end: i64) {
        let found = objects(s3, &self.bucket, sink);
        let found = coverage(&found[&(self.topic.clone(), 0)], end);
        let once = (found.covered as i64, found.end, found.duplicates);
        assert_eq!(once, (end, end, 0), "{sink}: {found:?}");
    }
}

/// Writes records until it is told to stop, and gives how many.
fn writing<T>(topic: &str, round: usize, work: impl FnOnce() -> T) -> (T, i64) {
    let kafka = services().kafka;
    let (stop, count) = (AtomicBool::new(false), AtomicI64::new(0));
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) || count.load(Ordering::Acquire) % round as i64 != 0 {
                let from = count.load(Ordering::Acquire);
                kafka.produce((from..from + 50).map(|n| Record::new(topic, json!({"n": n}).to_string())));
                count.store(from + 50, Ordering::Release);
                thread::sleep(Duration::from_millis(20));
            }
        });
        // Whatever happens, the writer ends.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Release);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    (done, count.into_inner())
}

#[test]
fn sighup_restarts_only_the_connector_that_changed_while_records_flow_and_diff_said_so() {
    let Services { kafka, s3, .. } = services();
    let sinks = Sinks::new(&s3);
    kafka.create_topic(&sinks.topic, 1);
    let old = sinks.yaml("", &[("a", 100), ("b", 100), ("c", 100)]);
    let new = sinks.yaml("", &[("a", 50), ("b", 100), ("d", 100)]);
    let worker = Sidestream::start(&[("a.yaml", &old)], &s3.credentials());
    let (_, end) = writing(&sinks.topic, 100, || {
        for sink in ["a", "b", "c"] {
            worker.wait_state(&sinks.name(sink), "RUNNING", SOON);
        }
        wait_until(SOON, "objects of all", || (s3.keys(&sinks.bucket).len() > 6).then_some(()));
        let (changed, kept) = (since(&worker, &sinks.name("a")), since(&worker, &sinks.name("b")));
        fs::write(worker.dir.path().join("b.txt"), &new).unwrap();
        fs::write(worker.dir.path().join("new.yaml"), &new).unwrap();
        let told = sidestream(
            worker.dir.path(),
            &["diff", "a.yaml", "new.yaml", "--with", "test-worker.yaml"],
            &s3.credentials(),
        );
        assert_eq!(told.status.code(), Some(0), "{told:?}");
        let told = String::from_utf8(told.stdout).unwrap();
        let expected = format!(
            "connector {0}-a: restarts: flush.size: 100 -> 50\nconnector {0}-c: stops\nconnector {0}-d: starts\n\
             unchanged: {0}-b\n",
            sinks.topic
        );
        assert_eq!(told, expected);
        worker.rewrite("a.yaml", &new);
        worker.signal("HUP");
        worker.wait_log("reload: done", SOON);
        for line in expected.lines().take(3) {
            assert!(worker.log().contains(&format!("reload: {line}")), "{line}");
        }
        for sink in ["a", "b", "d"] {
            worker.wait_state(&sinks.name(sink), "RUNNING", SOON);
        }
        assert_ne!(since(&worker, &sinks.name("a")), changed);
        assert_eq!(since(&worker, &sinks.name("b")), kept, "b ran on");
        assert!(worker.tasks().iter().all(|task| task.connector != sinks.name("c")));
    });
    for sink in ["a", "b", "d"] {
        wait_until(SOON, "all is committed", || {
            let committed = kafka.committed(&format!("connect-{}", sinks.name(sink)), &sinks.topic);
            (committed.values().sum::<i64>() == end).then_some(())
        });
        sinks.is_whole(&s3, sink, end);
    }
    // A second reload of the same files does nothing.
    worker.signal("HUP");
    worker.wait_log("reload: nothing changes", SOON);
}

#[test]
fn watch_takes_a_whole_file_and_neither_half_of_one_nor_a_wrong_one() {
    let Services { kafka, s3, .. } = services();
    let sinks = Sinks::new(&s3);
    kafka.create_topic(&sinks.topic, 1);
    let old = sinks.yaml("", &[("a", 100), ("b", 100)]);
    let new = sinks.yaml("", &[("a", 100), ("b", 50)]);
    let worker = Sidestream::watching(&[("a.yaml", &old)], &s3.credentials());
    for sink in ["a", "b"] {
        worker.wait_state(&sinks.name(sink), "RUNNING", SOON);
    }
    let before = [since(&worker, &sinks.name("a")), since(&worker, &sinks.name("b"))];
    let refused = |times: usize| {
        wait_until(SOON, "the file is refused", || {
            (worker.log().matches("nothing changes, because the files have errors").count() == times)
                .then_some(())
        });
    };
    worker.rewrite("a.yaml", &new[..new.len() - 40]);
    refused(1);
    worker.rewrite("a.yaml", "");
    refused(2);
    assert!(worker.log().contains("`a.yaml` is empty"), "{}", worker.log());
    worker.rewrite("a.yaml", &new.replace("flush.size: 50", "flush.size: fifty"));
    refused(3);
    let said = worker.log();
    assert!(said.contains("flush.size") && said.contains("a.yaml:4"), "{said}");
    assert_eq!([since(&worker, &sinks.name("a")), since(&worker, &sinks.name("b"))], before);
    worker.rewrite("a.yaml", &new);
    worker.wait_log("reload: done", SOON);
    worker.wait_state(&sinks.name("b"), "RUNNING", SOON);
    assert_eq!(since(&worker, &sinks.name("a")), before[0]);
    assert_ne!(since(&worker, &sinks.name("b")), before[1]);
}

#[test]
fn a_key_of_the_worker_restarts_all_and_one_of_the_process_says_that_it_needs_a_new_one() {
    let Services { kafka, s3, .. } = services();
    let sinks = Sinks::new(&s3);
    kafka.create_topic(&sinks.topic, 1);
    let old = sinks.yaml("", &[("a", 100), ("b", 100)]);
    let new = sinks.yaml(
        "consumer.max.poll.records: 77, memory.budget.bytes: 123456789, ssl.key.password: never-shown",
        &[("a", 100), ("b", 100)],
    );
    let worker = Sidestream::start(&[("a.yaml", &old)], &s3.credentials());
    let (_, end) = writing(&sinks.topic, 100, || {
        wait_until(SOON, "objects of both", || (s3.keys(&sinks.bucket).len() > 4).then_some(()));
        let before = ["a", "b"].map(|sink| since(&worker, &sinks.name(sink)));
        worker.rewrite("a.yaml", &new);
        worker.signal("HUP");
        worker.wait_log("reload: done", SOON);
        for (sink, before) in ["a", "b"].iter().zip(before) {
            worker.wait_state(&sinks.name(sink), "RUNNING", SOON);
            assert_ne!(since(&worker, &sinks.name(sink)), before);
        }
    });
    let said = worker.log();
    assert!(said.contains("takes a new process: memory.budget.bytes: 123456789 (new)"), "{said}");
    assert!(said.contains("consumer.max.poll.records: 77 (new)"), "{said}");
    assert!(said.contains("ssl.key.password: [hidden] (new)") && !said.contains("never-shown"), "{said}");
    for sink in ["a", "b"] {
        wait_until(SOON, "all is committed", || {
            let committed = kafka.committed(&format!("connect-{}", sinks.name(sink)), &sinks.topic);
            (committed.values().sum::<i64>() == end).then_some(())
        });
        sinks.is_whole(&s3, sink, end);
    }
}

#[test]
fn diff_answers_scripts_in_json_and_by_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let worker = "worker: {bootstrap.servers: 'localhost:1'}\n";
    write(
        "old.yaml",
        &format!("{worker}connectors: {{a: {{connector.class: file-sink, topics: t, file: x}}}}"),
    );
    write(
        "new.yaml",
        &format!("{worker}connectors: {{a: {{connector.class: file-sink, topics: u, file: x}}}}"),
    );
    write(
        "wrong.yaml",
        &format!("{worker}connectors: {{a: {{connector.class: file-sink, topic: u, file: x}}}}"),
    );
    let diff = |old: &str, new: &str| {
        let done = sidestream(dir.path(), &["diff", old, new, "--output", "json"], &[]);
        (done.status.code(), serde_json::from_slice::<Value>(&done.stdout).unwrap())
    };
    let (code, changes) = diff("old.yaml", "new.yaml");
    assert_eq!(code, Some(0));
    let key = json!([{"key": "topics", "before": "t", "after": "u"}]);
    assert_eq!(changes["connectors"]["a"], json!({"action": "restart", "keys": key}), "{changes}");
    assert_eq!(diff("old.yaml", "old.yaml").1["unchanged"], json!(["a"]));
    let (code, wrong) = diff("old.yaml", "wrong.yaml");
    assert_eq!(code, Some(1));
    assert!(wrong.to_string().contains("wrong.yaml"), "{wrong}");
}
