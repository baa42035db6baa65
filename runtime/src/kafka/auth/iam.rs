//! MSK IAM: tokens for OAUTHBEARER, signed with AWS credentials.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_msk_iam_sasl_signer as signer;
use aws_types::region::Region;
use aws_types::sdk_config::SharedCredentialsProvider;
use connector_aws::access::{self as aws, Access, Role};
use connector_core::{ConfigMap, ConnectError, Result, Secret};
use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

/// How long a token is used at most, in milliseconds; MSK's last for 900,000.
pub const LIFETIME: &str = "sasl.iam.token.lifetime.ms";
/// What MSK and the signer agree on.
const LONGEST: Duration = Duration::from_secs(900);
/// librdkafka asks for the next token after 80 % of a token's life: by then there is one.
const RENEW_AFTER: f64 = 0.7;
/// How long a token that could not be renewed is waited for, at first.
const RETRY: Duration = Duration::from_secs(1);
/// How long librdkafka's thread may wait for the first token.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose tokens they are, and where they are good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    region: String,
    lifetime: Duration,
    /// The options of the JVM library's login module that choose credentials.
    options: BTreeMap<String, String>,
}

/// The tokens of one identity, shared by all clients of the process; renewed in time, so that no client waits for one.
pub struct Tokens {
    identity: Identity,
    provider: OnceCell<SharedCredentialsProvider>,
    current: Mutex<Option<Signed>>,
    /// One at a time signs.
    signing: tokio::sync::Mutex<()>,
    /// Whether [`keep`] runs.
    kept: AtomicBool,
    handle: Handle,
}

#[derive(Clone)]
struct Signed {
    token: String,
    access_key: String,
    made: SystemTime,
    expires: SystemTime,
}

impl Signed {
    fn renew_at(&self) -> SystemTime {
        self.made + self.expires.duration_since(self.made).unwrap_or_default().mul_f64(RENEW_AFTER)
    }
}

/// The source of tokens for a client: the same one for all with the same identity.
pub fn tokens(
    config: &ConfigMap,
    options: &ConfigMap,
    lifetime: Option<&str>,
    handle: &Handle,
) -> Result<Arc<Tokens>> {
    static SOURCES: LazyLock<Mutex<BTreeMap<Identity, Weak<Tokens>>>> = LazyLock::new(Mutex::default);
    let identity =
        Identity { region: region(config)?, lifetime: parse_lifetime(lifetime)?, options: chosen(options) };
    let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = sources.get(&identity).and_then(Weak::upgrade) {
        return Ok(known);
    }
    let made = Arc::new(Tokens {
        identity: identity.clone(),
        provider: OnceCell::new(),
        current: Mutex::default(),
        signing: tokio::sync::Mutex::default(),
        kept: AtomicBool::new(false),
        handle: handle.clone(),
    });
    sources.insert(identity, Arc::downgrade(&made));
    Ok(made)
}

fn parse_lifetime(text: Option<&str>) -> Result<Duration> {
    let Some(text) = text else { return Ok(LONGEST) };
    match text.trim().parse() {
        Ok(ms @ 1_000..=900_000) => Ok(Duration::from_millis(ms)),
        _ => Err(ConnectError::user("kafka.config", format!("{LIFETIME} is not between 1000 and 900000"))
            .hint("leave it out: MSK's tokens last for 900000 ms")),
    }
}

