//! Secrets that are elsewhere: AWS Secrets Manager, Parameter Store and files in S3, as the providers of
//! `msk-config-providers` name them.
//!
//! Files are loaded without network. What a placeholder stands for comes from a [`SecretCache`]; what that does not have is
//! read later, and the connectors that need it wait.

mod cache;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use cache::SecretCache;
use cache::{Found, Remote};

use super::placeholder::{Resolved, Unresolved};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    SecretsManager,
    ParameterStore,
    /// Copied to a file, whose path is the value.
    S3,
}

/// A provider as `config.providers.<name>.param.*` declares it.
#[derive(Clone, Debug)]
pub struct Provider {
    pub service: Service,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// Where files of S3 go; default: the system's temporary directory.
    pub local_dir: Option<String>,
    /// `NotFoundStrategy=ignore`: what is not there is empty.
    pub ignore_missing: bool,
    /// `RawSecretEncoding=base64`: of secrets without a key.
    pub raw_base64: bool,
    /// In front of every name.
    pub prefix: String,
    /// For placeholders that have none of their own.
    pub ttl: Option<Duration>,
}

impl Provider {
    pub fn new(service: Service) -> Self {
        Self {
            service,
            region: None,
            endpoint: None,
            local_dir: None,
            ignore_missing: false,
            raw_base64: false,
            prefix: String::new(),
            ttl: None,
        }
    }

    /// `of`: the text of `config.providers.<name>.param.<key>`.
    pub fn declared(service: Service, of: &dyn Fn(&str) -> Option<String>) -> Result<Self, Unresolved> {
        let choice = |key: &str, first: &str, second: &str| match of(key).as_deref() {
            None => Ok(false),
            Some(text) if text == first || text == second => Ok(text == second),
            Some(_) => {
                let hint = format!("write `{first}` or `{second}`");
                Err(Unresolved::new(format!("`param.{key}` is neither `{first}` nor `{second}`"), hint))
            }
        };
        let ttl = of("secret.ttl.ms").map(|text| milliseconds(&text)).transpose()?;
        Ok(Self {
            service,
            // `aws.region`: other providers of the same secrets.
            region: of("region").or_else(|| of("aws.region")),
            endpoint: of("endpoint"),
            local_dir: of("local_dir"),
            ignore_missing: choice("NotFoundStrategy", "fail", "ignore")?,
            raw_base64: choice("RawSecretEncoding", "none", "base64")?,
            prefix: of("secret.prefix").unwrap_or_default(),
            ttl,
        })
    }

    /// What `${provider:path}` stands for, as far as the cache knows.
    pub fn look_up(&self, name: &str, path: &str, cache: &SecretCache) -> Result<Resolved, Unresolved> {
        let (path, ttl) = match path.split_once("?ttl=") {
            Some((path, ttl)) => (path, Some(milliseconds(ttl)?)),
            None => (path, self.ttl),
        };
        let (wanted, key) = self.parse(name, path)?;
        let placeholder = format!("${{{name}:{path}}}");
        let text = match cache.get(wanted, ttl) {
            Found::Text(text) => text,
            Found::Failed(unread) if unread.not_found && self.ignore_missing => {
                return Ok(Resolved::secret(String::new()));
            }
            Found::Failed(unread) => {
                return Err(Unresolved::missing(format!("`{placeholder}`: {}", unread.message), unread.hint));
            }
            Found::NotYet => return Err(Unresolved::not_yet(format!("`{placeholder}` is not read yet"))),
        };
        match (self.service, key) {
            // A path is no secret.
            (Service::S3, _) => Ok(Resolved::public(text)),
            (_, Some(key)) => match field(&text, &key) {
                Some(value) => Ok(Resolved::secret(value)),
                None if self.ignore_missing => Ok(Resolved::secret(String::new())),
                None => Err(Unresolved::missing(
                    format!("`{placeholder}`: the secret has no key `{key}`, or is no JSON object"),
                    "leave the key out for the secret as a whole",
                )),
            },
            (_, None) if self.raw_base64 => Ok(Resolved::secret(STANDARD.encode(text))),
            (_, None) => Ok(Resolved::secret(text)),
        }
    }

