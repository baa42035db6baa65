//! Asks Kafka and the sink's store, and has the answers compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connector_core::{
    ConfigMap, ConnectError, Extent, Result, Sink, TaskInfo, TopicDirectory, TopicPartition,
};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::account::{Account, Evidence, account};
use super::offsets::Offsets;
use super::report::{ConnectorReport, DeadLetters, PartitionReport};
use crate::cli::progress::Line;
use crate::config::{ConnectorConfig, Deployment, PluginUse, Tolerance, TopicSelection};
use crate::kafka::admin::{self, Admin};
use crate::kafka::client::{self, Context, Role};
use crate::kafka::lookback::{Committed, Letters, Lookback};
use crate::task::mark::Mark;

const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a line is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// The Kafka of a deployment.
pub struct Cluster {
    deployment: Arc<Deployment>,
    handle: Handle,
    topics: Admin,
    settings: Arc<AdminClient<Context>>,
}

/// What is the same for all partitions of a connector.
struct Circumstances {
    lookback: Lookback,
    committed: BTreeMap<TopicPartition, Committed>,
    ids: BTreeMap<Arc<str>, Arc<str>>,
    compacted: BTreeSet<Arc<str>>,
    letters: Letters,
    rejected_for_good: bool,
    filtering: bool,
}

impl Cluster {
    pub async fn new(deployment: Arc<Deployment>) -> Result<Self> {
        let handle = Handle::current();
        let topics = Admin::new(&deployment.worker, &handle)?;
        topics.refresh().await?;
        let settings = client::settings(&deployment.worker, Role::Admin, &ConfigMap::new(), &handle)?;
        let settings = admin::open(settings)?;
        Ok(Self { deployment, handle, topics, settings })
    }

    pub async fn verify(&self, connector: &ConnectorConfig, plugin: &PluginUse) -> Result<ConnectorReport> {
        let line = Line::new(&connector.name);
        line.say("asking for the group's offsets");
        let info = TaskInfo { connector: connector.name.clone(), ..TaskInfo::default() };
        let sink = plugin.component.create_sink(&plugin.config, &info).map_err(wrong_config)?;
        let mut notes = Vec::new();
        let topics = self.topics_of(connector);
        let existing: Vec<Arc<str>> =
            topics.iter().filter(|topic| self.topics.partitions(topic).is_some()).cloned().collect();
        let partitions: Vec<TopicPartition> = existing
            .iter()
            .flat_map(|topic| {
                let count = i32::try_from(self.topics.partitions(topic).unwrap_or(0)).unwrap_or(i32::MAX);
                (0..count).map(|partition| TopicPartition::new(Arc::clone(topic), partition))
            })
            .collect();
        for topic in topics.iter().filter(|topic| !existing.contains(topic)) {
            notes.push(format!("topic `{topic}` does not exist"));
        }
        let worker = &self.deployment.worker;
        let settings = client::settings(worker, Role::Consumer, &connector.consumer_overrides, &self.handle)?;
        let lookback = Lookback::new(settings, format!("connect-{}", connector.name))?;
        // What is committed now is in the store and in the queue when they are read later.
        let committed = block_in_place(|| lookback.committed(&partitions))?;
        let ids = if existing.is_empty() {
            BTreeMap::new()
        } else {
            block_in_place(|| lookback.topic_ids(&existing))?
        };
        let (letters, dead_letters) = self.letters(connector, &lookback, &line)?;
        let extents = inventory(&*sink, &topics, &line).await?;
        let reasons = reasons_to_leave_out(connector, plugin)?;
        let circumstances = Circumstances {
            compacted: self.compacted(&existing).await,
            rejected_for_good: connector.errors_tolerance == Tolerance::All,
            filtering: !reasons.is_empty(),
            lookback,
            committed,
            ids,
            letters,
        };
        let mut by_partition: BTreeMap<TopicPartition, Vec<Extent>> =
            partitions.iter().map(|tp| (tp.clone(), Vec::new())).collect();
        for extent in extents {
            by_partition.entry(extent.partition.clone()).or_default().push(extent);
        }
        let mut reports = Vec::new();
        for (tp, extents) in by_partition {
            line.say(&format!("comparing {tp}"));
            reports.push(if partitions.contains(&tp) {
                circumstances.partition(&tp, extents, &line)?
            } else {
                PartitionReport::without_topic(&tp, &extents)
            });
        }
        let mut report = ConnectorReport {
            name: connector.name.clone(),
            sink: plugin.component.name.clone(),
            group: circumstances.lookback.group.clone(),
            accounted: false,
            error: None,
            dead_letters,
            notes,
            partitions: reports,
        };
        report.conclude(&reasons);
        if connector.errors_tolerance == Tolerance::All && report.dead_letters.is_none() && !report.accounted
        {
            report.notes.push(
                "`errors.tolerance: all` without a dead letter queue skips records without a trace: they count as \
                 missing here"
                    .to_owned(),
            );
        }
        Ok(report)
    }

    /// The connector's topics, whether they exist or not.
    fn topics_of(&self, connector: &ConnectorConfig) -> Vec<Arc<str>> {
        match &connector.topics {
            TopicSelection::List(names) => names.iter().map(|name| name.as_str().into()).collect(),
            pattern @ TopicSelection::Pattern(_) => {
                let names = self.topics.names();
                // Kafka's own topics are never meant by a pattern.
                let names = names.iter().map(String::as_str).filter(|name| !name.starts_with("__"));
                pattern.select(names).into_iter().map(Into::into).collect()
            }
        }
    }

