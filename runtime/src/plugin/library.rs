//! Opens plugin libraries. Native code is trusted code: only files that others cannot replace are loaded, and a
//! checksum pins them. A library stays loaded until the process ends: its release callbacks may be called late.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use connector_core::abi::import::{self, Options};
use connector_core::abi::{Entry, Plugin, SYMBOL};
use connector_core::{Component, ConnectError};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use sha2::{Digest, Sha256};

use crate::config::PluginFile;

/// A library that is loaded now.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file itself, links followed.
    pub path: PathBuf,
    pub name: String,
    pub version: String,
    /// Of the file, hexadecimal.
    pub sha256: String,
    pub components: Vec<Component>,
}

/// The plugins of one file. With `sha256` (hexadecimal), only a file of this content is loaded.
pub fn load(path: &Path, sha256: Option<&str>) -> Result<Vec<Component>, ConnectError> {
    load_with(path, sha256, Options::new("")).map(|loaded| loaded.components)
}

/// All libraries of a worker: those in `plugin.path` and those named one by one.
/// `known`: those that are loaded already stay as they are, whatever lies in their place now.
pub fn load_all(
    plugin_path: &[PathBuf],
    plugins: &[PluginFile],
    known: &BTreeSet<PathBuf>,
) -> Vec<Result<Loaded, ConnectError>> {
    let is_new = |path: &Path| path.canonicalize().map_or(true, |real| !known.contains(&real));
    let mut all: Vec<_> = plugin_path.iter().flat_map(|path| scan_new(path, &is_new)).collect();
    let named = |file: &PluginFile| load_with(&file.path, file.sha256.as_deref(), Options::new(""));
    all.extend(plugins.iter().filter(|file| is_new(&file.path) && !known.contains(&file.path)).map(named));
    all
}

/// The libraries (`*.so`) of a directory in the order of their names, or of one file.
pub fn scan(path: &Path) -> Vec<Result<Loaded, ConnectError>> {
    scan_new(path, &|_| true)
}

fn scan_new(path: &Path, is_new: &dyn Fn(&Path) -> bool) -> Vec<Result<Loaded, ConnectError>> {
    let unreadable = |error: io::Error| {
        vec![Err(refuse("plugin.path", path, "cannot be read")
            .caused_by(error)
            .hint("write a directory or a library that exists and can be read in `plugin.path`"))]
    };
    if path.is_file() {
        if !is_new(path) {
            return Vec::new();
        }
        return vec![load_with(path, None, Options::new(""))];
    }
    let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return unreadable(error),
    };
    let library = |path: &PathBuf| path.extension().is_some_and(|e| e == std::env::consts::DLL_EXTENSION);
    let mut files: Vec<_> =
        entries.into_iter().map(|entry| entry.path()).filter(library).filter(|path| is_new(path)).collect();
    files.sort();
    files.iter().map(|file| load_with(file, None, Options::new(""))).collect()
}

/// As [`load`], treating the library as `options` say (their place is filled in here).
pub fn load_with(path: &Path, sha256: Option<&str>, options: Options) -> Result<Loaded, ConnectError> {
    let found = path.canonicalize().and_then(|real| Ok((fs::metadata(&real)?, real)));
    let (metadata, real) = found.map_err(|error| {
        refuse("plugin.not_found", path, "cannot be opened").caused_by(error).hint("check the path")
    })?;
    if !metadata.is_file() {
        return Err(refuse("plugin.not_found", &real, "is not a file").hint("name the library itself"));
    }
    check_owners(&real, &metadata)?;
    let sum = checksum(&real)
        .map_err(|error| refuse("plugin.not_found", &real, "cannot be read").caused_by(error))?;
    if let Some(wanted) = sha256.filter(|wanted| !wanted.eq_ignore_ascii_case(&sum)) {
        let what = format!("has the SHA-256 {sum}, not the {wanted} that the configuration asks for");
        return Err(refuse("plugin.checksum", &real, &what)
            .hint("if you trust this file, write its checksum; otherwise put the right file back"));
    }
    let table = open_once(&real, &metadata)?;
    let options = Options { place: real.display().to_string(), ..options };
    // The table came from the library's entry function, and the library is never unloaded.
    let library = unsafe { import::library(table, &options) }?;
    let names: Vec<_> = library.components.iter().map(|component| component.name.as_str()).collect();
    tracing::info!(
        path = %real.display(), name = library.name, version = library.version, sdk = library.sdk_version,
        sha256 = sum, plugins = names.join(","), "plugin library loaded"
    );
    let import::Library { name, version, components, .. } = library;
    Ok(Loaded { path: real, name, version, sha256: sum, components })
}

fn refuse(code: &str, path: &Path, what: &str) -> ConnectError {
    ConnectError::user(code, format!("plugin library {} {what}", path.display()))
}

