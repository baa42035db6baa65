//! The C boundary between the host and a plugin in a library of its own.
//!
//! A library exports one function, [`SYMBOL`], that takes the host's table ([`Host`]) and returns its own ([`Plugin`]).
//! The rules of the tables:
//!
//! - The major version is in the symbol's name. Within it each table grows only at its end; `size` (bytes) says how far
//!   a table reaches, and a field past it counts as absent: an absent function has the default behaviour.
//! - Nothing that allocates crosses except Arrow arrays, which carry their own release callback. A [`Str`] is borrowed
//!   for the call in which it appears. Small structured values are JSON texts ([`wire`] says which).
//! - Each call is answered once through its [`Done`], from any thread: `create` and `apply` before they return, the
//!   others whenever they are finished. They must return at once; the work happens on the plugin's own threads.
//! - An [`Outcome`] and what it points to belong to its maker, who releases after the call what the receiver has not
//!   moved out.
//! - A record batch crosses as one struct array with the schema (metadata included) beside it ([`Batch`]).
//! - One `write` and one `flush` or `commit` may be outstanding; one `poll` and one `commit`. `close` interrupts what
//!   still runs. After `drop` an instance is not used again. A library is never unloaded.

#![allow(unsafe_code)]

use std::ffi::c_void;

use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};

mod check;
mod data;
pub mod export;
pub mod import;
pub mod wire;

pub use import::loopback;

/// The function that a library of this major version exports.
pub const SYMBOL: &str = "connector_plugin_v1";

/// First value of [`Plugin`] after its size.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SIDESTRM");

/// [`Plugin::build_flags`]: panics unwind, so they can be contained.
pub const PANIC_UNWIND: u64 = 1;
/// [`Plugin::build_flags`]: built with debug assertions.
pub const DEBUG_BUILD: u64 = 2;

/// The type of the exported function.
pub type Entry = unsafe extern "C" fn(host: *const Host) -> *const Plugin;

/// UTF-8 text, borrowed for the call in which it appears.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    pub ptr: *const u8,
    /// Bytes.
    pub len: usize,
}

/// A record batch that is moved: the receiver takes both structs out and clears their release callbacks.
#[repr(C)]
pub struct Batch {
    pub schema: FFI_ArrowSchema,
    pub array: FFI_ArrowArray,
}

/// How to answer a call. `ctx` is the asker's ticket: a number, never looked into, valid for one answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Done {
    pub ctx: *mut c_void,
    pub call: unsafe extern "C" fn(ctx: *mut c_void, outcome: *mut Outcome),
}

/// What became of a call.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    /// `value` is a [`wire::Failure`].
    Failed = 1,
    /// `create` only: `value` is a list of configuration problems.
    Invalid = 2,
    /// The plugin panicked; `value` is a [`wire::Failure`]. The instance is of no more use.
    Panicked = 3,
    /// An earlier call of this instance panicked.
    Poisoned = 4,
    /// The call was given up without an answer.
    Abandoned = 5,
}

/// The answer to a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Outcome {
    pub size: usize,
    /// A [`Status`].
    pub status: u32,
    pub reserved: u32,
    /// `create`: the instance.
    pub instance: *mut c_void,
    /// JSON.
    pub value: Str,
    /// `batches_len` batches, one for each run; `create` of what needs columns: one empty batch with their schema.
    pub batches: *mut Batch,
    pub batches_len: usize,
}

/// What a library offers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plugin {
    pub size: usize,
    /// [`MAGIC`].
    pub magic: u64,
    pub name: Str,
    pub version: Str,
    /// Version of connector-core that it was built with.
    pub sdk_version: Str,
    /// [`PANIC_UNWIND`] | [`DEBUG_BUILD`].
    pub build_flags: u64,
    /// `components_len` pointers.
    pub components: *const *const Component,
    pub components_len: usize,
    /// Ends the plugin's threads, at the latest after so many milliseconds.
    pub shutdown: Option<unsafe extern "C" fn(timeout_ms: u64)>,
}

