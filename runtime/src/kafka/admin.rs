//! Topics: which there are, and those that `topics:` declares.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use connector_core::{ConfigMap, ConnectError, Offset, Result, TopicDirectory, TopicPartition};
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::RDKafkaErrorCode;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::auth::trouble::Trouble;
use super::client::{self, ClientSettings, Context, Role};
use super::{batch, kafka_error};
use crate::config::{TopicSpec, WorkerConfig};

const TIMEOUT: Duration = Duration::from_secs(10);
/// One wait for an event.
const SERVE: Duration = Duration::from_millis(500);

/// Asks and changes the cluster; keeps the list of topics.
#[derive(Clone)]
pub struct Admin {
    client: Arc<AdminClient<Context>>,
    trouble: Trouble,
    topics: Arc<RwLock<BTreeMap<String, u32>>>,
    /// Somebody asked for a topic that is not in the list.
    missed: Arc<Notify>,
}

/// An admin client whose events are served until it goes.
pub fn open(settings: ClientSettings) -> Result<Arc<AdminClient<Context>>> {
    let ClientSettings { mut config, context } = settings;
    config.set_log_level(RDKafkaLogLevel::Warning);
    let client: AdminClient<Context> = config
        .create_with_context(context)
        .map_err(|e| kafka_error("the Kafka admin client cannot be created", &e).no_retry())?;
    let client = Arc::new(client);
    let served = Arc::downgrade(&client);
    let serve = move || {
        while let Some(client) = served.upgrade() {
            batch::serve(client.inner(), SERVE);
        }
    };
    std::thread::Builder::new()
        .name("kafka-admin".to_owned())
        .spawn(serve)
        .map_err(|e| ConnectError::external("thread", "no thread for the Kafka admin client").caused_by(e))?;
    Ok(client)
}

impl Admin {
    pub fn new(worker: &WorkerConfig, handle: &Handle) -> Result<Self> {
        let settings = client::settings(worker, Role::Admin, &ConfigMap::new(), handle)?;
        let trouble = settings.context.trouble.clone();
        let client = open(settings)?;
        Ok(Self { client, trouble, topics: Arc::default(), missed: Arc::default() })
    }

