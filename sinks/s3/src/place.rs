//! The keys that say where objects go, who we are there, and how the objects are kept.

use std::time::Duration;

use connector_aws::access::Access;
use connector_aws::identity::{Identity, said};
use connector_aws::s3::{Encryption, Options};
use connector_core::{ConfigProblem, Secret};
use object_store::{BackoffConfig, RetryConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::store::Scheme;

/// To be flattened into the sink's configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Place {
    /// The bucket. With a `file:` or `memory:` store, the directory below `store.url`.
    #[serde(rename = "s3.bucket.name")]
    #[schemars(length(min = 1))]
    pub bucket: String,

    /// AWS region of the bucket.
    #[serde(rename = "s3.region", default = "region")]
    pub region: String,

    /// Where the objects go when not to AWS: `http://host:port` or `https://host` of a service that speaks S3,
    /// `file:///directory`, or `memory://name` (for tests).
    #[serde(rename = "store.url", default)]
    pub store_url: Option<String>,

    /// Whether the bucket is the first part of the path (`host/bucket/key`) or of the host name (`bucket.host/key`).
    #[serde(rename = "s3.path.style.access.enabled", default = "yes")]
    path_style: bool,

    /// Whether objects go through S3 Transfer Acceleration, which the bucket must have enabled; needs
    /// `s3.path.style.access.enabled: false`.
    #[serde(rename = "s3.wan.mode", default)]
    wan_mode: bool,

    #[serde(flatten)]
    identity: Identity,

    /// The class that finds credentials in Connect; the SDK's default chain is what is used here too.
    #[serde(rename = "s3.credentials.provider.class", default)]
    credentials_provider: Option<String>,

    /// Server-side encryption: `AES256` or `aws:kms`.
    // Choices are texts here: an error in a flattened struct would not name its key.
    #[serde(rename = "s3.ssea.name", default)]
    #[schemars(extend("enum" = ["AES256", "aws:kms"]))]
    sse: Option<String>,

    /// Key id of `s3.ssea.name: aws:kms`; without it the bucket's own key is used.
    #[serde(rename = "s3.sse.kms.key.id", default)]
    kms_key_id: Option<String>,

    /// A key of one's own by which S3 encrypts, and which it does not keep (SSE-C): 256 bits in base64. Readers need
    /// it too.
    #[serde(rename = "s3.sse.customer.key", default)]
    customer_key: Option<Secret>,

    /// Canned access control list of each object, such as `bucket-owner-full-control`. The bucket must allow lists.
    #[serde(rename = "s3.acl.canned", default)]
    acl: Option<String>,

    /// `http://host:port` of a proxy to S3; without it the environment's `HTTPS_PROXY` and `NO_PROXY` count.
    #[serde(rename = "s3.proxy.url", default)]
    proxy_url: Option<String>,

    /// Name at the proxy.
    #[serde(rename = "s3.proxy.user", default)]
    proxy_user: Option<String>,

    /// Password at the proxy.
    #[serde(rename = "s3.proxy.password", default)]
    proxy_password: Option<Secret>,

    /// How often a request is repeated at once; after that the whole flush or commit is, by `errors.retry.timeout`.
    #[serde(rename = "s3.part.retries", default = "retries")]
    retries: usize,

    /// Milliseconds before the first repetition of a request; the next ones wait longer, up to 5 s.
    #[serde(rename = "s3.retry.backoff.ms", default = "backoff_ms")]
    retry_backoff_ms: u64,

    /// What happens when the tags of an object are refused: `ignore` stores it without tags and says so in the log,
    /// `fail` fails the task.
    #[serde(rename = "s3.object.behavior.on.tagging.error", default = "ignore")]
    #[schemars(extend("enum" = ["ignore", "fail"]))]
    tagging_error: String,
}

/// `s3.ssea.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sse {
    Aes256,
    Kms,
}

const DEFAULT_CREDENTIALS: &[&str] = &[
    "com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
    "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
];

