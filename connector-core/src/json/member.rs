//! One member of a JSON document, found without reading the others.

use std::borrow::Cow;

use super::cursor::{Cursor, Quoted};
use super::scan;

/// What a document holds at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member<'t> {
    /// There is no such member, or something on the way to it is no object.
    Missing,
    /// `null`; so is everything below a `null`.
    Null,
    Boolean(bool),
    /// The number's text.
    Number(&'t str),
    Text(Cow<'t, str>),
    /// An object or an array.
    Nested,
}

/// The member at `path` of a JSON text that is known to be valid; of members with the same name the last one counts.
pub fn member<'t>(document: &'t str, path: &[impl AsRef<str>]) -> Member<'t> {
    let mut text = document;
    for name in path {
        match inside(text, name.as_ref()) {
            Some(found) => text = found,
            None if text == "null" => return Member::Null,
            None => return Member::Missing,
        }
    }
    scalar(text).unwrap_or(Member::Missing)
}

/// The text of the member `name` of an object.
fn inside<'t>(object: &'t str, name: &str) -> Option<&'t str> {
    let mut cursor = Cursor::new(object);
    cursor.skip_blanks();
    if cursor.peek() != Some(b'{') {
        return None;
    }
    cursor.at += 1;
    let mut found = None;
    loop {
        cursor.skip_blanks();
        match cursor.peek()? {
            b'}' => return found,
            b',' => cursor.at += 1,
            _ => {
                let key = cursor.key().ok()?;
                cursor.colon().ok()?;
                cursor.skip_blanks();
                let start = cursor.at;
                scan::value(&mut cursor, &mut |_, _| {}).ok()?;
                if is(&key, name) {
                    found = Some(cursor.since(start));
                }
            }
        }
    }
}

fn is(key: &Quoted<'_>, name: &str) -> bool {
    if !key.escaped {
        return key.raw == name;
    }
    let mut text = String::new();
    key.unescape(&mut text);
    text == name
}

fn scalar(text: &str) -> Option<Member<'_>> {
    let mut cursor = Cursor::new(text);
    cursor.skip_blanks();
    Some(match cursor.peek()? {
        b'"' => {
            let quoted = cursor.string().ok()?;
            if !quoted.escaped {
                return Some(Member::Text(Cow::Borrowed(quoted.raw)));
            }
            let mut text = String::new();
            quoted.unescape(&mut text);
            Member::Text(Cow::Owned(text))
        }
        b'{' | b'[' => Member::Nested,
        b't' | b'f' | b'n' => match cursor.word().ok()? {
            "true" => Member::Boolean(true),
            "false" => Member::Boolean(false),
            _ => Member::Null,
        },
        _ => {
            let start = cursor.at;
            cursor.number().ok()?;
            Member::Number(cursor.since(start))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn a_member_is_found_at_any_depth() {
        let text = r#"{"a":{"b":{"c":1.50}},"t":"x","e":"\u00e9\n","n":null,"l":[1],"f":false,"o":{}}"#;
        let at = |path: &str| member(text, &path.split('.').collect::<Vec<_>>());
        assert_eq!(at("a.b.c"), Member::Number("1.50"));
        assert_eq!(at("t"), Member::Text("x".into()));
        assert_eq!(at("e"), Member::Text("é\n".into()));
        assert_eq!(at("n"), Member::Null);
        assert_eq!(at("n.deeper"), Member::Null);
        assert_eq!((at("l"), at("o"), at("a.b")), (Member::Nested, Member::Nested, Member::Nested));
        assert_eq!(at("f"), Member::Boolean(false));
        for missing in ["x", "a.x", "t.x", "l.0", "o.x", "a.b.c.d", ""] {
            assert_eq!(at(missing), Member::Missing, "{missing}");
        }
    }

    #[test]
    fn the_last_of_equal_names_counts_and_escapes_are_understood_s3g_042() {
        assert_eq!(member(r#"{"a":1,"b":2,"a":3}"#, &["a"]), Member::Number("3"));
        assert_eq!(member(r#"{"\u0061":1}"#, &["a"]), Member::Number("1"));
        assert_eq!(member(r#"{"x\"y":{"a":-1e3}}"#, &["x\"y", "a"]), Member::Number("-1e3"));
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["1", "\"a\"", "[{\"a\":1}]", "true", ""] {
            assert_eq!(member(text, &["a"]), Member::Missing, "{text}");
        }
        assert_eq!(member("null", &["a"]), Member::Null);
    }

    proptest! {
        #[test]
        fn every_member_of_an_object_is_what_serde_json_reads(
            fields in prop::collection::vec((any::<String>(), any::<String>(), any::<i64>()), 1..6),
        ) {
            let object: Value =
                fields.iter().map(|(k, t, n)| (k.clone(), serde_json::json!({"t": t, "n": n}))).collect();
            let text = object.to_string();
            for (key, inner) in object.as_object().unwrap() {
                let t = inner["t"].as_str().unwrap();
                prop_assert_eq!(member(&text, &[key.as_str(), "t"]), Member::Text(t.into()));
                prop_assert_eq!(member(&text, &[key.as_str(), "n"]), Member::Number(&inner["n"].to_string()));
            }
        }
    }
}
