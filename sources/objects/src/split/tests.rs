use connector_core::json::JsonErrorKind::{self, *};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const LIMIT: usize = 1000;

#[derive(Clone, Debug, PartialEq)]
enum Got {
    Row(Option<String>),
    Bad(u64, Option<JsonErrorKind>),
}

/// Everything in `bytes`, fed in chunks that end at `cuts`.
fn split(bytes: &[u8], limit: usize, cuts: &[usize]) -> Vec<Got> {
    let mut splitter = Splitter::new(limit);
    let mut got = Vec::new();
    let mut take = |splitter: &mut Splitter, last: bool| {
        while splitter.is_ready(last) {
            got.push(match splitter.take().unwrap() {
                Piece::Row { text, .. } => Got::Row(text.map(str::to_owned)),
                Piece::Bad { line, problem: Problem::Syntax(error) } => Got::Bad(line, Some(error.kind)),
                Piece::Bad { line, problem: Problem::TooLong } => Got::Bad(line, None),
            });
        }
    };
    let mut from = 0;
    for &cut in cuts {
        splitter.feed(&bytes[from..cut]);
        take(&mut splitter, false);
        from = cut;
    }
    splitter.feed(&bytes[from..]);
    take(&mut splitter, true);
    got
}

fn all(text: &str) -> Vec<Got> {
    let whole = split(text.as_bytes(), LIMIT, &[]);
    let cuts: Vec<_> = (1..text.len()).collect();
    assert_eq!(whole, split(text.as_bytes(), LIMIT, &cuts), "byte by byte: {text:?}");
    whole
}

fn row(text: &str) -> Got {
    Got::Row(Some(text.to_owned()))
}

fn rows<const N: usize>(texts: [&str; N]) -> Vec<Got> {
    texts.into_iter().map(row).collect()
}

#[test]
fn texts_come_one_a_line_one_after_the_other_or_over_several_lines() {
    for (text, expected) in [
        ("{\"a\":1}\n{\"a\":2}\n", ["{\"a\":1}", "{\"a\":2}"]),
        ("{\"a\":1}\r\n\r\n{\"a\":2}", ["{\"a\":1}", "{\"a\":2}"]),
        ("\u{feff}{\"a\":1}{\"a\":2}", ["{\"a\":1}", "{\"a\":2}"]),
        ("{\n  \"a\" : 1\n}\n{\n  \"a\": [ ]\n}\n", ["{\"a\":1}", "{\"a\":[]}"]),
        ("  {\"a\": \"}\\\"{\"}  \t{\"b\":\"\\\\\"}", ["{\"a\":\"}\\\"{\"}", "{\"b\":\"\\\\\"}"]),
        ("12 -1.50e3", ["12", "-1.50e3"]),
        ("\"é\"\ntrue", ["\"é\"", "true"]),
    ] {
        assert_eq!(all(text), rows(expected), "{text:?}");
    }
    assert_eq!(all(""), []);
    assert_eq!(all(" \n\r\n\t"), []);
    assert_eq!(all("null\n1\n"), [Got::Row(None), row("1")]);
}

#[test]
fn the_elements_of_an_array_around_everything_are_the_rows() {
    let expected = rows(["{\"a\":1}", "[2]", "3"]);
    assert_eq!(all("[{\"a\":1},[2],3]"), expected);
    assert_eq!(all("[\n  {\n    \"a\": 1\n  },\n  [2],\n  3\n]\n"), expected);
    assert_eq!(all("[{\"a\":1}]\n[[2]]\n[]\n[3]"), expected);
    assert_eq!(all("[null]"), [Got::Row(None)]);
}

#[test]
fn a_row_is_in_the_line_in_which_its_text_begins() {
    let text = "\u{feff}\n{\"n\":\n1}{\"n\":2}\r\n{\"n\":3}\n{\"n\":x}\n\n[4,\n  5,\n {\n}]\nnull";
    for chunk in [1, 2, 7, text.len()] {
        let (mut splitter, mut lines) = (Splitter::new(LIMIT), Vec::new());
        let mut chunks = text.as_bytes().chunks(chunk).peekable();
        while let Some(bytes) = chunks.next() {
            splitter.feed(bytes);
            while splitter.is_ready(chunks.peek().is_none()) {
                if let Some(Piece::Row { line, .. }) = splitter.take() {
                    lines.push(line);
                }
            }
        }
        assert_eq!(lines, [2, 3, 4, 7, 8, 9, 11], "in chunks of {chunk}");
    }
}

