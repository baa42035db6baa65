//! Avro's schemas and Connect's, each as the other, as Confluent's AvroData maps them.

use std::collections::HashMap;

use connector_core::json::{DATE, DECIMAL, TIME, TIMESTAMP};
use connector_core::schema::{Kind, Schema};
use serde_json::{Map, Value, json};

/// What Connect's names go by where Avro asks for one.
const NAMESPACE: &str = "io.confluent.connect.avro";
const UNNAMED: &str = "ConnectDefault";
const ENTRY: &str = "MapEntry";
const ENUM: &str = "io.confluent.connect.avro.Enum";
const UNION: &str = "io.confluent.connect.avro.Union";

/// How a value lies in Avro's binary form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Null,
    Boolean,
    /// `int` and `long` are the same on the wire.
    Integer,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Decimal,
    FixedDecimal(usize),
    Enum(Vec<String>),
    List(Box<Shape>),
    Map(Box<Shape>),
    /// A map as a list of records with a key and a value.
    Entries(Box<Shape>, Box<Shape>),
    Record(Vec<Shape>),
    /// Null or one other type, whose branch has this number.
    Optional(usize, Box<Shape>),
    /// A struct with one field for each branch; the second is the number of the field.
    Union(Vec<(Shape, Option<usize>)>),
}

/// One schema, both ways.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Typed {
    pub shape: Shape,
    pub schema: Schema,
}

/// Named types that were read so far; `None`: one that is being read.
pub(super) type Names = HashMap<String, Option<Typed>>;

fn typed(shape: Shape, kind: Kind) -> Typed {
    Typed { shape, schema: Schema::plain(kind, false) }
}

/// Reads an Avro schema. Names of types that it refers to are looked up in `names`, and its own are added.
pub(super) fn parse(json: &Value, namespace: &str, names: &mut Names) -> Result<Typed, String> {
    match json {
        Value::String(name) => primitive(name, &Map::new()).unwrap_or_else(|| named(name, namespace, names)),
        Value::Array(branches) => union(branches, namespace, names),
        Value::Object(object) => {
            let mut found = complex(object, namespace, names)?;
            annotate(&mut found.schema, object)?;
            Ok(found)
        }
        _ => Err("an Avro schema is a name, a list or an object".to_owned()),
    }
}

fn primitive(name: &str, object: &Map<String, Value>) -> Option<Result<Typed, String>> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let (logical, connect) = (text("logicalType"), text("connect.name"));
    let is = |avro: &str, known: &str| logical == Some(avro) || connect == Some(known);
    Some(Ok(match name {
        "null" => typed(Shape::Null, Kind::String),
        "boolean" => typed(Shape::Boolean, Kind::Boolean),
        "int" if is("date", DATE) => logical_type(Shape::Integer, Kind::Date, DATE),
        "int" if is("time-millis", TIME) => logical_type(Shape::Integer, Kind::Time, TIME),
        "long" if is("timestamp-millis", TIMESTAMP) => {
            logical_type(Shape::Integer, Kind::Timestamp, TIMESTAMP)
        }
        "int" => match text("connect.type") {
            Some("int8") => typed(Shape::Integer, Kind::Int8),
            Some("int16") => typed(Shape::Integer, Kind::Int16),
            _ => typed(Shape::Integer, Kind::Int32),
        },
        "long" => typed(Shape::Integer, Kind::Int64),
        "float" => typed(Shape::Float, Kind::Float),
        "double" => typed(Shape::Double, Kind::Double),
        "bytes" if is("decimal", DECIMAL) => decimal(Shape::Decimal, object),
        "bytes" => typed(Shape::Bytes, Kind::Bytes),
        "string" => typed(Shape::Text, Kind::String),
        _ => return None,
    }))
}

fn logical_type(shape: Shape, kind: Kind, name: &str) -> Typed {
    let schema = Schema { name: Some(name.to_owned()), version: Some(1), ..Schema::plain(kind, false) };
    Typed { shape, schema }
}

