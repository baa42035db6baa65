//! Connect's schemas: as JSON (`{"type":"struct","fields":[…]}`) and as Arrow fields.
//!
//! Arrow's types carry Connect's types; name, version, doc, parameters and default travel in the field's metadata as
//! `connect.name` and so on. Whether a top-level schema is optional does too, because the value column of a batch is
//! always nullable.

mod payload;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Scalar, StructArray};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use payload::text_of;
pub use payload::{Datum, Pairs, array, datum};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
pub use text::{parse_text, payload_text, text_of_value};

use crate::error::ConnectError;
use crate::json::{DATE, DECIMAL, NAME, TIME, TIMESTAMP};

pub const VERSION: &str = "connect.version";
pub const DOC: &str = "connect.doc";
/// A JSON object of texts.
pub const PARAMETERS: &str = "connect.parameters";
/// The default as it stands in a JSON schema.
pub const DEFAULT: &str = "connect.default";
/// Whether the schema of a key or value column is optional; `false` when it is not there.
pub const OPTIONAL: &str = "connect.optional";

/// Digits of a decimal, at most.
const PRECISION: u8 = 38;

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Int8,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
    Boolean,
    String,
    Bytes,
    /// Bytes named Decimal; the scale, where the parameters have a usable one.
    Decimal(Option<i8>),
    /// Int32 named Date.
    Date,
    /// Int32 named Time.
    Time,
    /// Int64 named Timestamp.
    Timestamp,
    Array(Box<Schema>),
    Map(Box<Schema>, Box<Schema>),
    Struct(Vec<(String, Schema)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub kind: Kind,
    pub optional: bool,
    pub name: Option<String>,
    pub version: Option<i64>,
    pub doc: Option<String>,
    pub parameters: Option<Map<String, Value>>,
    pub default: Option<Datum>,
}

impl Schema {
    pub fn plain(kind: Kind, optional: bool) -> Self {
        Self { kind, optional, name: None, version: None, doc: None, parameters: None, default: None }
    }

    /// Reads a JSON schema; the error is Connect's text.
    pub fn parse(json: &Value) -> Result<Self, String> {
        let inner = |key: &str, missing: &str| match json.get(key) {
            None | Some(Value::Null) => Err(missing.to_owned()),
            Some(inner) => Self::parse(inner).map(Box::new),
        };
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let name = text("name");
        let kind = match text("type").ok_or("Schema must contain 'type' field")? {
            "int8" => Kind::Int8,
            "int16" => Kind::Int16,
            "int32" if name == Some(DATE) => Kind::Date,
            "int32" if name == Some(TIME) => Kind::Time,
            "int32" => Kind::Int32,
            "int64" if name == Some(TIMESTAMP) => Kind::Timestamp,
            "int64" => Kind::Int64,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "boolean" => Kind::Boolean,
            "string" => Kind::String,
            "bytes" if name == Some(DECIMAL) => {
                let scale = json.get("parameters").and_then(|p| p.get("scale")).and_then(Value::as_str);
                Kind::Decimal(scale.and_then(|s| s.parse().ok()).filter(|&s: &i8| s <= PRECISION as i8))
            }
            "bytes" => Kind::Bytes,
            "array" => Kind::Array(inner("items", "Array schema did not specify the element type")?),
            "map" => Kind::Map(
                inner("keys", "Map schema did not specify the key type")?,
                inner("values", "Map schema did not specify the value type")?,
            ),
            "struct" => {
                let fields = json.get("fields").and_then(Value::as_array);
                let fields = fields.ok_or("Struct schema's \"fields\" argument is not an array.")?;
                let field = |field: &Value| {
                    let name = field.get("field").and_then(Value::as_str);
                    let name = name.ok_or("Struct schema's field name not specified properly")?;
                    Ok((name.to_owned(), Self::parse(field)?))
                };
                Kind::Struct(fields.iter().map(field).collect::<Result<_, String>>()?)
            }
            other => return Err(format!("Unknown schema type: {other}")),
        };
        let parameters = json.get("parameters").and_then(Value::as_object);
        if parameters.is_some_and(|p| p.values().any(|v| !v.is_string())) {
            return Err("Schema parameters must have string values.".to_owned());
        }
        let mut schema = Self {
            optional: json.get("optional") == Some(&Value::Bool(true)),
            name: name.map(str::to_owned),
            version: json.get("version").filter(|v| v.is_i64()).and_then(Value::as_i64),
            doc: text("doc").map(str::to_owned),
            parameters: parameters.cloned(),
            ..Self::plain(kind, false)
        };
        if let Some(default) = json.get("default") {
            schema.set_default(&default.to_string())?;
        }
        Ok(schema)
    }

