//! Values with a schema as text, and from text: Connect's `Values`, which header converters and InsertHeader use.
//!
//! What a text means is guessed: the smallest type that holds a number, ISO dates and times, lists and maps in JSON's
//! way, and a string for the rest. What follows the first value is dropped (`1,000` is 1), as in Connect.

use serde_json::Value as Json;

use super::{Datum, Kind, Schema};
use crate::java::{DAY, ISO_DATE, ISO_TIME, ISO_TIMESTAMP, double_text, float_text, iso, parse_decimal};
use crate::json::{DATE, DECIMAL, TIME, TIMESTAMP};

/// Lists and maps in each other, at most; a text with more of them is a string.
const DEEPEST: usize = 100;

/// What a text means. Without a schema: null, and lists and maps of nothing or of several types.
pub fn parse_text(text: &str) -> (Option<Schema>, Datum) {
    let string = || (Some(Schema::plain(Kind::String, false)), Datum::Text(text.to_owned()));
    if text.is_empty() {
        return string();
    }
    let mut parser = Parser { text, at: 0, next: None, depth: 0 };
    parser.value(false).unwrap_or_else(|Unclear| string())
}

/// The text of a value, as SimpleHeaderConverter writes it; `None` for null.
pub fn text_of_value(schema: &Schema, value: &Datum) -> Option<String> {
    if *value == Datum::Null {
        return None;
    }
    let mut out = String::new();
    append(schema, value, false, &mut out);
    Some(out)
}

fn append(schema: &Schema, value: &Datum, embedded: bool, out: &mut String) {
    let quoted = |text: &str, out: &mut String| {
        if embedded {
            out.push('"');
            out.push_str(&text.replace('\\', "\\\\").replace('"', "\\\""));
            out.push('"');
        } else {
            out.push_str(text);
        }
    };
    match (value, &schema.kind) {
        (Datum::Null, _) => out.push_str("null"),
        (Datum::Boolean(flag), _) => out.push_str(if *flag { "true" } else { "false" }),
        (Datum::Integer(days), Kind::Date) => out.push_str(&iso(days.saturating_mul(DAY))),
        (Datum::Integer(millis), Kind::Time | Kind::Timestamp) => out.push_str(&iso(*millis)),
        (Datum::Integer(number), _) => out.push_str(&number.to_string()),
        #[allow(clippy::cast_possible_truncation)]
        (Datum::Float(number), Kind::Float) => out.push_str(&float_text(*number as f32)),
        (Datum::Float(number), _) => out.push_str(&double_text(*number)),
        (Datum::Text(text), _) => quoted(text, out),
        (Datum::Bytes(bytes), _) => {
            use base64::Engine;
            quoted(&base64::engine::general_purpose::STANDARD.encode(bytes), out);
        }
        (Datum::Decimal(unscaled), kind) => {
            let scale = if let Kind::Decimal(scale) = kind { scale.unwrap_or(0) } else { 0 };
            let mut text = Vec::new();
            crate::json::write_decimal(&unscaled.to_string(), scale, &mut text);
            out.push_str(&String::from_utf8_lossy(&text));
        }
        (Datum::List(values), Kind::Array(items)) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                append(items, value, true, out);
            }
            out.push(']');
        }
        (Datum::Map(entries), Kind::Map(keys, values)) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                append(keys, key, true, out);
                out.push(':');
                append(values, value, true, out);
            }
            out.push('}');
        }
        (Datum::Struct(cells), Kind::Struct(fields)) => {
            out.push('{');
            for (at, ((name, schema), cell)) in fields.iter().zip(cells).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Json::from(name.as_str()).to_string());
                out.push(':');
                append(schema, cell, true, out);
            }
            out.push('}');
        }
        _ => {}
    }
}

/// The text is not what it began to look like.
struct Unclear;

type Parsed = (Option<Schema>, Datum);

