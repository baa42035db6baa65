//! Who may import what (docs/architecture.md), from `cargo metadata`, the manifests, the lock file and the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The only files and directories whose code may be `unsafe`.
const UNSAFE: [&str; 3] =
    ["connector-core/src/abi/", "runtime/src/plugin/library.rs", "runtime/src/kafka/batch.rs"];

/// What connector-core must never bring along: whoever writes a plugin imports it.
const NOT_IN_CORE: [&str; 9] =
    ["rdkafka", "rdkafka-sys", "libloading", "object_store", "axum", "hyper", "tonic", "actix-web", "warp"];

struct Package {
    name: String,
    /// Directory in the workspace, `sources/rds`; empty for the root package.
    dir: String,
    /// Names of direct dependencies of any kind.
    direct: BTreeSet<String>,
    /// Names of direct dependencies of the code itself.
    normal: BTreeSet<String>,
    id: String,
}

struct Tree {
    members: Vec<Package>,
    /// What each package id is linked with, without dev-dependencies.
    edges: BTreeMap<String, Vec<String>>,
    names: BTreeMap<String, String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn tree() -> Tree {
    // What only other platforms need was never fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
            &platform,
            "--manifest-path",
        ])
        .arg(Path::new(ROOT).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let workspace: BTreeSet<String> =
        metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
    let packages = metadata["packages"].as_array().unwrap();
    let members = packages.iter().filter(|p| workspace.contains(p["id"].as_str().unwrap()));
    let members = members.map(|package| {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
        let dir = manifest.parent().unwrap().strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
        let all = package["dependencies"].as_array().unwrap();
        let names = |only_normal: bool| {
            all.iter().filter(|d| !only_normal || d["kind"].is_null()).map(|d| text(&d["name"])).collect()
        };
        Package {
            name: text(&package["name"]),
            dir,
            direct: names(false),
            normal: names(true),
            id: text(&package["id"]),
        }
    });
    let members = members.collect();
    let is_dev_only = |dep: &Value| dep["dep_kinds"].as_array().unwrap().iter().all(|k| k["kind"] == "dev");
    let edges = metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| {
        let deps = node["deps"].as_array().unwrap().iter().filter(|dep| !is_dev_only(dep));
        (text(&node["id"]), deps.map(|dep| text(&dep["pkg"])).collect())
    });
    let names = packages.iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    Tree { members, edges: edges.collect(), names }
}

impl Tree {
    fn member(&self, name: &str) -> &Package {
        self.members.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no package {name}"))
    }

    fn plugins(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter(|p| {
            ["sources/", "sinks/"].iter().any(|dir| p.dir.starts_with(dir)) || p.dir == "transforms"
        })
    }

