//! A client of a Confluent-compatible schema registry: schemas by id, ids of schemas. What was found once is kept.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_core::config::ConfigProblem;
use connector_core::{ConnectError, Result, Secret};
use reqwest::{Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

#[derive(Clone, Deserialize, JsonSchema)]
pub(super) struct Config {
    /// The registry's addresses, comma separated; the next one is asked when one does not answer.
    #[serde(rename = "schema.registry.url")]
    pub urls: String,
    /// Where name and password come from: `URL` (as in `https://name:password@host`) or `USER_INFO`.
    #[serde(rename = "basic.auth.credentials.source", default = "url_source")]
    pub credentials_source: String,
    /// `name:password`, for the source `USER_INFO`.
    #[serde(rename = "basic.auth.user.info", alias = "schema.registry.basic.auth.user.info", default)]
    pub user_info: Option<Secret>,
    /// `STATIC_TOKEN`, or nothing.
    #[serde(rename = "bearer.auth.credentials.source", default)]
    pub bearer_source: Option<String>,
    /// The token, for `STATIC_TOKEN`.
    #[serde(rename = "bearer.auth.token", default)]
    pub bearer_token: Option<Secret>,
    /// A PEM file with the certificates to trust, instead of the system's.
    #[serde(rename = "schema.registry.ssl.truststore.location", default)]
    pub truststore: Option<PathBuf>,
    /// `PEM`; Java's kinds of stores are not read.
    #[serde(rename = "schema.registry.ssl.truststore.type", default = "java_store")]
    pub truststore_type: String,
}

fn java_store() -> String {
    "JKS".to_owned()
}

fn url_source() -> String {
    "URL".to_owned()
}

enum Credentials {
    Nobody,
    Basic(String, String),
    Bearer(String),
}

pub(super) struct Client {
    http: reqwest::Client,
    urls: Vec<Url>,
    credentials: Credentials,
    /// By subject and schema.
    ids: Mutex<HashMap<(String, String), u32>>,
}

/// A schema as the registry has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Registered {
    pub schema: String,
    #[serde(rename = "schemaType", default = "avro")]
    pub kind: String,
    #[serde(default)]
    pub references: Vec<Reference>,
}

fn avro() -> String {
    "AVRO".to_owned()
}

/// Another schema that one uses.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reference {
    pub subject: String,
    pub version: i64,
}

