//! One pass over the objects: lists them, and fetches those that are not finished, several at a time.
//!
//! Stores that wait for a network work on the runtime. Local files are read on a thread without one, where
//! `object_store` needs no thread pool between itself and the file: with a hundred thousand small files that is most of
//! the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use connector_aws::store::Location;
use connector_core::Result;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetResult, ObjectMeta, ObjectStoreExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{self, explain};
use crate::finished::{Finished, Id, Tag};
use crate::list::list;
use crate::pattern::Pattern;

/// Largest object that is fetched ahead of its turn, in bytes.
const WHOLE: u64 = 4 << 20;

/// Memory for objects that were fetched ahead, in KiB.
const AHEAD_KIB: u32 = 32 << 10;

/// Objects that are handed over at once, at most.
const GROUP: usize = 64;

/// What the passes of a task have in common.
pub struct Scope {
    pub location: Location,
    /// `s3://bucket`, `file://`, for messages and addresses.
    pub store: String,
    pub pattern: Pattern,
    /// As the user wrote it.
    pub path: String,
    pub task: u64,
    pub tasks: u64,
    pub concurrent_reads: usize,
    /// Whether it is an error that nothing matches.
    pub needs_objects: bool,
    pub finished: Mutex<Finished>,
    /// What the log has said already.
    pub told_changed: AtomicUsize,
    pub told_empty: AtomicBool,
}

/// An object that is read now.
#[derive(Debug)]
pub struct Object {
    pub address: Arc<str>,
    pub id: Id,
    pub etag: String,
    /// What `{topic}` stands for in its path.
    pub topic: Option<Arc<str>>,
    /// Milliseconds since 1970-01-01 UTC.
    pub modified: i64,
}

/// A part of what is read.
pub enum Event {
    Begin(Object),
    /// The next bytes of the object; `last`: it has no more. `share`: of the memory for what is fetched ahead.
    Bytes {
        bytes: Bytes,
        last: bool,
        share: Option<OwnedSemaphorePermit>,
    },
    /// The object with this address was deleted after it was listed.
    Gone(String),
}

/// What was found; the channel closes at the end of the pass.
pub type Events = mpsc::Receiver<Result<Vec<Event>>>;

/// An object whose turn comes.
struct Waiting {
    path: Path,
    id: Id,
    size: u64,
    topic: Option<Arc<str>>,
}

enum Fetched {
    Whole(Object, Bytes, OwnedSemaphorePermit),
    /// Too large to be fetched ahead.
    Later(Waiting),
    Gone(String),
}

impl Scope {
    /// Starts a pass; dropping the events ends it.
    pub fn start(self: &Arc<Self>) -> Events {
        let (sender, events) = mpsc::channel(2);
        let scope = Arc::clone(self);
        let work = async move {
            if let Err(error) = scope.run(&sender).await {
                // Nobody listens any more: the task has stopped.
                let _ = sender.send(Err(error)).await;
            }
        };
        if self.location.url.scheme() == "file" {
            std::thread::spawn(move || futures::executor::block_on(work));
        } else {
            tokio::spawn(work);
        }
        events
    }

    fn address(&self, path: &Path) -> String {
        format!("{}/{path}", self.store)
    }

