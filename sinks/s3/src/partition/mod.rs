//! Which directory (Connect: encoded partition) a record belongs to.

mod date_text;
mod field;
mod names;
mod pattern;
mod time;
mod zone;

use std::fmt::Write;

use connector_core::{Batch, ConfigProblem, ConnectError, Envelope, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Config;
use field::{Datum, Field, FieldPath};
use names::Names;
use pattern::Pattern;
pub use time::Extractor;
use time::{TimeRule, Times};
pub use zone::Zone;

/// `partitioner.class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Partitioner {
    /// `partition=<Kafka partition>`.
    #[default]
    #[serde(alias = "io.confluent.connect.storage.partitioner.DefaultPartitioner")]
    Default,
    /// `<field>=<value>` for each of `partition.field.name`.
    #[serde(alias = "io.confluent.connect.storage.partitioner.FieldPartitioner")]
    Field,
    /// By time, as `path.format` and `partition.duration.ms` say.
    #[serde(alias = "io.confluent.connect.storage.partitioner.TimeBasedPartitioner")]
    Time,
    /// By day: `year=2024/month=05/day=01`.
    #[serde(alias = "io.confluent.connect.storage.partitioner.DailyPartitioner")]
    Daily,
    /// By hour: `year=2024/month=05/day=01/hour=13`.
    #[serde(alias = "io.confluent.connect.storage.partitioner.HourlyPartitioner")]
    Hourly,
}

/// `s3.schema.partition.affix.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SchemaAffix {
    #[default]
    #[serde(alias = "none")]
    None,
    /// `schema_name=<name>` comes before the directories of the partitioner.
    #[serde(alias = "prefix")]
    Prefix,
    /// It comes after them.
    #[serde(alias = "suffix")]
    Suffix,
}

/// The configured way from a record to its directory.
#[derive(Clone, Debug)]
pub struct Partitioning {
    rule: Rule,
    delim: String,
    affix: SchemaAffix,
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Fields(Vec<FieldPath>),
    Time(Box<TimeRule>),
}

/// Two records with the same shortcut and the same schema belong to the same directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// There is only one.
    Only,
    /// Start of a bucket, on the zone's clock, in milliseconds.
    Bucket(i64),
}

impl Partitioning {
    pub fn new(config: &Config) -> Result<Self, Vec<ConfigProblem>> {
        let delim = config.directory_delim.clone();
        let rule = match config.partitioner {
            Partitioner::Default => Rule::Default,
            Partitioner::Field => Rule::Fields(fields(config)?),
            Partitioner::Time => {
                Rule::Time(Box::new(time_rule(config, &config.path_format, config.partition_duration_ms)?))
            }
            Partitioner::Daily => Rule::Time(Box::new(time_rule(config, &daily(&delim), 86_400_000)?)),
            Partitioner::Hourly => {
                let hourly = format!("{}'{delim}hour'=HH", daily(&delim));
                Rule::Time(Box::new(time_rule(config, &hourly, 3_600_000)?))
            }
        };
        Ok(Self { rule, delim, affix: config.schema_affix })
    }

    /// Whether files are rotated by the records' time.
    pub fn is_by_time(&self) -> bool {
        matches!(self.rule, Rule::Time(_))
    }

    /// Whether the directory is a function of the record alone.
    pub fn is_deterministic(&self) -> bool {
        !matches!(&self.rule, Rule::Time(rule) if rule.extractor == Extractor::Wallclock)
    }

    /// For the records of one batch, whose schema has this name in Connect.
    pub fn directories<'a>(
        &'a self,
        batch: &'a Batch,
        schema_name: Option<&'a str>,
    ) -> Result<Directories<'a>> {
        let envelope = Envelope::of(&batch.records)?;
        let found = match &self.rule {
            Rule::Default => Found::Only,
            Rule::Fields(paths) => Found::Fields(
                paths
                    .iter()
                    .map(|path| Ok((path, Field::of(envelope.value(), envelope.value_form(), path)?)))
                    .collect::<Result<_>>()?,
            ),
            Rule::Time(rule) => Found::Times(rule, rule.times(batch)?),
        };
        Ok(Directories { partitioning: self, batch, found, schema_name })
    }
}

/// The directories of a batch's records.
pub struct Directories<'a> {
    partitioning: &'a Partitioning,
    batch: &'a Batch,
    found: Found<'a>,
    schema_name: Option<&'a str>,
}

enum Found<'a> {
    Only,
    Fields(Vec<(&'a FieldPath, Field<'a>)>),
    Times(&'a TimeRule, Times<'a>),
}