impl Client {
    pub fn new(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        let problem = |key: &str, message: String, hint: &str| vec![ConfigProblem::new(key, message, hint)];
        let texts = config.urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        let parsed = texts.map(|text| {
            // Connect's clients take an address without a slash at its end as well.
            Url::parse(&format!("{}/", text.trim_end_matches('/')))
        });
        let urls: Result<Vec<_>, _> = parsed.collect();
        let mut urls = urls.ok().filter(|urls| !urls.is_empty()).ok_or_else(|| {
            problem("schema.registry.url", "is no address".to_owned(), "write it as http://host:8081")
        })?;
        let basic = |info: &str| {
            info.split_once(':').map(|(name, word)| Credentials::Basic(name.to_owned(), word.to_owned()))
        };
        let credentials = match (config.credentials_source.as_str(), &config.bearer_source) {
            (_, Some(source)) if source == "STATIC_TOKEN" => {
                Credentials::Bearer(config.bearer_token.as_ref().map_or("", Secret::reveal).to_owned())
            }
            (_, Some(source)) => {
                let message = format!("`{source}` is not supported");
                return Err(problem("bearer.auth.credentials.source", message, "use STATIC_TOKEN"));
            }
            ("USER_INFO", _) => {
                config.user_info.as_ref().and_then(|i| basic(i.reveal())).ok_or_else(|| {
                    problem("basic.auth.user.info", "is not `name:password`".to_owned(), "write both")
                })?
            }
            ("URL", _) => match urls.first() {
                Some(url) if !url.username().is_empty() => Credentials::Basic(
                    url.username().to_owned(),
                    url.password().unwrap_or_default().to_owned(),
                ),
                _ => Credentials::Nobody,
            },
            (source, _) => {
                let message = format!("`{source}` is not supported");
                return Err(problem("basic.auth.credentials.source", message, "use URL or USER_INFO"));
            }
        };
        for url in &mut urls {
            // What is told of an address tells no password.
            _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        let http =
            reqwest::Client::builder().use_preconfigured_tls(tls(trusted(config)?)).timeout(PATIENCE).build();
        let http = http.map_err(|e| problem("schema.registry.url", e.to_string(), "see the cause"))?;
        Ok(Self { http, urls, credentials, ids: Mutex::default() })
    }

    /// The schema of an id; `None`: the registry has none.
    pub async fn by_id(&self, id: u32) -> Result<Option<Registered>> {
        match self.ask(Method::GET, &format!("schemas/ids/{id}"), None).await? {
            Answer::Found(value) => Ok(Some(understood(value)?)),
            Answer::NotFound(_) => Ok(None),
        }
    }

    pub async fn referred(&self, reference: &Reference) -> Result<Registered> {
        let path = format!("subjects/{}/versions/{}", encoded(&reference.subject), reference.version);
        match self.ask(Method::GET, &path, None).await? {
            Answer::Found(value) => understood(value),
            Answer::NotFound(_) => Err(ConnectError::user(
                "registry.refused",
                format!(
                    "the schema registry lacks version {} of the subject `{}`, which a schema refers to",
                    reference.version, reference.subject
                ),
            )
            .hint("register the schema that is referred to")),
        }
    }

    /// The id of a schema under a subject. `register`: it is registered if it is not there.
    pub async fn id(&self, subject: &str, schema: &Value, register: bool) -> Result<u32> {
        let key = (subject.to_owned(), schema.to_string());
        let known = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(id) = known {
            return Ok(id);
        }
        let versions = if register { "/versions" } else { "" };
        let path = format!("subjects/{}{versions}", encoded(subject));
        let id = match self.ask(Method::POST, &path, Some(json!({ "schema": key.1 }))).await? {
            Answer::Found(value) => value.get("id").and_then(Value::as_u64).and_then(|i| i.try_into().ok()),
            Answer::NotFound(said) => {
                let message = format!("the schema registry has no such schema under `{subject}`: {said}");
                return Err(ConnectError::user("registry.refused", message)
                    .hint("register it, or set auto.register.schemas=true"));
            }
        };
        let id = id.ok_or_else(not_a_registry)?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(key, id);
        Ok(id)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let mut trouble = not_a_registry();
        for url in &self.urls {
            let address = url.join(path).map_err(|_| not_a_registry())?;
            let mut request = self.http.request(method.clone(), address).header("Accept", MEDIA_TYPE);
            request = match &self.credentials {
                Credentials::Nobody => request,
                Credentials::Basic(name, word) => request.basic_auth(name, Some(word)),
                Credentials::Bearer(token) => request.bearer_auth(token),
            };
            if let Some(body) = &body {
                request = request.body(body.to_string()).header("Content-Type", MEDIA_TYPE);
            }
            match request.send().await {
                Ok(response) => match answer(response, url, path).await {
                    Err(error) if error.is_retriable() => trouble = error,
                    outcome => return outcome,
                },
                Err(error) => trouble = unreachable(url, error),
            }
        }
        Err(trouble)
    }
}

enum Answer {
    Found(Value),
    NotFound(String),
}

async fn answer(response: Response, url: &Url, path: &str) -> Result<Answer> {
    let status = response.status();
    let text = response.text().await.map_err(|e| unreachable(url, e))?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if status.is_success() {
        return Ok(Answer::Found(body));
    }
    let said = body.get("message").and_then(Value::as_str).unwrap_or(status.as_str()).to_owned();
    if status == StatusCode::NOT_FOUND {
        return Ok(Answer::NotFound(said));
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let message = format!("the schema registry at {url} answers {status} to {path}: {said}");
        return Err(ConnectError::external("registry.unreachable", message)
            .hint("it is asked again; see the registry's own log"));
    }
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "set basic.auth.credentials.source=USER_INFO and basic.auth.user.info, or the user's permissions"
        }
        StatusCode::CONFLICT => {
            "change the data so that its schema is compatible with the subject's former one, or the subject's compatibility level"
        }
        _ => "see the registry's message",
    };
    let message = format!("the schema registry at {url} refuses {path} with {status}: {said}");
    Err(ConnectError::user("registry.refused", message).hint(hint))
}

fn unreachable(url: &Url, error: reqwest::Error) -> ConnectError {
    ConnectError::external("registry.unreachable", format!("the schema registry at {url} does not answer"))
        .hint("it is asked again; check schema.registry.url and that the registry runs")
        .caused_by(error.without_url())
}

fn not_a_registry() -> ConnectError {
    ConnectError::user("registry.refused", "what answers at schema.registry.url is no schema registry")
        .hint("give the base address of the Confluent-compatible API")
}

fn understood(value: Value) -> Result<Registered> {
    serde_json::from_value(value).map_err(|e| not_a_registry().caused_by(e))
}

/// A subject as one segment of a path.
fn encoded(subject: &str) -> String {
    url::form_urlencoded::byte_serialize(subject.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The certificates of the trust store, or the system's.
fn trusted(config: &Config) -> Result<Vec<CertificateDer<'static>>, Vec<ConfigProblem>> {
    let Some(path) = &config.truststore else { return Ok(rustls_native_certs::load_native_certs().certs) };
    let problem = |key: &str, message: String, hint: &str| vec![ConfigProblem::new(key, message, hint)];
    if config.truststore_type != "PEM" {
        let hint = "write the certificates into a PEM file (keytool -exportcert -rfc) and set this to PEM";
        let message = format!("`{}` is not supported", config.truststore_type);
        return Err(problem("schema.registry.ssl.truststore.type", message, hint));
    }
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|e| {
        let message = format!("cannot read {}: {e}", path.display());
        problem("schema.registry.ssl.truststore.location", message, "name a PEM file")
    })
}

fn tls(trusted: Vec<CertificateDer<'static>>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(trusted);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // ring has all of rustls' versions.
    #[allow(clippy::unwrap_used)]
    builder.unwrap().with_root_certificates(roots).with_no_client_auth()
}
