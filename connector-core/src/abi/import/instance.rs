//! One instance of a plugin, as the host sees it: asked, waited for, and left alone once it has misbehaved.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::super::{Ask, Batch, Call, Done, DropInstance, Status, Str, data, wire};
use super::{About, tickets};
use crate::config::ConfigProblem;
use crate::envelope::Envelope;
use crate::error::{ConnectError, Result};
use crate::metric::Metric;
use crate::transform::Run;

static ABANDONED: AtomicU64 = AtomicU64::new(0);

/// Instances that were given up because they did not answer in time, since this process began.
pub fn abandoned_total() -> u64 {
    ABANDONED.load(Ordering::Relaxed)
}

/// An answer, owned by the host.
pub(super) struct Reply {
    pub(super) status: Status,
    /// An address; never followed here.
    pub(super) instance: usize,
    pub(super) value: String,
    pub(super) batches: Vec<Batch>,
    /// What is wrong with an outcome that could not be read.
    pub(super) unreadable: Option<String>,
}

impl Reply {
    pub(super) fn unreadable(what: String) -> Self {
        let (value, batches, unreadable) = (String::new(), Vec::new(), Some(what));
        Self { status: Status::Failed, instance: 0, value, batches, unreadable }
    }

    /// The problems of a configuration that `create` refused.
    pub(super) fn problems(&self) -> Option<Result<Vec<ConfigProblem>, String>> {
        (self.status == Status::Invalid)
            .then(|| wire::parse(&self.value).map_err(|e| format!("its answer {e}")))
    }
}

/// A call that was made and not answered yet.
pub(super) struct Pending {
    entry: &'static str,
    answer: oneshot::Receiver<Reply>,
}

pub(super) struct Instance {
    about: Arc<About>,
    address: *mut c_void,
    drop: Option<DropInstance>,
    /// Why it is not called any more.
    fault: OnceLock<String>,
    /// It did not answer, so it may still use its memory: not even dropped.
    abandoned: AtomicBool,
}

// The table's functions may be called from any thread.
unsafe impl Send for Instance {}
unsafe impl Sync for Instance {}

impl Instance {
    pub(super) fn new(about: Arc<About>, address: *mut c_void, drop: Option<DropInstance>) -> Self {
        Self { about, address, drop, fault: OnceLock::new(), abandoned: AtomicBool::new(false) }
    }

    pub(super) fn address(&self) -> *mut c_void {
        self.address
    }

    /// Whether it may still be called.
    pub(super) fn is_usable(&self) -> bool {
        self.fault.get().is_none()
    }

    /// How long an answer may take.
    fn patience(&self) -> Duration {
        self.about.options.timeout
    }

    /// Makes a call unless the instance has a fault.
    pub(super) fn begin(&self, entry: &'static str, call: impl FnOnce(*mut c_void, Done)) -> Result<Pending> {
        if let Some(fault) = self.fault.get() {
            let code =
                if self.abandoned.load(Ordering::Relaxed) { "plugin.abandoned" } else { "plugin.poisoned" };
            return Err(ConnectError::internal(
                code,
                format!("{} is not called any more: {fault}", self.about.plugin),
            )
            .hint("restart the task: it gets a new instance"));
        }
        let (answer, done) = tickets::issue(&self.about.plugin, entry);
        call(self.address, done);
        Ok(Pending { entry, answer })
    }

    /// Makes a call that is answered before it returns.
    pub(super) fn call_now(
        &self,
        entry: &'static str,
        call: impl FnOnce(*mut c_void, Done),
    ) -> Result<Reply> {
        let mut pending = self.begin(entry, call)?;
        pending.answer.try_recv().map_err(|_| self.misdeed(entry, "returned without an answer"))
    }

    /// What the instance counts; nothing when it has no such entry or has a fault.
    pub(super) fn metrics(&self, ask: Option<Ask>) -> Vec<Metric> {
        let Some(ask) = ask else { return Vec::new() };
        self.call_now("metrics", |address, done| unsafe { ask(address, done) })
            .and_then(|reply| self.accept("metrics", reply))
            .and_then(|reply| self.value("metrics", &reply))
            .unwrap_or_default()
    }

    /// Makes a call with one text and waits for its answer.
    pub(super) async fn text_call(
        &self,
        entry: &'static str,
        function: Option<Call>,
        argument: &str,
    ) -> Result<Reply> {
        let call = |address, done| {
            if let Some(function) = function {
                unsafe { function(address, Str::new(argument), done) };
            }
        };
        self.call(entry, call).await
    }

