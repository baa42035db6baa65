//! What a library offers: plugins with their names, configuration schemas and factories.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{self, ConfigMap, ConfigProblem};
use crate::sink::Sink;
use crate::source::Source;
use crate::transform::{Predicate, Transform};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Source,
    Transform,
    Predicate,
    Sink,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Predicate => "predicate",
            Self::Sink => "sink",
        })
    }
}

/// Which task an instance is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    pub connector: String,
    pub task: usize,
    /// The connector has a source and a sink of its own, so there is no Kafka in between: a source needs no topic.
    #[serde(default)]
    pub direct: bool,
}

/// What an author writes beside a [`Source`], [`Transform`] or [`Sink`].
pub trait Plugin: Sized {
    /// Keys as in Connect (`#[serde(rename = "flush.size")]`); doc comments and defaults become the reference.
    type Config: DeserializeOwned + JsonSchema;

    /// The short name that a configuration uses: `s3-sink`.
    const NAME: &'static str;

    /// Other names, such as the JVM class that this plugin replaces.
    const ALIASES: &'static [&'static str] = &[];

    /// Keys of the replaced class that need no action here; accepted, and listed by `validate`.
    const INERT_KEYS: &'static [&'static str] = &[];

    /// One sentence for `sidestream plugins`.
    const SUMMARY: &'static str;

    /// What sources and sinks promise, and when that is less, for `sidestream describe`.
    const DELIVERY: &'static str = "";

    /// Checks what the schema cannot and makes an instance; no I/O.
    fn create(config: Self::Config, task: &TaskInfo) -> Result<Self, Vec<ConfigProblem>>;
}

type Create<T> = Arc<dyn Fn(&Value, &TaskInfo) -> Result<Arc<T>, Vec<ConfigProblem>> + Send + Sync>;

/// Makes instances from a typed JSON object.
#[derive(Clone)]
pub enum Factory {
    Source(Create<dyn Source>),
    Transform(Create<dyn Transform>),
    Predicate(Create<dyn Predicate>),
    Sink(Create<dyn Sink>),
}

/// The JSON schema of a configuration. It is made when somebody looks at it first, because a start looks at those of few
/// plugins, and then shared.
#[derive(Clone)]
pub struct ConfigSchema(Arc<LazyLock<Value, Box<dyn FnOnce() -> Value + Send>>>);

