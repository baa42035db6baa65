//! How much memory the process may take: what its control group allows, and what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// In bytes; `None`: nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The smallest of the process's control groups.
    pub group: Option<u64>,
    pub machine: Option<u64>,
}

impl MemoryLimit {
    pub fn of_this_process() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
        });
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = group_limit(&groups, Path::new("/sys/fs/cgroup"));
        // Version 1 writes "no limit" as a number beyond any machine.
        Self { group: group.filter(|limit| machine.is_none_or(|machine| *limit < machine)), machine }
    }

    /// The one that counts.
    pub fn bytes(self) -> Option<u64> {
        self.group.or(self.machine)
    }
}

/// `groups`: `/proc/self/cgroup`, lines of `number:controllers:path`. Every group above limits, too. A container may see
/// paths that are not below its own root: then the root is its group.
fn group_limit(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (top, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            some if some.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own: PathBuf = top.join(path.trim_start_matches('/'));
        let above = own.ancestors().take_while(|folder| folder.starts_with(&top));
        let limits =
            above.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok());
        limits.min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_the_group_and_those_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "2000\n");
        write("a/b/memory.max", "max\n");
        write("memory/c/memory.limit_in_bytes", "500\n");
        assert_eq!(group_limit("0::/a/b\n", root.path()), Some(2000));
        assert_eq!(group_limit("0::/\n", root.path()), None);
        assert_eq!(group_limit("5:cpu,memory:/c\n0::/a\n", root.path()), Some(500));
        write("memory.max", "700\n");
        assert_eq!(group_limit("0::/not/below/the/root\n", root.path()), Some(700));
        assert_eq!(group_limit("no line of the kind", root.path()), None);
    }
}
