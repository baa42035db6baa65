//! AvroConverter with a Confluent-compatible registry: a zero byte, the schema's id in four bytes, Avro's binary form.

mod data;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, BinaryArray, BinaryBuilder, RecordBatch};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use connector_core::config::ConfigProblem;
use connector_core::envelope::KEY;
use connector_core::schema::{Schema, with_defaults};
use connector_core::{ConnectError, Form, Needs, Rejection, Result, Transformed};
use data::Cells;
use schema::{Names, Typed};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::schema_registry::{self, Client};
use super::stretch::{self, Held};
use super::{Converter, part, replaced, stage, undecoded};

/// The first byte of each message.
const MAGIC: u8 = 0;
/// Schemas that refer to one another go no deeper.
const DEPTH: usize = 20;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Config {
    #[serde(flatten)]
    registry: schema_registry::Config,
    /// Whether a schema that the registry does not have is registered.
    #[serde(rename = "auto.register.schemas", default = "yes")]
    auto_register: bool,
    /// Whether the subject's latest schema is used to write, whatever the data's: not supported, so `false`.
    #[serde(rename = "use.latest.version", default)]
    use_latest: bool,
    /// Under which subject a key's schema is registered.
    #[serde(rename = "key.subject.name.strategy", default)]
    key_subject: SubjectNameStrategy,
    /// Under which subject a value's schema is registered.
    #[serde(rename = "value.subject.name.strategy", default)]
    value_subject: SubjectNameStrategy,
    /// Whether Avro schemas carry Connect's names, versions, docs and parameters.
    #[serde(rename = "connect.meta.data", default = "yes")]
    metadata: bool,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    default_for_null: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
enum SubjectNameStrategy {
    /// `<topic>-key` or `<topic>-value`.
    #[default]
    #[serde(rename = "TopicNameStrategy", alias = "io.confluent.kafka.serializers.subject.TopicNameStrategy")]
    Topic,
    /// The record's full name.
    #[serde(
        rename = "RecordNameStrategy",
        alias = "io.confluent.kafka.serializers.subject.RecordNameStrategy"
    )]
    Record,
    /// `<topic>-<the record's full name>`.
    #[serde(
        rename = "TopicRecordNameStrategy",
        alias = "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy"
    )]
    TopicRecord,
}

impl SubjectNameStrategy {
    fn subject(self, topic: &str, column: &str, schema: &Value) -> Result<String> {
        let record = match schema {
            // Optional: the branch that is not null.
            Value::Array(branches) => branches.iter().find(|b| b.is_object()),
            schema => Some(schema),
        };
        let text = |key: &str| record.and_then(|r| r.get(key)).and_then(Value::as_str);
        let name = || match (text("namespace"), text("name")) {
            (Some(space), Some(name)) => Ok(format!("{space}.{name}")),
            (None, Some(name)) => Ok(name.to_owned()),
            _ => {
                Err(ConnectError::user("registry.schema", "a subject named after its record needs a record")
                    .hint("use TopicNameStrategy, or make the value a struct"))
            }
        };
        Ok(match self {
            Self::Topic => format!("{topic}-{column}"),
            Self::Record => name()?,
            Self::TopicRecord => format!("{topic}-{}", name()?),
        })
    }
}

/// A schema by its id, or why it is of no use.
type Known = Result<Arc<(Typed, Arc<Schema>)>, String>;

struct AvroConverter {
    client: Client,
    config: Config,
    by_id: Mutex<HashMap<u32, Known>>,
}

pub(super) fn converter(config: Config) -> Result<Arc<dyn Converter>, Vec<ConfigProblem>> {
    if config.use_latest {
        let message = "is not supported: data are written with their own schema";
        return Err(vec![ConfigProblem::new("use.latest.version", message, "leave it out")]);
    }
    Ok(Arc::new(AvroConverter { client: Client::new(&config.registry)?, config, by_id: Mutex::default() }))
}

/// The id and what follows it.
fn framed(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&magic, rest) = bytes.split_first()?;
    let (id, data) = rest.split_first_chunk::<4>()?;
    (magic == MAGIC).then(|| (u32::from_be_bytes(*id), data))
}

impl AvroConverter {
    fn known(&self, id: u32) -> Option<Known> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Asks for the schemas of these records that were not seen before. One that the registry lacks is asked for again.
    async fn fetch(&self, values: &BinaryArray) -> Result<HashMap<u32, Known>> {
        let mut schemas = HashMap::new();
        for (id, _) in values.iter().flatten().filter_map(framed) {
            if schemas.contains_key(&id) {
                continue;
            }
            let known = match self.known(id) {
                Some(known) => known,
                None => match self.client.by_id(id).await? {
                    Some(found) => {
                        let known = self.understood(&found).await?;
                        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
                        by_id.insert(id, known.clone());
                        known
                    }
                    None => Err(format!("the schema registry has no schema with the id {id}")),
                },
            };
            schemas.insert(id, known);
        }
        Ok(schemas)
    }

