//! Named steps at which a test ends or holds the process, to see what a crash there leaves behind.
//!
//! They exist in builds with debug assertions, which nobody hands out. A feature of its own would compile everything
//! twice.

/// A step is reached. The environment variable `FAILPOINTS` says what happens there, in the syntax of the `fail` crate:
/// `sink.published=2*off->return` ends the process, without any clean-up, the third time; `sink.published=1*sleep(5000)`
/// holds it once.
#[inline]
pub fn reach(step: &'static str) {
    if cfg!(debug_assertions) && fail::eval(step, |_| ()).is_some() {
        std::process::abort();
    }
}

/// Reads `FAILPOINTS`. To be called once, before any step; the steps are quiet otherwise.
pub fn set_up() {
    if cfg!(debug_assertions) && std::env::var_os("FAILPOINTS").is_some() {
        // It lives as long as the process.
        std::mem::forget(fail::FailScenario::setup());
    }
}
