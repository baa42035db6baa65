//! One actor for each instance of a source or sink: calls are queued and run on the library's own tokio runtime.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::Done;
use super::Exported;
use super::answer::{Answer, Completion, panic_failure};
use crate::error::{ConnectError, Result};

/// Calls that may wait in a lane; the host has at most one or two outstanding.
const QUEUE: usize = 16;

/// One runtime for each library: tokio's own state is duplicated with it.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

fn runtime(exported: &Exported) -> Result<Handle> {
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*slot {
        return Ok(runtime.handle().clone());
    }
    let (threads, library) = (exported.host.worker_threads.clamp(1, 64), exported.library);
    let name = move || {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        format!("p-{library}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    };
    let runtime =
        Builder::new_multi_thread().worker_threads(threads).thread_name_fn(name).enable_all().build();
    let runtime = runtime.map_err(|error| {
        ConnectError::internal("plugin.threads", "the plugin's threads cannot be started").caused_by(error)
    })?;
    Ok(slot.insert(runtime).handle().clone())
}

/// Ends the library's threads, at the latest after `timeout`.
pub(super) fn shutdown(timeout: Duration) {
    let runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(runtime) = runtime {
        runtime.shutdown_timeout(timeout);
    }
}

struct Job {
    epoch: u64,
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Calls of one lane run one after the other.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    /// Sinks: open, write, close. Sources: plan, open, poll, close.
    Data,
    /// Sinks: flush, commit. Sources: commit.
    Publish,
}

/// An instance behind its queues.
pub(super) struct Actor<T: ?Sized> {
    object: Arc<T>,
    exported: &'static Exported,
    lanes: OnceLock<[mpsc::Sender<Job>; 2]>,
    /// Jobs of an earlier epoch are dropped, the running ones too.
    epoch: watch::Sender<u64>,
    poisoned: Arc<AtomicBool>,
}

impl<T: ?Sized + Send + Sync + 'static> Actor<T> {
    pub(super) fn new(object: Arc<T>, exported: &'static Exported) -> Self {
        let epoch = watch::Sender::new(0);
        Self { object, exported, lanes: OnceLock::new(), epoch, poisoned: Arc::default() }
    }

    /// Queues a call and returns; the answer comes through `done`, whatever happens.
    pub(super) fn call<F>(&self, lane: Lane, done: Done, work: impl FnOnce(Arc<T>) -> F + Send + 'static)
    where
        F: Future<Output = Result<Answer>> + Send + 'static,
    {
        let (object, poisoned, completion) =
            (self.object.clone(), self.poisoned.clone(), Completion::new(done));
        let job = async move {
            if poisoned.load(Ordering::Acquire) {
                return completion.answer(Answer::poisoned());
            }
            // `work` itself may panic before it has made its future.
            let answer = AssertUnwindSafe(async move { work(object).await }).catch_unwind().await;
            completion.answer(match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => Answer::failed(error),
                Err(payload) => {
                    poisoned.store(true, Ordering::Release);
                    Answer::panicked(panic_failure(payload))
                }
            });
        };
        self.enqueue(lane, job);
    }

    /// Answers at once, whatever the lanes do; for what only looks.
    pub(super) fn ask(&self, done: Done, look: impl FnOnce(&T) -> Answer) {
        super::answer_now(done, || {
            if self.poisoned.load(Ordering::Acquire) { Answer::poisoned() } else { look(&self.object) }
        });
    }

    /// Drops whatever runs or waits, then queues the call.
    pub(super) fn interrupt<F>(&self, done: Done, work: impl FnOnce(Arc<T>) -> F + Send + 'static)
    where
        F: Future<Output = Result<Answer>> + Send + 'static,
    {
        self.epoch.send_modify(|epoch| *epoch += 1);
        let (idle, publish_is_idle) = oneshot::channel::<()>();
        self.enqueue(Lane::Publish, async move { drop(idle) });
        self.call(Lane::Data, done, move |object| async move {
            let _ = publish_is_idle.await;
            work(object).await
        });
    }

    /// A job that finds no place is dropped, and its completion answers.
    fn enqueue(&self, lane: Lane, work: impl Future<Output = ()> + Send + 'static) {
        let job = Job { epoch: *self.epoch.borrow(), work: Box::pin(work) };
        if self.lanes.get().is_none() {
            let Ok(runtime) = runtime(self.exported) else { return };
            // The host does not call one instance from two threads before `open` has answered.
            let _ = self.lanes.set([(); 2].map(|()| start(&runtime, self.epoch.subscribe())));
        }
        if let Some([data, publish]) = self.lanes.get() {
            let sender = match lane {
                Lane::Data => data,
                Lane::Publish => publish,
            };
            let _ = sender.try_send(job);
        }
    }
}

/// Runs the jobs of one lane until the actor is dropped.
fn start(runtime: &Handle, mut epoch: watch::Receiver<u64>) -> mpsc::Sender<Job> {
    let (sender, mut jobs) = mpsc::channel::<Job>(QUEUE);
    runtime.spawn(async move {
        while let Some(Job { epoch: made, work }) = jobs.recv().await {
            // An error means that the instance is gone, which interrupts as well.
            let interrupted = async {
                let _ = epoch.wait_for(|now| *now > made).await;
            };
            tokio::select! {
                biased;
                () = interrupted => {}
                () = work => {}
            }
        }
    });
    sender
}