fn decimal(shape: Shape, object: &Map<String, Value>) -> Typed {
    let scale = object.get("scale").and_then(Value::as_i64).and_then(|s| i8::try_from(s).ok()).unwrap_or(0);
    let mut found = logical_type(shape, Kind::Decimal(Some(scale)), DECIMAL);
    found.schema.parameters = Some([("scale".to_owned(), scale.to_string().into())].into_iter().collect());
    found
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn named(name: &str, namespace: &str, names: &Names) -> Result<Typed, String> {
    let full = full_name(name, namespace);
    match names.get(&full).or_else(|| names.get(name)) {
        Some(Some(found)) => Ok(found.clone()),
        Some(None) => Err(format!("the Avro type `{full}` contains itself, which columns cannot hold")),
        None => Err(format!("the Avro schema uses the type `{full}`, which it does not define")),
    }
}

fn complex(object: &Map<String, Value>, namespace: &str, names: &mut Names) -> Result<Typed, String> {
    let kind = match object.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(inner) => return parse(inner, namespace, names),
        None => return Err("an Avro schema has no `type`".to_owned()),
    };
    let inner = |key: &str, names: &mut Names| match object.get(key) {
        Some(inner) => parse(inner, namespace, names),
        None => Err(format!("an Avro {kind} has no `{key}`")),
    };
    match kind {
        "array" => {
            let items = inner("items", names)?;
            let is_map = items.schema.name.as_deref() == Some("io.confluent.connect.avro.MapEntry")
                || object.get("items").and_then(|i| i.get("connect.internal.type")) == Some(&json!(ENTRY));
            match (items.shape, items.schema.kind) {
                (Shape::Record(mut shapes), Kind::Struct(mut fields)) if is_map && shapes.len() == 2 => {
                    let (value, (_, values)) = (shapes.remove(1), fields.remove(1));
                    let (key, (_, keys)) = (shapes.remove(0), fields.remove(0));
                    let shape = Shape::Entries(Box::new(key), Box::new(value));
                    Ok(typed(shape, Kind::Map(Box::new(keys), Box::new(values))))
                }
                (shape, kind) => {
                    let items = Schema { kind, ..items.schema };
                    Ok(typed(Shape::List(Box::new(shape)), Kind::Array(Box::new(items))))
                }
            }
        }
        "map" => {
            let values = inner("values", names)?;
            let keys = Box::new(Schema::plain(Kind::String, false));
            Ok(typed(Shape::Map(Box::new(values.shape)), Kind::Map(keys, Box::new(values.schema))))
        }
        "record" | "error" | "enum" | "fixed" => define(kind, object, namespace, names),
        kind => primitive(kind, object).unwrap_or_else(|| named(kind, namespace, names)),
    }
}

fn define(
    kind: &str,
    object: &Map<String, Value>,
    namespace: &str,
    names: &mut Names,
) -> Result<Typed, String> {
    let name = object.get("name").and_then(Value::as_str).ok_or(format!("an Avro {kind} has no name"))?;
    let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    let full = full_name(name, own);
    let namespace = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
    names.insert(full.clone(), None);
    let mut found = match kind {
        "enum" => {
            let symbols = object.get("symbols").and_then(Value::as_array).ok_or("an enum has no symbols")?;
            let symbols: Vec<_> = symbols.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let named = symbols.iter().map(|s| (format!("{ENUM}.{s}"), Value::from(s.as_str())));
            let parameters = [(ENUM.to_owned(), full.as_str().into())].into_iter().chain(named).collect();
            let mut found = typed(Shape::Enum(symbols.clone()), Kind::String);
            found.schema.parameters = Some(parameters);
            found
        }
        "fixed" => {
            let size = object.get("size").and_then(Value::as_u64).and_then(|s| usize::try_from(s).ok());
            let size = size.ok_or("a fixed has no size")?;
            if object.get("logicalType").and_then(Value::as_str) == Some("decimal") {
                decimal(Shape::FixedDecimal(size), object)
            } else {
                let mut found = typed(Shape::Fixed(size), Kind::Bytes);
                let parameter = ("connect.fixed.size".to_owned(), size.to_string().into());
                found.schema.parameters = Some([parameter].into_iter().collect());
                found
            }
        }
        _ => record(object, &namespace, names)?,
    };
    if found.schema.name.is_none() && full != format!("{NAMESPACE}.{UNNAMED}") {
        found.schema.name = Some(full.clone());
    }
    annotate(&mut found.schema, object)?;
    names.insert(full, Some(found.clone()));
    Ok(found)
}

