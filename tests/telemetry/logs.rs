//! The log: fields, repetitions, and levels at run time.

use std::fs;

use serde_json::{Value, json};

use crate::support::http::request;
use crate::support::{Sidestream, wait_until};
use crate::{SOON, Working};

fn call(worker: &Sidestream, line: &str, body: &Value) -> (u16, Value) {
    let answer = request(
        worker.url.trim_start_matches("http://"),
        line,
        "application/json",
        body.to_string().as_bytes(),
    );
    let answer = answer.unwrap();
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[test]
fn lines_of_a_task_name_its_connector_and_number_in_fields() {
    let Working { worker, source, sink, failing } = Working::start("");
    let lines: Vec<Value> = worker.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for connector in [&source, &sink, &failing] {
        let of: Vec<_> = lines.iter().filter(|line| line["connector"] == connector.as_str()).collect();
        assert!(!of.is_empty(), "no line of {connector}");
        assert!(of.iter().any(|line| line["task"] == 0), "{of:?}");
        assert!(of.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{of:?}");
    }
    let failed = lines.iter().find(|line| line["level"] == "ERROR" && line["connector"] == failing.as_str());
    assert!(failed.is_some_and(|line| line["code"] == "s3.no_such_bucket"), "{failed:?}");
}

#[test]
fn levels_are_shown_and_set_as_in_connect() {
    let worker = Working::start("").worker;
    let (status, all) = call(&worker, "GET /admin/loggers", &Value::Null);
    assert_eq!((status, &all["root"]), (200, &json!({"level": "INFO", "last_modified": null})));
    assert!(all.get("connector_runtime::task::connector").is_some(), "{all}");
    let quiet = worker.log().matches("\"level\":\"DEBUG\"").count();
    assert_eq!(quiet, 0);

    let (status, affected) =
        call(&worker, "PUT /admin/loggers/connector_runtime", &json!({"level": "debug"}));
    assert_eq!(status, 200);
    let affected: Vec<&str> = affected.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        affected.contains(&"connector_runtime") && affected.contains(&"connector_runtime::task::connector"),
        "{affected:?}"
    );
    assert!(affected.iter().all(|name| name.starts_with("connector_runtime")), "{affected:?}");
    let (_, level) = call(&worker, "GET /admin/loggers/connector_runtime", &Value::Null);
    assert_eq!(level["level"], "DEBUG");
    assert!(level["last_modified"].as_i64().is_some_and(|ms| ms > 1_700_000_000_000), "{level}");
    // A connector starts again, and its clients with it.
    let files = fs::read_to_string(worker.dir.path().join("a.yaml")).unwrap();
    worker.rewrite("a.yaml", &files.replace("flush.size: 10", "flush.size: 20"));
    worker.signal("HUP");
    wait_until(SOON, "lines of that level come", || {
        worker.log().contains("\"level\":\"DEBUG\"").then_some(())
    });

    assert_eq!(
        call(&worker, "PUT /admin/loggers/connector_runtime", &json!({"level": "DEBUG"})).1,
        json!([])
    );
    assert_eq!(call(&worker, "PUT /admin/loggers/root?scope=cluster", &json!({"level": "WARN"})).0, 204);
    assert_eq!(call(&worker, "GET /admin/loggers/ROOT", &Value::Null).1["level"], "WARN");
    let (status, said) = call(&worker, "GET /admin/loggers/nothing.of.the.kind", &Value::Null);
    assert_eq!((status, said["message"].as_str()), (404, Some("Logger nothing.of.the.kind not found.")));
    let (status, said) = call(&worker, "PUT /admin/loggers/root", &json!({"level": "LOUD"}));
    assert_eq!((status, said["message"].as_str()), (404, Some("invalid log level 'LOUD'.")));
    let (status, said) = call(&worker, "PUT /admin/loggers/root", &json!({}));
    assert_eq!(
        (status, said["message"].as_str()),
        (400, Some("Desired 'level' parameter was not specified in request."))
    );
}
