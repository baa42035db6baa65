//! Authentication: Java's `sasl.jaas.config` for librdkafka, and MSK IAM tokens for OAUTHBEARER.

use std::error::Error;
use std::sync::Arc;

use aws_msk_iam_sasl_signer as signer;
use connector_core::{ConfigMap, ConnectError, Result};
use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;

/// The AWS identity that signs tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// The standard chain: environment, profile, web identity, container, instance.
    Default,
    Profile(String),
    Role {
        arn: String,
        session: String,
    },
}

/// Makes MSK IAM tokens; librdkafka asks for a new one before the last expires.
#[derive(Clone, Debug)]
pub struct IamSigner {
    region: String,
    identity: Identity,
    handle: Handle,
}

impl IamSigner {
    /// A token for OAUTHBEARER. Runs on a thread of its own, because librdkafka's callbacks are synchronous.
    pub fn token(&self) -> std::result::Result<OAuthToken, Box<dyn Error>> {
        let this = self.clone();
        let signed = std::thread::spawn(move || this.handle.block_on(this.sign()));
        let (token, lifetime_ms) = signed.join().map_err(|_| "the MSK IAM signer panicked")??;
        Ok(OAuthToken { token, principal_name: String::new(), lifetime_ms })
    }

    async fn sign(&self) -> std::result::Result<(String, i64), String> {
        let region = aws_types::region::Region::new(self.region.clone());
        match &self.identity {
            Identity::Default => signer::generate_auth_token(region).await,
            Identity::Profile(name) => signer::generate_auth_token_from_profile(region, name.clone()).await,
            Identity::Role { arn, session } => {
                signer::generate_auth_token_from_role(region, arn.clone(), session.clone()).await
            }
        }
        .map_err(|e| {
            format!(
                "no MSK IAM token for region {}: {e} (give the process AWS credentials: environment, task role or \
                 instance profile)",
                self.region
            )
        })
    }
}

/// Takes Java's SASL keys out of `config` and puts librdkafka's in. The signer when the mechanism is MSK IAM.
pub fn translate(config: &mut ConfigMap, handle: &Handle) -> Result<Option<Arc<IamSigner>>> {
    let jaas = config.remove("sasl.jaas.config").map(|text| Jaas::parse(&text)).transpose()?;
    for handler in ["sasl.client.callback.handler.class", "sasl.login.callback.handler.class"] {
        config.remove(handler);
    }
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|key| config.get(*key)).cloned();
    let iam = mechanism.as_deref() == Some("AWS_MSK_IAM")
        || jaas.as_ref().is_some_and(|j| j.module.ends_with("IAMLoginModule"));
    if iam {
        config.remove("sasl.mechanisms");
        config.insert("sasl.mechanism".into(), "OAUTHBEARER".into());
        config.entry("security.protocol".into()).or_insert_with(|| "SASL_SSL".into());
        let options = jaas.map(|j| j.options).unwrap_or_default();
        return Ok(Some(Arc::new(IamSigner {
            region: region(config, &options)?,
            identity: identity(&options),
            handle: handle.clone(),
        })));
    }
    if let Some(jaas) = jaas {
        match jaas.module.rsplit('.').next() {
            Some("PlainLoginModule" | "ScramLoginModule") => {
                for (java, native) in [("username", "sasl.username"), ("password", "sasl.password")] {
                    let value = jaas.options.get(java).ok_or_else(|| {
                        ConnectError::user("kafka.jaas", format!("sasl.jaas.config has no `{java}`"))
                            .hint("write `… required username=\"…\" password=\"…\";`")
                    })?;
                    config.insert(native.into(), value.clone());
                }
            }
            _ => {
                return Err(ConnectError::user(
                    "kafka.jaas",
                    format!("sasl.jaas.config names the login module `{}`", jaas.module),
                )
                .hint("PlainLoginModule, ScramLoginModule and IAMLoginModule are known"));
            }
        }
    }
    Ok(None)
}

fn identity(options: &ConfigMap) -> Identity {
    let get = |key: &str| options.get(key).cloned();
    match (get("awsRoleArn"), get("awsProfileName")) {
        (Some(arn), _) => {
            Identity::Role { arn, session: get("awsRoleSessionName").unwrap_or_else(|| "sidestream".into()) }
        }
        (None, Some(name)) => Identity::Profile(name),
        (None, None) => Identity::Default,
    }
}

