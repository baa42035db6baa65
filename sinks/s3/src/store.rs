//! Where objects go: S3 or a service that speaks it, a directory, or memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use connector_aws::error::explain;
use connector_aws::parts::{LocalParts, MemoryParts, Store};
use connector_aws::s3::{self, S3};
use connector_core::{ConnectError, Result};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::config::Config;
use crate::error;

/// What `store.url` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    Http(&'a str),
    File(&'a str),
    Memory(&'a str),
}

impl<'a> Scheme<'a> {
    pub fn of(url: &'a str) -> Option<Self> {
        let url = url.trim().trim_end_matches('/');
        let (scheme, rest) = url.split_once(':')?;
        match (scheme, rest.strip_prefix("//").unwrap_or(rest)) {
            ("http" | "https", host) if !host.is_empty() => Some(Self::Http(url)),
            ("file", directory) if !directory.is_empty() => Some(Self::File(directory)),
            ("memory", name) => Some(Self::Memory(name)),
            _ => None,
        }
    }
}

static MEMORY: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());

/// The store that sinks with `store.url: memory://<name>` and this bucket write to; for tests.
pub fn memory_store(name: &str, bucket: &str) -> Arc<InMemory> {
    let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(stores.entry(format!("{name}/{bucket}")).or_default())
}

/// Connects and makes sure that the bucket is there.
pub async fn open(config: &Config) -> Result<Store> {
    let bucket = &config.place.bucket;
    match config.place.store_url.as_deref().and_then(Scheme::of) {
        Some(Scheme::Memory(name)) => {
            let store = memory_store(name, bucket);
            let place = format!("bucket `{bucket}` in memory").into();
            let parts = Arc::new(MemoryParts::new(Arc::clone(&store)));
            Ok(Store { objects: store, parts, tagger: None, place, keys: error::KEYS })
        }
        Some(Scheme::File(directory)) => {
            let directory = std::path::Path::new(directory).join(bucket);
            let place: Arc<str> = directory.display().to_string().into();
            tokio::fs::create_dir_all(&directory).await.map_err(|cause| {
                ConnectError::external("s3.file", format!("{place}: cannot create the directory"))
                    .caused_by(cause)
                    .hint("check `store.url` and its permissions")
            })?;
            let files = LocalFileSystem::new_with_prefix(&directory)
                .map_err(|cause| explain(&error::KEYS, &place, "opening", None, &cause))?;
            let parts = Arc::new(LocalParts::new(files.clone(), config.part_size.max(1)));
            Ok(Store { objects: Arc::new(files), parts, tagger: None, place, keys: error::KEYS })
        }
        other => {
            let url = match other {
                Some(Scheme::Http(url)) => Some(url),
                _ => None,
            };
            let place: Arc<str> = match url {
                Some(url) => format!("bucket `{bucket}` at {url}").into(),
                None => format!("bucket `{bucket}` in {}", config.place.region).into(),
            };
            let S3 { store, tagger } = s3::open(bucket, &config.place.access(url), &config.place.options())
                .await
                .map_err(|cause| {
                    ConnectError::user("s3.config", format!("{place}: cannot be set up")).caused_by(cause)
                })?;
            let (objects, tagger) = (Arc::clone(&store) as _, Some(tagger));
            let store = Store { objects, parts: store, tagger, place, keys: error::KEYS };
            check(&store, config).await?;
            Ok(store)
        }
    }
}

/// Asks for the first key below `topics.dir`: a missing bucket or wrong credentials show now, not hours later.
async fn check(store: &Store, config: &Config) -> Result<()> {
    let prefix = Path::parse(&config.topics_dir).ok();
    let Some(Err(cause)) = store.objects.list(prefix.as_ref()).next().await else { return Ok(()) };
    let error = store.explain("opening", None, &cause);
    if error.code == "s3.access_denied" {
        // A role that may only put objects is enough to work.
        tracing::warn!(%error, "the bucket cannot be listed; going on");
        return Ok(());
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_url_names_its_kind() {
        assert_eq!(Scheme::of("http://127.0.0.1:9000/"), Some(Scheme::Http("http://127.0.0.1:9000")));
        assert_eq!(Scheme::of("file:///tmp/out"), Some(Scheme::File("/tmp/out")));
        assert_eq!(Scheme::of("file:./out"), Some(Scheme::File("./out")));
        assert_eq!(Scheme::of("memory://test"), Some(Scheme::Memory("test")));
        for url in ["", "localhost:9000", "ftp://host", "http://", "file://"] {
            assert_eq!(Scheme::of(url), None, "{url}");
        }
    }
}
