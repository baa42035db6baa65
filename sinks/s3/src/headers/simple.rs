//! The text of a header after Connect's SimpleHeaderConverter has read it and written it again: numbers, booleans, dates,
//! lists and maps change their spelling, anything else stays.

use chrono::{DateTime, NaiveDate};

const DAY_MS: i64 = 86_400_000;

/// The header's text, read and written again.
pub fn again(text: &str) -> String {
    let mut tokens = Tokens { text, at: 0 };
    match value(&mut tokens, false, 0) {
        Some(value) => value.text(false),
        None => text.to_owned(),
    }
}

/// Lists and maps in each other, at most; deeper ones stay text.
const DEEPEST: usize = 100;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    /// With the text that Java writes.
    Decimal(String),
    Text(String),
    /// Epoch milliseconds.
    Date(i64),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

/// What stands between two of `[]{},:"`, and these characters themselves.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    fn next(&mut self) -> Option<&'t str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let mut escaped = false;
        let mut length = rest.len();
        for (at, character) in rest.char_indices() {
            match character {
                '\\' => escaped = !escaped,
                '[' | ']' | '{' | '}' | ',' | ':' | '"' if !escaped => {
                    length = at.max(1);
                    break;
                }
                _ => escaped = false,
            }
        }
        self.at += length;
        rest.get(..length)
    }

    /// Takes `wanted` if it comes next; blanks before it do not count.
    fn take(&mut self, wanted: &str) -> bool {
        let before = self.at;
        let mut token = self.next();
        while token.is_some_and(|token| token.trim().is_empty()) {
            token = self.next();
        }
        let taken = token.is_some_and(|token| token.trim() == wanted);
        if !taken {
            self.at = before;
        }
        taken
    }
}

/// `None`: what comes is a text as a whole, or nothing that can be inside of a list or map.
fn value(tokens: &mut Tokens<'_>, inside: bool, depth: usize) -> Option<Value> {
    if inside && tokens.take("\"") {
        return Some(quoted(tokens));
    }
    for (word, value) in
        [("true", Value::Boolean(true)), ("false", Value::Boolean(false)), ("null", Value::Null)]
    {
        let before = tokens.at;
        if tokens.take(word) {
            if inside || tokens.text.get(tokens.at..).is_some_and(|rest| rest.trim().is_empty()) {
                return Some(value);
            }
            tokens.at = before;
        }
    }
    let start = tokens.at;
    let nested = match depth < DEEPEST {
        true if tokens.take("[") => list(tokens, depth),
        true if tokens.take("{") => map(tokens, depth),
        _ => None,
    };
    if nested.is_some() {
        return nested;
    }
    tokens.at = start;
    let token = tokens.next()?.trim();
    if token.starts_with(|c: char| c.is_ascii_digit()) {
        // A time of day has colons, which end a token: four more are the rest of it.
        let before = tokens.at;
        let whole: Option<String> =
            (0..4).map(|_| tokens.next()).collect::<Option<Vec<_>>>().map(|rest| rest.concat());
        if let Some(date) = whole.and_then(|rest| date(&format!("{token}{rest}"))) {
            return Some(date);
        }
        tokens.at = before;
        if let Some(date) = date(token) {
            return Some(date);
        }
    }
    if token.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '-') { number(token) } else { None }
}

fn quoted(tokens: &mut Tokens<'_>) -> Value {
    let mut text = String::new();
    while !tokens.take("\"") {
        match tokens.next() {
            Some(token) => text.push_str(token),
            None => break,
        }
    }
    date(&text).unwrap_or(Value::Text(text))
}

fn list(tokens: &mut Tokens<'_>, depth: usize) -> Option<Value> {
    let mut items = Vec::new();
    loop {
        if tokens.take("]") {
            return Some(Value::List(alike(items)?));
        }
        if tokens.take(",") {
            return None;
        }
        items.push(value(tokens, true, depth + 1)?);
        let before = tokens.at;
        if tokens.take("]") {
            tokens.at = before;
        } else if !tokens.take(",") {
            return None;
        }
    }
}

fn map(tokens: &mut Tokens<'_>, depth: usize) -> Option<Value> {
    let (mut keys, mut values) = (Vec::<Value>::new(), Vec::new());
    loop {
        if tokens.take("}") {
            let pairs = alike(keys)?.into_iter().zip(alike(values)?);
            return Some(Value::Map(pairs.collect()));
        }
        if tokens.take(",") {
            return None;
        }
        let key = value(tokens, true, depth + 1).filter(|key| *key != Value::Null)?;
        if !tokens.take(":") {
            return None;
        }
        let entry = value(tokens, true, depth + 1)?;
        // Of a key that comes twice the last value counts.
        match keys.iter().position(|known| *known == key) {
            Some(at) => {
                if let Some(slot) = values.get_mut(at) {
                    *slot = entry;
                }
            }
            None => {
                keys.push(key);
                values.push(entry);
            }
        }
        tokens.take(",");
    }
}