#[test]
fn half_a_text_is_one_piece_and_the_next_line_goes_on() {
    for (half, kind) in [
        ("{\"a\":1", ExpectedCommaOrBrace),
        ("{\"a\":\"b", ControlCharacter),
        ("{\"a\"", ExpectedColon),
        ("{\"a\":[1,2", ExpectedCommaOrBracket),
        ("{", ExpectedKey),
        ("{\"a\":1}}", ExpectedValue),
    ] {
        let text = format!("{{\"n\":1}}\n{half}\n{{\"n\":2}}\n{{\"n\":3}}\n");
        let mut expected = rows(["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
        if half == "{\"a\":1}}" {
            expected.insert(1, row("{\"a\":1}"));
        }
        let at = expected.len() - 2;
        expected.insert(at, Got::Bad(2, Some(kind)));
        assert_eq!(all(&text), expected, "{half}");
    }
    // After a colon the next line could be the value: that is found out one line later, and costs no row.
    let expected = [Got::Bad(1, Some(ExpectedCommaOrBrace)), row("{\"n\":2}"), row("{\"n\":3}")];
    assert_eq!(all("{\"a\":\n{\"n\":2}\n{\"n\":3}\n"), expected);
    assert_eq!(all("{\"n\":1}\n{\"a\":1"), [row("{\"n\":1}"), Got::Bad(2, Some(End))]);
}

#[test]
fn what_is_no_json_within_whole_brackets_is_one_piece() {
    let text = "{\"a\":oops}{\"n\":1}\n{\"a\":01x}\n[1,tru,2]\n";
    let expected =
        [Got::Bad(1, Some(ExpectedValue)), row("{\"n\":1}"), Got::Bad(2, Some(ExpectedCommaOrBrace))];
    let got = all(text);
    assert_eq!(got[..3], expected);
    assert_eq!(got[3..], [row("1"), Got::Bad(3, Some(Word)), row("2")]);
    assert_eq!(all("hello\n12\n"), [Got::Bad(1, Some(ExpectedValue)), row("12")]);
    assert_eq!(all("#a b c\n12\n"), [Got::Bad(1, Some(ExpectedValue)), row("12")]);
}

#[test]
fn the_lines_of_a_broken_indented_text_are_not_taken_for_rows() {
    let text = "{\n  \"a\": 1\n  \"b\": {\n    \"c\": 2\n  }\n}\n{\n  \"n\": 1\n}\n";
    assert_eq!(all(text), [Got::Bad(1, Some(ExpectedCommaOrBrace)), row("{\"n\":1}")]);
    let text = "[\n  {\"n\": 1},\n  {\n    \"a\": \"x\n  },\n  {\"n\": 2}\n]\n{\"n\":3}\n";
    let bad = Got::Bad(3, Some(ControlCharacter));
    assert_eq!(all(text), [row("{\"n\":1}"), bad, row("{\"n\":2}"), row("{\"n\":3}")]);
}

#[test]
fn a_cut_array_is_named_and_what_follows_stands_for_itself() {
    let cut = Got::Bad(1, Some(ExpectedCommaOrBracket));
    assert_eq!(all("[{\"n\":1}\n{\"n\":2}\n"), [row("{\"n\":1}"), cut, row("{\"n\":2}")]);
    assert_eq!(all("[{\"n\":1},"), [row("{\"n\":1}"), Got::Bad(1, Some(End))]);
    assert_eq!(all("[1,]"), [row("1"), Got::Bad(1, Some(ExpectedValue))]);
    assert_eq!(all("[1,,2]"), [row("1"), Got::Bad(1, Some(ExpectedValue)), row("2")]);
}

#[test]
fn a_text_that_is_too_long_is_passed_over_without_keeping_it() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LIMIT - 8));
    assert_eq!(long.len(), LIMIT);
    assert_eq!(all(&format!("{long}\n1\n")), [row(&long), row("1")]);
    let longer = long.replacen("\"a\"", "\"ab\"", 1);
    for text in [format!("{longer}\n1\n{{\"n\":2}}\n"), format!("{longer}{{\"n\":1}}\n{{\"n\":2}}\n")] {
        assert_eq!(all(&text), [Got::Bad(1, None), row("{\"n\":2}")]);
    }
    let mut splitter = Splitter::new(LIMIT);
    splitter.feed(b"{\"a\":\"");
    for _ in 0..1000 {
        splitter.feed(&[b'x'; 500]);
        while splitter.is_ready(false) {
            splitter.take();
        }
        assert!(splitter.buffer.len() <= 2 * LIMIT, "{}", splitter.buffer.len());
    }
}

#[test]
fn bytes_that_are_no_utf_8_spoil_their_own_text_only() {
    let got = split(b"{\"a\":\"\xe9\"}\n{\"n\":1}\n\xff\xfe\n{\"n\":2}\n", LIMIT, &[]);
    let bad = |line, kind| Got::Bad(line, Some(kind));
    assert_eq!(got, [bad(1, Encoding), row("{\"n\":1}"), bad(3, ExpectedValue), row("{\"n\":2}")]);
}

/// A JSON value of any shape.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\[\\]{}:,\"\\\\ \n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn cuts(of: usize, at: Vec<prop::sample::Index>) -> Vec<usize> {
    let mut cuts: Vec<_> = at.into_iter().map(|index| index.index(of + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn what_was_written_is_read_whatever_its_layout_and_chunks(
        values in prop::collection::vec((json(), any::<bool>(), 0..4_usize), 0..8),
        array in any::<bool>(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut text = String::new();
        let (mut expected, separators) = (Vec::new(), ["\n", "\r\n", " \n\n", " "]);
        for (value, pretty, separator) in &values {
            // An array that stands for itself is taken apart.
            if !array && value.is_array() { continue; }
            if array && !expected.is_empty() { text.push(','); }
            if *pretty {
                text.push_str(&serde_json::to_string_pretty(value).unwrap());
            } else {
                text.push_str(&value.to_string());
            }
            text.push_str(separators[*separator]);
            expected.push(Got::Row((!value.is_null()).then(|| value.to_string())));
        }
        if array { text = format!("[{text}]"); }
        prop_assert_eq!(split(text.as_bytes(), 1 << 20, &cuts(text.len(), at)), expected);
    }

    #[test]
    fn chunks_make_no_difference_to_any_bytes(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[\\[\\]{}:,\" \\\\0-9afnrtu\n\r.e-]{0,60}".prop_map(String::into_bytes),
            "(\\{\"a\":[0-9x]{1,3}[}\n ]{1,3}){0,12}".prop_map(String::into_bytes),
        ],
        limit in prop_oneof![Just(8_usize), Just(1000)],
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = split(&bytes, limit, &[]);
        prop_assert_eq!(&whole, &split(&bytes, limit, &cuts(bytes.len(), at)));
        for got in whole {
            if let Got::Row(Some(text)) = got {
                prop_assert_eq!(scan_str(&text), Ok(Scanned::Compact));
                prop_assert!(text.len() <= limit);
            }
        }
    }
}
