//! Why a broker does not let us in: librdkafka says it in its log, while the call that fails only knows that time ran out.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use connector_core::{ConfigMap, ConnectError};
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509VerifyResult};

use super::Tokens;

/// What was said longer ago explains nothing any more.
const RECENT: Duration = Duration::from_secs(90);
/// For a look at a broker's certificate.
const LOOK: Duration = Duration::from_secs(3);

/// OpenSSL's `X509_V_ERR_…`.
const NOT_YET_VALID: i32 = 9;
const EXPIRED: i32 = 10;
/// Of a name, of an address.
const OTHER_HOST: [i32; 2] = [62, 64];

/// What the clients of one configuration know of each other's trouble.
#[derive(Clone, Default)]
pub struct Trouble {
    told: Arc<Mutex<Option<(Instant, What)>>>,
    access: Arc<Access>,
}

/// What a message may say of how a client gets in.
#[derive(Default)]
struct Access {
    mechanism: Option<String>,
    tokens: Option<Arc<Tokens>>,
    authorities: Option<Authorities>,
}

enum Authorities {
    File(String),
    Pem(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The broker's answer.
    Sasl(String),
    /// The mechanism is not one of the listener's.
    Mechanism(String),
    /// Our own signer's.
    Token(String),
    /// The broker, `host:port`, and OpenSSL's text.
    Tls(String, String),
}

impl Trouble {
    /// `config`: librdkafka's keys.
    pub fn new(config: &ConfigMap, tokens: Option<Arc<Tokens>>) -> Self {
        let file = config.get("ssl.ca.location").cloned().map(Authorities::File);
        let access = Access {
            mechanism: ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|key| config.get(*key)).cloned(),
            tokens,
            authorities: config.get("ssl.ca.pem").cloned().map(Authorities::Pem).or(file),
        };
        Self { told: Arc::default(), access: Arc::new(access) }
    }