    /// What is in the connector's queue of dead letters, if it has one.
    fn letters(
        &self,
        connector: &ConnectorConfig,
        lookback: &Lookback,
        line: &Line,
    ) -> Result<(Letters, Option<DeadLetters>)> {
        let Some(queue) = &connector.errors.dead_letters else { return Ok((Letters::default(), None)) };
        let partitions = self.topics.partitions(&queue.name).unwrap_or(0);
        let mut read = 0u64;
        let letters = block_in_place(|| {
            lookback.letters(&queue.name, partitions, &connector.name, || {
                read += 1;
                line.say_now_and_then(|| format!("{read} dead letters read"));
            })
        })?;
        let told = DeadLetters { topic: queue.name.clone(), records: 0, unnamed: letters.unnamed };
        Ok((letters, Some(told)))
    }

    /// Topics from which records may go that were read; one whose settings cannot be read counts as such.
    async fn compacted(&self, topics: &[Arc<str>]) -> BTreeSet<Arc<str>> {
        let which: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
        let described = self.settings.describe_configs(&which, &options).await.unwrap_or_default();
        let mut compacted: BTreeSet<Arc<str>> = topics.iter().cloned().collect();
        for (topic, described) in topics.iter().zip(described) {
            let policy = described.ok().and_then(|d| d.get("cleanup.policy")?.value.clone());
            if policy.is_some_and(|policy| !policy.contains("compact")) {
                compacted.remove(topic);
            }
        }
        compacted
    }
}

impl Circumstances {
    fn partition(&self, tp: &TopicPartition, extents: Vec<Extent>, line: &Line) -> Result<PartitionReport> {
        let unknown = Committed { offset: None, mark: Ok(None) };
        let Committed { offset, mark } = self.committed.get(tp).cloned().unwrap_or(unknown);
        let mut problems = Vec::new();
        let mark = mark.unwrap_or_else(|foreign| {
            problems.push(foreign.to_string());
            None
        });
        let id = self.ids.get(&tp.topic);
        if let Some(Mark { topic_id: Some(read), .. }) = &mark
            && id.is_some_and(|id| id != read)
        {
            problems.push(
                "the topic was deleted and made again since the group read it: its offsets mean nothing now"
                    .to_owned(),
            );
        }
        let mut evidence = Evidence {
            log: block_in_place(|| self.lookback.log(tp))?,
            committed: offset,
            intended: mark.and_then(|mark| mark.end),
            from_beginning: self.lookback.from_beginning,
            extents,
            rejected: self.letters.of.get(tp).into_iter().flatten().copied().collect(),
            rejected_for_good: self.rejected_for_good,
            absent: Offsets::default(),
            compacted: self.compacted.contains(&tp.topic),
            filtering: self.filtering,
        };
        let account = self.settle(tp, &mut evidence, line)?;
        Ok(PartitionReport::new(tp, &evidence, account, problems))
    }

    /// Where numbers differ, Kafka is asked which of the offsets it has.
    fn settle(&self, tp: &TopicPartition, evidence: &mut Evidence, line: &Line) -> Result<Account> {
        let mut asked = Offsets::default();
        loop {
            let account = account(evidence);
            let doubts = account.doubts(evidence).without(&asked);
            if doubts.is_empty() {
                return Ok(account);
            }
            let (mut seen, all) = (0u64, doubts.len());
            for range in doubts.ranges() {
                let absent = block_in_place(|| {
                    self.lookback.absent(tp, range.clone(), |offsets| {
                        seen += offsets;
                        line.say_now_and_then(|| format!("{tp}: {seen} of {all} doubtful offsets read"));
                    })
                })?;
                evidence.absent = evidence.absent.and(&Offsets::new(absent));
            }
            asked = asked.and(&doubts);
        }
    }
}

/// What the store has, with a line about how far the sink is.
async fn inventory(sink: &dyn Sink, topics: &[Arc<str>], line: &Line) -> Result<Vec<Extent>> {
    line.say("listing the store");
    let mut work = sink.inventory(topics);
    loop {
        match tokio::time::timeout(DRAW, &mut work).await {
            Ok(extents) => return extents,
            Err(_) => {
                let figure = |name: &str| {
                    let metrics = sink.metrics();
                    metrics.into_iter().find(|metric| metric.name == name).map(|metric| metric.value)
                };
                let all = figure("sidestream_inventory_objects");
                if let (Some(read), Some(all)) = (figure("sidestream_inventory_read"), all) {
                    line.say(&format!("{read} of {all} read from the store"));
                }
            }
        }
    }
}

/// What may leave records out on purpose, so that it cannot be told from a loss.
fn reasons_to_leave_out(connector: &ConnectorConfig, plugin: &PluginUse) -> Result<Vec<String>> {
    let info = TaskInfo { connector: connector.name.clone(), ..TaskInfo::default() };
    let mut reasons = Vec::new();
    for used in &connector.transforms {
        let transform = used.component.create_transform(&used.config, &info).map_err(wrong_config)?;
        if transform.filters() {
            reasons.push(format!("the transform `{}`", used.name));
        }
    }
    // The same key in every sink that has it.
    const NULLS: &str = "behavior.on.null.values";
    let nulls = plugin.config.get(NULLS).and_then(|value| value.as_str());
    if nulls.is_some_and(|nulls| nulls.eq_ignore_ascii_case("ignore")) {
        reasons.push(format!("`{NULLS}: ignore`"));
    }
    Ok(reasons)
}

fn wrong_config(problems: Vec<connector_core::ConfigProblem>) -> ConnectError {
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    ConnectError::user("config", text)
}
