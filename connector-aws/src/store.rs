//! Object stores by their address: `s3://bucket/prefix`, `file:///directory`, `memory://name/prefix` (for tests).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use connector_core::{ConfigProblem, ConnectError, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::access::Access;
use crate::identity::{Identity, address_problem, said};
use crate::parts::{self, LocalParts, MemoryParts};
use crate::s3;

/// The keys that say where S3 is, to be flattened into a plugin's own configuration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Keys {
    /// AWS region of the bucket; without it the environment or the profile says.
    #[serde(rename = "s3.region", default)]
    pub region: Option<String>,

    /// Where S3 is when not at AWS: `http://host:port` or `https://host` of a service that speaks it.
    #[serde(rename = "store.url", default)]
    pub url: Option<String>,

    #[serde(flatten)]
    pub identity: Identity,
}

impl Keys {
    /// What the schema cannot say.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.identity.problems();
        problems.extend(address_problem("store.url", said(self.url.as_ref()).as_deref()));
        problems
    }

    pub fn access(&self) -> Access {
        Access {
            region: said(self.region.as_ref()),
            endpoint: said(self.url.as_ref()),
            key: self.identity.key(),
            role: self.identity.role(),
            ..Access::default()
        }
    }
}

/// A place in a store.
#[derive(Clone)]
pub struct Location {
    /// The whole bucket or file system.
    pub store: Arc<dyn ObjectStore>,
    /// The same, for objects in parts of [`parts::PART_BYTES`].
    pub parts: Arc<dyn MultipartStore>,
    /// Where in it.
    pub path: Path,
    pub url: Url,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Location").field(&self.url.as_str()).finish()
    }
}

/// The address as it should be written; a plain path becomes `file://`. `s3a` and `s3n`, as Hadoop writes it, are `s3`.
/// The message says what is wrong with it.
pub fn parse(text: &str) -> Result<Url, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let path = match text.split_once("://") {
        None => Some(text.strip_prefix("file:").unwrap_or(text)),
        Some(("file", path)) => Some(path),
        Some(_) => None,
    };
    if let Some(path) = path {
        let path = std::path::absolute(path).map_err(|e| format!("is no path: {e}"))?;
        return Url::from_file_path(path).map_err(|()| "is no path of this system".to_owned());
    }
    let text = ["s3a://", "s3n://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .map_or_else(|| text.to_owned(), |rest| format!("s3://{rest}"));
    let url = Url::parse(&text).map_err(|e| format!("is no address: {e}"))?;
    match (url.scheme(), url.host_str()) {
        ("s3" | "memory", Some(host)) if !host.is_empty() => Ok(url),
        ("s3", _) => Err("names no bucket".to_owned()),
        ("memory", _) => Err("names no store".to_owned()),
        (other, _) => Err(format!("has the scheme `{other}`, and there are stores for s3, file and memory")),
    }
}

static MEMORY: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());

/// The store behind `memory://<name>`; it lives as long as the process.
pub fn memory(name: &str) -> Arc<InMemory> {
    let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(stores.entry(name.to_owned()).or_default())
}

/// Opens what [`parse`] accepted; nothing is asked of a service yet.
pub async fn open(url: &Url, access: &Access) -> Result<Location> {
    let wrong = |cause: object_store::Error| {
        ConnectError::user("store.address", format!("{url}: cannot be set up")).caused_by(cause)
    };
    let host = url.host_str().unwrap_or_default();
    let path = Path::from_url_path(url.path()).map_err(|cause| wrong(cause.into()))?;
    let (store, parts): (Arc<dyn ObjectStore>, Arc<dyn MultipartStore>) = match url.scheme() {
        "s3" => {
            let s3 = s3::open(host, access, &s3::Options::default()).await.map_err(wrong)?.store;
            (Arc::clone(&s3) as _, s3)
        }
        "memory" => {
            let memory = memory(host);
            (Arc::clone(&memory) as _, Arc::new(MemoryParts::new(memory)))
        }
        _ => {
            let files = LocalFileSystem::new();
            (Arc::new(files.clone()), Arc::new(LocalParts::new(files, parts::PART_BYTES)))
        }
    };
    Ok(Location { store, parts, path, url: url.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_stores() {
        for (text, url) in [
            ("s3://b/a/t", "s3://b/a/t"),
            ("s3a://b/t", "s3://b/t"),
            ("file:///tmp/t", "file:///tmp/t"),
            ("/tmp/a b", "file:///tmp/a%20b"),
            ("memory://m/t", "memory://m/t"),
        ] {
            assert_eq!(parse(text).unwrap().as_str(), url);
        }
        assert!(parse("lake/t").unwrap().as_str().ends_with("/lake/t"));
        for (text, what) in
            [("", "empty"), ("gs://b/t", "scheme"), ("s3:///t", "bucket"), ("memory:///t", "store")]
        {
            let error = parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_place_in_a_directory_is_a_path_from_the_root() {
        let place = open(&parse("/tmp/a b/t").unwrap(), &Access::default()).await.unwrap();
        assert_eq!(place.path.as_ref(), "tmp/a b/t");
    }
}