/// Tokens: `:`, `,`, brackets, braces and quotes, and what is between them. A backslash takes their meaning.
struct Parser<'t> {
    text: &'t str,
    at: usize,
    next: Option<&'t str>,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn has_next(&self) -> bool {
        self.next.is_some() || self.at < self.text.len()
    }

    fn token(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        for (at, next) in rest.char_indices() {
            match next {
                '\\' => escaped = !escaped,
                ':' | ',' | '{' | '}' | '[' | ']' | '"' if !escaped => {
                    let length = if at > 0 { at } else { 1 };
                    self.at += length;
                    return &rest[..length];
                }
                _ => escaped = false,
            }
        }
        self.at = self.text.len();
        rest
    }

    fn take(&mut self) -> &'t str {
        match self.next.take() {
            Some(token) => token,
            None => self.token(),
        }
    }

    fn mark(&self) -> usize {
        self.at - self.next.map_or(0, str::len)
    }

    fn rewind(&mut self, to: usize) {
        self.at = to;
        self.next = None;
    }

    /// Takes the next token if it is this one; blanks around it do not count.
    fn consume(&mut self, expected: &str) -> bool {
        if !self.has_next() {
            return false;
        }
        let mut token = self.take();
        while token.trim().is_empty() && self.at < self.text.len() {
            token = self.token();
        }
        if token.trim() == expected {
            return true;
        }
        self.next = Some(token);
        false
    }

    fn value(&mut self, embedded: bool) -> Result<Parsed, Unclear> {
        if !self.has_next() {
            return Ok((None, Datum::Null));
        }
        if embedded && self.consume("\"") {
            return Ok(self.quoted());
        }
        if self.consume("null") {
            return Ok((None, Datum::Null));
        }
        for (word, flag) in [("true", true), ("false", false)] {
            if self.consume(word) {
                return Ok((Some(Schema::plain(Kind::Boolean, false)), Datum::Boolean(flag)));
            }
        }
        for (open, read) in [("[", Self::list as fn(&mut Self) -> _), ("{", Self::map)] {
            if self.consume(open) {
                if self.depth == DEEPEST {
                    return Err(Unclear);
                }
                self.depth += 1;
                let found = read(self);
                self.depth -= 1;
                return found;
            }
        }
        let token = self.take().trim();
        let first = token.chars().next();
        if first.is_some_and(|c| c.is_ascii_digit())
            && let Some(found) = self.temporal(token)
        {
            return Ok(found);
        }
        if first.is_some_and(|c| c.is_ascii_digit() || matches!(c, '+' | '-'))
            && let Some(found) = number(token)
        {
            return Ok(found);
        }
        Err(Unclear)
    }

    fn quoted(&mut self) -> Parsed {
        let mut content = String::new();
        while self.has_next() && !self.consume("\"") {
            content.push_str(self.take());
        }
        temporal(&content).unwrap_or((Some(Schema::plain(Kind::String, false)), Datum::Text(content)))
    }

    /// A time or a timestamp is five tokens, because of its colons.
    fn temporal(&mut self, token: &str) -> Option<Parsed> {
        let start = self.mark();
        let whole = (0..4).all(|_| self.has_next() && !self.take().is_empty());
        if whole && let Some(found) = temporal(&format!("{token}{}", &self.text[start..self.mark()])) {
            return Some(found);
        }
        self.rewind(start);
        temporal(token)
    }

    fn list(&mut self) -> Result<Parsed, Unclear> {
        let (mut values, mut items) = (Vec::new(), None);
        while self.has_next() {
            if self.consume("]") {
                let Some(items) = items else {
                    return Ok((None, Datum::List(values.into_iter().map(|(_, v)| v).collect())));
                };
                let values =
                    values.into_iter().map(|value| aligned(&items, value)).collect::<Result<_, _>>()?;
                return Ok((Some(Schema::plain(Kind::Array(Box::new(items)), false)), Datum::List(values)));
            }
            if self.consume(",") {
                return Err(Unclear);
            }
            let value = self.value(true)?;
            items = common(items, value.0.as_ref());
            values.push(value);
            let here = self.mark();
            if self.consume("]") {
                self.rewind(here);
            } else if !self.consume(",") {
                return Err(Unclear);
            }
        }
        Err(Unclear)
    }

    fn map(&mut self) -> Result<Parsed, Unclear> {
        let (mut entries, mut keys, mut values) = (Vec::<(Parsed, Parsed)>::new(), None, None);
        while self.has_next() {
            if self.consume("}") {
                let (Some(keys), Some(values)) = (keys, values) else {
                    let plain = entries.into_iter().map(|(key, value)| (key.1, value.1));
                    return Ok((None, Datum::Map(plain.collect())));
                };
                let entries =
                    entries.into_iter().map(|(k, v)| Ok((aligned(&keys, k)?, aligned(&values, v)?)));
                let entries = entries.collect::<Result<_, _>>()?;
                let kind = Kind::Map(Box::new(keys), Box::new(values));
                return Ok((Some(Schema::plain(kind, false)), Datum::Map(entries)));
            }
            if self.consume(",") {
                return Err(Unclear);
            }
            let key = self.value(true)?;
            if key.1 == Datum::Null || !self.consume(":") {
                return Err(Unclear);
            }
            let value = self.value(true)?;
            self.consume(",");
            keys = common(keys, key.0.as_ref());
            values = common(values, value.0.as_ref());
            entries.retain(|(known, _)| known.1 != key.1);
            entries.push((key, value));
        }
        Err(Unclear)
    }
}

