//! One large object on its way: parts leave in the background while the file still grows.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_core::Result;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, MultipartId, ObjectStoreExt, PutPayload};
use tokio::sync::{Mutex as AsyncMutex, OnceCell, OwnedSemaphorePermit};
use tokio::task::JoinSet;

use super::Store;

/// Parts of one object that are sent at once by [`Upload::send_all`].
const PARTS_AT_ONCE: usize = 4;

/// A multipart upload.
pub struct Upload {
    key: Path,
    id: OnceCell<MultipartId>,
    parts: Mutex<Vec<Arc<Part>>>,
    background: Mutex<JoinSet<()>>,
    /// Bytes of records whose parts have left memory.
    spilled: Arc<AtomicU64>,
}

/// One part: its bytes are kept until the store has them, so that a failed one can be sent again.
pub struct Part {
    number: usize,
    size: usize,
    /// Bytes of records (before compression) that it stands for.
    records: u64,
    state: AsyncMutex<State>,
}

enum State {
    Waiting(PutPayload),
    Sent(PartId),
}

/// How long an upload that is given up may take to begin.
const BEGUN: Duration = Duration::from_secs(2);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upload {
    pub fn new(key: Path, spilled: Arc<AtomicU64>) -> Self {
        Self { key, id: OnceCell::new(), parts: Mutex::default(), background: Mutex::default(), spilled }
    }

    /// Adds the next part; nothing is sent yet.
    pub fn push(&self, payload: PutPayload, records: u64) -> Arc<Part> {
        let mut parts = lock(&self.parts);
        let (number, size) = (parts.len(), payload.content_length());
        let part = Arc::new(Part { number, size, records, state: AsyncMutex::new(State::Waiting(payload)) });
        parts.push(Arc::clone(&part));
        part
    }

    fn all(&self) -> Vec<Arc<Part>> {
        lock(&self.parts).clone()
    }

    /// Bytes of the whole object.
    pub fn size(&self) -> u64 {
        lock(&self.parts).iter().map(|part| part.size as u64).sum()
    }

    /// Sends `part` in the background. A failure is only logged: [`Upload::send_all`] sends it again.
    pub fn start(self: &Arc<Self>, part: Arc<Part>, store: Store, permit: OwnedSemaphorePermit) {
        let upload = Arc::clone(self);
        let mut background = lock(&self.background);
        while background.try_join_next().is_some() {}
        background.spawn(async move {
            if let Err(error) = upload.send(&part, &store).await {
                tracing::warn!(%error, part = part.number, "a part could not be sent; it is sent again at the flush");
            }
            drop(permit);
        });
    }

    /// Sends `part` unless the store has it; waits when it is under way.
    async fn send(&self, part: &Part, store: &Store) -> Result<()> {
        let mut state = part.state.lock().await;
        let State::Waiting(payload) = &*state else { return Ok(()) };
        let explain = |cause| store.explain("sending a part of", Some(&self.key), &cause);
        let id =
            self.id.get_or_try_init(|| store.parts.create_multipart(&self.key)).await.map_err(explain)?;
        let sent =
            store.parts.put_part(&self.key, id, part.number, payload.clone()).await.map_err(explain)?;
        *state = State::Sent(sent);
        self.spilled.fetch_add(part.records, Ordering::Relaxed);
        Ok(())
    }

    /// Returns when the store has every part.
    pub async fn send_all(&self, store: &Store) -> Result<()> {
        stream::iter(self.all())
            .map(|part| async move { self.send(&part, store).await })
            .buffer_unordered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Makes the object visible.
    pub async fn complete(&self, store: &Store) -> Result<()> {
        self.send_all(store).await?;
        let mut ids = Vec::new();
        for part in self.all() {
            if let State::Sent(id) = &*part.state.lock().await {
                ids.push(PartId { content_id: id.content_id.clone() });
            }
        }
        let Some(id) = self.id.get() else { return Ok(()) };
        match store.parts.complete_multipart(&self.key, id, ids).await {
            Ok(_) => Ok(()),
            // An earlier try got through, only its answer was lost.
            Err(Error::NotFound { .. }) if self.size_there(store).await? == Some(self.size()) => Ok(()),
            Err(cause) => Err(store.explain("completing", Some(&self.key), &cause)),
        }
    }

    /// Bytes of the object that has the key already. Who may not look finds none.
    pub async fn size_there(&self, store: &Store) -> Result<Option<u64>> {
        match store.objects.head(&self.key).await {
            Ok(object) => Ok(Some(object.size)),
            Err(Error::NotFound { .. } | Error::PermissionDenied { .. }) => Ok(None),
            Err(cause) => Err(store.explain("looking for", Some(&self.key), &cause)),
        }
    }

    /// Gives up; parts that the store has are deleted.
    pub async fn abort(&self, store: &Store) {
        let mut background = std::mem::take(&mut *lock(&self.background));
        if self.id.get().is_none() {
            // An upload that is just being begun must be known to be given up.
            let _ = tokio::time::timeout(BEGUN, background.join_next()).await;
        }
        background.shutdown().await;
        let Some(id) = self.id.get() else { return };
        if let Err(cause) = store.parts.abort_multipart(&self.key, id).await {
            let error = store.explain("aborting the upload of", Some(&self.key), &cause);
            tracing::warn!(%error, "parts stay in the bucket; a lifecycle rule removes them");
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("key", &self.key).field("size", &self.size()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use async_trait::async_trait;
    use object_store::PutResult;
    use object_store::memory::InMemory;
    use object_store::multipart::MultipartStore;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::error::Keys;
    use crate::parts::MemoryParts;

    /// Fails the first `failures` parts, and loses the answer of each completion.
    struct Flaky {
        parts: MemoryParts,
        failures: AtomicUsize,
        loses_answers: bool,
    }

    fn lost() -> Error {
        Error::Generic { store: "S3", source: "connection reset".into() }
    }

    #[async_trait]
    impl MultipartStore for Flaky {
        async fn create_multipart(&self, path: &Path) -> object_store::Result<MultipartId> {
            self.parts.create_multipart(path).await
        }

        async fn put_part(
            &self,
            path: &Path,
            id: &MultipartId,
            part_idx: usize,
            data: PutPayload,
        ) -> object_store::Result<PartId> {
            let failed = self
                .failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok();
            if failed { Err(lost()) } else { self.parts.put_part(path, id, part_idx, data).await }
        }

        async fn complete_multipart(
            &self,
            path: &Path,
            id: &MultipartId,
            parts: Vec<PartId>,
        ) -> object_store::Result<PutResult> {
            let result = self.parts.complete_multipart(path, id, parts).await?;
            if self.loses_answers { Err(lost()) } else { Ok(result) }
        }

        async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> object_store::Result<()> {
            self.parts.abort_multipart(path, id).await
        }
    }

    fn flaky(failures: usize, loses_answers: bool) -> Store {
        let memory = Arc::new(InMemory::new());
        let parts = MemoryParts::new(Arc::clone(&memory));
        let parts = Arc::new(Flaky { parts, failures: AtomicUsize::new(failures), loses_answers });
        Store {
            objects: memory,
            parts,
            tagger: None,
            place: "a flaky store".into(),
            keys: Keys { location: "bucket", region: "region", endpoint: "url" },
        }
    }

    async fn body(store: &Store) -> Vec<u8> {
        store.objects.get(&Path::from("k")).await.unwrap().bytes().await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn a_part_that_failed_in_the_background_is_sent_again() {
        let store = flaky(2, false);
        let spilled = Arc::new(AtomicU64::new(0));
        let upload = Arc::new(Upload::new(Path::from("k"), Arc::clone(&spilled)));
        let permits = Arc::new(Semaphore::new(8));
        for text in ["one ", "two ", "three"] {
            let part = upload.push(text.into(), 10);
            upload.start(part, store.clone(), Arc::clone(&permits).acquire_owned().await.unwrap());
        }
        // All three have run.
        drop(permits.acquire_many(8).await.unwrap());
        assert_eq!(spilled.load(Ordering::Relaxed), 10, "two of three are still in memory");
        upload.complete(&store).await.unwrap();
        assert_eq!(spilled.load(Ordering::Relaxed), 30);
        assert_eq!(body(&store).await, b"one two three");
    }

    #[tokio::test]
    async fn a_flush_that_fails_can_be_repeated() {
        let store = flaky(1, false);
        let upload = Upload::new(Path::from("k"), Arc::default());
        upload.push("one".into(), 3);
        let error = upload.send_all(&store).await.unwrap_err();
        assert!(error.is_retriable(), "{error}");
        upload.send_all(&store).await.unwrap();
    }

    #[tokio::test]
    async fn a_completion_whose_answer_is_lost_is_recognised() {
        let store = flaky(0, true);
        let upload = Upload::new(Path::from("k"), Arc::default());
        upload.push("one".into(), 3);
        assert!(upload.complete(&store).await.unwrap_err().is_retriable());
        upload.complete(&store).await.unwrap();
        assert_eq!(body(&store).await, b"one");
    }
}
