//! What the documents show is what the program takes and prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn sidestream(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidestream"))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts")
}

fn assert_valid(files: &[&Path], environment: &[(&str, &str)]) {
    let files: Vec<&str> = files.iter().map(|f| f.to_str().expect("a path in UTF-8")).collect();
    let output = sidestream(&[&["validate"], files.as_slice()].concat(), environment);
    assert!(output.status.success(), "{files:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The text of the first fenced block in `language` that holds `mark`.
fn block<'a>(page: &'a str, language: &str, mark: &str) -> &'a str {
    page.split(&format!("```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains(mark))
        .unwrap_or_else(|| panic!("no {language} block with `{mark}`"))
}

#[test]
fn the_reference_is_what_the_program_prints() {
    let printed = sidestream(&["reference"], &[]);
    assert!(printed.status.success());
    let path = root().join("docs/reference.md");
    if std::env::var_os("SIDESTREAM_UPDATE_DOCS").is_some() {
        fs::write(&path, &printed.stdout).expect("docs/reference.md can be written");
    }
    let kept = fs::read(&path).expect("docs/reference.md");
    assert!(
        kept == printed.stdout,
        "docs/reference.md is out of date; run: target/debug/sidestream reference > docs/reference.md"
    );
}

#[test]
fn the_main_example_is_valid() {
    let secrets = tempfile::tempdir().expect("a directory");
    fs::write(secrets.path().join("rds-password"), "not-a-real-one").expect("a secret");
    // The example names a directory that only a container has.
    let text = read("connectors.yaml").replace("/run/secrets", &secrets.path().to_string_lossy());
    let file = secrets.path().join("connectors.yaml");
    fs::write(&file, text).expect("a copy");
    let environment = [
        ("BOOTSTRAP", "b-1.demo.abc.c2.kafka.us-east-1.amazonaws.com:9098"),
        ("USER_ID", "12e371d757c1"),
        ("RDS_URL", "jdbc:mysql://127.0.0.1:3306/pinterest"),
        ("RDS_USER", "reader"),
        ("BUCKET", "user-12e371d757c1-bucket"),
    ];
    assert_valid(&[&file], &environment);
}

#[test]
fn the_configuration_of_the_demo_is_valid() {
    let environment = [
        ("DEMO_DIR", "/tmp"),
        ("DEMO_BROKER", "127.0.0.1:9092"),
        ("DEMO_HTTP", "127.0.0.1:8083"),
        ("DEMO_WEBHOOK", "127.0.0.1:8082"),
    ];
    assert_valid(&[&root().join("examples/demo.yaml")], &environment);
    assert_valid(&[&root().join("examples/demo-batch.yaml")], &environment);
}

#[test]
fn the_msk_connect_configuration_of_the_readme_is_valid() {
    let (page, dir) = (read("README.md"), tempfile::tempdir().expect("a directory"));
    let (worker, pins) = (dir.path().join("worker.yaml"), dir.path().join("pins.properties"));
    fs::write(&worker, block(&page, "yaml", "bootstrap.servers")).expect("worker.yaml");
    let properties = block(&page, "properties", "connector.class");
    assert_eq!(properties.trim().lines().count(), 13, "the thirteen lines that every such pipeline uses");
    fs::write(&pins, properties).expect("pins.properties");
    assert_valid(&[&worker, &pins], &[]);
}

#[test]
fn the_plugin_of_the_readme_is_the_one_that_is_built_and_loaded_by_the_tests() {
    let page = read("README.md");
    let shown = block(&page, "rust", "impl Transform for Shout");
    let built = read("tests/fixtures/plugin-echo/src/shout.rs");
    let (_, built) = built.split_once("\n\n").expect("a headline and code");
    assert!(
        shown.starts_with(built.trim()),
        "README.md shows another plugin than tests/fixtures/plugin-echo"
    );
}