fn chosen(options: &ConfigMap) -> BTreeMap<String, String> {
    // `awsDebugCreds` and how often the JVM library retries do not change who it is.
    let choosing = ["awsProfileName", "awsRole", "awsStsRegion"];
    let is_choosing = |(key, value): &(&String, &String)| {
        !value.is_empty() && choosing.iter().any(|start| key.starts_with(start))
    };
    options.iter().filter(is_choosing).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The region in the broker's name (`b-1.x.kafka.eu-west-1.amazonaws.com`), else the environment's.
fn region(config: &ConfigMap) -> Result<String> {
    let from_host = config.get("bootstrap.servers").and_then(|servers| {
        let host = servers.split(',').next()?.split(':').next()?;
        let parts: Vec<&str> = host.split('.').collect();
        let at = parts.iter().position(|p| *p == "amazonaws")?;
        parts.get(at.checked_sub(1)?).map(|r| (*r).to_owned())
    });
    let from_env = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
    from_host.or_else(from_env).ok_or_else(|| {
        ConnectError::user("kafka.iam_region", "MSK IAM needs a region and bootstrap.servers names none")
            .hint("set AWS_REGION to the region of the cluster")
    })
}

fn access(identity: &Identity) -> Access {
    let get = |key: &str| identity.options.get(key).cloned();
    let key = get("awsRoleAccessKeyId").zip(get("awsRoleSecretAccessKey"));
    Access {
        region: Some(get("awsStsRegion").unwrap_or_else(|| identity.region.clone())),
        profile: get("awsProfileName"),
        key: key.map(|(id, secret)| (Secret::new(id), Secret::new(secret))),
        session_token: get("awsRoleSessionToken").map(Secret::new),
        role: get("awsRoleArn").map(|arn| Role {
            arn,
            session_name: get("awsRoleSessionName").unwrap_or_else(|| "sidestream".to_owned()),
            external_id: get("awsRoleExternalId"),
            duration: None,
        }),
        ..Access::default()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MSK IAM tokens of {}", self.whose())
    }
}

impl Tokens {
    /// For librdkafka's callback, which is synchronous: at once, except for the very first.
    pub fn get(self: &Arc<Self>) -> std::result::Result<OAuthToken, Box<dyn Error>> {
        let signed = match self.current().filter(|signed| SystemTime::now() < signed.renew_at()) {
            Some(signed) => signed,
            None => self.wait_for_one()?,
        };
        let expires = signed.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        let lifetime_ms = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
        Ok(OAuthToken { token: signed.token, principal_name: String::new(), lifetime_ms })
    }

    /// For messages: the access key of the last token and the region that it is for.
    pub fn whose(&self) -> String {
        let key = self.current().map_or_else(|| "no access key yet".to_owned(), |signed| signed.access_key);
        format!("access key {key}, region {}", self.identity.region)
    }

    fn current(&self) -> Option<Signed> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// On a thread of its own: the caller's may belong to the runtime.
    fn wait_for_one(self: &Arc<Self>) -> std::result::Result<Signed, Box<dyn Error>> {
        let this = self.clone();
        let waited = std::thread::spawn(move || {
            let renewed = async { tokio::time::timeout(PATIENCE, this.renew()).await };
            this.handle.block_on(renewed)
        });
        let outcome = waited.join().map_err(|_| "the MSK IAM signer panicked")?;
        let signed =
            outcome.map_err(|_| format!("no MSK IAM token: no answer in {} s", PATIENCE.as_secs()))??;
        if !self.kept.swap(true, Ordering::AcqRel) {
            self.handle.spawn(keep(Arc::downgrade(self)));
        }
        Ok(signed)
    }

    /// A new token, unless somebody else has just made one.
    async fn renew(&self) -> std::result::Result<Signed, String> {
        let _one = self.signing.lock().await;
        let now = SystemTime::now();
        if let Some(signed) = self.current().filter(|signed| now < signed.renew_at()) {
            return Ok(signed);
        }
        let signed = self.sign(now).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed.clone());
        Ok(signed)
    }

    async fn sign(&self, now: SystemTime) -> std::result::Result<Signed, String> {
        let failed = |error: &dyn fmt::Display| {
            format!(
                "no MSK IAM token for region {}: {error} (give the process AWS credentials: environment, profile, task \
                 role or instance profile)",
                self.identity.region
            )
        };
        let provider = self
            .provider
            .get_or_try_init(|| async {
                let config = access(&self.identity).config().await;
                config.credentials_provider().ok_or("no provider of credentials")
            })
            .await
            .map_err(|error| failed(&error))?;
        let credentials = aws::credentials(provider).await.map_err(|error| failed(&error))?;
        // The signer says 15 minutes whatever the credentials' own end is.
        let mut expires = now + LONGEST.min(self.identity.lifetime);
        if let Some(end) = credentials.expiry() {
            expires = expires.min(end);
        }
        let access_key = credentials.access_key_id().to_owned();
        let (token, _) = signer::generate_auth_token_from_credentials_provider(
            Region::new(self.identity.region.clone()),
            SharedCredentialsProvider::new(credentials),
        )
        .await
        .map_err(|error| failed(&error))?;
        Ok(Signed { token, access_key, made: now, expires })
    }
}

/// Renews before anybody asks, as long as a client uses the tokens.
async fn keep(tokens: Weak<Tokens>) {
    let mut pause = RETRY;
    loop {
        let Some(renew_at) = tokens.upgrade().and_then(|t| t.current()).map(|signed| signed.renew_at())
        else {
            return;
        };
        tokio::time::sleep(renew_at.duration_since(SystemTime::now()).unwrap_or_default()).await;
        let Some(this) = tokens.upgrade() else { return };
        match this.renew().await {
            Ok(_) => {
                pause = RETRY;
                tracing::debug!(region = this.identity.region, "MSK IAM token renewed");
            }
            Err(error) => {
                tracing::warn!("{error}; the last token is used until it ends");
                drop(this);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(60));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[tokio::test]
    async fn the_options_of_the_jvm_library_choose_the_identity() {
        let brokers = config(&[("bootstrap.servers", "b-1.demo.abc.c2.kafka.eu-west-1.amazonaws.com:9098")]);
        let options = config(&[
            ("awsRoleArn", "arn:aws:iam::1:role/x"),
            ("awsRoleSessionName", "s"),
            ("awsRoleExternalId", "e"),
            ("awsStsRegion", "us-east-1"),
            ("awsDebugCreds", "true"),
        ]);
        let source = tokens(&brokers, &options, None, &Handle::current()).unwrap();
        assert_eq!(source.identity.region, "eu-west-1", "the cluster's, and not that of STS");
        let access = access(&source.identity);
        assert_eq!(access.region.as_deref(), Some("us-east-1"));
        let role = access.role.unwrap();
        assert_eq!((role.arn.as_str(), role.session_name.as_str()), ("arn:aws:iam::1:role/x", "s"));
        assert_eq!(role.external_id.as_deref(), Some("e"));
        // Who it is does not depend on what it logs.
        let quiet = options.into_iter().filter(|(key, _)| key != "awsDebugCreds").collect();
        assert!(Arc::ptr_eq(&source, &tokens(&brokers, &quiet, None, &Handle::current()).unwrap()));
        let others = tokens(&brokers, &config(&[]), None, &Handle::current()).unwrap();
        assert!(!Arc::ptr_eq(&source, &others));
    }

    #[test]
    fn a_lifetime_is_one_that_msk_grants() {
        assert_eq!(parse_lifetime(None).unwrap(), LONGEST);
        assert_eq!(parse_lifetime(Some("5000")).unwrap(), Duration::from_secs(5));
        for wrong in ["", "0", "900001", "5s"] {
            assert!(parse_lifetime(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