/// Numbers of different types become those of the widest; a null beside a value makes the whole a text.
fn alike(items: Vec<Value>) -> Option<Vec<Value>> {
    let nulls = items.iter().filter(|item| **item == Value::Null).count();
    if nulls > 0 && nulls < items.len() {
        return None;
    }
    let numbers = items.iter().all(|i| matches!(i, Value::Integer(_) | Value::Float(_) | Value::Double(_)));
    if !numbers {
        return Some(items);
    }
    let double = items.iter().any(|item| matches!(item, Value::Double(_)));
    let float = items.iter().any(|item| matches!(item, Value::Float(_)));
    let widened = items.into_iter().map(|item| match item {
        Value::Integer(n) if double => Value::Double(n as f64),
        Value::Float(n) if double => Value::Double(n.into()),
        Value::Integer(n) if float => Value::Float(n as f32),
        other => other,
    });
    Some(widened.collect())
}

/// `2024-01-02`, `12:34:56.789Z` or both with a `T`; days and hours that are too large run over, as Java reads them.
fn date(text: &str) -> Option<Value> {
    let text = text.replace("\\:", ":");
    let (day, time) = match text.len() {
        10 => (Some(text.as_str()), None),
        13 => (None, Some(text.as_str())),
        24 => (text.get(..10), Some(text.get(10..)?.strip_prefix('T')?)),
        _ => return None,
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let mut ms = 0;
    if let Some(day) = day {
        let mut parts = day.split('-').map(number);
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() {
            return None;
        }
        let months = year * 12 + month - 1;
        let (year, month) =
            (i32::try_from(months.div_euclid(12)).ok()?, u32::try_from(months.rem_euclid(12)).ok()? + 1);
        ms += (i64::from(NaiveDate::from_ymd_opt(year, month, 1)?.to_epoch_days()) + day - 1) * DAY_MS;
    }
    if let Some(time) = time {
        let (time, millis) = time.strip_suffix('Z')?.split_once('.')?;
        let mut parts = time.split(':').map(number);
        let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() {
            return None;
        }
        ms += ((hours * 60 + minutes) * 60 + seconds) * 1000 + number(millis)?;
    }
    Some(Value::Date(ms))
}

/// A number as Java's BigDecimal reads it: whole ones of 64 bits are integers, others floats or doubles if these hold
/// them.
fn number(token: &str) -> Option<Value> {
    let (negative, rest) = match token.as_bytes().first()? {
        b'-' => (true, token.get(1..)?),
        b'+' => (false, token.get(1..)?),
        _ => (false, token),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let valid = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            (mantissa, valid.then(|| exponent.parse::<i64>().ok())??)
        }
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = fraction.len() as i64 - exponent;
    let unscaled = digits.trim_start_matches('0');
    let significant = unscaled.trim_end_matches('0');
    if significant.is_empty() {
        return Some(Value::Integer(0));
    }
    // The value is `significant` × 10^power.
    let power = (unscaled.len() - significant.len()) as i64 - scale;
    let sign = if negative { "-" } else { "" };
    if (0..=19).contains(&power) {
        let text = format!("{sign}{significant}{}", "0".repeat(usize::try_from(power).ok()?));
        if let Ok(integer) = text.parse() {
            return Some(Value::Integer(integer));
        }
    }
    if scale != 0 {
        let text = format!("{sign}{significant}e{power}");
        if let Some(float) = text.parse::<f32>().ok().filter(|n| n.is_finite()) {
            return Some(Value::Float(float));
        }
        if let Some(double) = text.parse::<f64>().ok().filter(|n| n.is_finite()) {
            return Some(Value::Double(double));
        }
    }
    Some(Value::Decimal(format!("{sign}{}", decimal(unscaled, scale))))
}

/// Java's text of a decimal that no double holds, so that its exponent is large.
fn decimal(unscaled: &str, scale: i64) -> String {
    let (first, rest) = unscaled.split_at(1);
    match usize::try_from(scale) {
        Ok(0) => unscaled.to_owned(),
        Ok(scale) => {
            let (whole, fraction) = unscaled.split_at(unscaled.len().saturating_sub(scale));
            format!("{whole}.{fraction}")
        }
        Err(_) => {
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}E+{}", rest.len() as i64 - scale)
        }
    }
}

/// Java's text of a float or a double, from Rust's shortest digits (`1.5e21`).
fn java(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    if mantissa == "0" {
        return format!("{sign}0.0");
    }
    let digits = mantissa.replace('.', "");
    let or_zero = |text: &str| if text.is_empty() { "0".to_owned() } else { text.to_owned() };
    match exponent {
        0..7 => {
            let point = exponent as usize + 1;
            let padded = format!("{digits:0<point$}");
            let (whole, fraction) = padded.split_at(point);
            format!("{sign}{whole}.{}", or_zero(fraction))
        }
        -3..0 => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        _ => {
            let (first, rest) = digits.split_at(1);
            format!("{sign}{first}.{}E{exponent}", or_zero(rest))
        }
    }
}