/// Whoever can write the file, or replace it in its directory, runs code in this process.
fn check_owners(path: &Path, metadata: &Metadata) -> Result<(), ConnectError> {
    const OTHERS_WRITE: u32 = 0o002;
    if metadata.permissions().mode() & OTHERS_WRITE != 0 {
        return Err(refuse("plugin.world_writable", path, "can be written by every user")
            .hint(format!("chmod o-w {}", path.display())));
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    let directory = fs::metadata(parent)
        .map_err(|error| refuse("plugin.not_found", path, "has no readable directory").caused_by(error))?;
    if directory.permissions().mode() & OTHERS_WRITE != 0 {
        return Err(refuse("plugin.world_writable", path, "is in a directory that every user can write")
            .hint(format!("chmod o-w {}, or move the library", parent.display())));
    }
    Ok(())
}

fn checksum(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The table of a file, which is opened once however often and under whatever names it is asked for.
fn open_once(path: &Path, metadata: &Metadata) -> Result<*const Plugin, ConnectError> {
    static TABLES: Mutex<Option<HashMap<(u64, u64), usize>>> = Mutex::new(None);
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let tables = tables.get_or_insert_default();
    let file = (metadata.dev(), metadata.ino());
    if let Some(table) = tables.get(&file) {
        return Ok(*table as *const Plugin);
    }
    let table = open(path)?;
    tables.insert(file, table as usize);
    Ok(table)
}

fn open(path: &Path) -> Result<*const Plugin, ConnectError> {
    // RTLD_NOW: a symbol that is missing shows here, not in the middle of a batch.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let hint = loader_hint(&error_text(&error));
        refuse("plugin.load", path, "cannot be loaded").caused_by(error_text(&error)).hint(hint)
    })?;
    let entry = unsafe { library.get::<Entry>(SYMBOL) }.map(|symbol| *symbol);
    let entry = entry.map_err(|_| {
        let other =
            |major: &u32| unsafe { library.get::<Entry>(format!("connector_plugin_v{major}")) }.is_ok();
        match (2..10).find(other) {
            Some(major) => refuse(
                "plugin.version",
                path,
                &format!("offers connector_plugin_v{major}; this runtime loads v1"),
            )
            .hint("rebuild the plugin with connector-core 1.x"),
            None => refuse("plugin.no_plugin", path, &format!("is not a plugin: it has no {SYMBOL}"))
                .hint("export it with `export_plugin!`, and keep other libraries out of `plugin.path`"),
        }
    });
    // Never unloaded, not even when it is refused: its threads and destructors may be registered already.
    std::mem::forget(library);
    let table = unsafe { entry?(import::host()) };
    if table.is_null() {
        return Err(refuse("plugin.load", path, "did not return its table")
            .hint("it panicked while it listed its plugins; see the log"));
    }
    Ok(table)
}

fn error_text(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// What to do about the loader's commonest complaints.
fn loader_hint(text: &str) -> &'static str {
    if text.contains("GLIBC_") {
        "it was built on a newer system: build it where the C library is as old as here"
    } else if text.contains("static TLS") {
        "its allocator wants static thread storage: build jemalloc with `disable_initial_exec_tls`"
    } else if text.contains("invalid ELF header")
        || text.contains("wrong ELF class")
        || text.contains("too short")
    {
        "it is not a shared library for this machine: build it with `crate-type = [\"cdylib\"]`"
    } else if text.contains("undefined symbol") || text.contains("cannot open shared object") {
        "it needs another library: install that, or link it statically"
    } else {
        "build it with `crate-type = [\"cdylib\"]` for this machine"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, name: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, "no library at all, but long enough to be read as an ELF header of 64 bytes")
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn error(path: &Path, sha256: Option<&str>) -> ConnectError {
        load(path, sha256).unwrap_err()
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = error(Path::new("/nowhere/libnone.so"), None);
        assert_eq!(error.code, "plugin.not_found");
        assert!(error.message.contains("/nowhere/libnone.so"), "{error}");
    }

    #[test]
    fn a_file_or_directory_that_everyone_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let open_file = file(directory.path(), "libopen.so", 0o666);
        assert_eq!(error(&open_file, None).code, "plugin.world_writable");
        let closed_file = file(directory.path(), "libclosed.so", 0o600);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = error(&closed_file, None);
        assert!(error.code == "plugin.world_writable" && error.hint.starts_with("chmod o-w"), "{error}");
    }

    #[test]
    fn a_link_does_not_hide_where_the_file_is() {
        let (open, closed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = file(open.path(), "libx.so", 0o600);
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let link = closed.path().join("liblink.so");
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert_eq!(error(&link, None).code, "plugin.world_writable");
    }

    #[test]
    fn another_content_than_the_pinned_one_is_refused_before_it_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), "libx.so", 0o600);
        let error = error(&path, Some(&"0".repeat(64)));
        assert_eq!(error.code, "plugin.checksum");
    }

    #[test]
    fn what_is_no_library_is_refused_with_the_loaders_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(directory.path(), "libx.so", 0o600);
        let error = error(&path, Some(&checksum(&path).unwrap().to_uppercase()));
        assert_eq!(error.code, "plugin.load");
        assert!(error.to_string().contains("invalid ELF header") && error.hint.contains("cdylib"), "{error}");
    }

    #[test]
    fn only_libraries_of_a_directory_are_tried() {
        let directory = tempfile::tempdir().unwrap();
        file(directory.path(), "b.so", 0o600);
        file(directory.path(), "a.so", 0o600);
        file(directory.path(), "notes.txt", 0o600);
        let errors: Vec<_> = scan(directory.path()).into_iter().map(|r| r.unwrap_err().message).collect();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].contains("a.so") && errors[1].contains("b.so"), "{errors:?}");
        assert_eq!(scan(Path::new("/nowhere"))[0].as_ref().unwrap_err().code, "plugin.path");
    }
}
