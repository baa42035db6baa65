//! A secret that has another value, and one that is gone.

use serde_json::json;

use crate::support::{Kafka, Record, Services, Sidestream, services, unique, wait_until};
use crate::{SOON, delete_parameter, environment, put_parameter, wait_lines, wait_reason};

fn produce(kafka: &Kafka, topics: &[&String], from: usize) {
    for topic in topics {
        kafka.produce((from..from + 5).map(|n| Record::new(topic, json!({ "n": n }).to_string())));
    }
}

#[test]
fn a_rotated_secret_restarts_those_that_use_it_unless_they_say_none_and_a_vanished_one_nobody() {
    let Services { kafka, moto, .. } = services();
    let [moves, stays, plain] = ["moves", "stays", "plain"].map(unique);
    kafka.create_topics([(moves.as_str(), 1), (stays.as_str(), 1), (plain.as_str(), 1)]);
    let name = format!("/{moves}");
    put_parameter(&moto, &name, "first");
    let file = format!("${{ssm::{name}?ttl=500}}");
    let yaml = format!(
        "connectors:
  {moves}: {{connector.class: file-sink, topics: {moves}, file: 'moves-{file}.txt'}}
  {stays}: {{connector.class: file-sink, topics: {stays}, file: 'stays-{file}.txt', config.action.reload: none}}
  {plain}: {{connector.class: file-sink, topics: {plain}, file: plain.txt}}
"
    );
    let all = [&moves, &stays, &plain];
    produce(&kafka, &all, 0);
    let mut worker = Sidestream::start(&[("a.yaml", &yaml)], &environment(&moto.url));
    for file in ["moves-first.txt", "stays-first.txt", "plain.txt"] {
        wait_lines(&worker, file, 5);
    }
    let since = |worker: &Sidestream, name: &String| {
        worker.tasks().into_iter().find(|task| task.connector == *name).unwrap().since
    };
    let before = all.map(|name| since(&worker, name));

    put_parameter(&moto, &name, "second");
    worker.wait_log("reload: done", SOON);
    worker.wait_log(&format!("reload: connector {moves}: restarts: file: [hidden] -> [hidden]"), SOON);
    wait_until(SOON, "it runs again", || (since(&worker, &moves) != before[0]).then_some(()));
    worker.wait_state(&moves, "RUNNING", SOON);
    produce(&kafka, &all, 5);
    wait_lines(&worker, "moves-second.txt", 5);
    wait_lines(&worker, "stays-first.txt", 10);
    wait_lines(&worker, "plain.txt", 10);
    assert_eq!([since(&worker, &stays), since(&worker, &plain)], [before[1].clone(), before[2].clone()]);

    delete_parameter(&moto, &name);
    worker.wait_log("what was read before stays in use until the next start", SOON);
    produce(&kafka, &all, 10);
    wait_lines(&worker, "moves-second.txt", 10);
    assert!(worker.tasks().iter().all(|task| task.state == "RUNNING"), "{:?}", worker.tasks());
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    assert!(!worker.log().contains("first") && !worker.log().contains("second"), "{}", worker.log());

    // The next start lacks it.
    let mut worker = worker.restart(&environment(&moto.url));
    wait_reason(&worker, &moves, &["is not there", &name]);
    worker.wait_state(&plain, "RUNNING", SOON);
    produce(&kafka, &all, 15);
    wait_lines(&worker, "plain.txt", 20);
    assert_eq!(worker.stop(SOON).code(), Some(0), "{}", worker.log());
    // Nothing was lost meanwhile.
    put_parameter(&moto, &name, "third");
    let worker = worker.restart(&environment(&moto.url));
    wait_lines(&worker, "moves-third.txt", 5);
    wait_lines(&worker, "stays-third.txt", 5);
}
