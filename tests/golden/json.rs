//! JSON texts as Connect sees them: what it writes in another way is the same value.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Whether `actual` is the value that Connect wrote as `expected`. Connect rewrites what it reads: the order of keys,
/// the spelling of numbers and characters; integers beyond 64 bits wrap around, numbers beyond float64 become the
/// text `Infinity`. A recording may also tag a value with its Java type (`{"$int8": 1}`), which JSON does not show.
pub fn same(expected: &str, actual: &str) -> Result<(), String> {
    compare("$", raw(expected)?, raw(actual)?)
}

fn raw(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text).map_err(|e| format!("no JSON ({e}): {text}"))
}

type Object<'a> = BTreeMap<String, &'a RawValue>;

fn compare(path: &str, expected: &RawValue, actual: &RawValue) -> Result<(), String> {
    let (want, have) = (expected.get(), actual.get());
    let differ = || Err(format!("{path}: Connect has {want}, here it is {have}"));
    match (want.as_bytes()[0], have.as_bytes()[0]) {
        (b'{', first) if first != b'{' => match tagged(want) {
            Some(inner) if inner.trim_matches('"').parse::<f64>().is_ok_and(|n| have.parse() == Ok(n)) => {
                Ok(())
            }
            // Java 17 does not always write the shortest digits of a float32.
            Some(inner)
                if want.starts_with("{\"$float32\"") && inner.parse::<f32>() == have.parse::<f32>() =>
            {
                Ok(())
            }
            Some(inner) => compare(path, raw(inner)?, actual),
            None => differ(),
        },
        (b'{', b'{') => {
            let (want, have) = (object(want)?, object(have)?);
            if let Some(key) = want.keys().find(|key| !have.contains_key(*key)) {
                return Err(format!("{path}: the key `{key}` is missing"));
            }
            if let Some(key) = have.keys().find(|key| !want.contains_key(*key)) {
                return Err(format!("{path}: the key `{key}` should not be there"));
            }
            want.iter().try_for_each(|(key, value)| compare(&format!("{path}.{key}"), value, have[key]))
        }
        (b'[', b'[') => {
            let (Ok(want), Ok(have)) = (array(want), array(have)) else { return differ() };
            if want.len() != have.len() {
                return Err(format!(
                    "{path}: Connect has {} elements, here there are {}",
                    want.len(),
                    have.len()
                ));
            }
            let pairs = want.into_iter().zip(have).enumerate();
            pairs.into_iter().try_for_each(|(at, (want, have))| compare(&format!("{path}[{at}]"), want, have))
        }
        (b'"', b'"') if utf16(want) == utf16(have) => Ok(()),
        // 1e400
        (b'"', b'-' | b'0'..=b'9') if have.parse::<f64>().is_ok_and(f64::is_infinite) => {
            if utf16(want) == utf16(if have.starts_with('-') { "\"-Infinity\"" } else { "\"Infinity\"" }) {
                return Ok(());
            }
            differ()
        }
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') if same_number(want, have) => Ok(()),
        _ if want == have => Ok(()),
        _ => differ(),
    }
}

fn object(text: &str) -> Result<Object<'_>, String> {
    serde_json::from_str(text).map_err(|e| format!("no JSON object ({e}): {text}"))
}

fn array(text: &str) -> serde_json::Result<Vec<&RawValue>> {
    serde_json::from_str(text)
}

/// The value inside a tag that tells the Java type of a number.
fn tagged(text: &str) -> Option<&str> {
    let object = object(text).ok().filter(|object| object.len() == 1)?;
    let (tag, value) = object.into_iter().next()?;
    ["$int8", "$int16", "$int32", "$float32", "$float64", "$bigint", "$decimal"]
        .contains(&tag.as_str())
        .then(|| value.get())
}

fn same_number(expected: &str, actual: &str) -> bool {
    let whole = |text: &str| !text.contains(['.', 'e', 'E']);
    match (whole(expected), whole(actual)) {
        (true, true) => expected.parse::<i64>().ok() == wrapped(actual),
        _ => expected.parse::<f64>() == actual.parse::<f64>(),
    }
}

/// The lowest 64 bits of an integer of any length.
fn wrapped(digits: &str) -> Option<i64> {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let number = digits.bytes().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
        Some(number.wrapping_mul(10).wrapping_add(digit))
    })?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// The UTF-16 units of a JSON string, halves of surrogate pairs included.
fn utf16(literal: &str) -> Vec<u16> {
    let (mut units, mut rest) = (Vec::new(), literal[1..literal.len() - 1].chars());
    while let Some(char) = rest.next() {
        let plain = match char {
            '\\' => match rest.next() {
                Some('u') => {
                    let hex: String = rest.by_ref().take(4).collect();
                    units.extend(u16::from_str_radix(&hex, 16));
                    continue;
                }
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(escaped) => escaped,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    units
}

/// The text with its keys in the order of a `java.util.HashMap`, as Connect writes schemaless objects.
pub fn in_java_order(text: &str) -> Result<String, String> {
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(text).map_err(|e| e.to_string())?;
            let values = object(text)?;
            let mut table = 16;
            while fields.len() * 4 > table * 3 {
                table *= 2;
            }
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_by_key(|key| java_hash(key) as usize & (table - 1));
            let field = |key: &&String| {
                let name = serde_json::to_string(key).map_err(|e| e.to_string())?;
                Ok(format!("{name}:{}", in_java_order(values[*key].get())?))
            };
            let fields: Vec<String> = keys.iter().map(field).collect::<Result<_, String>>()?;
            Ok(format!("{{{}}}", fields.join(",")))
        }
        Some(b'[') => {
            let elements = array(text).map_err(|e| e.to_string())?;
            let elements: Vec<_> =
                elements.iter().map(|element| in_java_order(element.get())).collect::<Result<_, _>>()?;
            Ok(format!("[{}]", elements.join(",")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// `String.hashCode`, spread as a `HashMap` does.
fn java_hash(text: &str) -> u32 {
    let hash =
        text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}
