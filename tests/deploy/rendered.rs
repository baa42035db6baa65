//! The Helm chart in both forms, and the compose file.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::sidestream;
use crate::{deploy, read};

fn helm(arguments: &[&str]) -> (bool, String) {
    let work = std::env::var_os("SIDESTREAM_WORK").map(PathBuf::from);
    let work = work.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".work"));
    let helm = work.join("bin/helm");
    let done = Command::new(&helm)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `make setup` puts it there", helm.display()));
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The documents of what the chart renders to.
fn rendered(values: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    let chart = deploy("helm/sidestream");
    let (good, text) = helm(&["template", "board", chart.to_str().unwrap(), "-f", file.to_str().unwrap()]);
    assert!(good, "{text}");
    let documents = text.split("\n---\n").map(|one| one.trim_start_matches("---\n"));
    let parse = |one| serde_yaml::from_str(one).unwrap_or_else(|e| panic!("{e}:\n{one}"));
    documents.filter(|one| one.contains("kind:")).map(parse).collect()
}

fn of<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found = documents.iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {documents:?}"))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().filter_map(|item| item["name"].as_str()).collect()
}

const VOLUMES: [&str; 3] = ["sidestream-config", "sidestream-tmp", "sidestream-plugins"];
const VALUES: &str = "
secrets: [rds]
pluginsVolume: {persistentVolumeClaim: {claimName: plugins}}
config:
  worker: {bootstrap.servers: 'kafka:9092', listeners: 'http://0.0.0.0:8083'}
  connectors:
    board: {connector.class: file-sink, topics: board, file: /tmp/out}
";

fn check_container(container: &Value) {
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{container}");
    assert_eq!(container["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/health/live");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/health/ready");
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "rds");
    assert_eq!(names(&container["volumeMounts"]), VOLUMES);
}

#[test]
fn the_chart_renders_on_its_own_and_as_a_sidecar_with_a_configuration_that_is_valid() {
    let documents = rendered(VALUES);
    let pod = &of(&documents, "Deployment")["spec"]["template"]["spec"];
    check_container(&pod["containers"][0]);
    assert_eq!(of(&documents, "Deployment")["spec"]["strategy"]["type"], "Recreate");
    assert_eq!(names(&pod["volumes"]), VOLUMES);
    assert_eq!(pod["volumes"][0]["configMap"]["name"], of(&documents, "ConfigMap")["metadata"]["name"]);
    let folder = tempfile::tempdir().unwrap();
    let config = of(&documents, "ConfigMap")["data"]["connectors.yaml"].as_str().unwrap();
    fs::write(folder.path().join("c.yaml"), config).unwrap();
    let checked = sidestream(folder.path(), &["validate", "c.yaml"], &[]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let sidecar = format!("mode: sidecar\napp: {{containers: [{{name: app, image: app:1}}]}}\n{VALUES}");
    let documents = rendered(&sidecar);
    let pod = &of(&documents, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(names(&pod["containers"]), ["app"]);
    assert_eq!(pod["initContainers"][0]["restartPolicy"], "Always", "a native sidecar");
    check_container(&pod["initContainers"][0]);

    let chart = deploy("helm/sidestream");
    let (good, said) = helm(&["lint", chart.to_str().unwrap()]);
    assert!(good, "{said}");
    let (good, said) = helm(&["template", "x", chart.to_str().unwrap(), "--set", "mode=both"]);
    assert!(!good && said.contains("write standalone or sidecar"), "{said}");
}

#[test]
fn the_compose_file_runs_the_image_locked_down_with_connectors_that_are_valid() {
    let compose: Value = serde_yaml::from_str(&read("compose.yaml")).unwrap();
    let service = &compose["services"]["sidestream"];
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"][0], "ALL");
    assert_eq!(service["build"]["dockerfile"], "deploy/Dockerfile");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(deploy("compose-connectors.yaml"), folder.path().join("c.yaml")).unwrap();
    let checked = sidestream(folder.path(), &["validate", "c.yaml"], &[]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
