//! Objects too large for memory: they leave in parts while they still grow ([`Upload`]).

mod local;
mod memory;
mod upload;

use std::fmt;
use std::sync::Arc;

use connector_core::ConnectError;
use object_store::ObjectStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;

use crate::error::{self, Keys};
use crate::s3::Tagger;
use crate::store::Location;

pub use local::LocalParts;
pub use memory::MemoryParts;
pub use upload::{Part, Upload};

/// Bytes of each part but the last, where no configuration says otherwise. S3 takes 10,000 parts an object.
pub const PART_BYTES: usize = 8 << 20;

/// An open store that takes whole objects and parts.
#[derive(Clone)]
pub struct Store {
    pub objects: Arc<dyn ObjectStore>,
    pub parts: Arc<dyn MultipartStore>,
    /// For objects that are there already, where the store has tags.
    pub tagger: Option<Arc<Tagger>>,
    /// For messages: "bucket `b` at http://…".
    pub place: Arc<str>,
    /// The keys that hints point to.
    pub keys: Keys,
}

impl Store {
    /// The store of a location, whole: [`Location::path`] is a path in it.
    pub fn of(location: &Location, keys: Keys) -> Self {
        Self {
            objects: Arc::clone(&location.store),
            parts: Arc::clone(&location.parts),
            tagger: None,
            place: location.url.as_str().into(),
            keys,
        }
    }

    /// `error` while `doing` (`putting`) something to `key`.
    pub fn explain(&self, doing: &str, key: Option<&Path>, error: &object_store::Error) -> ConnectError {
        error::explain(&self.keys, &self.place, doing, key, error)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.place).finish()
    }
}
