//! Which files are loaded.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use connector_runtime::config::PluginFile;
use connector_runtime::plugin::library;

use crate::{echo, libraries};

#[test]
fn a_library_that_cannot_be_used_is_refused_with_the_reason_and_the_remedy() {
    let examples = libraries::build("plugin-hostile").join("examples");
    for (name, code, message, hint) in [
        (
            "version",
            "plugin.version",
            "offers connector_plugin_v2; this runtime loads v1",
            "rebuild the plugin",
        ),
        ("bare", "plugin.no_plugin", "it has no connector_plugin_v1", "export_plugin!"),
        ("magic", "plugin.table", "magic number", "rebuild the plugin"),
        ("abort", "plugin.table", "panic = \"abort\"", "remove `panic"),
        (
            "short",
            "plugin.table",
            "plugin 1 of `short`: its table lacks `create`, `open`, `write`, `flush`",
            "rebuild the plugin",
        ),
        ("panics", "plugin.load", "did not return its table", "it panicked"),
    ] {
        let path = libraries::file(&examples, name);
        let error = library::load(&path, None).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(path.to_str().unwrap()) && error.message.contains(message), "{error}");
        assert!(error.hint.contains(hint), "{error}");
    }
}

#[test]
fn a_copy_that_everyone_may_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("libecho.so");
    fs::copy(echo::path(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).unwrap();
    let error = library::load(&copy, None).unwrap_err();
    assert_eq!(
        (&*error.code, error.hint),
        ("plugin.world_writable", format!("chmod o-w {}", copy.display()))
    );
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(library::load(&copy, None).unwrap().len(), 3);
}

#[test]
fn a_pinned_library_is_loaded_only_with_its_checksum() {
    let path = echo::path();
    let sum = library::scan(&path).remove(0).unwrap().sha256;
    assert_eq!(library::load(&path, Some(&sum)).unwrap().len(), 3);
    let other = sum.replace(|c: char| c.is_ascii_hexdigit(), "0");
    let error = library::load(&path, Some(&other)).unwrap_err();
    assert!(error.code == "plugin.checksum" && error.message.contains(&sum), "{error}");
}

#[test]
fn a_directory_and_named_files_are_loaded_and_one_bad_file_does_not_stop_the_others() {
    let directory = tempfile::tempdir().unwrap();
    symlink(echo::path(), directory.path().join("a-link.so")).unwrap();
    fs::write(directory.path().join("broken.so"), "no library").unwrap();
    let named = PluginFile { path: echo::path(), sha256: None };
    let all = library::load_all(&[directory.path().to_path_buf()], &[named], &BTreeSet::new());
    assert_eq!(all.len(), 3);
    let paths: Vec<_> = all.iter().map(|one| one.as_ref().map(|loaded| loaded.path.clone()).ok()).collect();
    let echo = echo::path().canonicalize().unwrap();
    assert_eq!(paths, [Some(echo.clone()), None, Some(echo)]);
    assert_eq!(all[1].as_ref().unwrap_err().code, "plugin.load");
}