    /// Sets the default from JSON as it stands in a schema.
    pub fn set_default(&mut self, json: &str) -> Result<(), String> {
        if matches!(self.kind, Kind::Struct(_)) {
            return Err("Invalid default value".to_owned());
        }
        let raw: &RawValue = serde_json::from_str(json).map_err(|_| "Invalid default value")?;
        self.default = Some(datum(self, Some(raw), false)?).filter(|d| *d != Datum::Null);
        Ok(())
    }

    /// The JSON schema, its keys in Connect's order; `field` is its name within a struct.
    pub fn to_json(&self, field: Option<&str>) -> Value {
        let mut json = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                json.insert(key.to_owned(), value);
            }
        };
        put("type", Some(self.type_name().into()));
        match &self.kind {
            Kind::Array(items) => put("items", Some(items.to_json(None))),
            Kind::Map(keys, values) => {
                put("keys", Some(keys.to_json(None)));
                put("values", Some(values.to_json(None)));
            }
            Kind::Struct(fields) => {
                put("fields", Some(fields.iter().map(|(name, schema)| schema.to_json(Some(name))).collect()));
            }
            _ => {}
        }
        put("optional", Some(self.optional.into()));
        put("name", self.name.clone().map(Value::from));
        put("version", self.version.map(Value::from));
        put("doc", self.doc.clone().map(Value::from));
        put("parameters", self.parameters.clone().map(Value::from));
        put("default", self.default_text().and_then(|text| serde_json::from_str(&text).ok()));
        put("field", field.map(Value::from));
        Value::Object(json)
    }

    /// The default as it stands in a JSON schema.
    pub fn default_text(&self) -> Option<String> {
        text_of(self, self.default.as_ref()?)
    }

    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Int8 => "int8",
            Kind::Int16 => "int16",
            Kind::Int32 | Kind::Date | Kind::Time => "int32",
            Kind::Int64 | Kind::Timestamp => "int64",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Boolean => "boolean",
            Kind::String => "string",
            Kind::Bytes | Kind::Decimal(_) => "bytes",
            Kind::Array(_) => "array",
            Kind::Map(..) => "map",
            Kind::Struct(_) => "struct",
        }
    }

    /// The type as Connect's messages name it.
    pub fn type_name_in_messages(&self) -> String {
        match self.kind {
            Kind::Float => "FLOAT32".to_owned(),
            Kind::Double => "FLOAT64".to_owned(),
            _ => self.type_name().to_ascii_uppercase(),
        }
    }

    pub fn data_type(&self) -> DataType {
        match &self.kind {
            Kind::Int8 => DataType::Int8,
            Kind::Int16 => DataType::Int16,
            Kind::Int32 => DataType::Int32,
            Kind::Int64 => DataType::Int64,
            Kind::Float => DataType::Float32,
            Kind::Double => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
            Kind::String => DataType::Utf8,
            Kind::Bytes => DataType::Binary,
            Kind::Decimal(scale) => DataType::Decimal128(PRECISION, scale.unwrap_or(0)),
            Kind::Date => DataType::Date32,
            Kind::Time => DataType::Time32(TimeUnit::Millisecond),
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Kind::Array(items) => DataType::List(Arc::new(items.field("item"))),
            Kind::Map(keys, values) => {
                // Arrow has no null keys; Connect's JSON has none either.
                let keys = keys.field("keys").with_nullable(false);
                let entry = DataType::Struct(vec![keys, values.field("values")].into());
                DataType::Map(Arc::new(Field::new("entries", entry, false)), false)
            }
            Kind::Struct(_) => DataType::Struct(self.fields()),
        }
    }

    /// The fields of a struct.
    pub fn fields(&self) -> Fields {
        match &self.kind {
            Kind::Struct(fields) => fields.iter().map(|(name, schema)| schema.field(name)).collect(),
            _ => Fields::empty(),
        }
    }

    pub fn field(&self, name: &str) -> Field {
        Field::new(name, self.data_type(), self.optional).with_metadata(self.metadata().collect())
    }

    fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let parameters = self.parameters.as_ref().map(|p| Value::from(p.clone()).to_string());
        let version = self.version.map(|v| v.to_string());
        [
            (NAME, self.name.clone()),
            (VERSION, version),
            (DOC, self.doc.clone()),
            (PARAMETERS, parameters),
            (DEFAULT, self.default_text()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    }

    /// The metadata of a key or value column with this schema.
    pub fn column_metadata(&self, mut metadata: HashMap<String, String>) -> HashMap<String, String> {
        metadata.extend(self.metadata());
        metadata.insert(OPTIONAL.to_owned(), self.optional.to_string());
        metadata
    }

    /// The schema of a key or value column.
    pub fn of_column(field: &Field) -> Result<Self, String> {
        let optional = field.metadata().get(OPTIONAL).is_some_and(|o| o == "true");
        Ok(Self { optional, ..Self::of(field)? })
    }

    /// The schema of a field. What has no type of its own in Connect gets the one that its JSON form has: plain dates
    /// and times are strings, plain decimals doubles, unsigned integers the next larger type.
    pub fn of(field: &Field) -> Result<Self, String> {
        let metadata = |key: &str| field.metadata().get(key).cloned();
        let name = metadata(NAME);
        let named = |known: &str| name.as_deref() == Some(known);
        let kind = match field.data_type() {
            DataType::Int8 => Kind::Int8,
            DataType::Int16 | DataType::UInt8 => Kind::Int16,
            DataType::Int32 | DataType::UInt16 => Kind::Int32,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Kind::Int64,
            DataType::Float16 | DataType::Float32 => Kind::Float,
            DataType::Float64 => Kind::Double,
            DataType::Boolean => Kind::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Kind::String,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Kind::Bytes,
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if named(DECIMAL) => {
                Kind::Decimal(Some(*scale))
            }
            DataType::Decimal128(..) | DataType::Decimal256(..) => Kind::Double,
            DataType::Date32 | DataType::Date64 if named(DATE) => Kind::Date,
            DataType::Time32(_) | DataType::Time64(_) if named(TIME) => Kind::Time,
            DataType::Timestamp(..) if named(TIMESTAMP) => Kind::Timestamp,
            t if t.is_temporal() && !matches!(t, DataType::Duration(_) | DataType::Interval(_)) => {
                Kind::String
            }
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Kind::Array(Box::new(Self::of(item)?))
            }
            DataType::Map(entry, _) => match entry.data_type() {
                DataType::Struct(parts) if parts.len() == 2 => {
                    Kind::Map(Box::new(Self::of(&parts[0])?), Box::new(Self::of(&parts[1])?))
                }
                _ => return Err(format!("field `{}` is a map without entries", field.name())),
            },
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|f| Ok((f.name().clone(), Self::of(f)?)));
                Kind::Struct(fields.collect::<Result<_, String>>()?)
            }
            other => {
                return Err(format!("field `{}` is of type {other}, which Connect has not", field.name()));
            }
        };
        let scale = |kind: &Kind| match kind {
            Kind::Decimal(Some(scale)) => {
                Some([("scale".to_owned(), scale.to_string().into())].into_iter().collect())
            }
            _ => None,
        };
        let mut schema = Self {
            version: metadata(VERSION).and_then(|v| v.parse().ok()),
            doc: metadata(DOC),
            parameters: metadata(PARAMETERS)
                .and_then(|p| serde_json::from_str(&p).ok())
                .or_else(|| scale(&kind)),
            name,
            ..Self::plain(kind, field.is_nullable())
        };
        if let Some(default) = metadata(DEFAULT) {
            schema.set_default(&default)?;
        }
        Ok(schema)
    }
}

