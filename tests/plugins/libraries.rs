//! The plugin libraries of `tests/fixtures`, each a workspace of its own, built as a third party builds them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds one fixture and returns where its libraries are: `lib<name>.so`, and those of its examples in `examples/`.
pub fn build(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = root.join("tests/fixtures").join(name);
    // Beside the product's own artifacts, so that it is cached with them; apart from them, as two builds differ.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../fixtures");
    fs::create_dir_all(&target).unwrap();
    // Each test may be a process of its own.
    let lock = File::create(target.join("build.lock")).unwrap();
    lock.lock().unwrap();
    // The product's versions, so that nothing is downloaded; cargo leaves out what the fixture does not use.
    fs::copy(root.join("Cargo.lock"), fixture.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--lib", "--examples", "--manifest-path"])
        .arg(fixture.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    assert!(output.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    target.canonicalize().unwrap().join("debug")
}

/// The file of the library `name` in `directory`.
pub fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{}{}{}", std::env::consts::DLL_PREFIX, name, std::env::consts::DLL_SUFFIX))
}
