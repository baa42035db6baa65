//! A control group with a memory limit, where this machine lets us make one.

use std::fs;
use std::path::PathBuf;

use crate::support::unique;

/// Removed when it is dropped and empty.
pub struct Group(PathBuf);

impl Group {
    /// `None`: this user may not make one.
    pub fn with_memory(mib: u64) -> Option<Self> {
        let name = unique("sidestream-test");
        for (parent, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = PathBuf::from(parent).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            if fs::write(group.join(file), (mib << 20).to_string()).is_ok() {
                return Some(Self(group));
            }
            let _ = fs::remove_dir(&group);
        }
        None
    }

    /// A program that joins the group and becomes the one that follows.
    pub fn launcher(&self) -> [String; 3] {
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        ["sh".to_owned(), "-c".to_owned(), join]
    }

    pub fn was_killed(&self) -> bool {
        let events =
            ["memory.events", "memory.oom_control"].map(|file| fs::read_to_string(self.0.join(file)));
        let kills = events.into_iter().flatten().find_map(|text| {
            text.lines().find_map(|line| line.strip_prefix("oom_kill ").map(|n| n.trim() != "0"))
        });
        kills.unwrap_or(false)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