fn record(object: &Map<String, Value>, namespace: &str, names: &mut Names) -> Result<Typed, String> {
    let fields = object.get("fields").and_then(Value::as_array).ok_or("a record has no fields")?;
    let (mut shapes, mut schemas) = (Vec::new(), Vec::new());
    for field in fields {
        let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
        let inner = field.get("type").ok_or_else(|| format!("the field `{name}` has no type"))?;
        let Typed { shape, mut schema } = parse(inner, namespace, names)?;
        if let Some(doc) = field.get("doc").and_then(Value::as_str) {
            schema.doc = Some(doc.to_owned());
        }
        let is_struct = matches!(schema.kind, Kind::Struct(_));
        // Bytes as a default are text in Avro and base64 in Connect's JSON; an array's first branch is told by null.
        let plain = !is_struct && !matches!(schema.kind, Kind::Bytes | Kind::Decimal(_));
        if let Some(default) = field.get("default").filter(|d| plain && !d.is_null()) {
            schema.set_default(&default.to_string())?;
        }
        shapes.push(shape);
        schemas.push((name.to_owned(), schema));
    }
    Ok(typed(Shape::Record(shapes), Kind::Struct(schemas)))
}

fn union(branches: &[Value], namespace: &str, names: &mut Names) -> Result<Typed, String> {
    let branches = branches.iter().map(|branch| Ok((branch_name(branch), parse(branch, namespace, names)?)));
    let mut branches = branches.collect::<Result<Vec<_>, String>>()?;
    let is_null = |shape: &Shape| *shape == Shape::Null;
    let optional = branches.iter().any(|(_, b)| is_null(&b.shape));
    if branches.len() == 2 && optional {
        let at = usize::from(is_null(&branches[0].1.shape));
        let (_, Typed { shape, schema }) = branches.swap_remove(at);
        let schema = Schema { optional: true, ..schema };
        return Ok(Typed { shape: Shape::Optional(at, Box::new(shape)), schema });
    }
    let (mut shapes, mut fields) = (Vec::new(), Vec::new());
    for (name, Typed { shape, schema }) in branches {
        let field = (!is_null(&shape)).then_some(fields.len());
        if field.is_some() {
            fields.push((name, Schema { optional: true, ..schema }));
        }
        shapes.push((shape, field));
    }
    let mut found = typed(Shape::Union(shapes), Kind::Struct(fields));
    found.schema.name = Some(UNION.to_owned());
    found.schema.optional = optional;
    Ok(found)
}

/// A branch's type, or the simple name of a named one.
fn branch_name(branch: &Value) -> String {
    let text = |key: &str| branch.get(key).and_then(Value::as_str);
    let name = branch.as_str().or_else(|| text("name")).or_else(|| text("type")).unwrap_or("null");
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

/// What Connect wrote down about a schema that Avro has no words for.
fn annotate(schema: &mut Schema, object: &Map<String, Value>) -> Result<(), String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(name) = text("connect.name") {
        schema.name = Some(name);
    }
    if let Some(version) = object.get("connect.version").and_then(Value::as_i64) {
        schema.version = Some(version);
    }
    if let Some(doc) = text("connect.doc").or_else(|| text("doc")) {
        schema.doc = Some(doc);
    }
    if let Some(parameters) = object.get("connect.parameters").and_then(Value::as_object) {
        schema.parameters.get_or_insert_default().extend(parameters.clone());
    }
    match object.get("connect.default") {
        Some(default) if !matches!(schema.kind, Kind::Struct(_)) => schema.set_default(&default.to_string()),
        _ => Ok(()),
    }
}

/// The Avro schema of a Connect schema. `metadata`: with Connect's own annotations (`connect.meta.data`).
pub(super) fn to_avro(schema: &Schema, metadata: bool) -> Value {
    Writer { metadata, unnamed: 0, known: HashMap::new() }.schema(schema)
}

struct Writer {
    metadata: bool,
    unnamed: usize,
    /// Types that are defined already: they are named again, not defined.
    known: HashMap<String, Schema>,
}

impl Writer {
    fn schema(&mut self, schema: &Schema) -> Value {
        let plain = self.required(schema);
        match (schema.optional, &schema.default) {
            // A default is of the first branch.
            (true, Some(_)) => json!([plain, "null"]),
            (true, None) => json!(["null", plain]),
            (false, _) => plain,
        }
    }