/// One plugin of a library. What depends on the configuration is answered by `create` ([`wire::Declared`]).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Component {
    pub size: usize,
    /// 1 source, 2 transform, 3 sink.
    pub kind: u32,
    pub reserved: u32,
    pub name: Str,
    /// JSON list of texts.
    pub aliases: Str,
    /// JSON list of texts.
    pub inert_keys: Str,
    pub version: Str,
    pub summary: Str,
    /// JSON schema.
    pub config_schema: Str,
    /// [`SourceVtable`], [`TransformVtable`] or [`SinkVtable`].
    pub vtable: *const c_void,
    /// The plugin's own.
    pub context: *const c_void,
    /// What it promises, for people.
    pub delivery: Str,
}

/// Pure: parses and checks. `config` is the typed JSON object, `task` a [`crate::TaskInfo`].
pub type Create = unsafe extern "C" fn(component: *const Component, config: Str, task: Str, done: Done);
/// A call with one JSON text.
pub type Call = unsafe extern "C" fn(instance: *mut c_void, argument: Str, done: Done);
/// A question without an argument.
pub type Ask = unsafe extern "C" fn(instance: *mut c_void, done: Done);
/// The instance is not used again.
pub type DropInstance = unsafe extern "C" fn(instance: *mut c_void);

/// Required: `create`, `open`, `write`, `flush`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SinkVtable {
    pub size: usize,
    pub create: Option<Create>,
    /// [`crate::Assignment`]s → where to resume, a list of pairs.
    pub open: Option<Call>,
    /// Partition and its records → [`wire::WriteAnswer`].
    pub write:
        Option<unsafe extern "C" fn(instance: *mut c_void, partition: Str, batch: *mut Batch, done: Done)>,
    /// Ranges → a number that stands for what was staged.
    pub flush: Option<Call>,
    /// The number → nothing. Absent: nothing is left to do after `flush`.
    pub commit: Option<unsafe extern "C" fn(instance: *mut c_void, staged: u64, done: Done)>,
    /// Revoked partitions → nothing.
    pub close: Option<Call>,
    pub drop: Option<DropInstance>,
    /// The host has no more use for what was staged under this number.
    pub forget: Option<unsafe extern "C" fn(instance: *mut c_void, staged: u64)>,
    /// Answers before it returns, from any thread: a list of [`crate::Metric`]s.
    pub metrics: Option<Ask>,
    /// Topics → a list of [`crate::Extent`]s.
    pub inventory: Option<Call>,
}

/// Required: `create`, `open`, `poll`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SourceVtable {
    pub size: usize,
    pub create: Option<Create>,
    /// [`wire::OpenSource`] → nothing.
    pub open: Option<Call>,
    /// → [`wire::PollAnswer`] with a batch for each run, or null at the end.
    pub poll:
        Option<unsafe extern "C" fn(instance: *mut c_void, max_records: u64, max_bytes: u64, done: Done)>,
    /// [`crate::SourceOffset`] and [`crate::Acks`] → nothing.
    pub commit: Option<unsafe extern "C" fn(instance: *mut c_void, offset: Str, acks: Str, done: Done)>,
    pub close: Option<unsafe extern "C" fn(instance: *mut c_void, done: Done)>,
    pub drop: Option<DropInstance>,
    /// → a list of task configurations. Absent: one task with nothing to tell it.
    pub plan: Option<unsafe extern "C" fn(instance: *mut c_void, max_tasks: u64, done: Done)>,
    /// Answers before it returns, from any thread: a list of [`crate::Metric`]s.
    pub metrics: Option<Ask>,
}

