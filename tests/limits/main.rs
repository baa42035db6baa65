//! Little memory, few files, and a plugin directory that goes away.

mod cgroup;
mod files;
#[path = "../plugins/libraries.rs"]
mod libraries;
mod memory;
mod plugins;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(180);