/// The same values, with the default of a struct's field wherever that field is null.
pub fn with_defaults(values: &ArrayRef) -> Result<ArrayRef, ConnectError> {
    let Some(structs) = values.as_struct_opt() else { return Ok(values.clone()) };
    let filled = |(field, column): (&Arc<Field>, &ArrayRef)| -> Result<ArrayRef, ConnectError> {
        let column = with_defaults(column)?;
        if column.null_count() == 0 || !field.metadata().contains_key(DEFAULT) {
            return Ok(column);
        }
        let schema = Schema::of(field).map_err(|message| ConnectError::user("json.schema", message))?;
        let default = compute::cast(&array(&schema, &[schema.default.as_ref()])?, column.data_type())?;
        Ok(compute::kernels::zip::zip(&compute::is_not_null(&column)?, &column, &Scalar::new(default))?)
    };
    let columns: Vec<_> =
        structs.fields().iter().zip(structs.columns()).map(filled).collect::<Result<_, _>>()?;
    if columns.iter().zip(structs.columns()).all(|(new, old)| Arc::ptr_eq(new, old)) {
        return Ok(values.clone());
    }
    let (fields, nulls) = (structs.fields().clone(), structs.nulls().cloned());
    Ok(Arc::new(StructArray::try_new_with_length(fields, columns, nulls, structs.len())?))
}
