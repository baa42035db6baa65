//! What the process may take, looked at before it starts: open files and memory.

use crate::config::Deployment;
use crate::task::memory_limit::MemoryLimit;

/// Of a worker without connectors: Kafka's admin client, listeners, libraries.
const FILES: u64 = 64;
/// Of one connector: connections of its clients to each broker, of its plugin, and their wake-up pipes.
const FILES_OF_A_CONNECTOR: u64 = 24;
/// What the program itself takes, and what little it needs to do anything.
const MEMORY: u64 = 96 << 20;
const MEMORY_OF_A_CONNECTOR: u64 = 2 << 20;

/// Raises the soft limit of open files as far as it may, and says what may turn out too little.
pub fn check(deployment: &Deployment) {
    let connectors = deployment.connectors.len();
    let many = connectors as u64;
    let wanted = FILES + FILES_OF_A_CONNECTOR * many;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "the process may have {limit} files open, and {connectors} connectors may need {wanted}: raise the limit \
             (`ulimit -n 65536`; LimitNOFILE=65536 in a systemd unit; nofile in a container's ulimits)"
        ),
        Ok(_) => {}
        Err(error) => tracing::debug!("the limit of open files cannot be raised: {error}"),
    }
    let wanted = MEMORY + MEMORY_OF_A_CONNECTOR * many;
    if let Some(limit) = MemoryLimit::of_this_process().group.filter(|limit| *limit < wanted) {
        let (limit, wanted) = (limit >> 20, wanted >> 20);
        tracing::warn!(
            "the control group allows {limit} MiB of memory, which is little for {connectors} connectors: give it \
             {wanted} MiB or more, or run fewer connectors in this process"
        );
    }
}