impl ConfigSchema {
    fn new(make: impl FnOnce() -> Value + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl From<Value> for ConfigSchema {
    fn from(schema: Value) -> Self {
        Self::new(|| schema)
    }
}

impl Deref for ConfigSchema {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

/// One plugin, without its type.
#[derive(Clone)]
pub struct Component {
    pub name: String,
    pub aliases: Vec<String>,
    pub inert_keys: Vec<String>,
    pub version: String,
    pub summary: String,
    /// What it promises; empty when it does not say.
    pub delivery: String,
    pub schema: ConfigSchema,
    pub factory: Factory,
}

fn typed<P: Plugin>(config: &Value, task: &TaskInfo) -> Result<P, Vec<ConfigProblem>> {
    P::create(config::deserialize(config)?, task)
}

impl Component {
    fn new<P: Plugin>(version: &str, factory: Factory) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Self {
            name: P::NAME.to_owned(),
            aliases: owned(P::ALIASES),
            inert_keys: owned(P::INERT_KEYS),
            version: version.to_owned(),
            summary: P::SUMMARY.to_owned(),
            delivery: P::DELIVERY.to_owned(),
            schema: ConfigSchema::new(|| schemars::schema_for!(P::Config).to_value()),
            factory,
        }
    }

    /// `version` is the library's: `env!("CARGO_PKG_VERSION")`.
    pub fn source<P: Plugin + Source>(version: &str) -> Self {
        Self::new::<P>(version, Factory::Source(Arc::new(|c, t| Ok(Arc::new(typed::<P>(c, t)?)))))
    }

    pub fn transform<P: Plugin + Transform>(version: &str) -> Self {
        Self::new::<P>(version, Factory::Transform(Arc::new(|c, t| Ok(Arc::new(typed::<P>(c, t)?)))))
    }

    pub fn predicate<P: Plugin + Predicate>(version: &str) -> Self {
        Self::new::<P>(version, Factory::Predicate(Arc::new(|c, t| Ok(Arc::new(typed::<P>(c, t)?)))))
    }

    pub fn sink<P: Plugin + Sink>(version: &str) -> Self {
        Self::new::<P>(version, Factory::Sink(Arc::new(|c, t| Ok(Arc::new(typed::<P>(c, t)?)))))
    }

    pub fn kind(&self) -> Kind {
        match self.factory {
            Factory::Source(_) => Kind::Source,
            Factory::Transform(_) => Kind::Transform,
            Factory::Predicate(_) => Kind::Predicate,
            Factory::Sink(_) => Kind::Sink,
        }
    }

    /// Whether `class` names this plugin: its short name, an alias, or an alias's last part with or without
    /// `Connector` (`S3Sink`), as Connect allows.
    pub fn answers_to(&self, class: &str) -> bool {
        self.name == class
            || self.aliases.iter().any(|alias| {
                let simple = alias.rsplit('.').next().unwrap_or(alias);
                alias == class || simple == class || simple.strip_suffix("Connector") == Some(class)
            })
    }

    /// Checks a flat map against the schema; the typed object for the factory, or all problems.
    pub fn check(&self, map: &ConfigMap) -> Result<Value, Vec<ConfigProblem>> {
        config::coerce(&self.schema, map)
    }

    pub fn create_source(
        &self,
        config: &Value,
        task: &TaskInfo,
    ) -> Result<Arc<dyn Source>, Vec<ConfigProblem>> {
        match &self.factory {
            Factory::Source(create) => create(config, task),
            _ => Err(self.wrong_kind(Kind::Source)),
        }
    }

    pub fn create_transform(
        &self,
        config: &Value,
        task: &TaskInfo,
    ) -> Result<Arc<dyn Transform>, Vec<ConfigProblem>> {
        match &self.factory {
            Factory::Transform(create) => create(config, task),
            _ => Err(self.wrong_kind(Kind::Transform)),
        }
    }

    pub fn create_predicate(
        &self,
        config: &Value,
        task: &TaskInfo,
    ) -> Result<Arc<dyn Predicate>, Vec<ConfigProblem>> {
        match &self.factory {
            Factory::Predicate(create) => create(config, task),
            _ => Err(self.wrong_kind(Kind::Predicate)),
        }
    }

    pub fn create_sink(&self, config: &Value, task: &TaskInfo) -> Result<Arc<dyn Sink>, Vec<ConfigProblem>> {
        match &self.factory {
            Factory::Sink(create) => create(config, task),
            _ => Err(self.wrong_kind(Kind::Sink)),
        }
    }

    /// Makes an instance only to see whether the configuration is right.
    pub fn validate(&self, map: &ConfigMap) -> Result<(), Vec<ConfigProblem>> {
        let (config, task) = (self.check(map)?, TaskInfo::default());
        match &self.factory {
            Factory::Source(create) => create(&config, &task).map(drop),
            Factory::Transform(create) => create(&config, &task).map(drop),
            Factory::Predicate(create) => create(&config, &task).map(drop),
            Factory::Sink(create) => create(&config, &task).map(drop),
        }
    }

    fn wrong_kind(&self, wanted: Kind) -> Vec<ConfigProblem> {
        let message = format!("`{}` is a {}, not a {wanted}", self.name, self.kind());
        vec![ConfigProblem::new(
            "",
            message,
            format!("name a {wanted} here; `sidestream plugins` lists them"),
        )]
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("name", &self.name).field("kind", &self.kind()).finish()
    }
}