    /// Everything that a package is linked with.
    fn linked(&self, package: &Package) -> BTreeSet<&str> {
        let (mut seen, mut left) = (BTreeSet::new(), vec![&package.id]);
        while let Some(id) = left.pop() {
            left.extend(self.edges[id].iter().filter(|next| seen.insert(next.as_str())));
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }

    fn is_member(&self, name: &str) -> bool {
        self.members.iter().any(|p| p.name == name)
    }
}

#[test]
fn plugins_import_connector_core_and_no_other_part_of_the_workspace() {
    let tree = tree();
    assert!(tree.plugins().count() >= 7, "the plugins were not found");
    for plugin in tree.plugins() {
        let ours: Vec<_> = plugin.direct.iter().filter(|name| tree.is_member(name)).collect();
        // connector-aws is no plugin: it is what those that talk to AWS have in common.
        let ours: Vec<_> = ours.into_iter().filter(|name| *name != "connector-aws").collect();
        assert_eq!(ours, ["connector-core"], "{} imports other parts of the workspace", plugin.name);
        let linked = tree.linked(plugin);
        for forbidden in ["rdkafka", "rdkafka-sys", "connector-runtime"] {
            assert!(!linked.contains(forbidden), "{} is linked with {forbidden}", plugin.name);
        }
    }
}

#[test]
fn connector_core_imports_nothing_of_ours_and_nothing_that_a_plugin_author_should_not_have_to_build() {
    let tree = tree();
    let core = tree.member("connector-core");
    assert_eq!(core.direct.iter().find(|name| tree.is_member(name)), None);
    let linked = tree.linked(core);
    assert!(linked.contains("arrow"), "the graph was not read: {linked:?}");
    for forbidden in NOT_IN_CORE {
        assert!(!linked.contains(forbidden), "connector-core is linked with {forbidden}");
    }
}

#[test]
fn the_runtime_knows_no_concrete_plugin() {
    let tree = tree();
    let runtime = tree.member("connector-runtime");
    let ours: Vec<_> = runtime.direct.iter().filter(|name| tree.is_member(name)).collect();
    // It has AWS's credentials for MSK IAM and for secrets.
    assert_eq!(ours, ["connector-aws", "connector-core"]);
}

#[test]
fn only_the_runtime_imports_kafkas_client() {
    let tree = tree();
    for package in &tree.members {
        for client in ["rdkafka", "rdkafka-sys"] {
            let allowed = package.name == "connector-runtime";
            // The tests of the program look at Kafka from outside.
            let found = if package.name == "sidestream" { &package.normal } else { &package.direct };
            assert!(allowed || !found.contains(client), "{} imports {client}", package.name);
        }
    }
    assert!(tree.member("connector-runtime").normal.contains("rdkafka"));
}

#[test]
fn every_dependency_comes_from_the_workspaces_table() {
    for package in &tree().members {
        let path = Path::new(ROOT).join(&package.dir).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}: the workspace's lints do not hold",
            path.display()
        );
        let mut section = "";
        for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
                let own = section.split_once("dependencies.").filter(|(before, _)| *before != "workspace.");
                assert!(own.is_none(), "{}: write [{section}] as one line", path.display());
            } else if section.ends_with("dependencies") && section != "workspace.dependencies" {
                let shared = line.contains(".workspace = true") || line.contains("workspace = true");
                assert!(shared, "{}: `{line}` is not from the workspace's table", path.display());
            }
        }
    }
}

#[test]
fn there_is_one_version_of_what_crosses_crate_boundaries() {
    let lock = fs::read_to_string(Path::new(ROOT).join("Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        versions.entry(field("name").unwrap()).or_default().insert(field("version").unwrap());
    }
    for name in [
        "arrow",
        "arrow-array",
        "arrow-schema",
        "arrow-buffer",
        "object_store",
        "rdkafka",
        "rdkafka-sys",
        "tokio",
    ] {
        let found = versions.get(name).unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
    }
}

#[test]
fn unsafe_code_is_in_three_places_only() {
    let mut files = Vec::new();
    for package in &tree().members {
        for dir in ["src", "tests", "benches", "examples"] {
            sources(&Path::new(ROOT).join(&package.dir).join(dir), &mut files);
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    let mut found = Vec::new();
    for path in files {
        let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let allowed = UNSAFE.iter().any(|place| name.starts_with(place));
        for (at, line) in text.lines().enumerate().filter(|_| !allowed) {
            let code = code(line);
            let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            if words.into_iter().any(|word| word == "unsafe" || word == "unsafe_code") {
                found.push(format!("{name}:{}: {line}", at + 1));
            }
        }
    }
    assert!(found.is_empty(), "unsafe code outside of {UNSAFE:?}:\n{}", found.join("\n"));
}

/// All Rust sources below `dir`, except separate crates (the third-party plugins of the tests).
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.join("Cargo.toml").exists() && !path.ends_with("fixtures") {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A line without its comment and its texts.
fn code(line: &str) -> String {
    let (mut code, mut quoted, mut escaped) = (String::new(), false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => break,
            c if !quoted => code.push(c),
            _ => {}
        }
    }
    code
}

#[test]
fn a_line_of_code_is_read_without_comments_and_texts() {
    assert_eq!(code("let a = \"one \\\" { // x\"; // two"), "let a = ; ");
    assert_eq!(code("three { f() }"), "three { f() }");
}