/// The type that holds both, if there is one.
fn common(previous: Option<Schema>, latest: Option<&Schema>) -> Option<Schema> {
    let Some(latest) = latest else { return previous };
    let Some(previous) = previous else { return Some(latest.clone()) };
    let rank = |kind: &Kind| {
        [Kind::Int8, Kind::Int16, Kind::Int32, Kind::Int64, Kind::Float, Kind::Double]
            .iter()
            .position(|k| k == kind)
    };
    match (rank(&previous.kind), rank(&latest.kind)) {
        (Some(a), Some(b)) => Some(if b >= a { latest.clone() } else { previous }),
        _ if previous.type_name() == latest.type_name() => Some(latest.clone()),
        _ => None,
    }
}

/// A value in the type that all share; there is none for null.
fn aligned(schema: &Schema, (own, value): Parsed) -> Result<Datum, Unclear> {
    let float = matches!(schema.kind, Kind::Float | Kind::Double);
    match value {
        Datum::Null => Err(Unclear),
        #[allow(clippy::cast_precision_loss)]
        Datum::Integer(number) if float => Ok(Datum::Float(number as f64)),
        value
            if own.is_some_and(|own| own.type_name() == schema.type_name())
                || matches!(value, Datum::Integer(_) | Datum::Float(_)) =>
        {
            Ok(value)
        }
        _ => Err(Unclear),
    }
}

fn logical(kind: Kind, name: &str) -> Schema {
    Schema { name: Some(name.to_owned()), version: Some(1), ..Schema::plain(kind, false) }
}

/// A date, a time or a timestamp in ISO form, told by its length.
fn temporal(text: &str) -> Option<Parsed> {
    let text = text.replace("\\:", ":");
    Some(match text.chars().count() {
        10 => {
            let days = ISO_DATE.parse(&text)?.div_euclid(DAY);
            (Some(logical(Kind::Date, DATE)), Datum::Integer(days))
        }
        13 => (Some(logical(Kind::Time, TIME)), Datum::Integer(ISO_TIME.parse(&text)?)),
        24 => (Some(logical(Kind::Timestamp, TIMESTAMP)), Datum::Integer(ISO_TIMESTAMP.parse(&text)?)),
        _ => return None,
    })
}

