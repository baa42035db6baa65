//! Answers, and the promise that each call gets one.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;

use serde::Serialize;

use super::super::{Batch, Done, Outcome, Status, Str, wire};
use crate::config::ConfigProblem;
use crate::error::ConnectError;

/// What a call answers, owned by the plugin.
pub(super) struct Answer {
    status: Status,
    instance: *mut c_void,
    value: String,
    batches: Vec<Batch>,
}

// The instance is an address that only the host uses.
unsafe impl Send for Answer {}

impl Answer {
    fn new(status: Status, value: &impl Serialize) -> Self {
        Self { status, instance: std::ptr::null_mut(), value: wire::text(value), batches: Vec::new() }
    }

    /// Done, with nothing to say.
    pub(super) fn done() -> Self {
        Self::new(Status::Ok, &())
    }

    pub(super) fn failed(error: ConnectError) -> Self {
        Self::new(Status::Failed, &wire::Failure::from(error))
    }

    pub(super) fn invalid(problems: &[ConfigProblem]) -> Self {
        Self::new(Status::Invalid, &problems)
    }

    pub(super) fn panicked(failure: wire::Failure) -> Self {
        Self::new(Status::Panicked, &failure)
    }

    pub(super) fn poisoned() -> Self {
        Self::new(Status::Poisoned, &())
    }

    pub(super) fn value(mut self, value: &impl Serialize) -> Self {
        self.value = wire::text(value);
        self
    }

    pub(super) fn batches(mut self, batches: Vec<Batch>) -> Self {
        self.batches = batches;
        self
    }

    /// Hands an instance over.
    pub(super) fn instance<T>(mut self, instance: T) -> Self {
        self.instance = Box::into_raw(Box::new(instance)).cast();
        self
    }
}

/// Answers exactly once: `Abandoned` when it is dropped, so that a lost future never leaves the host waiting.
pub(super) struct Completion(Option<Done>);

// The ticket may be answered from any thread.
unsafe impl Send for Completion {}

impl Completion {
    pub(super) fn new(done: Done) -> Self {
        Self(Some(done))
    }

    pub(super) fn answer(mut self, answer: Answer) {
        self.send(answer);
    }

    fn send(&mut self, mut answer: Answer) {
        let Some(done) = self.0.take() else { return };
        let mut outcome = Outcome {
            size: size_of::<Outcome>(),
            status: answer.status as u32,
            reserved: 0,
            instance: answer.instance,
            value: Str::new(&answer.value),
            batches: answer.batches.as_mut_ptr(),
            batches_len: answer.batches.len(),
        };
        // The host moves out what it wants; the rest goes with `answer`.
        unsafe { (done.call)(done.ctx, &raw mut outcome) };
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.send(Answer::new(Status::Abandoned, &()));
    }
}

thread_local! {
    /// Where this thread panicked last, as far as the hook knows.
    pub(super) static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The message of a panic if it is a literal; one that was formatted may hold data.
pub(super) fn literal(payload: &(dyn Any + Send)) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

/// What to tell the host about a panic.
pub(super) fn panic_failure(payload: Box<dyn Any + Send>) -> wire::Failure {
    let place = PANIC_PLACE.take().map(|place| format!(" at {place}")).unwrap_or_default();
    let text = literal(&*payload).map(|text| format!(": {text}")).unwrap_or_default();
    // Dropping a payload runs code of its author.
    std::mem::forget(payload);
    ConnectError::internal("plugin.panicked", format!("panicked{place}{text}")).into()
}
