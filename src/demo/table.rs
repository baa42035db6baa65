//! What a Delta table holds, from its log alone.

use std::path::Path;

use serde_json::Value;

use super::Result;

/// Data files and rows of the table: what the log has added and not removed.
pub fn count(table: &Path) -> Result<(u64, u64)> {
    let mut commits: Vec<_> = table.join("_delta_log").read_dir()?.collect::<std::io::Result<_>>()?;
    commits.sort_by_key(|entry| entry.file_name());
    let mut live = std::collections::BTreeMap::new();
    for commit in
        commits.iter().map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "json"))
    {
        for line in std::fs::read_to_string(commit)?.lines() {
            let action: Value = serde_json::from_str(line)?;
            let path = |name: &str| action[name]["path"].as_str().map(str::to_owned);
            if let Some(path) = path("add") {
                let statistics: Value =
                    serde_json::from_str(action["add"]["stats"].as_str().unwrap_or("null"))?;
                live.insert(path, statistics["numRecords"].as_u64().unwrap_or(0));
            }
            if let Some(path) = path("remove") {
                live.remove(&path);
            }
        }
    }
    Ok((live.len() as u64, live.values().sum()))
}
