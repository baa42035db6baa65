//! S3 itself: the client that everything here talks to it by.

mod acl;
mod tags;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use connector_core::Secret;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{BackoffConfig, CredentialProvider, RetryConfig};
use url::Url;

use crate::access::Access;
use crate::credentials::Chain;

pub use tags::{Tagger, Tags};

/// Credentials for one request after the other.
pub type Credentials = Arc<dyn CredentialProvider<Credential = AwsCredential>>;

/// How S3 is used, beyond who we are and where it is.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether the bucket is in the path or in the host name; by default what fits the endpoint.
    pub path_style: Option<bool>,
    /// Whether requests go through Transfer Acceleration.
    pub accelerate: bool,
    pub encryption: Option<Encryption>,
    /// Canned access control list of each object.
    pub acl: Option<String>,
    /// Address of a proxy, with name and password, as [`proxy`] makes it.
    pub proxy: Option<Secret>,
    /// Patience with one request.
    pub retry: Option<RetryConfig>,
}

/// Server-side encryption.
#[derive(Clone, Debug)]
pub enum Encryption {
    Aes256,
    /// With this key, or the bucket's own.
    Kms(Option<String>),
    /// With a key that only we hold: 256 bits in base64.
    Customer(Secret),
}

impl Encryption {
    /// Whether it is 256 bits in base64.
    pub fn is_customer_key(key: &Secret) -> bool {
        BASE64.decode(key.reveal()).is_ok_and(|key| key.len() == 32)
    }
}

/// The address of a proxy with name and password in it, unless it is none.
pub fn proxy(url: &str, user: Option<&str>, password: Option<&str>) -> Option<Secret> {
    let mut url = Url::parse(url).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return None;
    }
    if let Some(user) = user {
        url.set_username(user).ok()?;
        url.set_password(password).ok()?;
    }
    Some(Secret::new(url.as_str()))
}

/// An open bucket.
#[derive(Clone, Debug)]
pub struct S3 {
    pub store: Arc<AmazonS3>,
    /// Tags objects that are there already.
    pub tagger: Arc<Tagger>,
}

/// Sets up the client; nothing is asked of the service yet.
pub async fn open(bucket: &str, access: &Access, options: &Options) -> object_store::Result<S3> {
    let config = access.config().await;
    let region = config.region().map_or("us-east-1", |region| region.as_ref());
    // The SDK has read AWS_ENDPOINT_URL and profiles; the variable for this one service comes first, as everywhere.
    let endpoint = access
        .endpoint
        .clone()
        .or_else(|| std::env::var("AWS_ENDPOINT_URL_S3").ok())
        .or_else(|| config.endpoint_url().map(str::to_owned));
    // Services of one's own have no host name for each bucket, and a certificate has none for names with dots.
    let path_style = options.path_style.unwrap_or(endpoint.is_some() || bucket.contains('.'));
    let endpoint = match (endpoint, options.accelerate) {
        (None, false) => None,
        (None, true) => Some(format!("https://{bucket}.s3-accelerate.amazonaws.com")),
        (Some(url), _) => Some(match url.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
            _ => url,
        }),
    };
    // The host repeats a failed call with its own patience; here only hiccups are smoothed.
    let retry = options.retry.clone().unwrap_or_else(|| RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        max_retries: 6,
        retry_timeout: Duration::from_secs(30),
    });
    let credentials: Credentials = Arc::new(Chain::of(&config));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(!path_style)
        .with_retry(retry)
        .with_credentials(Arc::clone(&credentials));
    let plain = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
    if let Some(url) = endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, url);
    }
    // TLS protects the payload already, as the AWS SDK sees it too.
    builder = builder.with_allow_http(plain).with_unsigned_payload(!plain);
    if let Some(proxy) = &options.proxy {
        builder = builder.with_proxy_url(proxy.reveal());
    }
    builder = match &options.encryption {
        None => builder,
        Some(Encryption::Aes256) => builder.with_config("aws_server_side_encryption".parse()?, "AES256"),
        Some(Encryption::Kms(None)) => builder.with_config("aws_server_side_encryption".parse()?, "aws:kms"),
        Some(Encryption::Kms(Some(key))) => builder.with_sse_kms_encryption(key),
        Some(Encryption::Customer(key)) => builder.with_ssec_encryption(key.reveal()),
    };
    if let Some(acl) = &options.acl {
        builder = builder.with_http_connector(acl::Connector::new(acl, Arc::clone(&credentials), region));
    }
    let store = Arc::new(builder.build()?);
    let tagger = Tagger::new(Arc::clone(&store), credentials, region, options.proxy.as_ref(), plain)?;
    Ok(S3 { store, tagger: Arc::new(tagger) })
}