/// The region in the broker's name (`b-1.x.kafka.eu-west-1.amazonaws.com`), else the environment's.
fn region(config: &ConfigMap, options: &ConfigMap) -> Result<String> {
    let from_host = config.get("bootstrap.servers").and_then(|servers| {
        let host = servers.split(',').next()?.split(':').next()?;
        let parts: Vec<&str> = host.split('.').collect();
        let at = parts.iter().position(|p| *p == "amazonaws")?;
        parts.get(at.checked_sub(1)?).map(|r| (*r).to_owned())
    });
    let from_env = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
    options.get("awsStsRegion").cloned().or(from_host).or_else(from_env).ok_or_else(|| {
        ConnectError::user("kafka.iam_region", "MSK IAM needs a region and bootstrap.servers names none")
            .hint("set AWS_REGION")
    })
}

/// `module flag key="value" …;` of the Java Authentication and Authorization Service.
struct Jaas {
    module: String,
    options: ConfigMap,
}

impl Jaas {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            ConnectError::user("kafka.jaas", format!("sasl.jaas.config cannot be read: {what}"))
                .hint("write `<module class> required key=\"value\" …;`")
        };
        let text = text.trim().strip_suffix(';').ok_or_else(|| wrong("it does not end with `;`"))?;
        let mut words = split_quoted(text).into_iter();
        let module = words.next().ok_or_else(|| wrong("it is empty"))?;
        words.next().ok_or_else(|| wrong("no control flag (`required`) after the module"))?;
        let mut options = ConfigMap::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| wrong("an option has no `=`"))?;
            options.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self { module, options })
    }
}

/// Words separated by blanks; quotes (single or double) group and go, a backslash inside them escapes.
fn split_quoted(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => word.extend(chars.next()),
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => (quote, started) = (Some(c), true),
            (None, c) if c.is_whitespace() => {
                if started {
                    words.push(std::mem::take(&mut word));
                    started = false;
                }
            }
            (_, c) => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[tokio::test]
    async fn scram_credentials_come_out_of_the_jaas_text() {
        let mut c = config(&[
            ("sasl.mechanism", "SCRAM-SHA-512"),
            (
                "sasl.jaas.config",
                r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="bob" password="a \"b\" c";"#,
            ),
        ]);
        assert!(translate(&mut c, &Handle::current()).unwrap().is_none());
        assert_eq!(c["sasl.username"], "bob");
        assert_eq!(c["sasl.password"], "a \"b\" c");
        assert!(!c.contains_key("sasl.jaas.config"));
    }

    #[tokio::test]
    async fn msk_iam_becomes_oauthbearer_with_the_region_of_the_brokers_name() {
        let mut c = config(&[
            ("bootstrap.servers", "b-1.demo.abc.c2.kafka.eu-west-1.amazonaws.com:9098,b-2:9098"),
            ("sasl.mechanism", "AWS_MSK_IAM"),
            (
                "sasl.jaas.config",
                r#"software.amazon.msk.auth.iam.IAMLoginModule required awsRoleArn="arn:aws:iam::1:role/x";"#,
            ),
            ("sasl.client.callback.handler.class", "software.amazon.msk.auth.iam.IAMClientCallbackHandler"),
        ]);
        let signer = translate(&mut c, &Handle::current()).unwrap().unwrap();
        assert_eq!(signer.region, "eu-west-1");
        assert_eq!(
            signer.identity,
            Identity::Role { arn: "arn:aws:iam::1:role/x".into(), session: "sidestream".into() }
        );
        assert_eq!(c["sasl.mechanism"], "OAUTHBEARER");
        assert_eq!(c["security.protocol"], "SASL_SSL");
        assert!(!c.contains_key("sasl.client.callback.handler.class"));
    }

    #[tokio::test]
    async fn a_broken_jaas_text_is_refused_without_showing_it() {
        let mut c = config(&[("sasl.jaas.config", r#"x.PlainLoginModule required password="hunter2""#)]);
        let error = translate(&mut c, &Handle::current()).unwrap_err().to_string();
        assert!(error.contains("does not end with `;`") && !error.contains("hunter2"), "{error}");
    }
}