    fn required(&mut self, schema: &Schema) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        match &schema.kind {
            Kind::Int8 | Kind::Int16 => {
                put("type", "int".into());
                put("connect.type", schema.type_name().into());
            }
            Kind::Int32 | Kind::Date | Kind::Time => _ = put("type", "int".into()),
            Kind::Int64 | Kind::Timestamp => _ = put("type", "long".into()),
            Kind::Float => _ = put("type", "float".into()),
            Kind::Double => _ = put("type", "double".into()),
            Kind::Boolean => _ = put("type", "boolean".into()),
            Kind::String => _ = put("type", "string".into()),
            Kind::Bytes => _ = put("type", "bytes".into()),
            Kind::Decimal(scale) => {
                put("type", "bytes".into());
                put("scale", scale.unwrap_or(0).into());
                put("precision", 64.into());
            }
            Kind::Array(items) => {
                put("type", "array".into());
                put("items", self.schema(items));
            }
            Kind::Map(keys, values) if keys.kind == Kind::String && !keys.optional => {
                put("type", "map".into());
                put("values", self.schema(values));
            }
            Kind::Map(keys, values) => {
                put("type", "array".into());
                let fields = json!([
                    { "name": "key", "type": self.schema(keys) },
                    { "name": "value", "type": self.schema(values) }
                ]);
                let name = self.fresh(ENTRY);
                put(
                    "items",
                    json!({ "type": "record", "name": name, "namespace": NAMESPACE, "fields": fields,
                    "connect.internal.type": ENTRY }),
                );
            }
            Kind::Struct(fields) => {
                let full = match schema.name.as_deref() {
                    Some(name) if name != UNION => name.to_owned(),
                    _ => format!("{NAMESPACE}.{}", self.fresh(UNNAMED)),
                };
                if self.known.get(&full).is_some_and(|known| known.kind == schema.kind) {
                    return full.into();
                }
                self.known.insert(full.clone(), schema.clone());
                let (namespace, name) = full.rsplit_once('.').unwrap_or(("", &full));
                put("type", "record".into());
                put("name", name.into());
                if !namespace.is_empty() {
                    put("namespace", namespace.into());
                }
                put("fields", fields.iter().map(|(name, schema)| self.field(name, schema)).collect());
            }
        }
        self.annotate(schema, object)
    }

    /// A name that no type has yet: the first is as it is, then come numbers, as in Connect.
    fn fresh(&mut self, name: &str) -> String {
        self.unnamed += 1;
        if self.unnamed == 1 { name.to_owned() } else { format!("{name}{}", self.unnamed) }
    }

    fn field(&mut self, name: &str, schema: &Schema) -> Value {
        let mut field = Map::new();
        field.insert("name".to_owned(), name.into());
        field.insert("type".to_owned(), self.schema(schema));
        let default = schema.default_text().and_then(|text| serde_json::from_str(&text).ok());
        match default {
            // Avro's bytes are text, Connect's base64: such a default stays in Connect's annotation.
            Some(default) if !matches!(schema.kind, Kind::Bytes | Kind::Decimal(_)) => {
                field.insert("default".to_owned(), default);
            }
            None if schema.optional => _ = field.insert("default".to_owned(), Value::Null),
            _ => {}
        }
        Value::Object(field)
    }

    fn annotate(&self, schema: &Schema, mut object: Map<String, Value>) -> Value {
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        };
        if self.metadata {
            put("connect.doc", schema.doc.clone().map(Value::from));
            put("connect.version", schema.version.map(Value::from));
            put("connect.parameters", schema.parameters.clone().map(Value::from));
            let default = schema.default_text().and_then(|text| serde_json::from_str(&text).ok());
            put("connect.default", default);
            put("connect.name", schema.name.clone().map(Value::from));
        }
        let logical = match schema.kind {
            Kind::Decimal(_) => Some("decimal"),
            Kind::Date => Some("date"),
            Kind::Time => Some("time-millis"),
            Kind::Timestamp => Some("timestamp-millis"),
            _ => None,
        };
        put("logicalType", logical.map(Value::from));
        match (object.len(), object.get("type")) {
            (1, Some(kind)) => kind.clone(),
            _ => Value::Object(object),
        }
    }
}