    /// Makes a call and waits for its answer.
    pub(super) async fn call(
        &self,
        entry: &'static str,
        call: impl FnOnce(*mut c_void, Done) + Send,
    ) -> Result<Reply> {
        let mut pending = self.begin(entry, call)?;
        match tokio::time::timeout(self.patience(), self.wait(&mut pending)).await {
            Ok(reply) => reply,
            Err(_) => Err(self.abandon(entry)),
        }
    }

    /// Waits for an answer as long as it takes; can be dropped and waited for again.
    pub(super) async fn wait(&self, pending: &mut Pending) -> Result<Reply> {
        match (&mut pending.answer).await {
            Ok(reply) => self.accept(pending.entry, reply),
            Err(_) => Err(self.misdeed(pending.entry, "lost the call")),
        }
    }

    /// The reply of a call that succeeded, or its error.
    pub(super) fn accept(&self, entry: &'static str, reply: Reply) -> Result<Reply> {
        if let Some(what) = reply.unreadable {
            return Err(self.misdeed(entry, format!("gave an answer that cannot be read: {what}")));
        }
        match reply.status {
            Status::Ok => Ok(reply),
            Status::Failed => Err(self.value::<wire::Failure>(entry, &reply)?.into()),
            Status::Invalid => Err(self.misdeed(entry, "answered as only `create` may")),
            Status::Panicked => {
                let failure = wire::parse::<wire::Failure>(&reply.value);
                let what = failure.map_or_else(|_| "panicked".to_owned(), |failure| failure.message);
                Err(self.fault("plugin.panicked", entry, &what))
            }
            Status::Poisoned => {
                Err(self.fault("plugin.poisoned", entry, "refused because it panicked before"))
            }
            // No fault: `close` interrupts what still runs, and the next call may well be answered.
            Status::Abandoned => {
                let message = format!("{}: in `{entry}` it gave the call up unanswered", self.about.plugin);
                Err(ConnectError::internal("plugin.given_up", message).hint("restart the task"))
            }
        }
    }

    /// The value of a reply.
    pub(super) fn value<T: DeserializeOwned>(&self, entry: &'static str, reply: &Reply) -> Result<T> {
        wire::parse(&reply.value).map_err(|what| self.misdeed(entry, format!("gave an answer that {what}")))
    }

    /// The runs of a reply, each with the columns of an envelope.
    pub(super) fn runs(
        &self,
        entry: &'static str,
        destinations: Vec<wire::Destination>,
        batches: Vec<Batch>,
    ) -> Result<Vec<Run>> {
        if destinations.len() != batches.len() {
            let what = format!("answered {} batches for {} runs", batches.len(), destinations.len());
            return Err(self.misdeed(entry, what));
        }
        let run = |(destination, batch): (wire::Destination, Batch)| {
            let records = data::import(batch, self.about.options.trusted)
                .and_then(|records| match Envelope::of(&records).map(drop) {
                    Ok(()) => Ok(records),
                    Err(error) => Err(error.message),
                })
                .map_err(|what| self.misdeed(entry, format!("answered a batch that is wrong: {what}")))?;
            Ok(Run { topic: destination.topic, partition: destination.partition, records })
        };
        destinations.into_iter().zip(batches).map(run).collect()
    }

    /// Notes that the plugin broke the rules; it is not called again.
    pub(super) fn misdeed(&self, entry: &'static str, what: impl Into<String>) -> ConnectError {
        self.fault("plugin.misdeed", entry, &what.into())
    }

    fn fault(&self, code: &str, entry: &'static str, what: &str) -> ConnectError {
        let text = format!("in `{entry}` it {what}");
        let message = format!("{}: {text}", self.about.plugin);
        // The first fault explains the later ones.
        let _ = self.fault.set(text);
        ConnectError::internal(code, message).hint("report it to the plugin's author")
    }

    fn abandon(&self, entry: &'static str) -> ConnectError {
        self.abandoned.store(true, Ordering::Relaxed);
        ABANDONED.fetch_add(1, Ordering::Relaxed);
        let what = format!("did not answer within {} ms", self.patience().as_millis());
        self.fault("plugin.timeout", entry, &what)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(drop) = self.drop
            && !self.abandoned.load(Ordering::Relaxed)
        {
            unsafe { drop(self.address) };
        }
    }
}