/// The smallest type that holds a number: of whole ones exactly, of others roughly.
fn number(text: &str) -> Option<Parsed> {
    let (digits, scale) = parse_decimal(text)?;
    let decimal = || {
        let parameters = [("scale".to_owned(), Json::from(scale.to_string()))].into_iter().collect();
        let kind = Kind::Decimal(i8::try_from(scale).ok());
        let schema = Schema { parameters: Some(parameters), ..logical(kind, DECIMAL) };
        (Some(schema), Datum::Decimal(digits))
    };
    let power = 10i128.checked_pow(scale.unsigned_abs());
    let whole = match (scale > 0, power) {
        (true, Some(power)) => (digits % power == 0).then(|| Some(digits / power)),
        (true, None) => (digits == 0).then_some(Some(0)),
        // Too large for any integer.
        (false, power) => {
            Some(power.and_then(|power| digits.checked_mul(power)).or((digits == 0).then_some(0)))
        }
    };
    let long = whole.flatten().and_then(|whole| i64::try_from(whole).ok());
    if let Some(number) = long {
        let kind = match number {
            _ if i8::try_from(number).is_ok() => Kind::Int8,
            _ if i16::try_from(number).is_ok() => Kind::Int16,
            _ if i32::try_from(number).is_ok() => Kind::Int32,
            _ => Kind::Int64,
        };
        return Some((Some(Schema::plain(kind, false)), Datum::Integer(number)));
    }
    // A whole number that is written out is exact.
    if scale == 0 {
        return Some(decimal());
    }
    let rough = format!("{digits}e{}", -scale);
    let (small, wide): (f32, f64) = (rough.parse().ok()?, rough.parse().ok()?);
    Some(match (small.is_finite(), wide.is_finite()) {
        (true, _) => (Some(Schema::plain(Kind::Float, false)), Datum::Float(small.into())),
        (false, true) => (Some(Schema::plain(Kind::Double, false)), Datum::Float(wide)),
        _ => decimal(),
    })
}

/// The JSON payload of a value; without a schema, as it is.
pub fn payload_text(schema: Option<&Schema>, value: &Datum) -> String {
    match schema {
        Some(schema) => super::payload::text_of(schema, value).unwrap_or_else(|| "null".to_owned()),
        None => plain(value).to_string(),
    }
}

/// A value whose parts have no common schema, as JSON.
fn plain(value: &Datum) -> Json {
    match value {
        Datum::Boolean(flag) => (*flag).into(),
        Datum::Integer(number) => (*number).into(),
        Datum::Float(number) => (*number).into(),
        Datum::Text(text) => text.as_str().into(),
        Datum::List(values) => values.iter().map(plain).collect(),
        Datum::Map(entries) => {
            let key = |key: &Datum| match plain(key) {
                Json::String(text) => text,
                other => other.to_string(),
            };
            Json::Object(entries.iter().map(|(k, v)| (key(k), plain(v))).collect())
        }
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> Option<String> {
        let (schema, value) = parse_text(text);
        text_of_value(&schema?, &value)
    }

    #[test]
    fn texts_are_guessed_and_written_as_connect_does_c_06() {
        for (text, written) in [
            ("1.0", "1"),
            ("1e2", "100"),
            ("1,000", "1"),
            ("12:34:56Z", "12"),
            (" 5 ", "5"),
            ("2024-01-02T03:04:05.678Z", "2024-01-02T03:04:05.678Z"),
            ("{\"b\":1,\"a\":300}", "{\"b\":1,\"a\":300}"),
            ("[1,null]", "[1,null]"),
            ("  padded text ", "  padded text "),
        ] {
            assert_eq!(again(text).as_deref(), Some(written), "{text}");
        }
    }

    #[test]
    fn a_text_of_too_many_levels_is_a_string() {
        let deep = "[".repeat(100_000);
        assert_eq!(parse_text(&deep).1, Datum::Text(deep));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in prop_oneof![".*", "[\\[\\]{},:\"\\\\0-9eE.+a -]{0,40}"]) {
            let (schema, value) = parse_text(&text);
            payload_text(schema.as_ref(), &value);
            schema.map(|schema| text_of_value(&schema, &value));
        }
    }
}
