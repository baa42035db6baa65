//! Where objects go: S3 or a service that speaks it, a directory, or memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_aws::error::explain;
use connector_aws::parts::{LocalParts, MemoryParts, Store};
use connector_core::{ConnectError, Result};
use futures::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig, StaticCredentialProvider};

use crate::config::{Config, Sse};
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
    let bucket = &config.bucket;
    match config.store_url.as_deref().and_then(Scheme::of) {
        Some(Scheme::Memory(name)) => {
            let store = memory_store(name, bucket);
            let place = format!("bucket `{bucket}` in memory").into();
            let parts = Arc::new(MemoryParts::new(Arc::clone(&store)));
            Ok(Store { objects: store, parts, place, keys: error::KEYS })
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
            Ok(Store { objects: Arc::new(files), parts, place, keys: error::KEYS })
        }
        other => {
            let url = match other {
                Some(Scheme::Http(url)) => Some(url),
                _ => None,
            };
            let place: Arc<str> = match url {
                Some(url) => format!("bucket `{bucket}` at {url}").into(),
                None => format!("bucket `{bucket}` in {}", config.region).into(),
            };
            let s3 = s3(config, url).map_err(|cause| {
                ConnectError::user("s3.config", format!("{place}: cannot be set up")).caused_by(cause)
            })?;
            let store = Arc::new(s3);
            let store = Store { objects: Arc::clone(&store) as _, parts: store, place, keys: error::KEYS };
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

fn s3(config: &Config, url: Option<&str>) -> object_store::Result<AmazonS3> {
    // The host repeats a failed flush or commit, with its own patience; here only hiccups are smoothed.
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        max_retries: 6,
        retry_timeout: Duration::from_secs(30),
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&config.bucket)
        .with_region(config.region.trim())
        .with_virtual_hosted_style_request(!config.path_style)
        .with_retry(retry);
    if let Some(url) = url {
        let endpoint = match url.split_once("://") {
            Some((scheme, host)) if !config.path_style => format!("{scheme}://{}.{host}", config.bucket),
            _ => url.to_owned(),
        };
        // The environment's AWS_ENDPOINT_URL_S3 would win over `with_endpoint`.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key));
    builder = match endpoint {
        Some(endpoint) if endpoint.starts_with("http://") => builder.with_allow_http(true),
        // TLS protects the payload already, as the AWS SDK sees it too.
        _ => builder.with_unsigned_payload(true),
    };
    if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        let (key_id, secret_key) = (id.reveal().to_owned(), secret.reveal().to_owned());
        let credential = AwsCredential { key_id, secret_key, token: None };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
    }
    let encryption = |name: &str| name.parse::<AmazonS3ConfigKey>();
    if let Some(sse) = config.sse {
        let name = if sse == Sse::Kms { "aws:kms" } else { "AES256" };
        builder = builder.with_config(encryption("aws_server_side_encryption")?, name);
    }
    if let Some(key_id) = &config.kms_key_id {
        builder = builder.with_config(encryption("aws_sse_kms_key_id")?, key_id);
    }
    builder.build()
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
