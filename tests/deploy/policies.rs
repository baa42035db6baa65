//! IAM policies: what the code calls and no more; ECS and systemd.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::read;

fn actions(policy: &str) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(&read(&format!("iam/{policy}.json"))).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    let mut all = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for resource in statement["Resource"].as_array().unwrap() {
            let named = resource.as_str().unwrap().starts_with("arn:aws:");
            assert!(named, "least privilege names what it is for: {resource}");
        }
        all.extend(statement["Action"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()));
    }
    assert!(all.iter().all(|action| !action.contains('*')), "{all:?}");
    all
}

/// The Kinesis calls of a crate's own code.
fn calls(dir: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r"client\s*\.([a-z]+(?:_[a-z]+)+)\(\)").unwrap();
    let camel = |call: &str| {
        let parts = call.split('_').map(|part| part[..1].to_uppercase() + &part[1..]);
        format!("kinesis:{}", parts.collect::<String>())
    };
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                found.extend(pattern.captures_iter(code).map(|call| camel(&call[1])));
            }
        }
    }
    found
}

#[test]
fn kinesis_policies_allow_what_the_code_calls_and_no_more() {
    for (policy, dir) in [
        ("kinesis-sink", "sinks/kinesis/src"),
        ("kinesis-source", "sources/kinesis/src"),
        ("webhook-source", "sources/webhook/src"),
    ] {
        let called = calls(dir);
        assert!(!called.is_empty(), "{dir}");
        assert_eq!(actions(policy), called, "{policy}");
    }
}

#[test]
fn the_other_policies_hold_the_actions_of_their_service_only() {
    let only = |policy: &str, services: &[&str]| {
        for action in actions(policy) {
            let known = services.iter().any(|service| action.starts_with(&format!("{service}:")));
            assert!(known, "{policy}: {action}");
        }
    };
    only("secrets", &["secretsmanager", "ssm", "s3"]);
    for policy in ["msk-worker", "msk-sink", "msk-source"] {
        only(policy, &["kafka-cluster"]);
    }
    for policy in ["s3-sink", "delta-sink", "objects-source"] {
        only(policy, &["s3"]);
    }
    assert!(!actions("objects-source").contains("s3:PutObject"), "a source only reads");
    assert!(actions("msk-worker").contains("kafka-cluster:Connect"));
}

#[test]
fn the_task_definition_of_ecs_is_locked_down_and_probes_with_the_program() {
    let task: Value = serde_json::from_str(&read("ecs/task-definition.json")).unwrap();
    let container = &task["containerDefinitions"][0];
    assert_eq!(container["readonlyRootFilesystem"], true);
    assert_eq!(container["user"], "10001:10001");
    let command = container["healthCheck"]["command"].as_array().unwrap();
    let command: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
    assert_eq!(command, ["CMD", "/usr/local/bin/sidestream", "probe", "live"]);
    assert!(container["stopTimeout"].as_u64().unwrap() > 5, "longer than the worker's own time to stop");
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_locked() {
    // A machine without systemd has nobody to ask.
    let Ok(_) = Command::new("systemd-analyze").arg("--version").output() else { return };
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("sidestream.service");
    let program = env!("CARGO_BIN_EXE_sidestream");
    fs::write(&unit, read("systemd/sidestream.service").replace("/usr/local/bin/sidestream", program))
        .unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let of_ours: Vec<_> = said.lines().filter(|line| line.contains("sidestream.service")).collect();
    assert!(of_ours.is_empty(), "{said}");
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&security.stdout).into_owned();
    // An exposure of at most 2.0 of 10.
    assert!(security.status.success(), "{said}{}", String::from_utf8_lossy(&security.stderr));
    println!("{}", said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default());
}
