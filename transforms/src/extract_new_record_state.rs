//! ExtractNewRecordState, Debezium's "unwrap": the row that a change event is about, in the event's place.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StringBuilder};
use arrow::compute;
use arrow::datatypes::{DataType, Field, FieldRef};
use connector_core::envelope::{self, VALUE};
use connector_core::value::{Object, Value};
use connector_core::{
    ConfigProblem, Envelope, Form, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{Refusal, Typed, below, problem};

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deletes {
    /// Neither a delete event nor its tombstone stays.
    Drop,
    /// Only the tombstone stays.
    Tombstone,
    /// The delete event stays as its former row with `__deleted: "true"`, the tombstone goes.
    Rewrite,
    /// As `rewrite`, and the tombstone stays.
    RewriteWithTombstone,
    /// The delete event becomes a tombstone, and its own tombstone goes.
    DeleteToTombstone,
}

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// What becomes of delete events and of the tombstones behind them.
    #[serde(rename = "delete.tombstone.handling.mode", default)]
    deletes: Option<Deletes>,
    /// The former option for delete events: `drop`, `rewrite` or `none`.
    #[serde(rename = "delete.handling.mode", default)]
    former_deletes: Option<String>,
    /// The former option for tombstones.
    #[serde(rename = "drop.tombstones", default)]
    drop_tombstones: Option<bool>,
    /// Fields of the event that the row gets: `op,table,source.ts_ms`; `op:kind` names the new field.
    #[serde(rename = "add.fields", default)]
    add_fields: String,
    /// What the names of these fields begin with.
    #[serde(rename = "add.fields.prefix", default = "prefix")]
    prefix: String,
}

fn prefix() -> String {
    "__".to_owned()
}

/// A field of the event.
struct Added {
    /// `None`: of the event itself or of its source, wherever it is.
    inside: Option<String>,
    field: String,
    name: String,
}

pub(crate) struct ExtractNewRecordState {
    deletes: Deletes,
    added: Vec<Added>,
}

const DELETED: &str = "__deleted";

impl Plugin for ExtractNewRecordState {
    type Config = Config;

    const NAME: &'static str = "ExtractNewRecordState";
    const ALIASES: &'static [&'static str] = &["io.debezium.transforms.ExtractNewRecordState"];
    const SUMMARY: &'static str = "Replaces Debezium's change events by the rows that they are about.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let dropped = config.drop_tombstones.unwrap_or(true);
        let former = match (config.former_deletes.as_deref(), dropped) {
            (None, _) if config.drop_tombstones.is_none() => Deletes::Tombstone,
            (None | Some("drop"), true) => Deletes::Drop,
            (None | Some("drop"), false) => Deletes::Tombstone,
            (Some("rewrite"), true) => Deletes::Rewrite,
            (Some("rewrite"), false) => Deletes::RewriteWithTombstone,
            (Some("none"), true) => Deletes::DeleteToTombstone,
            _ => {
                let hint = "set delete.tombstone.handling.mode instead";
                return Err(problem(
                    "delete.handling.mode",
                    "is not drop, rewrite, or none without tombstones",
                    hint,
                ));
            }
        };
        let names = config.add_fields.split(',').map(str::trim).filter(|name| !name.is_empty());
        let added = names.map(|text| {
            let (path, new) = text.split_once(':').map_or((text, None), |(path, new)| (path, Some(new)));
            let (inside, field) = path.split_once('.').map_or((None, path), |(i, f)| (Some(i.to_owned()), f));
            let name = new.map_or_else(|| path.replace('.', "_"), str::to_owned);
            Added { inside, field: field.to_owned(), name: format!("{}{name}", config.prefix) }
        });
        Ok(Self { deletes: config.deletes.unwrap_or(former), added: added.collect() })
    }
}

