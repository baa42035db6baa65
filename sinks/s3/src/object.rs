//! A closed file: staged by flush, visible after commit.
//!
//! A key names the first offset, and the host ends a range where it has said before that it will, so an object that is
//! there already has the same records, and the same bytes. A member of the group that was thrown out without noticing
//! puts that very object again, and harms nothing. Only where ends of ranges were not kept (a broker without commit
//! metadata, cuts by the clock under another configuration) the object may have fewer or more records than ours.

use std::sync::Arc;

use connector_aws::parts::{Store, Upload};
use connector_aws::s3::Tags;
use connector_core::{ConnectError, Offset, Result, failpoint};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, PutMode, PutOptions, PutPayload, TagSet};
use tokio::sync::Mutex;

use crate::existing::{self, Existing};

/// Objects of one commit that are put at once.
const PUTS_AT_ONCE: usize = 8;

/// The records `[start, end)` of one topic-partition under one key.
#[derive(Debug)]
pub struct Object {
    pub key: Path,
    /// Offset after the last record.
    pub end: Offset,
    tags: Tags,
    /// `None` once it is visible.
    body: Mutex<Option<Staged>>,
}

#[derive(Debug)]
pub enum Staged {
    /// Up to one part: a single put.
    Whole(PutPayload),
    Parts(Arc<Upload>),
}

/// How objects are made visible.
#[derive(Clone, Copy, Debug)]
pub struct Publishing {
    /// Whether an object that is there already is kept, if it has our records.
    pub create: bool,
    /// Whether it may stay without tags when they are refused.
    pub tags_may_fail: bool,
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
    pub async fn publish(&self, store: &Store, how: Publishing) -> Result<()> {
        stream::iter(self.0.clone())
            .map(|object| async move { object.publish(store, how).await })
            .buffer_unordered(PUTS_AT_ONCE)
            .try_collect()
            .await
    }
}

impl Object {
    pub fn new(key: Path, end: Offset, tags: Tags, body: Staged) -> Self {
        Self { key, end, tags, body: Mutex::new(Some(body)) }
    }

    pub fn is_visible(&self) -> bool {
        self.body.try_lock().is_ok_and(|body| body.is_none())
    }

    async fn publish(&self, store: &Store, how: Publishing) -> Result<()> {
        let mut body = self.body.lock().await;
        match &*body {
            None => return Ok(()),
            Some(Staged::Parts(upload)) => self.complete(store, upload, how).await?,
            Some(Staged::Whole(payload)) => self.put(store, payload, how).await?,
        }
        *body = None;
        failpoint::reach("s3.object_published");
        Ok(())
    }

    async fn complete(&self, store: &Store, upload: &Upload, how: Publishing) -> Result<()> {
        // S3 takes a condition with this request too, the client has none: what is there is looked at first.
        let there = if how.create { upload.size_there(store).await? } else { None };
        match there {
            Some(size) if size == upload.size() => upload.abort(store).await,
            Some(size) if size > upload.size() => return Err(self.taken(store)),
            Some(_) => {
                self.warn_of_fewer();
                upload.complete(store).await?;
            }
            None => upload.complete(store).await?,
        }
        self.tag(store, how).await
    }

    /// Tags the object, which is there.
    async fn tag(&self, store: &Store, how: Publishing) -> Result<()> {
        let (Some(tagger), false) = (&store.tagger, self.tags.is_empty()) else { return Ok(()) };
        match tagger.tag(&self.key, &self.tags).await {
            Ok(()) => Ok(()),
            Err(cause) => {
                let error = store.explain("tagging", Some(&self.key), &cause);
                if !how.tags_may_fail || error.is_retriable() {
                    return Err(error.hint_if_none(TAGGING));
                }
                tracing::warn!(%error, "the object stays without tags");
                Ok(())
            }
        }
    }

    async fn put(&self, store: &Store, payload: &PutPayload, how: Publishing) -> Result<()> {
        let mode = if how.create { PutMode::Create } else { PutMode::Overwrite };
        match self.put_once(store, payload, mode.clone(), &self.tags).await {
            Ok(()) => Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if how.create => {
                self.settle(store, payload).await
            }
            Err(cause) => {
                let error = store.explain("putting", Some(&self.key), &cause);
                if self.tags.is_empty() || !how.tags_may_fail || error.is_retriable() {
                    return Err(error);
                }
                // It may be the tags that are not allowed; without them it is known.
                match self.put_once(store, payload, mode, &Tags::new()).await {
                    Ok(()) => {
                        tracing::warn!(%error, "the object is stored without tags");
                        Ok(())
                    }
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if how.create => {
                        self.settle(store, payload).await
                    }
                    Err(_) => Err(error),
                }
            }
        }
    }

    async fn put_once(
        &self,
        store: &Store,
        payload: &PutPayload,
        mode: PutMode,
        tags: &Tags,
    ) -> object_store::Result<()> {
        let mut set = TagSet::default();
        for (key, value) in tags {
            set.push(key, value);
        }
        let options = PutOptions { mode, tags: set, ..PutOptions::default() };
        store.objects.put_opts(&self.key, payload.clone(), options).await.map(drop)
    }

    /// The key is taken. With stable ranges by the very same bytes, then there is nothing to do. A range that was cut
    /// elsewhere before a crash shows as a longer or a shorter object, and no record of it may be lost.
    async fn settle(&self, store: &Store, payload: &PutPayload) -> Result<()> {
        match existing::compare(store, &self.key, payload).await? {
            Existing::Complete => Ok(()),
            Existing::Shorter => {
                self.warn_of_fewer();
                let put = self.put_once(store, payload, PutMode::Overwrite, &self.tags).await;
                put.map_err(|cause| store.explain("putting", Some(&self.key), &cause))
            }
            Existing::Foreign => Err(self.taken(store)),
        }
    }

    fn warn_of_fewer(&self) {
        tracing::warn!(key = %self.key, "the object has only the first of these records; it is overwritten");
    }

    fn taken(&self, store: &Store) -> ConnectError {
        let message = format!("`{}` in {} exists and holds other records", self.key, store.place);
        ConnectError::user("s3.object_exists", message).hint(
            "choose another `topics.dir`, remove the object, or overwrite with `enable.conditional.writes: false`",
        )
    }

    /// Forgets the object; an upload under way is aborted.
    pub async fn discard(&self, store: &Store) {
        if let Some(Staged::Parts(upload)) = self.body.lock().await.take() {
            upload.abort(store).await;
        }
    }
}

const TAGGING: &str = "allow s3:PutObjectTagging, or set `s3.object.behavior.on.tagging.error: ignore`";

#[cfg(test)]
mod tests;
