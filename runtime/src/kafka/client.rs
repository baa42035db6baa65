//! librdkafka's configuration from Connect's: Java's names translated, Java-only keys left out.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connector_core::{ConfigMap, ConnectError, Result};
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Statistics};
use tokio::runtime::Handle;

use super::auth::trouble::Trouble;
use super::auth::{self, Tokens};
use crate::config::WorkerConfig;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Consumer,
    Producer,
    Admin,
}

/// Java client keys without a counterpart in librdkafka; what they tune does not exist there, or is always on.
pub const JAVA_ONLY: &[&str] = &[
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "max.poll.records",
    "max.block.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "interceptor.classes",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "send.buffer.bytes",
    "receive.buffer.bytes",
    "security.providers",
    "ssl.protocol",
    "ssl.provider",
    "ssl.enabled.protocols",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    "ssl.secure.random.implementation",
    "default.api.timeout.ms",
    "exclude.internal.topics",
    "metadata.recovery.strategy",
    "sasl.login.class",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.buffer.seconds",
    "group.protocol",
    "group.remote.assignor",
];

/// The context of all clients: librdkafka's log lines, and tokens for MSK IAM.
#[derive(Clone, Default)]
pub struct Context {
    tokens: Option<Arc<Tokens>>,
    /// Whether librdkafka has got a token.
    given: Arc<AtomicBool>,
    pub(super) trouble: Trouble,
    /// When each error was last told.
    told: Arc<Mutex<HashMap<String, Instant>>>,
}

/// An error that comes again and again is told so often.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long a client may wait for its first token.
const LET_IN: Duration = Duration::from_secs(30);

impl Context {
    fn is_news(&self, error: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = told.get(error).is_none_or(|at| at.elapsed() > TELL_AGAIN);
        if news {
            // Texts with numbers of their own must not pile up.
            told.retain(|_, at| at.elapsed() <= TELL_AGAIN);
            told.insert(error.to_owned(), Instant::now());
        }
        news
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                self.trouble.hear(message);
                if self.is_news(message.split(" (after ").next().unwrap_or(message)) {
                    tracing::warn!(target: "librdkafka", facility, "{message}");
                }
            }
            RDKafkaLogLevel::Warning => tracing::info!(target: "librdkafka", facility, "{message}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.hear(reason);
        // rdkafka reports the end of a partition here as well, where it was asked for.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF)
            && self.is_news(&error.to_string())
        {
            tracing::warn!(target: "librdkafka", "{error}: {reason}");
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> std::result::Result<OAuthToken, Box<dyn Error>> {
        let token = self.tokens.as_ref().ok_or("OAUTHBEARER needs sasl.mechanism=AWS_MSK_IAM here")?.get()?;
        self.given.store(true, Ordering::Release);
        Ok(token)
    }
}

impl ConsumerContext for Context {}

/// Before the first question of a consumer that nobody polls: with tokens it is let in only after a poll.
pub(super) fn let_in(consumer: &BaseConsumer<Context>) {
    let context = consumer.context();
    let end = Instant::now() + LET_IN;
    while context.tokens.is_some() && !context.given.load(Ordering::Acquire) && Instant::now() < end {
        let _ = consumer.poll(Duration::from_millis(20));
    }
}

/// What one client is made from.
#[derive(Clone)]
pub struct ClientSettings {
    pub config: ClientConfig,
    pub context: Context,
}

/// The worker's client keys, its `consumer.` / `producer.` / `admin.` keys, then the connector's `….override.` keys.
pub fn settings(
    worker: &WorkerConfig,
    role: Role,
    overrides: &ConfigMap,
    handle: &Handle,
) -> Result<ClientSettings> {
    let mut map = worker.client.clone();
    let of_role = match role {
        Role::Consumer => &worker.consumer,
        Role::Producer => &worker.producer,
        Role::Admin => &worker.admin,
    };
    map.extend(of_role.clone());
    map.extend(overrides.clone());
    let bootstrap = worker.bootstrap_servers.clone().unwrap_or_default();
    map.entry("bootstrap.servers".to_owned()).or_insert(bootstrap);
    // Figures that a broker may ask clients for (KIP-714): keeping them ready costs 400 KiB a client.
    map.entry("enable.metrics.push".to_owned()).or_insert_with(|| "false".to_owned());
    let tokens = auth::translate(&mut map, handle)?;
    let ignored = translate(&mut map, role)?;
    tracing::debug!(?role, ?ignored, "client keys without a counterpart in librdkafka");
    let mut config = ClientConfig::new();
    for (key, value) in &map {
        config.set(key, value);
    }
    let trouble = Trouble::new(&map, tokens.clone());
    Ok(ClientSettings { config, context: Context { tokens, trouble, ..Context::default() } })
}

/// Java's key names and values to librdkafka's; returns what has no effect.
fn translate(map: &mut ConfigMap, role: Role) -> Result<Vec<String>> {
    let mut ignored: Vec<String> =
        JAVA_ONLY.iter().filter(|k| map.remove(**k).is_some()).map(|k| (*k).to_owned()).collect();
    if role != Role::Producer && map.remove("request.timeout.ms").is_some() {
        ignored.push("request.timeout.ms".to_owned());
    }
    if let Some(bytes) = map.remove("max.request.size") {
        map.insert("message.max.bytes".to_owned(), bytes);
    }
    if let Some(ms) = map.remove("fetch.max.wait.ms") {
        map.insert("fetch.wait.max.ms".to_owned(), ms);
    }
    if let Some(bytes) = map.remove("buffer.memory") {
        let bytes: u64 = bytes.trim().parse().map_err(|_| {
            ConnectError::user("kafka.config", "producer.buffer.memory is not a whole number of bytes")
        })?;
        map.insert("queue.buffering.max.kbytes".to_owned(), (bytes / 1024).max(1).to_string());
    }
    if let Some(algorithm) = map.get_mut("ssl.endpoint.identification.algorithm")
        && algorithm.trim().is_empty()
    {
        "none".clone_into(algorithm);
    }
    if let Some(classes) = map.get_mut("partition.assignment.strategy") {
        *classes = classes
            .split(',')
            .map(|class| match class.trim().rsplit('.').next() {
                Some("CooperativeStickyAssignor") => "cooperative-sticky",
                Some("RangeAssignor") => "range",
                Some("RoundRobinAssignor" | "StickyAssignor") => "roundrobin",
                _ => class.trim(),
            })
            .collect::<Vec<_>>()
            .join(",");
    }
    auth::stores::translate(map)?;
    Ok(ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn java_names_become_those_of_librdkafka_and_java_only_keys_are_listed() {
        let mut map = config(&[
            ("fetch.max.wait.ms", "100"),
            ("buffer.memory", "33554432"),
            ("max.poll.records", "500"),
            ("ssl.endpoint.identification.algorithm", ""),
            ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"),
            ("client.dns.lookup", "use_all_dns_ips"),
        ]);
        assert_eq!(translate(&mut map, Role::Consumer).unwrap(), ["max.poll.records"]);
        assert_eq!(map["fetch.wait.max.ms"], "100");
        assert_eq!(map["queue.buffering.max.kbytes"], "32768");
        assert_eq!(map["ssl.endpoint.identification.algorithm"], "none");
        assert_eq!(map["partition.assignment.strategy"], "cooperative-sticky");
        assert_eq!(map["client.dns.lookup"], "use_all_dns_ips");
    }
}
