//! One pass over one JSON text: is it compact already, and if not, make it so.
//!
//! As lenient as Connect's parser and no more: a byte order mark and text after the first value are skipped, leading
//! zeros of numbers dropped, UTF-16 and UTF-32 understood; comments, single quotes, `NaN`, trailing commas and raw
//! control characters are errors. An empty or blank text is the null value.

use super::charset;
use super::cursor::Cursor;
use super::error::{JsonError, JsonErrorKind};

/// Nested objects and arrays, at most.
const DEEPEST: usize = 1000;

/// What [`scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// A strict JSON document without insignificant white space: can be used as it is.
    Compact,
    /// The literal `null`, or nothing.
    Null,
    /// A document that has to go through [`compact`].
    Loose,
}

/// Checks a text; allocates only for an error in UTF-16 or UTF-32.
pub fn scan(text: &[u8]) -> Result<Scanned, JsonError> {
    match utf8(text).and_then(scan_str) {
        Err(_) if charset::detect(text).is_some() => Ok(Scanned::Loose),
        scanned => scanned,
    }
}

/// [`scan`] for a text that is known to be UTF-8.
pub fn scan_str(text: &str) -> Result<Scanned, JsonError> {
    let mut kept = 0;
    Ok(match walk(text, |start, end| kept += end - start)? {
        Root::Null => Scanned::Null,
        // Walking keeps every byte that means something: if that is all of them, nothing is to be done.
        Root::Value if kept == text.len() => Scanned::Compact,
        Root::Value => Scanned::Loose,
    })
}

/// Checks a text and appends it to `out` without insignificant white space; number text and the order of keys stay.
/// False (and nothing appended): the null value. After an error `out` may hold a part of the text.
pub fn compact(text: &[u8], out: &mut Vec<u8>) -> Result<bool, JsonError> {
    let transcoded;
    let text = match charset::detect(text) {
        Some((charset, mark)) => {
            transcoded = charset.decode(text.get(mark..).unwrap_or_default())?;
            transcoded.as_str()
        }
        None => utf8(text)?,
    };
    let before = out.len();
    // Tokens without anything between them are copied at once.
    let (mut from, mut to) = (0, 0);
    let mut copy = |from: usize, to: usize| {
        out.extend_from_slice(text.as_bytes().get(from..to).unwrap_or_default());
    };
    let root = walk(text, |start, end| {
        if start != to {
            copy(from, to);
            from = start;
        }
        to = end;
    })?;
    copy(from, to);
    if let Root::Null = root {
        out.truncate(before);
    }
    Ok(matches!(root, Root::Value))
}

pub(super) fn utf8(text: &[u8]) -> Result<&str, JsonError> {
    // The check that finds the place costs more, so it runs only after the one that does not.
    simdutf8::basic::from_utf8(text).map_err(|_| JsonError {
        position: simdutf8::compat::from_utf8(text).err().map_or(0, |e| e.valid_up_to()),
        kind: JsonErrorKind::Encoding,
    })
}

enum Root {
    Null,
    Value,
}

/// Tells `keep` where each token of the first value begins and ends.
fn walk(text: &str, mut keep: impl FnMut(usize, usize)) -> Result<Root, JsonError> {
    let mut cursor = Cursor::new(text);
    cursor.skip_blanks();
    let Some(first) = cursor.peek() else { return Ok(Root::Null) };
    value(&mut cursor, &mut keep)?;
    match first {
        b'{' | b'[' | b'"' => {}
        b't' | b'f' | b'n' => cursor.end_of_bare_value(false)?,
        _ => cursor.end_of_bare_value(true)?,
    }
    Ok(if first == b'n' { Root::Null } else { Root::Value })
}

/// The open objects and arrays around a place: a bit each, set for an object.
struct Nesting {
    depth: usize,
    objects: [u64; DEEPEST.div_ceil(64)],
}