impl Transform for ExtractNewRecordState {
    fn needs(&self) -> Needs {
        Needs::Document
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let value = Envelope::of(&records)?.value().clone();
        let field = records.schema_ref().field_with_name(VALUE)?.clone();
        if Form::of(&field) != Form::Document {
            return self.columns(records, field, &value);
        }
        let (mut texts, mut text, mut gone, mut rejected) =
            (StringBuilder::new(), Vec::new(), Vec::new(), Vec::new());
        let events = value.as_string::<i32>();
        for row in 0..events.len() {
            let outcome = if events.is_null(row) {
                self.tombstone().then_some(Value::Null).ok_or(None)
            } else {
                self.unwrapped(Value::Json(events.value(row)))
            };
            match outcome {
                Ok(value) if !value.is_null() => {
                    text.clear();
                    value.write(&mut text);
                    // JSON made of texts is text.
                    texts.append_value(str::from_utf8(&text).unwrap_or_default());
                    continue;
                }
                Ok(_) => {}
                Err(why) => {
                    gone.push(row);
                    rejected.extend(why.map(|why| why.at(row)));
                }
            }
            texts.append_null();
        }
        let field = Form::Document.field(VALUE, DataType::Utf8);
        let out = envelope::with_column(&records, field, Arc::new(texts.finish()))?;
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&out, &gone)?)], rejected })
    }
}

impl ExtractNewRecordState {
    /// Whether tombstones stay.
    fn tombstone(&self) -> bool {
        matches!(self.deletes, Deletes::Tombstone | Deletes::RewriteWithTombstone)
    }

    fn rewrites(&self) -> bool {
        matches!(self.deletes, Deletes::Rewrite | Deletes::RewriteWithTombstone)
    }

