//! Large objects in memory. `InMemory` has uploads of its own, but loses parts that do not come in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use connector_core::async_trait;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, ObjectStoreExt, PutPayload, PutResult, Result};

type Parts = BTreeMap<usize, PutPayload>;

/// Multipart uploads into a memory store.
pub struct MemoryParts {
    store: Arc<InMemory>,
    uploads: Mutex<HashMap<MultipartId, Parts>>,
}

impl MemoryParts {
    pub fn new(store: Arc<InMemory>) -> Self {
        Self { store, uploads: Mutex::default() }
    }

    fn upload<T>(
        &self,
        path: &Path,
        work: impl FnOnce(&mut HashMap<MultipartId, Parts>) -> Option<T>,
    ) -> Result<T> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut uploads)
            .ok_or_else(|| Error::NotFound { path: path.to_string(), source: "no such upload".into() })
    }
}

#[async_trait]
impl MultipartStore for MemoryParts {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.upload(path, |uploads| {
            let id = (1..).map(|n: u64| n.to_string()).find(|id| !uploads.contains_key(id))?;
            uploads.insert(id.clone(), Parts::new());
            Some(id)
        })
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.upload(path, |uploads| uploads.get_mut(id).map(|parts| parts.insert(part_idx, data)))?;
        Ok(PartId { content_id: part_idx.to_string() })
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, _: Vec<PartId>) -> Result<PutResult> {
        let parts = self.upload(path, |uploads| uploads.remove(id))?;
        let body: PutPayload = parts.into_values().flatten().collect();
        self.store.put(path, body).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.upload(path, |uploads| uploads.remove(id)).map(drop)
    }
}
