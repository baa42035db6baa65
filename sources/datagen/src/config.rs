//! The keys of the source.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    Pin,
    Geo,
    User,
}

impl Table {
    pub const ALL: [Self; 3] = [Self::Pin, Self::Geo, Self::User];

    /// `pin`, `geo`, `user`: the end of a topic's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Geo => "geo",
            Self::User => "user",
        }
    }

    /// The table's name in a database.
    pub fn sql_name(self) -> &'static str {
        match self {
            Self::Pin => "pinterest_data",
            Self::Geo => "geolocation_data",
            Self::User => "user_data",
        }
    }

    /// The primary key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Pin => "index",
            Self::Geo | Self::User => "ind",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|t| t.name() == text).ok_or_else(|| "is none of pin, geo, user".to_owned())
    }
}

/// Configuration of `datagen-source`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Which tables to make: `pin`, `geo`, `user`.
    #[serde(rename = "datagen.tables", default = "all")]
    pub tables: Vec<Table>,

    /// Rows of each table, after which the connector ends. 0: without end.
    #[serde(rename = "datagen.rows", default)]
    pub rows: u64,

    /// Rows of each table a second. 0: as fast as they are taken.
    #[serde(rename = "datagen.rate", default)]
    #[schemars(range(min = 0.0))]
    pub rate: f64,

    /// The same seed makes the same rows.
    #[serde(rename = "datagen.seed", default = "hundred")]
    pub seed: u64,

    /// Share of the rows that were sent before, 0 to 1: what a restarted client sends again.
    #[serde(rename = "datagen.duplicates", default)]
    pub duplicates: f64,

    /// Share of the pins that are sent to the users' topic as well, 0 to 1: what a client does by mistake.
    #[serde(rename = "datagen.missent", default)]
    pub missent: f64,

    /// A table's topic is this followed by `pin`, `geo` or `user`.
    #[serde(rename = "topic.prefix", default)]
    pub topic_prefix: String,

    /// The topic of single tables: `pin: 12e371d757c1.pin`; wins over `topic.prefix`.
    #[serde(rename = "topic.mapping", default)]
    pub topic_mapping: BTreeMap<String, String>,
}

fn all() -> Vec<Table> {
    Table::ALL.to_vec()
}

fn hundred() -> u64 {
    100
}