impl Nesting {
    fn push(&mut self, object: bool, cursor: &Cursor) -> Result<(), JsonError> {
        if self.depth == DEEPEST {
            return Err(JsonError { position: cursor.at, kind: JsonErrorKind::Depth });
        }
        if let Some(word) = self.objects.get_mut(self.depth / 64) {
            let bit = 1 << (self.depth % 64);
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        let top = self.depth.wrapping_sub(1);
        self.objects.get(top / 64).is_some_and(|word| word >> (top % 64) & 1 == 1)
    }
}

/// Reads one value of any depth and tells `keep` where its tokens begin and end.
pub(crate) fn value(cursor: &mut Cursor, keep: &mut impl FnMut(usize, usize)) -> Result<(), JsonError> {
    let mut nesting = Nesting { depth: 0, objects: [0; DEEPEST.div_ceil(64)] };
    loop {
        cursor.skip_blanks();
        let start = cursor.at;
        match cursor.peek() {
            Some(b'"') => {
                cursor.string()?;
                keep(start, cursor.at);
            }
            Some(open @ (b'{' | b'[')) => {
                nesting.push(open == b'{', cursor)?;
                cursor.at += 1;
                keep(start, cursor.at);
                cursor.skip_blanks();
                match (open, cursor.peek()) {
                    // Closed below.
                    (b'{', Some(b'}')) | (b'[', Some(b']')) => {}
                    (b'{', _) => {
                        key(cursor, keep)?;
                        continue;
                    }
                    _ => continue,
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = cursor.number()?;
                if number.negative {
                    keep(start, start + 1);
                }
                keep(number.start, cursor.at);
            }
            Some(b't' | b'f' | b'n') => {
                cursor.word()?;
                keep(start, cursor.at);
            }
            _ => return Err(cursor.error(JsonErrorKind::ExpectedValue)),
        }
        // After a value: what closes here, until something else follows.
        loop {
            if nesting.depth == 0 {
                return Ok(());
            }
            cursor.skip_blanks();
            let start = cursor.at;
            match (nesting.in_object(), cursor.peek()) {
                (true, Some(b'}')) | (false, Some(b']')) => {
                    nesting.depth -= 1;
                    cursor.at += 1;
                    keep(start, cursor.at);
                }
                (object, Some(b',')) => {
                    cursor.at += 1;
                    keep(start, cursor.at);
                    if object {
                        cursor.skip_blanks();
                        key(cursor, keep)?;
                    }
                    break;
                }
                (true, _) => return Err(cursor.error(JsonErrorKind::ExpectedCommaOrBrace)),
                (false, _) => return Err(cursor.error(JsonErrorKind::ExpectedCommaOrBracket)),
            }
        }
    }
}

fn key(cursor: &mut Cursor, keep: &mut impl FnMut(usize, usize)) -> Result<(), JsonError> {
    let start = cursor.at;
    cursor.key()?;
    keep(start, cursor.at);
    cursor.colon()?;
    keep(cursor.at - 1, cursor.at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use JsonErrorKind::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn compacted(text: &[u8]) -> Result<Option<String>, JsonError> {
        let mut out = b"before".to_vec();
        let found = compact(text, &mut out)?;
        let text = String::from_utf8(out).unwrap()["before".len()..].to_owned();
        assert!(found || text.is_empty());
        Ok(found.then_some(text))
    }

    #[test]
    fn a_compact_document_is_seen_as_such_and_stays() {
        for text in
            [r#"{"a":[1,-2.50,1e3,true,null,{}],"é😀":"\u00e9\n \" b","":[]}"#, "1", r#""x""#, "[]", "false"]
        {
            assert_eq!(scan(text.as_bytes()), Ok(Scanned::Compact), "{text}");
            assert_eq!(compacted(text.as_bytes()).unwrap().as_deref(), Some(text));
        }
    }

    #[test]
    fn white_space_goes_and_number_text_and_key_order_stay() {
        let loose = " { \"z\" :\t[ 1.10 ,\r\n2E+2 ] , \"a b\" : { } , \"c\":\" \" }\n";
        assert_eq!(scan(loose.as_bytes()), Ok(Scanned::Loose));
        assert_eq!(compacted(loose.as_bytes()).unwrap().unwrap(), r#"{"z":[1.10,2E+2],"a b":{},"c":" "}"#);
    }

    #[test]
    fn what_connects_parser_lets_pass_is_rewritten_s3g_049() {
        for (text, clean) in [
            ("{\"a\":1} x", "{\"a\":1}"),
            ("{\"a\":3}{\"b\":4}", "{\"a\":3}"),
            ("\u{feff}{\"a\":8}", "{\"a\":8}"),
            ("{\"a\":01}", "{\"a\":1}"),
            ("{\"a\":-000.50}", "{\"a\":-0.50}"),
            ("-01", "-1"),
            ("00", "0"),
            ("1 2", "1"),
            ("{\"a\":1}\0", "{\"a\":1}"),
        ] {
            assert_eq!(scan(text.as_bytes()), Ok(Scanned::Loose), "{text}");
            assert_eq!(compacted(text.as_bytes()).unwrap().as_deref(), Some(clean), "{text}");
        }
    }

    #[test]
    fn other_charsets_are_told_from_their_first_bytes() {
        let wide = |mark: bool, encode: &dyn Fn(char) -> Vec<u8>| -> Vec<u8> {
            mark.then_some('\u{feff}').into_iter().chain("{\"é😀\": 1}".chars()).flat_map(encode).collect()
        };
        let utf16 = |c: char| c.encode_utf16(&mut [0; 2]).to_vec();
        for mark in [true, false] {
            for text in [
                wide(mark, &|c| utf16(c).into_iter().flat_map(u16::to_be_bytes).collect()),
                wide(mark, &|c| utf16(c).into_iter().flat_map(u16::to_le_bytes).collect()),
                wide(mark, &|c| u32::from(c).to_be_bytes().to_vec()),
                wide(mark, &|c| u32::from(c).to_le_bytes().to_vec()),
            ] {
                assert_eq!(scan(&text), Ok(Scanned::Loose));
                assert_eq!(compacted(&text).unwrap().unwrap(), "{\"é😀\":1}");
            }
        }
        assert_eq!(compacted(b"[\x001\0]\0").unwrap().unwrap(), "[1]");
    }

    #[test]
    fn null_and_nothing_are_the_null_value() {
        for text in ["null", " null ", "", "\n", " \t", "\u{feff}"] {
            assert_eq!(scan(text.as_bytes()), Ok(Scanned::Null), "{text:?}");
            assert_eq!(compacted(text.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn an_error_names_the_byte_and_the_cause() {
        for (text, position, kind) in [
            ("{\"a\":/*c*/5}", 5, ExpectedValue),
            ("{'a':6}", 1, ExpectedKey),
            ("{a:7}", 1, ExpectedKey),
            ("{\"a\":NaN}", 5, ExpectedValue),
            ("{\"a\":9,}", 7, ExpectedKey),
            ("[1,2,]", 5, ExpectedValue),
            ("{\"a\":+1}", 5, ExpectedValue),
            ("{\"a\":.5}", 5, ExpectedValue),
            ("{\"a\":\"\t\"}", 6, ControlCharacter),
            ("{\"a\" 1}", 5, ExpectedColon),
            ("{\"a\":1 \"b\":2}", 7, ExpectedCommaOrBrace),
            ("[1 2]", 3, ExpectedCommaOrBracket),
            ("{\"a\":1]", 6, ExpectedCommaOrBrace),
            ("]", 0, ExpectedValue),
            ("\"\\x\"", 2, Escape),
            ("\"\\u12\"", 5, Escape),
            ("\"abc", 4, End),
            ("{\"a\"", 4, End),
            ("{", 1, End),
            ("5.", 2, End),
            ("1e", 2, End),
            ("-", 1, End),
            ("-x", 1, Number),
            ("0x1F", 1, Number),
            ("2024-01-02", 4, Number),
            ("nul", 0, Word),
            ("truex", 4, Word),
            ("hello", 0, ExpectedValue),
            ("-Infinity", 1, Number),
        ] {
            let error = JsonError { position, kind };
            assert_eq!(scan(text.as_bytes()), Err(error), "{text}");
            assert_eq!(compacted(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(scan(b"\"a\xe9\""), Err(JsonError { position: 2, kind: Encoding }));
        let shown = scan(b"{\"secret\":\"\n\"}").unwrap_err().to_string();
        assert_eq!(shown, "an unescaped control character in a string at byte 11");
    }

    #[test]
    fn depth_and_number_length_end_where_connects_do() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(scan(nested(1000).as_bytes()), Ok(Scanned::Compact));
        assert_eq!(scan(nested(1001).as_bytes()).unwrap_err().kind, Depth);
        let objects = "{\"a\":".repeat(1000) + "1" + &"}".repeat(1000);
        assert_eq!(scan(objects.as_bytes()), Ok(Scanned::Compact));
        let mixed = "[{\"a\":".repeat(500) + "1" + &"}]".repeat(500);
        assert_eq!(scan(mixed.as_bytes()), Ok(Scanned::Compact));
        assert_eq!(scan("9".repeat(1000).as_bytes()), Ok(Scanned::Compact));
        assert_eq!(scan("9".repeat(1001).as_bytes()).unwrap_err().kind, LongNumber);
    }

    /// A JSON value of any shape.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_compactly_is_compact(value in json()) {
            let text = serde_json::to_vec(&value).unwrap();
            let expected = if value.is_null() { Scanned::Null } else { Scanned::Compact };
            prop_assert_eq!(scan(&text), Ok(expected));
        }

        #[test]
        fn what_serde_json_writes_with_blanks_becomes_what_it_writes_without(value in json()) {
            let text = serde_json::to_vec_pretty(&value).unwrap();
            let expected = (!value.is_null()).then(|| value.to_string());
            prop_assert_eq!(compacted(&text).unwrap(), expected);
        }

        #[test]
        fn any_text_is_an_error_or_becomes_what_serde_json_reads(
            text in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[\\[\\]{}:,\" \\\\0-9a-fnrtul.eE+-]{0,24}".prop_map(String::into_bytes),
            ],
        ) {
            let strict = serde_json::from_slice::<Value>(&text);
            match (scan(&text), compacted(&text)) {
                (Err(scanned), Err(compacted)) => {
                    prop_assert_eq!(scanned, compacted);
                    // A number that no double holds is text to us and an error to serde_json; nothing the other way.
                    prop_assert!(strict.is_err());
                }
                (Ok(scanned), Ok(text_now)) => {
                    let now = text_now.unwrap_or_else(|| "null".to_owned());
                    if scanned == Scanned::Compact {
                        prop_assert_eq!(now.as_bytes(), text.as_slice());
                    }
                    if let Ok(strict) = strict {
                        prop_assert_eq!(serde_json::from_str::<Value>(&now).unwrap(), strict);
                    }
                    prop_assert_ne!(scan(now.as_bytes()), Ok(Scanned::Loose));
                }
                // Text in another charset is only understood by the second pass.
                (Ok(Scanned::Loose), Err(_)) => prop_assert!(charset::detect(&text).is_some()),
                (scanned, compacted) => prop_assert!(false, "{scanned:?} but {compacted:?}"),
            }
        }
    }
}
