//! A closed file: staged by flush, visible after commit.

use std::sync::Arc;

use bytes::Bytes;
use connector_aws::parts::{Store, Upload};
use connector_core::{ConnectError, Offset, Result};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::sync::Mutex;

/// Objects of one commit that are put at once.
const PUTS_AT_ONCE: usize = 8;

/// The records `[start, end)` of one topic-partition under one key.
#[derive(Debug)]
pub struct Object {
    pub key: Path,
    /// Offset after the last record.
    pub end: Offset,
    /// `None` once it is visible.
    body: Mutex<Option<Staged>>,
}

#[derive(Debug)]
pub enum Staged {
    /// Up to one part: a single put.
    Whole(PutPayload),
    Parts(Arc<Upload>),
}

/// The token of a flush.
pub struct Staging(pub Vec<Arc<Object>>);

impl Staging {
    /// Sends the parts that are still here.
    pub async fn stage(&self, store: &Store) -> Result<()> {
        for object in &self.0 {
            if let Some(Staged::Parts(upload)) = &*object.body.lock().await {
                upload.send_all(store).await?;
            }
        }
        Ok(())
    }

    /// Makes all objects visible; those that are already are left alone.
    pub async fn publish(&self, store: &Store, create: bool) -> Result<()> {
        stream::iter(self.0.clone())
            .map(|object| async move { object.publish(store, create).await })
            .buffer_unordered(PUTS_AT_ONCE)
            .try_collect()
            .await
    }
}

impl Object {
    pub fn new(key: Path, end: Offset, body: Staged) -> Self {
        Self { key, end, body: Mutex::new(Some(body)) }
    }

    pub fn is_visible(&self) -> bool {
        self.body.try_lock().is_ok_and(|body| body.is_none())
    }

    async fn publish(&self, store: &Store, create: bool) -> Result<()> {
        let mut body = self.body.lock().await;
        match &*body {
            None => return Ok(()),
            Some(Staged::Parts(upload)) => upload.complete(store, create).await?,
            Some(Staged::Whole(payload)) => {
                let mode = if create { PutMode::Create } else { PutMode::Overwrite };
                match self.put(store, payload, mode).await {
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if create => {
                        self.settle(store, payload).await?;
                    }
                    result => result.map_err(|cause| store.explain("putting", Some(&self.key), &cause))?,
                }
            }
        }
        *body = None;
        Ok(())
    }

    async fn put(&self, store: &Store, payload: &PutPayload, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        store.objects.put_opts(&self.key, payload.clone(), options).await.map(drop)
    }

    /// The key is taken. With stable ranges by the very same bytes, then there is nothing to do. A range that was cut
    /// elsewhere before a crash shows as a longer or a shorter object, and no record of it may be lost.
    async fn settle(&self, store: &Store, payload: &PutPayload) -> Result<()> {
        let explain = |cause: Error| store.explain("reading the existing", Some(&self.key), &cause);
        let there = store.objects.get(&self.key).await.map_err(explain)?.bytes().await.map_err(explain)?;
        let ours = Bytes::from(payload.clone());
        if there.starts_with(&ours) {
            return Ok(());
        }
        if ours.starts_with(&there) {
            tracing::warn!(key = %self.key, "the object has only the first of these records; it is overwritten");
            let put = self.put(store, payload, PutMode::Overwrite).await;
            return put.map_err(|cause| store.explain("putting", Some(&self.key), &cause));
        }
        let message = format!("`{}` in {} exists and holds other records", self.key, store.place);
        Err(ConnectError::user("s3.object_exists", message).hint(
            "choose another `topics.dir`, remove the object, or overwrite with `enable.conditional.writes: false`",
        ))
    }

    /// Forgets the object; an upload under way is aborted.
    pub async fn discard(&self, store: &Store) {
        if let Some(Staged::Parts(upload)) = self.body.lock().await.take() {
            upload.abort(store).await;
        }
    }
}
