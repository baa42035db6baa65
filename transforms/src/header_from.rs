//! HeaderFrom: fields as headers.

use arrow::array::{Array, AsArray, RecordBatch};
use connector_core::envelope;
use connector_core::headers::{self, Entries};
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::schema::Schema;
use connector_core::value::Value;
use connector_core::{
    ConfigProblem, Form, Meta, Needs, Plugin, Result, Run, TaskInfo, Transform, Transformed,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{Names, Part, Refusal, Refused, Typed, object, problem, yes};

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Fields whose values become headers.
    fields: Names<false>,
    /// Names of the headers, one for each field.
    headers: Names<false>,
    /// Whether a field stays where it is.
    operation: Operation,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

#[derive(Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Move,
    Copy,
}

/// Makes headers of fields of a key or a value.
pub(crate) struct HeaderFrom<P> {
    /// Field and header.
    pairs: Vec<(String, String)>,
    operation: Operation,
    replace: bool,
    part: std::marker::PhantomData<P>,
}

impl<P: Part> Plugin for HeaderFrom<P> {
    type Config = Config;

    const NAME: &'static str = if P::KEY { "HeaderFrom$Key" } else { "HeaderFrom$Value" };
    const ALIASES: &'static [&'static str] = if P::KEY {
        &["org.apache.kafka.connect.transforms.HeaderFrom$Key"]
    } else {
        &["org.apache.kafka.connect.transforms.HeaderFrom$Value"]
    };
    const SUMMARY: &'static str = "Copies or moves fields into headers.";

    fn create(config: Config, _: &TaskInfo) -> Result<Self, Vec<ConfigProblem>> {
        let (fields, headers) = (config.fields.0, config.headers.0);
        if fields.len() != headers.len() {
            return Err(problem(
                "headers",
                "has not as many entries as `fields`",
                "name a header for each field",
            ));
        }
        Ok(Self {
            pairs: fields.into_iter().zip(headers).collect(),
            operation: config.operation,
            replace: config.replace_null_with_default,
            part: std::marker::PhantomData,
        })
    }
}

/// The headers of all records, and where each record's end.
#[derive(Default)]
struct Made {
    entries: Entries,
    ends: Vec<usize>,
}

impl Made {
    fn end(&mut self) {
        self.ends.push(self.entries.len());
    }

    fn of(&self, row: usize) -> std::ops::Range<usize> {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        start..self.ends.get(row).copied().unwrap_or(start)
    }
}

impl<P: Part> Transform for HeaderFrom<P> {
    fn needs(&self) -> Needs {
        if P::KEY { Needs::Any } else { Needs::Document }
    }

    fn filters(&self) -> bool {
        false
    }

    fn apply(&self, records: RecordBatch, _: &Meta) -> Result<Transformed> {
        let Some((at, field)) = records.schema_ref().column_with_name(P::COLUMN) else {
            let message = self.wants("Map objects supported in absence of schema", "null");
            let rejected = (0..records.num_rows()).map(|row| message.clone().at(row)).collect();
            return Ok(Transformed { runs: Vec::new(), rejected });
        };
        let given = Typed { field: field.clone(), array: records.column(at).clone() };
        let out = if Form::of(field) == Form::Document { self.documents(&given) } else { self.typed(given) };
        let (typed, made, refused) = match out {
            Ok(out) => out,
            Err(refusal) => {
                let rejected = (0..records.num_rows()).map(|row| refusal.clone().at(row)).collect();
                return Ok(Transformed { runs: Vec::new(), rejected });
            }
        };
        let out = envelope::with_column(&records, typed.field, typed.array)?;
        let out = headers::append(&out, &made.entries, |row| made.of(row))?;
        let rows: Vec<usize> = refused.iter().map(|(row, _)| *row).collect();
        let rejected = refused.into_iter().map(|(row, refusal)| refusal.at(row)).collect();
        Ok(Transformed { runs: vec![Run::new(envelope::without_rows(&out, &rows)?)], rejected })
    }
}

