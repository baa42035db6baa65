//! The host's own table.

use std::collections::HashMap;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Level, event};

use super::super::{Done, Host, Outcome, Status, Str, wire};
use crate::source::TopicDirectory;

/// Enough for plugins that wait for networks; what they compute is on the caller's thread.
const WORKER_THREADS: usize = 2;

/// The table that each library is given.
pub fn host() -> &'static Host {
    static HOST: Host = Host {
        size: size_of::<Host>(),
        worker_threads: WORKER_THREADS,
        log_level: Some(log_level),
        log: Some(log),
        topic_partitions: Some(topic_partitions),
        topic_names: Some(topic_names),
    };
    &HOST
}

unsafe extern "C" fn log_level() -> u32 {
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        _ => 5,
    }
}

unsafe extern "C" fn log(level: u32, target: Str, message: Str) {
    let write = || {
        let [target, message] = [target, message].map(|text| unsafe { text.text() }.unwrap_or("not UTF-8"));
        match level {
            0 | 1 => event!(target: "plugin", Level::ERROR, from = target, "{message}"),
            2 => event!(target: "plugin", Level::WARN, from = target, "{message}"),
            3 => event!(target: "plugin", Level::INFO, from = target, "{message}"),
            4 => event!(target: "plugin", Level::DEBUG, from = target, "{message}"),
            _ => event!(target: "plugin", Level::TRACE, from = target, "{message}"),
        }
    };
    // A panic must not cross into the plugin.
    let _ = catch_unwind(AssertUnwindSafe(write));
}

type Directories = HashMap<u64, Arc<dyn TopicDirectory>>;

fn directories() -> MutexGuard<'static, Directories> {
    static DIRECTORIES: OnceLock<Mutex<Directories>> = OnceLock::new();
    DIRECTORIES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A topic directory that plugins can ask for by its number, until this is dropped.
pub(super) struct Directory(pub(super) u64);

impl Directory {
    pub(super) fn new(topics: Arc<dyn TopicDirectory>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        directories().insert(number, topics);
        Self(number)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        directories().remove(&self.0);
    }
}

unsafe extern "C" fn topic_partitions(directory: u64, topic: Str) -> i64 {
    let ask = || {
        let topics = directories().get(&directory).cloned()?;
        topics.partitions(unsafe { topic.text() }?).map(i64::from)
    };
    catch_unwind(AssertUnwindSafe(ask)).ok().flatten().unwrap_or(-1)
}

unsafe extern "C" fn topic_names(directory: u64, done: Done) {
    let topics = directories().get(&directory).cloned();
    let ask = || topics.map(|topics| topics.names()).unwrap_or_default();
    let names = wire::text(&catch_unwind(AssertUnwindSafe(ask)).unwrap_or_default());
    let mut outcome = Outcome {
        size: size_of::<Outcome>(),
        status: Status::Ok as u32,
        reserved: 0,
        instance: std::ptr::null_mut::<c_void>(),
        value: Str::new(&names),
        batches: std::ptr::null_mut(),
        batches_len: 0,
    };
    unsafe { (done.call)(done.ctx, &raw mut outcome) };
}