/// Required: `create`, `apply`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TransformVtable {
    pub size: usize,
    pub create: Option<Create>,
    /// Answers before it returns: partition and its records → [`wire::ApplyAnswer`] with a batch for each run.
    pub apply:
        Option<unsafe extern "C" fn(instance: *mut c_void, partition: Str, batch: *mut Batch, done: Done)>,
    pub drop: Option<DropInstance>,
}

/// What the host offers to a library. No Kafka handle, no allocator, no runtime.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Host {
    pub size: usize,
    /// Threads of the plugin's own runtime.
    pub worker_threads: usize,
    /// The least important level that is written: 0 none, 1 error … 5 trace.
    pub log_level: Option<unsafe extern "C" fn() -> u32>,
    pub log: Option<unsafe extern "C" fn(level: u32, target: Str, message: Str)>,
    /// Number of partitions; -1 when there is no such topic. `directory` comes with [`wire::OpenSource`].
    pub topic_partitions: Option<unsafe extern "C" fn(directory: u64, topic: Str) -> i64>,
    /// Answers before it returns: a list of names.
    pub topic_names: Option<unsafe extern "C" fn(directory: u64, done: Done)>,
}

impl Str {
    pub const fn new(text: &str) -> Self {
        Self { ptr: text.as_ptr(), len: text.len() }
    }

    /// The text; `None` when it is not UTF-8.
    ///
    /// # Safety
    /// `ptr` is null or points to `len` bytes that live for `'a`.
    pub unsafe fn text<'a>(self) -> Option<&'a str> {
        if self.ptr.is_null() || self.len == 0 {
            return Some("");
        }
        let length = isize::try_from(self.len).ok()?.unsigned_abs();
        std::str::from_utf8(unsafe { std::slice::from_raw_parts(self.ptr, length) }).ok()
    }
}

impl Batch {
    /// Moves the batch out of `from`, which is left released.
    ///
    /// # Safety
    /// `from` points to an initialized batch that no one else touches.
    pub unsafe fn take(from: *mut Self) -> Self {
        unsafe {
            let schema = FFI_ArrowSchema::from_raw(&raw mut (*from).schema);
            Self { schema, array: FFI_ArrowArray::from_raw(&raw mut (*from).array) }
        }
    }
}

impl Status {
    /// The status with this number.
    pub fn from_code(code: u32) -> Option<Self> {
        let all = [Self::Ok, Self::Failed, Self::Invalid, Self::Panicked, Self::Poisoned, Self::Abandoned];
        all.into_iter().find(|status| *status as u32 == code)
    }
}

/// A struct that begins with its size.
///
/// # Safety
/// `repr(C)`, the first field is `size: usize`, and all bytes zero is a valid value that means absence.
pub unsafe trait Table: Copy {
    const NAME: &'static str;
}

macro_rules! tables {
    ($($name:ident)*) => { $(
        unsafe impl Table for $name {
            const NAME: &'static str = stringify!($name);
        }
    )* };
}

tables!(Outcome Plugin Component SinkVtable SourceVtable TransformVtable Host);

/// Reads a table that may be shorter or longer than this side's.
///
/// # Safety
/// `from` is null or points to a table of at least the bytes that its size says.
pub unsafe fn read<T: Table>(from: *const T) -> Result<T, String> {
    const PLAUSIBLE: usize = 1 << 16;
    if from.is_null() || !from.is_aligned() {
        return Err(format!("its table `{}` is missing", T::NAME));
    }
    let size = unsafe { from.cast::<usize>().read() };
    if size < size_of::<usize>() || size > PLAUSIBLE || !size.is_multiple_of(align_of::<usize>()) {
        return Err(format!("its table `{}` claims an impossible size of {size} bytes", T::NAME));
    }
    let mut table = std::mem::MaybeUninit::<T>::zeroed();
    unsafe {
        let bytes = size.min(size_of::<T>());
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), table.as_mut_ptr().cast::<u8>(), bytes);
        Ok(table.assume_init())
    }
}

#[cfg(test)]
mod tests;