    /// The row of an event; what is no event stays. No reason: the record is left out.
    fn unwrapped<'t>(&self, value: Value<'t>) -> Result<Value<'t>, Option<Refusal>> {
        let mut event = match value.open() {
            Value::Object(event) if event.get("op").is_some() => event,
            other => return Ok(other),
        };
        let row = event.remove("after").unwrap_or(Value::Null);
        let deleted = row.is_null();
        let row = match (deleted, self.deletes) {
            (false, _) => row,
            (true, Deletes::DeleteToTombstone) => return Ok(Value::Null),
            (true, Deletes::Rewrite | Deletes::RewriteWithTombstone) => {
                event.remove("before").unwrap_or(Value::Null)
            }
            (true, Deletes::Drop | Deletes::Tombstone) => return Err(None),
        };
        let Value::Object(mut row) = row.open() else {
            return Err(Some("a change event has no row in `after` or `before`".into()));
        };
        let mut parts: Vec<(String, Object<'t>)> = Vec::new();
        for added in &self.added {
            let value = match &added.inside {
                None if event.get(&added.field).is_some() => event.remove(&added.field),
                inside => {
                    let inside = inside.as_deref().unwrap_or("source");
                    if !parts.iter().any(|(name, _)| name == inside)
                        && let Some(Value::Object(part)) = event.remove(inside).map(Value::open)
                    {
                        parts.push((inside.to_owned(), part));
                    }
                    let part = parts.iter_mut().find(|(name, _)| name == inside);
                    part.and_then(|(_, part)| part.remove(&added.field))
                }
            };
            row.insert(added.name.clone(), value.unwrap_or(Value::Null));
        }
        if self.rewrites() {
            row.insert(DELETED, Value::Text(if deleted { "true" } else { "false" }.into()));
        }
        Ok(Value::Object(row))
    }

    /// The same, of events with a schema.
    fn columns(&self, records: RecordBatch, field: Field, value: &ArrayRef) -> Result<Transformed> {
        let rows = records.num_rows();
        let Some(events) = value.as_struct_opt().filter(|events| events.column_by_name("op").is_some())
        else {
            return Ok(Transformed::one(records));
        };
        let member = |name: &str| {
            let at = events.fields().iter().position(|field| field.name() == name)?;
            Some((events.fields()[at].clone(), at))
        };
        let Some((after_field, at)) = member("after") else { return Ok(Transformed::one(records)) };
        let all = |why: Refusal| Transformed {
            runs: Vec::new(),
            rejected: (0..rows).map(|row| why.clone().at(row)).collect(),
        };
        let after = match below(events, events.column(at)) {
            Ok(after) => after,
            Err(why) => return Ok(all(why)),
        };
        let deleted: Vec<bool> = (0..rows).map(|row| events.is_valid(row) && after.is_null(row)).collect();
        let keeps_deletes = self.rewrites() || self.deletes == Deletes::DeleteToTombstone;
        let gone: Vec<usize> = (0..rows)
            .filter(
                |&row| if events.is_null(row) { !self.tombstone() } else { deleted[row] && !keeps_deletes },
            )
            .collect();
        let row_values = match member("before").filter(|_| self.rewrites()) {
            Some((before_field, at)) if before_field.data_type() == after.data_type() => {
                let choose = BooleanArray::from(deleted.clone());
                compute::kernels::zip::zip(&choose, events.column(at), &after)?
            }
            _ => after,
        };
        let Some(structs) = row_values.as_struct_opt() else {
            return Ok(all("`after` of a change event is no struct".into()));
        };
        let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) =
            (structs.fields().iter().cloned().collect(), structs.columns().to_vec());
        for added in &self.added {
            let inside = added.inside.as_deref();
            let found = match (inside, member(&added.field)) {
                (None, Some((field, at))) => Some((field, events.column(at).clone())),
                _ => member(inside.unwrap_or("source")).and_then(|(_, at)| {
                    let part = events.column(at).as_struct_opt()?;
                    let (at, field) = part.fields().find(&added.field)?;
                    Some((field.clone(), part.column(at).clone()))
                }),
            };
            let (field, column) = found.unwrap_or_else(|| {
                let none: ArrayRef = Arc::new(StringArray::new_null(rows));
                (Arc::new(Field::new("", DataType::Utf8, true)), none)
            });
            fields.push(Arc::new(field.as_ref().clone().with_name(&added.name).with_nullable(true)));
            columns.push(column);
        }
        if self.rewrites() {
            let texts = deleted.iter().map(|deleted| Some(if *deleted { "true" } else { "false" }));
            fields.push(Arc::new(Field::new(DELETED, DataType::Utf8, true)));
            columns.push(Arc::new(texts.collect::<StringArray>()));
        }
        // The row's own schema, not the event's.
        let own = Field::new(field.name(), after_field.data_type().clone(), true)
            .with_metadata(after_field.metadata().clone());
        match (Typed { field: own, array: row_values.clone() }).replaced(fields, columns, true) {
            Ok(Typed { field, array }) => {
                let out = envelope::with_column(&records, field, array)?;
                Ok(Transformed::one(envelope::without_rows(&out, &gone)?))
            }
            Err(why) => Ok(all(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_core::TopicPartition;
    use connector_core::arrow::array::StructArray;
    use connector_core::envelope::EnvelopeBuilder;
    use connector_core::json::{DecimalFormat, Encoder};

    const EVENTS: [Option<&str>; 4] = [
        Some(r#"{"before":null,"after":{"id":1,"x":1.10},"source":{"table":"t","ts_ms":5},"op":"c"}"#),
        Some(r#"{"before":{"id":1,"x":1.10},"after":null,"source":{"table":"t","ts_ms":6},"op":"d"}"#),
        None,
        Some(r#"{"other":true}"#),
    ];

    fn transform(pairs: &str) -> ExtractNewRecordState {
        let config = serde_json::from_str(pairs).unwrap();
        ExtractNewRecordState::create(config, &TaskInfo::default()).unwrap()
    }

    fn applied(pairs: &str, form: Form, events: ArrayRef) -> Vec<Option<String>> {
        let records = EnvelopeBuilder::new().value(form, events).build().unwrap();
        let meta = Meta { partition: TopicPartition::new("t", 0) };
        let out = transform(pairs).apply(records, &meta).unwrap();
        assert!(out.rejected.is_empty());
        let records = &out.runs[0].records;
        let (field, value) = (records.schema_ref().field_with_name(VALUE).unwrap(), &records[VALUE]);
        if Form::of(field) == Form::Document {
            return value.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect();
        }
        let field = Arc::new(field.clone());
        let mut encoder = Encoder::new(&field, value, DecimalFormat::Base64).unwrap();
        let rows = (0..value.len()).map(|row| {
            let mut text = Vec::new();
            value.is_valid(row).then(|| encoder.encode(row, &mut text))?;
            String::from_utf8(text).ok()
        });
        rows.collect()
    }

    fn documents(pairs: &str) -> Vec<Option<String>> {
        applied(pairs, Form::Document, Arc::new(StringArray::from(EVENTS.to_vec())))
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| (*text != "null").then(|| (*text).to_owned())).collect()
    }

    #[test]
    fn what_becomes_of_deletes_is_as_debezium_documents_it() {
        let (row, other) = (r#"{"id":1,"x":1.10}"#, r#"{"other":true}"#);
        assert_eq!(documents("{}"), some(&[row, "null", other]));
        for (mode, expected) in
            [("drop", vec![row, other]), ("delete-to-tombstone", vec![row, "null", other])]
        {
            let config = format!(r#"{{"delete.tombstone.handling.mode":"{mode}"}}"#);
            assert_eq!(documents(&config), some(&expected), "{mode}");
        }
        let (kept, deleted) =
            (r#"{"id":1,"x":1.10,"__deleted":"false"}"#, r#"{"id":1,"x":1.10,"__deleted":"true"}"#);
        let rewrite = r#"{"delete.tombstone.handling.mode":"rewrite"}"#;
        assert_eq!(documents(rewrite), some(&[kept, deleted, other]));
        // The options of former versions.
        let former = r#"{"delete.handling.mode":"rewrite","drop.tombstones":false}"#;
        assert_eq!(documents(former), some(&[kept, deleted, "null", other]));
    }

    #[test]
    fn fields_of_the_event_are_added() {
        let config =
            r#"{"delete.tombstone.handling.mode":"drop","add.fields":"op:kind, table,source.ts_ms,lsn"}"#;
        let row = r#"{"id":1,"x":1.10,"__kind":"c","__table":"t","__source_ts_ms":5,"__lsn":null}"#;
        assert_eq!(documents(config), some(&[row, r#"{"other":true}"#]));
    }

    #[test]
    fn columns_become_what_documents_become() {
        let schema = r#"{"type":"struct","optional":true,"fields":[
            {"field":"before","type":"struct","optional":true,"fields":[{"field":"id","type":"int32"}]},
            {"field":"after","type":"struct","optional":true,"fields":[{"field":"id","type":"int32"}]},
            {"field":"op","type":"string"}]}"#;
        let schema = connector_core::schema::Schema::parse(&serde_json::from_str(schema).unwrap()).unwrap();
        let events =
            [r#"{"before":null,"after":{"id":1},"op":"c"}"#, r#"{"before":{"id":1},"after":null,"op":"d"}"#];
        let data = events.map(|text| {
            let raw = serde_json::from_str(text).unwrap();
            connector_core::schema::datum(&schema, Some(raw), true).unwrap()
        });
        let column = connector_core::schema::array(&schema, &[Some(&data[0]), Some(&data[1]), None]).unwrap();
        assert!(column.as_any().is::<StructArray>());
        for config in [
            r#"{"add.fields":"op"}"#,
            r#"{"delete.tombstone.handling.mode":"rewrite-with-tombstone"}"#,
            r#"{"delete.tombstone.handling.mode":"delete-to-tombstone"}"#,
        ] {
            let texts = StringArray::from(vec![Some(events[0]), Some(events[1]), None]);
            let typed = applied(config, Form::Columns, column.clone());
            assert_eq!(typed, applied(config, Form::Document, Arc::new(texts)), "{config}");
        }
    }
}
