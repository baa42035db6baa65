//! The keys of the source; names and defaults are those of Kafka Connect's JDBC source where it has them.

use std::collections::BTreeMap;

use connector_core::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

/// How a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The whole table at each poll.
    Bulk,
    /// Only rows whose incrementing column is greater than the last one that was read.
    Incrementing,
    Timestamp,
    #[serde(rename = "timestamp+incrementing")]
    TimestampIncrementing,
}

/// What becomes of NUMERIC and DECIMAL columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumericMapping {
    /// Exact decimals.
    #[default]
    None,
    /// Integers where the scale is 0 and at most 18 digits are declared, exact decimals otherwise.
    PrecisionOnly,
    /// As `precision_only`, and Float64 where the scale is above 0 and at most 18 digits are declared.
    BestFit,
    /// As `best_fit`, with Float64 for any precision where the scale is above 0.
    BestFitEagerDouble,
}

/// How dates with a time of day are represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampGranularity {
    /// Connect's logical types Timestamp, Date and Time: epoch numbers in JSON.
    ConnectLogical,
    /// Microseconds since 1970-01-01 as a number.
    MicrosLong,
    /// Microseconds since 1970-01-01 as text.
    MicrosString,
    /// `2020-08-28T03:52:47.000000` as text.
    MicrosIsoDatetimeString,
    /// Nanoseconds since 1970-01-01 as a number.
    NanosLong,
    /// Nanoseconds since 1970-01-01 as text.
    NanosString,
    /// `2020-08-28T03:52:47.000000000` as text.
    NanosIsoDatetimeString,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuoteIdentifiers {
    #[default]
    Always,
    Never,
}

/// Configuration of `rds-source`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Config {
    /// Where the database is: `jdbc:mysql://host:3306/db`, `jdbc:mariadb://…`, `jdbc:postgresql://host:5432/db`, or
    /// the same without `jdbc:`. TLS is set as in the drivers: `sslMode` or `useSSL` (MySQL), `sslmode` (PostgreSQL),
    /// `sslrootcert` (a PEM file) for both.
    #[serde(rename = "connection.url")]
    pub connection_url: Secret,

    /// User name; wins over one in `connection.url`.
    #[serde(rename = "connection.user", default)]
    pub connection_user: Option<String>,

    /// Password; wins over one in `connection.url`.
    #[serde(rename = "connection.password", default)]
    pub connection_password: Option<Secret>,

    /// Attempts to connect before the task fails.
    #[serde(rename = "connection.attempts", default = "three")]
    #[schemars(range(min = 1))]
    pub connection_attempts: u32,

    /// Pause between two attempts to connect, in milliseconds.
    #[serde(rename = "connection.backoff.ms", default = "ten_thousand")]
    pub connection_backoff_ms: u64,

    /// How tables are read: `bulk` or `incrementing`.
    pub mode: Mode,

    /// The column that only grows. Empty: the table's auto-increment column, or its primary key when that is one
    /// integer column.
    #[serde(rename = "incrementing.column.name", default)]
    pub incrementing_column_name: String,

    /// The incrementing column of single tables: `orders: id`; wins over `incrementing.column.name`.
    #[serde(rename = "incrementing.column.mapping", default)]
    pub incrementing_column_mapping: BTreeMap<String, String>,

    /// Refuse an incrementing column that may be NULL. With `false` such a column is read, and the task fails only
    /// when it really holds a NULL.
    #[serde(rename = "validate.non.null", default = "yes")]
    pub validate_non_null: bool,

    /// Tables to read: names, also as `schema.table`.
    #[serde(rename = "table.whitelist", default)]
    pub table_whitelist: Vec<String>,

    /// Tables not to read: names, also as `schema.table`.
    #[serde(rename = "table.blacklist", default)]
    pub table_blacklist: Vec<String>,

    /// Regular expressions of the tables to read, each for a whole name: `orders_.*`, `shop\.orders`.
    #[serde(rename = "table.include.list", default)]
    pub table_include_list: Vec<String>,

    /// Regular expressions of the tables not to read, each for a whole name.
    #[serde(rename = "table.exclude.list", default)]
    pub table_exclude_list: Vec<String>,

    /// Columns to leave out: regular expressions for a whole `table.column`, also `schema.table.column`.
    #[serde(rename = "column.exclude.list", default)]
    pub column_exclude_list: Vec<String>,

    /// What counts as a table: `TABLE`, `VIEW`.
    #[serde(rename = "table.types", default = "only_tables")]
    pub table_types: Vec<String>,

    /// LIKE pattern of the schemas to look into (PostgreSQL). Default: all but the system's own.
    #[serde(rename = "schema.pattern", default)]
    pub schema_pattern: Option<String>,

    /// LIKE pattern of the databases to look into (MySQL). Default: the one in `connection.url`.
    #[serde(rename = "catalog.pattern", default)]
    pub catalog_pattern: Option<String>,

    /// Not supported yet: only whole tables are read.
    #[serde(default)]
    pub query: Option<String>,

    /// Pause after all tables were read before they are looked at again, in milliseconds.
    #[serde(rename = "poll.interval.ms", default = "five_thousand")]
    pub poll_interval_ms: u64,

    /// Rows in one batch.
    #[serde(rename = "batch.max.rows", default = "thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_max_rows: usize,

    /// A table's topic is this followed by the table's name.
    #[serde(rename = "topic.prefix", default)]
    pub topic_prefix: Option<String>,

    /// The topic of single tables: `pinterest_data: 12e371d757c1.pin`; wins over `topic.prefix`.
    #[serde(rename = "topic.mapping", default)]
    pub topic_mapping: BTreeMap<String, String>,

    /// The column whose value becomes the record's key, as text. Default: no key.
    #[serde(rename = "key.column", default)]
    pub key_column: Option<String>,

    /// The key column of single tables: `pinterest_data: index`; wins over `key.column`.
    #[serde(rename = "key.column.mapping", default)]
    pub key_column_mapping: BTreeMap<String, String>,

    /// Whether names are quoted in SQL.
    #[serde(rename = "quote.sql.identifiers", default)]
    pub quote_sql_identifiers: QuoteIdentifiers,

    /// What becomes of NUMERIC and DECIMAL columns.
    #[serde(rename = "numeric.mapping", default)]
    pub numeric_mapping: NumericMapping,

    /// How dates with a time of day are represented. Default: ISO texts in JSON (`2020-08-28T03:52:47`).
    #[serde(rename = "timestamp.granularity", default)]
    pub timestamp_granularity: Option<TimestampGranularity>,

    /// Zone of the times that the database holds without one; also the zone in which MySQL's TIMESTAMP is shown.
    #[serde(rename = "db.timezone", default = "utc")]
    pub db_timezone: String,

    /// Read each table once, to its present end, and then end the connector.
    #[serde(rename = "rds.once", default)]
    pub once: bool,
}

fn three() -> u32 {
    3
}

fn ten_thousand() -> u64 {
    10_000
}

fn five_thousand() -> u64 {
    5_000
}

fn thousand() -> usize {
    1_000
}

fn yes() -> bool {
    true
}

fn utc() -> String {
    "UTC".to_owned()
}

fn only_tables() -> Vec<String> {
    vec!["TABLE".to_owned()]
}