    /// Waits until a topic was asked for that is not known: it may be new.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Asks the cluster for its topics.
    pub async fn refresh(&self) -> Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let metadata =
                this.client.inner().fetch_metadata(None, TIMEOUT).map_err(|e| {
                    this.trouble.explain(kafka_error("asking Kafka for its topics failed", &e))
                })?;
            this.trouble.over();
            let topics = metadata.topics().iter().filter(|t| t.error().is_none());
            let topics = topics.map(|t| (t.name().to_owned(), t.partitions().len() as u32)).collect();
            *this.topics.write().unwrap_or_else(PoisonError::into_inner) = topics;
            Ok(())
        })
        .await
        .map_err(|e| ConnectError::internal("task", "asking Kafka for its topics broke off").caused_by(e))?
    }

    /// The present end of every partition of these topics: the offset after the last record.
    pub async fn ends(&self, topics: &[String]) -> Result<BTreeMap<TopicPartition, Offset>> {
        let (this, topics) = (self.clone(), topics.to_vec());
        tokio::task::spawn_blocking(move || {
            let mut ends = BTreeMap::new();
            for topic in topics {
                for partition in 0..this.partitions(&topic).unwrap_or(0) {
                    let partition = i32::try_from(partition).unwrap_or(i32::MAX);
                    let (_, end) =
                        this.client.inner().fetch_watermarks(&topic, partition, TIMEOUT).map_err(|e| {
                            kafka_error(
                                &format!("asking Kafka for the end of {topic}-{partition} failed"),
                                &e,
                            )
                        })?;
                    ends.insert(TopicPartition::new(topic.as_str(), partition), end);
                }
            }
            Ok(ends)
        })
        .await
        .map_err(|e| ConnectError::internal("task", "asking Kafka for ends broke off").caused_by(e))?
    }

    /// Bytes of a batch that a topic takes, by its configuration; `None`: it cannot be asked.
    pub async fn largest_batch(&self, topic: &str) -> Option<usize> {
        let which = ResourceSpecifier::Topic(topic);
        let described = self.client.describe_configs([&which], &options()).await.ok()?.into_iter().next()?;
        described.ok()?.get("max.message.bytes")?.value.as_deref()?.parse().ok()
    }

    /// Creates the topic, or brings it up to what is declared: partitions are added, never removed.
    pub async fn ensure(&self, spec: &TopicSpec) -> Result<()> {
        match self.partitions(&spec.name) {
            None => self.create(spec).await,
            Some(now) => self.update(spec, now).await,
        }
    }

    async fn create(&self, spec: &TopicSpec) -> Result<()> {
        let replication = TopicReplication::Fixed(spec.replication_factor);
        let mut topic = NewTopic::new(&spec.name, spec.partitions, replication);
        for (key, value) in &spec.config {
            topic = topic.set(key, value);
        }
        let doing = format!("creating topic `{}` failed", spec.name);
        let results = self.client.create_topics([&topic], &options()).await;
        match results.map_err(|e| kafka_error(&doing, &e))?.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => {}
            Some(Err((_, code))) => {
                return Err(kafka_error(&doing, &rdkafka::error::KafkaError::AdminOp(code)));
            }
            Some(Ok(_)) => {
                self.until_seen(&spec.name).await;
                tracing::info!(topic = spec.name, partitions = spec.partitions, "topic created");
            }
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(spec.name.clone(), u32::try_from(spec.partitions).unwrap_or(1));
        Ok(())
    }

    /// Waits until brokers tell of a topic that was just made: they learn of it one by one, and whoever asks earlier is
    /// told that there is none.
    async fn until_seen(&self, topic: &str) {
        let seen = |client: &AdminClient<Context>, topic: &str| {
            let found = client.inner().fetch_metadata(Some(topic), TIMEOUT);
            found.is_ok_and(|metadata| {
                let mut partitions = metadata.topics().iter().flat_map(|t| t.partitions()).peekable();
                partitions.peek().is_some() && partitions.all(|p| p.leader() >= 0)
            })
        };
        let end = tokio::time::Instant::now() + TIMEOUT;
        while tokio::time::Instant::now() < end {
            let (client, topic) = (self.client.clone(), topic.to_owned());
            if tokio::task::spawn_blocking(move || seen(&client, &topic)).await.unwrap_or(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn update(&self, spec: &TopicSpec, now: u32) -> Result<()> {
        let wanted = u32::try_from(spec.partitions).unwrap_or(1);
        if wanted < now {
            tracing::warn!(
                topic = spec.name,
                "the topic has {now} partitions and {wanted} are declared: Kafka cannot remove partitions, it stays"
            );
        }
        if wanted > now {
            let doing = format!("adding partitions to topic `{}` failed", spec.name);
            let more = NewPartitions::new(&spec.name, wanted as usize);
            let results = self
                .client
                .create_partitions([&more], &options())
                .await
                .map_err(|e| kafka_error(&doing, &e))?;
            if let Some(Err((_, code))) = results.into_iter().next() {
                return Err(kafka_error(&doing, &rdkafka::error::KafkaError::AdminOp(code)));
            }
            tracing::info!(topic = spec.name, "partitions raised from {now} to {wanted}");
        }
        self.check_config(spec).await
    }

    /// A setting that differs is reported; an existing topic's settings belong to whoever made it.
    async fn check_config(&self, spec: &TopicSpec) -> Result<()> {
        if spec.config.is_empty() {
            return Ok(());
        }
        let which = ResourceSpecifier::Topic(&spec.name);
        let Ok(results) = self.client.describe_configs([&which], &options()).await else { return Ok(()) };
        let Some(Ok(resource)) = results.into_iter().next() else { return Ok(()) };
        let differing: Vec<String> = spec
            .config
            .iter()
            .filter_map(|(key, wanted)| {
                let now = resource.get(key)?.value.as_deref().unwrap_or_default();
                (now != wanted).then(|| format!("{key} is {now}, declared {wanted}"))
            })
            .collect();
        if differing.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            topic = spec.name,
            "settings differ and are left as they are: {}; change them with kafka-configs",
            differing.join("; ")
        );
        Ok(())
    }
}

impl TopicDirectory for Admin {
    fn partitions(&self, topic: &str) -> Option<u32> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        if known.is_none() {
            self.missed.notify_one();
        }
        known
    }

    fn names(&self) -> Vec<String> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT))
}