    async fn run(&self, events: &mpsc::Sender<Result<Vec<Event>>>) -> Result<()> {
        let waiting = self.waiting().await?;
        let memory = Arc::new(Semaphore::new(AHEAD_KIB as usize));
        let fetches = futures::stream::iter(waiting).map(|object| self.fetch(object, Arc::clone(&memory)));
        let mut groups = std::pin::pin!(fetches.buffered(self.concurrent_reads).ready_chunks(GROUP));
        while let Some(fetched) = groups.next().await {
            let mut group = Vec::with_capacity(2 * fetched.len());
            for fetched in fetched {
                match fetched {
                    Ok(Fetched::Whole(object, bytes, share)) => {
                        group.push(Event::Begin(object));
                        group.push(Event::Bytes { bytes, last: true, share: Some(share) });
                    }
                    Ok(Fetched::Gone(address)) => group.push(Event::Gone(address)),
                    Ok(Fetched::Later(object)) => {
                        if events.send(Ok(std::mem::take(&mut group))).await.is_err() {
                            return Ok(());
                        }
                        self.stream(object, events).await?;
                    }
                    Err(error) => {
                        // What comes in front of it goes first.
                        let _ = events.send(Ok(group)).await;
                        return Err(error);
                    }
                }
            }
            if events.send(Ok(group)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// This task's objects that are not finished, half-read ones first, then by name.
    async fn waiting(&self) -> Result<Vec<Waiting>> {
        let (mut waiting, mut all, mut changed) = (Vec::new(), 0_usize, 0_usize);
        let finished = &self.finished;
        let known = || finished.lock().unwrap_or_else(PoisonError::into_inner);
        list(&self.location, &self.store, &self.pattern, &mut |object, below| {
            all += 1;
            let address = self.address(&object.location);
            let id = Id::of(&address);
            if id.0 % self.tasks.max(1) != self.task {
                return;
            }
            match known().get(id) {
                Some(tag) if tag != Tag::of(&etag(&object)) => changed += 1,
                Some(_) => {}
                None => {
                    let topic = self.pattern.topic_in(below);
                    waiting.push(Waiting { path: object.location, id, size: object.size, topic });
                }
            }
        })
        .await?;
        if all == 0 && self.needs_objects {
            return Err(error::nothing(&self.path));
        }
        if changed > self.told_changed.swap(changed, Ordering::Relaxed) {
            tracing::warn!(
                path = self.path,
                "{changed} objects were overwritten after they had been read and are not read again: store new rows \
                 under new names, or reset the connector's offsets to read everything again"
            );
        }
        if all == 0 && !self.told_empty.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = self.path, "no object matches yet; waiting for the first");
        }
        let finished = known();
        waiting.sort_unstable_by(|a, b| {
            let half = |object: &Waiting| finished.half(object.id).is_none();
            half(a).cmp(&half(b)).then_with(|| a.path.as_ref().cmp(b.path.as_ref()))
        });
        Ok(waiting)
    }

    /// The object with its bytes, unless it is too large for that.
    async fn fetch(&self, object: Waiting, memory: Arc<Semaphore>) -> Result<Fetched> {
        if object.size > WHOLE {
            return Ok(Fetched::Later(object));
        }
        let kib = u32::try_from(object.size / 1024 + 1).unwrap_or(AHEAD_KIB).min(AHEAD_KIB);
        let share = memory.acquire_many_owned(kib).await.map_err(|_| {
            connector_core::ConnectError::internal("objects.memory", "the memory for objects is closed")
        })?;
        let found = match self.get(&object).await? {
            Ok(found) => found,
            Err(gone) => return Ok(Fetched::Gone(gone)),
        };
        if found.meta.size > WHOLE {
            return Ok(Fetched::Later(object));
        }
        let described = self.object(object, &found.meta);
        let path = found.meta.location.clone();
        let bytes = found.bytes().await.map_err(|e| explain(&self.store, "reading", Some(&path), &e))?;
        Ok(Fetched::Whole(described, bytes, share))
    }

    /// Hands over a large object as its bytes come.
    async fn stream(&self, object: Waiting, events: &mpsc::Sender<Result<Vec<Event>>>) -> Result<()> {
        let found = match self.get(&object).await? {
            Ok(found) => found,
            Err(gone) => {
                let _ = events.send(Ok(vec![Event::Gone(gone)])).await;
                return Ok(());
            }
        };
        let meta = found.meta.clone();
        let begin = Event::Begin(self.object(object, &meta));
        let (mut left, mut group) = (meta.size, vec![begin]);
        let mut bytes = found.into_stream();
        while left > 0 {
            let next = bytes.next().await.transpose();
            let next = next.map_err(|e| explain(&self.store, "reading", Some(&meta.location), &e))?;
            let Some(chunk) = next.filter(|chunk| !chunk.is_empty()) else {
                let message = format!("{} became shorter while it was read", self.address(&meta.location));
                return Err(connector_core::ConnectError::external("objects.shorter", message)
                    .hint("write new objects under another name and rename them; it is read again"));
            };
            left = left.saturating_sub(chunk.len() as u64);
            group.push(Event::Bytes { bytes: chunk, last: left == 0, share: None });
            if events.send(Ok(std::mem::take(&mut group))).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The object as it is now, or its address if it is there no longer.
    async fn get(&self, object: &Waiting) -> Result<Result<GetResult, String>> {
        match self.location.store.get(&object.path).await {
            Ok(found) => Ok(Ok(found)),
            Err(error) => {
                let explained = explain(&self.store, "reading", Some(&object.path), &error);
                match error {
                    Error::NotFound { .. } if explained.code != "s3.no_such_bucket" => {
                        Ok(Err(self.address(&object.path)))
                    }
                    _ => Err(explained),
                }
            }
        }
    }

    fn object(&self, waiting: Waiting, meta: &ObjectMeta) -> Object {
        Object {
            address: self.address(&waiting.path).into(),
            id: waiting.id,
            etag: etag(meta),
            topic: waiting.topic,
            modified: meta.last_modified.timestamp_millis(),
        }
    }
}

/// The entity tag; of a store that has none, size and time.
fn etag(meta: &ObjectMeta) -> String {
    let made = || format!("{:x}-{:x}", meta.last_modified.timestamp_micros(), meta.size);
    meta.e_tag.clone().unwrap_or_else(made)
}