impl Directories<'_> {
    /// Epoch milliseconds by which the record in `row` counts for `rotate.interval.ms`, if it does.
    pub fn time(&self, row: usize, tombstone: bool) -> Result<Option<i64>> {
        match &self.found {
            Found::Times(_, times) => times.get(row, self.batch, tombstone).map(Some),
            _ => Ok(None),
        }
    }

    /// Spares writing the directory of a record, whose `time` is the above.
    pub fn shortcut(&self, time: Option<i64>) -> Result<Option<Shortcut>> {
        match (&self.found, time) {
            (Found::Only, _) => Ok(Some(Shortcut::Only)),
            (Found::Times(rule, _), Some(time)) => Ok(Some(Shortcut::Bucket(rule.bucket(time)?))),
            _ => Ok(None),
        }
    }

    /// Appends the directory of the record in `row`, which has a value.
    pub fn write(&self, row: usize, shortcut: Option<Shortcut>, out: &mut String) -> Result<()> {
        let Partitioning { delim, affix, .. } = self.partitioning;
        let schema_name = self.schema_name.unwrap_or("null");
        // Writing to a String cannot fail.
        if *affix == SchemaAffix::Prefix {
            let _ = write!(out, "schema_name={schema_name}{delim}");
        }
        match (&self.found, shortcut) {
            (Found::Times(rule, _), Some(Shortcut::Bucket(bucket))) => rule.write(bucket, out)?,
            (Found::Fields(fields), _) => {
                for (at, (path, field)) in fields.iter().enumerate() {
                    let delim = if at == 0 { "" } else { delim };
                    let _ = write!(out, "{delim}{}=", path.name);
                    write_field(field.get(row), &path.name, out)?;
                }
            }
            _ => {
                let _ = write!(out, "partition={}", self.batch.partition.partition);
            }
        }
        if *affix == SchemaAffix::Suffix {
            let _ = write!(out, "{delim}schema_name={schema_name}");
        }
        Ok(())
    }
}

/// A field's value as it names a directory: unescaped, as Connect writes it (S3G-067).
fn write_field(datum: Datum<'_>, name: &str, out: &mut String) -> Result<()> {
    let wrong = |message: String| {
        Err(ConnectError::user("s3.partition_field", message)
            .hint("`partition.field.name` has to name fields that hold texts, whole numbers or booleans"))
    };
    match datum {
        Datum::Text(text) => out.push_str(&text),
        Datum::Null => out.push_str("null"),
        Datum::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Datum::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        Datum::Number(_) => {
            return wrong(format!(
                "Error encoding partition: the field `{name}` is no whole number of 64 bits"
            ));
        }
        Datum::Missing => return wrong(format!("Field '{name}' is not present in the record")),
        Datum::Instant(_) => return wrong(format!("Error encoding partition: the field `{name}` is a date")),
        Datum::Other(what) => {
            return wrong(format!("Error encoding partition: the field `{name}` is {what}"));
        }
    }
    Ok(())
}

fn fields(config: &Config) -> Result<Vec<FieldPath>, Vec<ConfigProblem>> {
    let names: Vec<&str> =
        config.partition_fields.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(vec![ConfigProblem::new(
            "partition.field.name",
            "is required with the field partitioner",
            "name the fields, separated by commas; `a.b` is the field `b` inside of `a`",
        )]);
    }
    Ok(names.into_iter().map(FieldPath::new).collect())
}

fn daily(delim: &str) -> String {
    // Quoted, because a delimiter may hold letters.
    let delim = delim.replace('\'', "''");
    format!("'year'=YYYY'{delim}month'=MM'{delim}day'=dd")
}

fn time_rule(config: &Config, path_format: &str, duration_ms: i64) -> Result<TimeRule, Vec<ConfigProblem>> {
    let mut problems = Vec::new();
    let mut wrong =
        |key: &str, message: &str, hint: &str| problems.push(ConfigProblem::new(key, message, hint));
    let names = Names::of(&config.locale);
    if names.is_none() {
        let hint =
            "use a language such as `en`, `de`, `fr` or `ja`; `en-US` and its like give short English names";
        wrong("locale", "names a language whose month and day names are not known", hint);
    }
    // A delimiter at the end is not written twice (S3G-082).
    let format = path_format.strip_suffix(&config.directory_delim).unwrap_or(path_format);
    if format.is_empty() {
        wrong(
            "path.format",
            "is required with the time partitioner",
            "write such as 'year'=YYYY/'month'=MM/'day'=dd",
        );
    }
    if duration_ms <= 0 {
        let hint = "write the milliseconds that a directory covers, such as 3600000 for an hour";
        wrong("partition.duration.ms", "has to be positive with the time partitioner", hint);
    }
    let zone = Zone::parse(&config.timezone);
    if config.timezone.trim().is_empty() {
        let hint = "write a name such as UTC or Europe/London";
        wrong("timezone", "is required with a partitioner by time", hint);
    }
    let field = config.timestamp_field.trim();
    if field.is_empty() && config.timestamp_extractor == Extractor::RecordField {
        wrong("timestamp.field", "is empty", "name the field that holds the time of a record");
    }
    let pattern = match names.map(|names| Pattern::parse(format, names)) {
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(error)) => {
            wrong("path.format", &error.message, error.hint);
            None
        }
        None => None,
    };
    match (pattern, problems.is_empty()) {
        (Some(pattern), true) => Ok(TimeRule {
            pattern,
            duration_ms,
            // An unknown one is reported with the key's own check.
            zone: zone.unwrap_or(Zone::UTC),
            extractor: config.timestamp_extractor,
            field: FieldPath::new(field),
        }),
        _ => Err(problems),
    }
}