const CANNED: &[&str] = &[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

impl Place {
    /// What the schema cannot say.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.identity.problems();
        let mut wrong = |key: &str, message: &str, hint: &str| {
            problems.push(ConfigProblem::new(key, message, hint));
        };
        if self.store_url.as_deref().is_some_and(|url| Scheme::of(url).is_none()) {
            let hint = "write http://host:port, https://host, file:///directory or memory://name";
            wrong("store.url", "is not the address of a store", hint);
        }
        if self.wan_mode && self.path_style {
            let hint = "set `s3.path.style.access.enabled: false`";
            wrong("s3.wan.mode", "needs the bucket in the host name", hint);
        }
        if self.wan_mode && self.store_url.is_some() {
            wrong("s3.wan.mode", "and `store.url` name two addresses", "leave one of them out");
        }
        let provider = said(self.credentials_provider.as_ref());
        if provider.is_some_and(|class| !DEFAULT_CREDENTIALS.contains(&class.as_str())) {
            let hint = "leave it out: environment, profile, web identity, container and instance credentials are \
                        found anyway, and `aws.role.arn` names a role to assume";
            wrong("s3.credentials.provider.class", "is a Java class that cannot be loaded here", hint);
        }
        let sse = self.sse().unwrap_or_else(|()| {
            wrong("s3.ssea.name", "is no server-side encryption", "write `AES256` or `aws:kms`");
            None
        });
        if !["ignore", "fail"].contains(&self.tagging_error.to_ascii_lowercase().as_str()) {
            wrong("s3.object.behavior.on.tagging.error", "is no choice", "write `ignore` or `fail`");
        }
        if said(self.kms_key_id.as_ref()).is_some() && sse != Some(Sse::Kms) {
            wrong("s3.sse.kms.key.id", "needs `s3.ssea.name: aws:kms`", "set it, or leave the key id out");
        }
        if let Some(key) = self.customer_key() {
            if !Encryption::is_customer_key(key) {
                let hint = "write it as `openssl rand -base64 32` makes one";
                wrong("s3.sse.customer.key", "is not a key of 256 bits in base64", hint);
            }
            if sse == Some(Sse::Kms) {
                let hint = "leave out one of them";
                wrong("s3.sse.customer.key", "and `s3.ssea.name: aws:kms` name two encryptions", hint);
            }
        }
        if said(self.acl.as_ref()).is_some_and(|acl| !CANNED.contains(&acl.as_str())) {
            wrong(
                "s3.acl.canned",
                "is no canned access control list",
                &format!("use one of {}", CANNED.join(", ")),
            );
        }
        if self.proxy().is_err() {
            wrong(
                "s3.proxy.url",
                "is not the address of a proxy",
                "write http://host:port or https://host:port",
            );
        }
        if said(self.proxy_url.as_ref()).is_none()
            && (said(self.proxy_user.as_ref()).is_some() || self.proxy_password.is_some())
        {
            wrong(
                "s3.proxy.url",
                "is missing though a name or password for it is set",
                "set it, or leave them out",
            );
        }
        problems
    }

    /// Who we are, and where S3 is.
    pub fn access(&self, endpoint: Option<&str>) -> Access {
        Access {
            region: said(Some(&self.region)),
            endpoint: endpoint.map(str::to_owned),
            key: self.identity.key(),
            role: self.identity.role(),
            ..Access::default()
        }
    }

    pub fn options(&self) -> Options {
        let encryption = match (self.customer_key(), self.sse().unwrap_or_default()) {
            (Some(key), _) => Some(Encryption::Customer(key.clone())),
            (None, Some(Sse::Aes256)) => Some(Encryption::Aes256),
            (None, Some(Sse::Kms)) => Some(Encryption::Kms(said(self.kms_key_id.as_ref()))),
            (None, None) => None,
        };
        Options {
            path_style: Some(self.path_style),
            accelerate: self.wan_mode,
            encryption,
            acl: said(self.acl.as_ref()),
            proxy: self.proxy().unwrap_or_default(),
            retry: Some(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(self.retry_backoff_ms),
                    max_backoff: Duration::from_secs(5).max(Duration::from_millis(self.retry_backoff_ms)),
                    ..BackoffConfig::default()
                },
                max_retries: self.retries,
                retry_timeout: Duration::from_secs(30),
            }),
        }
    }

    fn sse(&self) -> Result<Option<Sse>, ()> {
        match said(self.sse.as_ref()).as_deref() {
            None => Ok(None),
            Some("AES256") => Ok(Some(Sse::Aes256)),
            Some("aws:kms") => Ok(Some(Sse::Kms)),
            Some(_) => Err(()),
        }
    }

    fn customer_key(&self) -> Option<&Secret> {
        self.customer_key.as_ref().filter(|key| !key.reveal().trim().is_empty())
    }

    /// Whether an object may stay without tags when they are refused.
    pub fn tags_may_fail(&self) -> bool {
        !self.tagging_error.eq_ignore_ascii_case("fail")
    }

    fn proxy(&self) -> Result<Option<Secret>, ()> {
        let Some(url) = said(self.proxy_url.as_ref()) else { return Ok(None) };
        let password = self.proxy_password.as_ref().map(Secret::reveal);
        let user = said(self.proxy_user.as_ref());
        connector_aws::s3::proxy(&url, user.as_deref(), password).map(Some).ok_or(())
    }
}

fn region() -> String {
    "us-west-2".to_owned()
}

fn yes() -> bool {
    true
}

fn ignore() -> String {
    "ignore".to_owned()
}

fn retries() -> usize {
    3
}

fn backoff_ms() -> u64 {
    200
}