    /// A line of librdkafka's log.
    pub fn hear(&self, line: &str) {
        if let Some(what) = what(line) {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), what));
        }
    }

    /// The client got in.
    pub fn over(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The error with the reason in place of "time ran out". It may take seconds: a broker's
    /// certificate is looked at.
    pub fn explain(&self, error: ConnectError) -> ConnectError {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((_, what)) = told.filter(|(at, _)| at.elapsed() < RECENT) else { return error };
        let (code, reason, hint) = match what {
            What::Token(text) => ("kafka.iam_token", text, String::new()),
            What::Sasl(answer) => self.refused(&answer),
            What::Mechanism(text) => (
                "kafka.mechanism",
                text,
                "choose one of the listener's for sasl.mechanism, or the port of another listener; MSK's are 9092 \
                 without TLS, 9094 TLS, 9096 SCRAM-SHA-512, 9098 IAM"
                    .to_owned(),
            ),
            What::Tls(broker, text) => self.tls(&broker, &text),
        };
        let ConnectError { message, retry, .. } = error;
        // What was being done; what follows is librdkafka's name for having waited in vain.
        let doing = message.split(": ").next().unwrap_or_default();
        let mut explained = ConnectError::user(code, format!("{doing}: {reason}")).hint(hint);
        // Somebody may put it right outside: a rotated password, a policy.
        explained.retry = retry;
        explained
    }

    fn refused(&self, answer: &str) -> (&'static str, String, String) {
        if let Some(tokens) = &self.access.tokens {
            let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
            return (
                "kafka.iam_refused",
                format!("the broker refused the MSK IAM token of {}: {answer}", tokens.whose()),
                format!(
                    "allow kafka-cluster:Connect on the cluster to this identity (`aws sts get-caller-identity` tells who \
                     it is), check that its secret key is right and the cluster is in this region, and that the clock is: \
                     here it is {now}, and a token is good for 15 minutes"
                ),
            );
        }
        let mechanism = self.access.mechanism.as_deref().unwrap_or("SASL");
        (
            "kafka.refused",
            format!("the broker refused the user and password ({mechanism}): {answer}"),
            "check username and password in sasl.jaas.config, and that this user exists for this mechanism; with MSK: that \
             the secret AmazonMSK_… is associated with the cluster"
                .to_owned(),
        )
    }

    fn tls(&self, broker: &str, text: &str) -> (&'static str, String, String) {
        let said = |reason: String, hint: &str| ("kafka.tls", reason, hint.to_owned());
        if ["certificate required", "bad certificate", "handshake failure"]
            .iter()
            .any(|alert| text.contains(alert))
        {
            return said(
                format!("the broker {broker} wants a certificate of the client ({text})"),
                "set ssl.keystore.location and ssl.keystore.password to a PKCS#12 file with a certificate that the \
                 brokers trust",
            );
        }
        if !text.contains("certificate verify failed") && !text.contains("verif") {
            return said(
                format!("no TLS with the broker {broker}: {text}"),
                "check that the port is one with TLS (MSK: 9094, 9096, 9098) and security.protocol",
            );
        }
        match self.look(broker) {
            Some(verdict) if verdict.as_raw() == EXPIRED => said(
                format!("the certificate of the broker {broker} has expired"),
                "renew the broker's certificate, and check the clock here",
            ),
            Some(verdict) if verdict.as_raw() == NOT_YET_VALID => said(
                format!("the certificate of the broker {broker} is not valid yet"),
                "check the clock here and on the broker",
            ),
            Some(verdict) if OTHER_HOST.contains(&verdict.as_raw()) => said(
                format!("the certificate of the broker {broker} is for another host"),
                "write the names that the certificate has into bootstrap.servers (and the brokers' \
                 advertised.listeners); ssl.endpoint.identification.algorithm: '' gives up this check",
            ),
            other => said(
                format!(
                    "the certificate of the broker {broker} is not signed by an authority that is trusted here ({})",
                    other.map_or_else(|| text.to_owned(), |verdict| verdict.error_string().to_owned())
                ),
                "set ssl.truststore.location to a file with the certificate of the authority that signed it; without \
                 it the system's authorities are trusted (package ca-certificates)",
            ),
        }
    }

    /// Asks the broker for its certificate and tells what is wrong with it, which librdkafka does not.
    fn look(&self, broker: &str) -> Option<X509VerifyResult> {
        let (host, _) = broker.rsplit_once(':')?;
        let mut connector = SslConnector::builder(SslMethod::tls_client()).ok()?;
        match &self.access.authorities {
            Some(Authorities::File(path)) => connector.set_ca_file(path).ok()?,
            Some(Authorities::Pem(text)) => {
                for authority in X509::stack_from_pem(text.as_bytes()).ok()? {
                    connector.cert_store_mut().add_cert(authority).ok()?;
                }
            }
            None => {}
        }
        connector.set_verify(SslVerifyMode::PEER);
        let stream = TcpStream::connect_timeout(&broker.to_socket_addrs().ok()?.next()?, LOOK).ok()?;
        stream.set_read_timeout(Some(LOOK)).ok()?;
        stream.set_write_timeout(Some(LOOK)).ok()?;
        match connector.build().connect(host, stream) {
            Err(HandshakeError::Failure(failed)) => Some(failed.ssl().verify_result()),
            _ => None,
        }
    }
}

/// Reads `sasl_ssl://host:port/bootstrap: SASL …` and the like.
fn what(line: &str) -> Option<What> {
    if let Some((_, text)) = line.split_once("Failed to acquire SASL OAUTHBEARER token: ") {
        return Some(What::Token(text.trim().to_owned()));
    }
    let (_, rest) = line.split_once("ssl://").or_else(|| line.split_once("plaintext://"))?;
    let (broker, text) = rest.split_once(": ")?;
    let broker = broker.split('/').next().unwrap_or(broker).to_owned();
    let text = text.split(" (after ").next().unwrap_or(text).trim();
    if text.contains("SASL")
        && (text.contains("Unsupported SASL mechanism") || text.contains("not supported by broker"))
    {
        return Some(What::Mechanism(format!("the broker {broker}: {text}")));
    }
    if let Some((_, answer)) = text.split_once("SASL authentication error: ") {
        return Some(What::Sasl(answer.to_owned()));
    }
    if text.contains("SASL") && text.contains("failed") {
        return Some(What::Sasl(text.to_owned()));
    }
    (text.contains("SSL") || text.contains("certificate")).then(|| What::Tls(broker, text.to_owned()))
}