impl Value {
    fn text(&self, inside: bool) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => java(&format!("{number:e}")),
            Self::Double(number) => java(&format!("{number:e}")),
            Self::Decimal(text) => text.clone(),
            Self::Text(text) if inside => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Text(text) => text.clone(),
            Self::Date(ms) => {
                // What is within the first day counts as a time of day.
                let form = match ms {
                    ..DAY_MS => "%H:%M:%S%.3fZ",
                    _ if ms % DAY_MS == 0 => "%Y-%m-%d",
                    _ => "%Y-%m-%dT%H:%M:%S%.3fZ",
                };
                DateTime::from_timestamp_millis(*ms).map(|at| at.format(form).to_string()).unwrap_or_default()
            }
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.text(true)).collect();
                format!("[{}]", items.join(","))
            }
            Self::Map(pairs) => {
                let pairs: Vec<String> = pairs
                    .iter()
                    .map(|(key, value)| format!("{}:{}", key.text(true), value.text(true)))
                    .collect();
                format!("{{{}}}", pairs.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_of_the_recorded_cases_s3g_155() {
        for (text, expected) in [
            ("12", "12"),
            ("1.50", "1.5"),
            ("true", "true"),
            ("[1, 2]", "[1,2]"),
            ("{\"k\":\"v\"}", "{\"k\":\"v\"}"),
            ("\"x\"", "\"x\""),
            ("plain", "plain"),
            ("12345678901234567890", "12345678901234567890"),
            ("-0.0", "0"),
            ("1e21", "1.0E21"),
            ("2024-01-01", "2024-01-01"),
            ("2024-01-01T00:00:00.000Z", "2024-01-01"),
            ("12:34:56.789Z", "12:34:56.789Z"),
            ("é☃😀", "é☃😀"),
            ("[1,\"a\"]", "[1,\"a\"]"),
            ("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}"),
            ("{\"x\":[1,{\"y\":2}]}", "{\"x\":[1,{\"y\":2}]}"),
            (" 7 ", "7"),
        ] {
            assert_eq!(again(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_are_read_as_connects_converter_reads_them_cnv_simple_header() {
        for (text, expected) in [
            ("", ""),
            ("128", "128"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775808"),
            ("1E+2", "100"),
            ("100.00", "100"),
            ("0.30000000000000004", "0.3"),
            ("3.4028235e38", "3.4028235E38"),
            ("1e300", "1.0E300"),
            ("1e400", "1E+400"),
            ("1e-400", "0.0"),
            ("1.7976931348623157e309", "1.7976931348623157E+309"),
            ("12345678901234567890.5", "1.2345679E19"),
            ("0.00001", "1.0E-5"),
            ("0.001", "0.001"),
            ("1234567.5", "1234567.5"),
            ("12345678.5", "1.2345678E7"),
            ("+5", "5"),
            (".5", ".5"),
            ("007", "7"),
            ("1_000", "1_000"),
            ("1,000", "1"),
            ("NaN", "NaN"),
            ("TRUE", "TRUE"),
            (" true ", "true"),
            ("true1", "true1"),
            ("nullx", "nullx"),
            ("\"unterminated", "\"unterminated"),
            ("  padded text ", "  padded text "),
            ("2024-13-45", "2025-02-14"),
            ("2024-1-2", "2024-1-2"),
            ("12:34:56Z", "12"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.678Z", "2024-01-02T03:04:05.678Z"),
            ("abcd-ef-gh", "abcd-ef-gh"),
            ("[]", "[]"),
            ("[1,2.5]", "[1.0,2.5]"),
            ("[1.5,1e300]", "[1.5,1.0E300]"),
            ("[1,null]", "[1,null]"),
            ("[1 2]", "[1 2]"),
            ("[,1]", "[,1]"),
            ("[a,b]", "[a,b]"),
            ("[ 1 , 2 ]", "[1,2]"),
            ("[2024-01-02]", "[2024-01-02]"),
            ("[1] x", "[1]"),
            ("[[[1]]]", "[[[1]]]"),
            ("[true,1]", "[true,1]"),
            ("[\"a\\\"b\"]", "[\"a\\\\\\\"b\"]"),
            ("{}", "{}"),
            ("{1:2}", "{1:2}"),
            ("{\"a\":1", "{\"a\":1"),
            ("{\"a\":1,}", "{\"a\":1}"),
            ("{\"a\"=1}", "{\"a\"=1}"),
            ("{:1}", "{:1}"),
            ("{\"url\":\"http://x/y:1\"}", "{\"url\":\"http://x/y:1\"}"),
            ("http://x:80/p?q=1", "http://x:80/p?q=1"),
            ("1\n", "1"),
            ("5 6", "5 6"),
            ("--", "--"),
            ("e5", "e5"),
            ("\\", "\\"),
            ("00", "0"),
        ] {
            assert_eq!(again(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic_and_plain_words_stay(text in prop_oneof![".*", "[\\[\\]{},:\"\\\\0-9eE.+a -]{0,40}"]) {
            let _ = again(&text);
            let words = format!("w{}", text.replace(['[', '{', '"', ',', ':', ']', '}', '\\'], ""));
            prop_assert_eq!(again(&words), words);
        }
    }
}