    /// What is to be read, and the key in it.
    fn parse(&self, name: &str, path: &str) -> Result<(Remote, Option<String>), Unresolved> {
        let lacks = |form: &str| {
            Unresolved::new(
                format!("a placeholder lacks a part: `{path}`"),
                format!("write ${{{name}:{form}}}"),
            )
        };
        let named = |id: &str, form: &str| match id {
            "" => Err(lacks(form)),
            id => Ok(format!("{}{id}", self.prefix)),
        };
        let (mut region, mut key) = (self.region.clone(), None);
        let id = match self.service {
            Service::SecretsManager => {
                let (id, inner) = path.split_once(':').map_or((path, None), |(id, key)| (id, Some(key)));
                key = inner.filter(|key| !key.is_empty()).map(str::to_owned);
                // An ARN has colons: its are written %3A.
                let id = url_decode(id);
                named(&id, "secret:key")?
            }
            Service::ParameterStore => {
                let id = path.strip_prefix(':').unwrap_or(path);
                named(id, ":/path/of/parameter")?
            }
            Service::S3 => {
                let (own, object) = path.split_once(':').unwrap_or(("", path));
                region = Some(own.to_owned()).filter(|own| !own.is_empty()).or(region);
                let climbs = object.split('/').any(|part| matches!(part, "" | "." | ".."));
                if climbs || !object.contains('/') {
                    return Err(lacks("region:bucket/path/of/object"));
                }
                object.to_owned()
            }
        };
        let Self { service, endpoint, local_dir, .. } = self.clone();
        Ok((Remote { service, region, endpoint, local_dir, id }, key))
    }
}

fn milliseconds(text: &str) -> Result<Duration, Unresolved> {
    match text.trim().parse() {
        Ok(ms @ 1..) => Ok(Duration::from_millis(ms)),
        _ => Err(Unresolved::new(
            "the time to live is no number of ms",
            "write `?ttl=300000` before the brace",
        )),
    }
}

fn url_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A value of a JSON object as text: a text as it is, anything else as JSON.
fn field(text: &str, key: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    match object.get(key)? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn provider(service: Service) -> Provider {
        Provider::new(service)
    }

    fn given(cache: &SecretCache, provider: &Provider, path: &str, text: &str) {
        let (remote, _) = provider.parse("p", path).unwrap();
        cache.put(remote, text);
    }

    fn text(provider: &Provider, path: &str, cache: &SecretCache) -> Option<String> {
        provider.look_up("p", path, cache).ok().map(|resolved| resolved.text)
    }

    #[test]
    fn a_secret_is_an_object_of_keys_or_a_text_as_a_whole() {
        let cache = SecretCache::default();
        let secrets = provider(Service::SecretsManager);
        given(&cache, &secrets, "db", r#"{"user":"bob","port":5432}"#);
        assert_eq!(text(&secrets, "db:user", &cache).as_deref(), Some("bob"));
        assert_eq!(text(&secrets, "db:port?ttl=1000", &cache).as_deref(), Some("5432"));
        assert_eq!(text(&secrets, "db", &cache).as_deref(), Some(r#"{"user":"bob","port":5432}"#));
        let missing = secrets.look_up("p", "db:nothing", &cache).err().unwrap();
        assert!(
            missing.message.contains("`${p:db:nothing}`") && !missing.message.contains("bob"),
            "{missing:?}"
        );
        let lenient = Provider { ignore_missing: true, raw_base64: true, ..secrets.clone() };
        assert_eq!(text(&lenient, "db:nothing", &cache).as_deref(), Some(""));
        given(&cache, &secrets, "raw", "a\"b");
        assert_eq!(text(&lenient, "raw", &cache).as_deref(), Some("YSJi"));
        // An ARN, as the JVM's provider wants it written.
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:db-AbCdEf";
        let (remote, key) = secrets.parse("p", &(arn.replace(':', "%3A") + ":user")).unwrap();
        assert_eq!((remote.id.as_str(), key.as_deref()), (arn, Some("user")));
    }

    #[test]
    fn parameters_and_objects_are_named_as_the_jvms_providers_name_them() {
        let id = |service, path: &str| {
            provider(service).parse("p", path).map(|(remote, _)| (remote.region, remote.id))
        };
        let only = |id: &str| Ok((None, id.to_owned()));
        assert_eq!(id(Service::ParameterStore, ":/a/b"), only("/a/b"));
        assert_eq!(id(Service::ParameterStore, "/a/b"), only("/a/b"));
        assert_eq!(
            id(Service::S3, "eu-west-1:b/k/f.jks"),
            Ok((Some("eu-west-1".to_owned()), "b/k/f.jks".to_owned()))
        );
        assert_eq!(id(Service::S3, ":b/f.jks"), only("b/f.jks"));
        for wrong in ["", "b", ":b", ":../f", ":b/../../etc/passwd", ":/f"] {
            assert!(id(Service::S3, wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in ".*") {
            for service in [Service::SecretsManager, Service::ParameterStore, Service::S3] {
                let _ = provider(service).look_up("p", &path, &SecretCache::default());
            }
        }
    }
}