    async fn understood(&self, found: &schema_registry::Registered) -> Result<Known> {
        if found.kind != "AVRO" {
            return Ok(Err(format!("the record's schema is of the type {}, not AVRO", found.kind)));
        }
        // Depth first: read backwards, what is referred to comes before what refers to it.
        let (mut open, mut schemas) = (vec![(found.clone(), 0)], Vec::new());
        while let Some((next, depth)) = open.pop() {
            if depth < DEPTH {
                for reference in &next.references {
                    open.push((self.client.referred(reference).await?, depth + 1));
                }
            }
            schemas.push(next.schema);
        }
        let mut names = Names::new();
        let mut last = Err("no schema".to_owned());
        for text in schemas.iter().rev() {
            // A registry writes a primitive's name in quotes or without.
            let json = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
            last = schema::parse(&json, "", &mut names);
        }
        Ok(last.map(|typed| {
            let schema = Arc::new(typed.schema.clone());
            Arc::new((typed, schema))
        }))
    }
}

fn unreadable(message: String) -> ConnectError {
    ConnectError::user("registry.record", message)
        .hint("see that the topic holds Avro of this registry; errors.tolerance=all goes past such records")
}

fn held(schemas: &HashMap<u32, Known>, bytes: &[u8]) -> Result<Held, ConnectError> {
    // Connect reads no bytes as null.
    if bytes.is_empty() {
        return Ok(Held::Null);
    }
    let (id, data) = framed(bytes).ok_or_else(|| {
        unreadable("Unknown magic byte! The record is not Avro of a schema registry".to_owned())
    })?;
    let known = schemas.get(&id).cloned().unwrap_or_else(|| Err(format!("no schema with the id {id}")));
    let known = known.map_err(unreadable)?;
    let (typed, schema) = &*known;
    let datum = data::read(&typed.shape, data).map_err(unreadable)?;
    Ok(Held::Typed(schema.clone(), datum))
}

#[async_trait]
impl Converter for AvroConverter {
    fn class(&self) -> &'static str {
        "io.confluent.connect.avro.AvroConverter"
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        if matches!(needs, Needs::Any | Needs::Bytes) {
            return Ok(Transformed::one(records));
        }
        let schemas = self.fetch(undecoded(&records, column)?).await?;
        stretch::decode(&records, column, needs, |bytes| held(&schemas, bytes))
    }

    /// A subject is named after a topic: without one, each record is rejected.
    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let why =
            || ConnectError::user("registry.schema", "Avro is written for a topic, and there is none here");
        let rejected = (0..records.num_rows()).map(|row| Rejection::new(row, stage(column), why()));
        Ok(Transformed { rejected: rejected.collect(), runs: Vec::new() })
    }

    async fn encode_to(
        &self,
        topic: &str,
        records: RecordBatch,
        column: &'static str,
    ) -> Result<Transformed> {
        match self.written(topic, &records, column).await {
            Ok(bytes) => {
                let field = Form::Bytes.field(column, DataType::Binary);
                replaced(records, field, Arc::new(bytes), Vec::new())
            }
            Err(error) if error.is_retriable() => Err(error),
            Err(error) => {
                // All records of a run have one schema, so one is as wrong as the other.
                let why =
                    || ConnectError::user(error.code.clone(), error.to_string()).hint(error.hint.clone());
                let rejected = (0..records.num_rows()).map(|row| Rejection::new(row, stage(column), why()));
                Ok(Transformed { rejected: rejected.collect(), runs: Vec::new() })
            }
        }
    }
}

impl AvroConverter {
    async fn written(&self, topic: &str, records: &RecordBatch, column: &'static str) -> Result<BinaryArray> {
        let (field, array) = part(records, column)?;
        let refused = |message: String| {
            ConnectError::user("registry.schema", message)
                .hint("AvroConverter writes typed data: give the values a schema, or use JsonConverter")
        };
        if array.null_count() == array.len() {
            return Ok(BinaryArray::new_null(array.len()));
        }
        if Form::of(field) == Form::Document {
            return Err(refused("a record without a schema cannot be written as Avro".to_owned()));
        }
        let array = if self.config.default_for_null { &with_defaults(array)? } else { array };
        let schema = Schema::of_column(field).map_err(refused)?;
        let avro = schema::to_avro(&schema, self.config.metadata);
        let strategy = if column == KEY { self.config.key_subject } else { self.config.value_subject };
        let subject = strategy.subject(topic, column, &avro)?;
        let typed = schema::parse(&avro, "", &mut Names::new()).map_err(refused)?;
        let id = self.client.id(&subject, &avro, self.config.auto_register).await?;
        let cells = Cells::of(&typed.shape, &Arc::new(field.clone()), array)?;
        let mut bytes = BinaryBuilder::new();
        let mut message = Vec::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                bytes.append_null();
                continue;
            }
            message.clear();
            message.push(MAGIC);
            message.extend(id.to_be_bytes());
            cells.write(row, &mut message);
            bytes.append_value(&message);
        }
        Ok(bytes.finish())
    }
}