impl<P: Part> HeaderFrom<P> {
    fn purpose(&self) -> &'static str {
        if self.operation == Operation::Move { "header move" } else { "header copy" }
    }

    fn wants(&self, what: &str, found: &str) -> Refusal {
        Refusal(format!("Only {what} for [{}], found: {found}", self.purpose()))
    }

    fn documents(&self, given: &Typed) -> Result<(Typed, Made, Refused), Refusal> {
        let texts = given.array.as_string::<i32>();
        let (mut made, mut refused) = (Made::default(), Vec::new());
        let mut out = arrow::array::StringBuilder::new();
        for row in 0..texts.len() {
            let value = if texts.is_valid(row) { Value::Json(texts.value(row)) } else { Value::Null };
            match object(value, self.purpose()) {
                Ok(mut object) => {
                    for (field, header) in &self.pairs {
                        let value = object.get(field).filter(|value| !value.is_null()).map(|value| {
                            let mut text = Vec::new();
                            value.write(&mut text);
                            text
                        });
                        made.entries.push(header, value, "");
                    }
                    if self.operation == Operation::Move {
                        self.pairs.iter().for_each(|(field, _)| drop(object.remove(field)));
                    }
                    let mut text = Vec::new();
                    Value::Object(object).write(&mut text);
                    out.append_value(str::from_utf8(&text).unwrap_or_default());
                }
                Err(refusal) => {
                    refused.push((row, refusal));
                    out.append_null();
                }
            }
            made.end();
        }
        let array = std::sync::Arc::new(out.finish());
        Ok((Typed { field: given.field.clone(), array }, made, refused))
    }

    fn typed(&self, given: Typed) -> Result<(Typed, Made, Refused), Refusal> {
        let values = given.clone().defaults(self.replace)?;
        let structs = values.structs(self.purpose())?.clone();
        let mut columns = Vec::with_capacity(self.pairs.len());
        for (field, header) in &self.pairs {
            let at = structs.fields().iter().position(|known| known.name() == field);
            let at = at.ok_or_else(|| format!("field `{field}` is not in the schema"))?;
            let column = values.member(&structs, at)?;
            let schema = Schema::of_column(&column.field)?.to_json(None).to_string();
            columns.push((header, column, schema));
        }
        let fields: Vec<_> =
            columns.iter().map(|(_, column, _)| std::sync::Arc::new(column.field.clone())).collect();
        let mut encoders = Vec::with_capacity(columns.len());
        for (field, (_, column, _)) in fields.iter().zip(&columns) {
            let encoder = Encoder::new(field, &column.array, DecimalFormat::Base64);
            encoders.push(encoder.map_err(|e| Refusal(e.message))?);
        }
        let (mut made, mut refused) = (Made::default(), Vec::new());
        for row in 0..structs.len() {
            if structs.is_null(row) {
                refused.push((row, self.wants("Struct objects supported", "null")));
            } else {
                for ((header, column, schema), encoder) in columns.iter().zip(&mut encoders) {
                    let value = column.array.is_valid(row).then(|| {
                        let mut text = Vec::new();
                        encoder.encode(row, &mut text);
                        text
                    });
                    made.entries.push(header, value, schema);
                }
            }
            made.end();
        }
        if self.operation == Operation::Copy {
            // Nothing is touched, so no default is put anywhere.
            return Ok((given, made, refused));
        }
        let kept = |name: &str| !self.pairs.iter().any(|(field, _)| field == name);
        let (fields, columns): (Vec<_>, Vec<_>) = structs
            .fields()
            .iter()
            .zip(structs.columns())
            .filter(|(field, _)| kept(field.name()))
            .map(|(field, column)| (field.clone(), column.clone()))
            .unzip();
        Ok((values.replaced(fields, columns, false)?, made, refused))
    }
}
