//! What the documents show is what the program takes and prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;

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

/// Texts that look like codes of errors: keys without a field of their own, headers, modules.
const NO_CODES: [&str; 9] = [
    "arrow.json",
    "config.providers",
    "group.protocol",
    "objects.key",
    "objects.row",
    "plugin.discovery",
    "sink.class",
    "source.class",
    "worker.log",
];

/// The texts of the sources without their tests.
fn sources() -> Vec<String> {
    fn walk(dir: &Path, files: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).expect("a directory of sources") {
            let path = entry.expect("an entry").path();
            let is = |names: &[&str]| names.iter().any(|name| path.ends_with(name));
            if path.is_dir() && !is(&["tests", "testing", "target"]) {
                walk(&path, files);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push((path.clone(), fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    let mut files = Vec::new();
    for dir in [
        "src",
        "connector-core/src",
        "connector-aws/src",
        "runtime/src",
        "transforms/src",
        "sources",
        "sinks",
    ] {
        walk(&root().join(dir), &mut files);
    }
    let module = |end: &str| {
        Regex::new(&format!(r"#\[cfg\(test\)\]\n(?:pub(?:\(\w+\))? )?mod (\w+){end}")).expect("a pattern")
    };
    let (within, beside) = (module(r" \{"), module(";"));
    let tests: BTreeSet<String> = files
        .iter()
        .flat_map(|(_, text)| beside.captures_iter(text).map(|found| format!("{}.rs", &found[1])))
        .collect();
    files.retain(|(path, _)| !tests.iter().any(|test| path.ends_with(test)));
    let text = |(_, text): (PathBuf, String)| {
        let end = within.find(&text).map_or(text.len(), |tests| tests.start());
        text[..end].to_owned()
    };
    files.into_iter().map(text).collect()
}

/// The codes of all errors that the sources make.
fn codes() -> BTreeSet<String> {
    let texts = sources();
    let all = |pattern: &str| -> BTreeSet<String> {
        let pattern = Regex::new(pattern).expect("a pattern");
        texts.iter().flat_map(|text| pattern.captures_iter(text).map(|found| found[1].to_owned())).collect()
    };
    // Where an error is made on the spot.
    let mut codes = all(
        r#"(?:(?:ConnectError|Self)::(?:user|external|internal)\(|Retry::\w+,|\brefuse\()\s*"([a-z0-9_.]+)""#,
    );
    // Elsewhere the code comes from a table or through a function: texts that begin as a code does.
    let families: BTreeSet<&str> = codes.iter().filter_map(|code| code.split('.').next()).collect();
    let keys = &all(r#"rename = "([^"]+)""#) | &all(r#"\breach\("([^"]+)"\)"#);
    let mut others = all(r#""([a-z0-9_]+\.[a-z0-9_]+)""#);
    others.retain(|text| {
        text.split('.').next().is_some_and(|family| families.contains(family))
            && !keys.contains(text)
            && !NO_CODES.contains(&text.as_str())
    });
    codes.append(&mut others);
    codes
}

#[test]
fn each_code_of_an_error_has_a_page_and_each_page_a_code() {
    let codes = codes();
    assert!(
        codes.len() > 200 && codes.contains("s3.access_denied") && codes.contains("task.panic"),
        "{codes:?}"
    );
    let table = read("docs/errors/README.md");
    let row = Regex::new(r"(?m)^\| \[`([^`]+)`\]\(([^)]+)\)").expect("a pattern");
    let mut told = BTreeSet::new();
    for found in row.captures_iter(&table) {
        let (code, page) = (found[1].to_owned(), &found[2]);
        let text = read(&format!("docs/errors/{page}"));
        let named = if page == format!("{code}.md") {
            text.starts_with(&format!("# {code}\n"))
        } else {
            text.contains(&format!("`{code}`")) || code == "kafka.<name>"
        };
        assert!(named, "docs/errors/{page} does not tell of `{code}`");
        assert!(told.insert(code), "docs/errors/README.md has a code twice: {}", &found[1]);
    }
    // Its codes are librdkafka's names.
    assert!(told.remove("kafka.<name>"));
    assert_eq!(&codes - &told, BTreeSet::new(), "codes that docs/errors/README.md does not tell of");
    assert_eq!(&told - &codes, BTreeSet::new(), "codes that no source has");

    let pages = fs::read_dir(root().join("docs/errors")).expect("docs/errors");
    let pages = pages.map(|page| page.expect("a page").file_name().to_string_lossy().into_owned());
    for page in pages.filter(|page| !["README.md", "internal.md", "kafka.md"].contains(&page.as_str())) {
        assert!(told.contains(page.trim_end_matches(".md")), "docs/errors/{page} is of no code");
    }
}
