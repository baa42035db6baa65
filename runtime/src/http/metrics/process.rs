//! The process itself, under the names that Prometheus' client libraries have.

use std::fs;

use super::family;

/// Of Linux on every machine that this is built for (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Nothing where there is no `/proc`.
pub(super) fn write(out: &mut String) {
    if let Some(bytes) = resident_bytes() {
        family(out, "process_resident_memory_bytes", "gauge", "Resident memory.").sample(&[], bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        family(out, "process_cpu_seconds_total", "counter", "User and system time.").sample(&[], seconds);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        family(out, "process_open_fds", "gauge", "Open file descriptors.").sample(&[], open.count());
    }
    if let Some(limit) = value("/proc/self/limits", "Max open files") {
        family(out, "process_max_fds", "gauge", "Most file descriptors that may be open.").sample(&[], limit);
    }
}

/// User and system time of the process.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold blanks, the 12th and 13th fields are times in ticks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

pub(crate) fn resident_bytes() -> Option<f64> {
    Some(value("/proc/self/status", "VmRSS:")? * 1024.0)
}

/// The first number after `key` at the beginning of a line.
fn value(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}
