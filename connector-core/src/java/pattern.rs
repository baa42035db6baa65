//! Java's regular expressions, which Connect's configurations hold.

use fancy_regex::{Captures, Regex};

/// A Java regular expression that has to match a whole text.
#[derive(Clone, Debug)]
pub struct Pattern {
    whole: Regex,
    first: Regex,
}

impl Pattern {
    /// The error says in the pattern's own positions what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let translated = translate(pattern)?;
        // Alone first: an error then counts from the pattern's own beginning, and no bracket can reach outside.
        let first = Regex::new(&translated).map_err(|e| e.to_string())?;
        let whole = Regex::new(&format!("\\A(?:{translated})\\z")).map_err(|e| e.to_string())?;
        Ok(Self { whole, first })
    }

    /// Whether it matches the whole text. A pattern that gives up (it backtracks too much) does not match.
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text).unwrap_or(false)
    }

    /// The text with its first match (which need not be the whole of it) replaced, as Java's `replaceFirst` does:
    /// `$1`, `${name}`, `\$`. The error is Java's.
    pub fn replace_first(&self, text: &str, replacement: &str) -> Result<String, String> {
        let Ok(Some(found)) = self.first.captures(text) else { return Ok(text.to_owned()) };
        let Some(place) = found.get(0) else { return Ok(text.to_owned()) };
        let mut out = text[..place.start()].to_owned();
        self.expand(&found, replacement, &mut out)?;
        out.push_str(&text[place.end()..]);
        Ok(out)
    }

    fn expand(&self, found: &Captures<'_>, replacement: &str, out: &mut String) -> Result<(), String> {
        let mut rest = replacement;
        while let Some(at) = rest.find(['$', '\\']) {
            out.push_str(&rest[..at]);
            let escape = rest.as_bytes()[at] == b'\\';
            rest = &rest[at + 1..];
            if escape {
                let next = rest.chars().next().ok_or("character to be escaped is missing")?;
                out.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            }
            let group = if let Some(named) = rest.strip_prefix('{') {
                let (name, after) =
                    named.split_once('}').ok_or("named capturing group is missing trailing '}'")?;
                rest = after;
                let known = self.first.capture_names().any(|known| known == Some(name));
                if !known {
                    return Err(format!("No group with name {{{name}}}"));
                }
                found.name(name)
            } else {
                let (number, after) = self.group(rest)?;
                rest = after;
                found.get(number)
            };
            out.push_str(group.map_or("", |group| group.as_str()));
        }
        out.push_str(rest);
        Ok(())
    }

    /// The number of a group: further digits belong to it for as long as there is such a group.
    fn group<'r>(&self, text: &'r str) -> Result<(usize, &'r str), String> {
        let digit =
            |at: usize| text.as_bytes().get(at).filter(|b| b.is_ascii_digit()).map(|b| usize::from(b - b'0'));
        let groups = self.first.captures_len();
        let mut number = match digit(0) {
            Some(number) if number < groups => number,
            Some(number) => return Err(format!("No group {number}")),
            None if text.is_empty() => {
                return Err("Illegal group reference: group index is missing".to_owned());
            }
            None => return Err("Illegal group reference".to_owned()),
        };
        let mut at = 1;
        while let Some(next) = digit(at).map(|digit| number * 10 + digit).filter(|next| *next < groups) {
            number = next;
            at += 1;
        }
        Ok((number, &text[at..]))
    }
}

/// What Java writes in another way than Rust: `\Q…\E`, and POSIX classes, which are ASCII there.
fn translate(pattern: &str) -> Result<String, String> {
    const CLASSES: [(&str, &str); 11] = [
        ("Lower", "a-z"),
        ("Upper", "A-Z"),
        ("ASCII", "\\x00-\\x7F"),
        ("Alpha", "A-Za-z"),
        ("Digit", "0-9"),
        ("Alnum", "A-Za-z0-9"),
        ("Punct", "!-/:-@\\[-`{-~"),
        ("XDigit", "0-9A-Fa-f"),
        ("Space", " \\t\\n\\x0B\\f\\r"),
        ("Blank", " \\t"),
        ("Cntrl", "\\x00-\\x1F\\x7F"),
    ];
    if pattern.contains("(?P") {
        return Err("unknown inline modifier `(?P`: Java's named groups are `(?<name>…)`".to_owned());
    }
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&fancy_regex::escape(literal));
            rest = after;
            continue;
        }
        let class = rest.strip_prefix("\\p{").and_then(|named| named.split_once('}'));
        if let Some((name, after)) = class
            && let Some((_, members)) = CLASSES.iter().find(|(known, _)| *known == name)
        {
            let part = if in_class { (*members).to_owned() } else { format!("[{members}]") };
            out.push_str(&part);
            rest = after;
            continue;
        }
        if next == '\\' {
            let mut length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            // `\p{L}`, `\x{1F600}`: what is in the braces belongs to it.
            if rest[length..].starts_with('{') {
                length += rest[length..].find('}').map_or(0, |end| end + 1);
            }
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if next == '{' && !in_class && !is_repetition(rest) {
            return Err("a `{` that begins no repetition: write `\\{` for a brace".to_owned());
        }
        in_class = (in_class || next == '[') && next != ']';
        out.push(next);
        rest = &rest[next.len_utf8()..];
    }
    Ok(out)
}

/// Whether a text begins with `{2}`, `{2,}` or `{2,3}`.
fn is_repetition(text: &str) -> bool {
    let Some((inside, _)) = text[1..].split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, replacement: &str) -> Result<String, String> {
        Pattern::new(pattern).unwrap().replace_first("orders", replacement)
    }

    #[test]
    fn the_first_match_is_replaced_as_java_does() {
        assert_eq!(replaced("o.*?", "Z").unwrap(), "Zrders");
        assert_eq!(replaced("(.+)", "$11").unwrap(), "orders1");
        assert_eq!(replaced("(a)|(o.*)", "[$1]").unwrap(), "[]");
        assert_eq!(replaced("(?<a>.*)ers", "${a}\\$!").unwrap(), "ord$!");
        assert_eq!(replaced("(.*)", "$2").unwrap_err(), "No group 2");
        assert_eq!(replaced("(.*)", "${zz}").unwrap_err(), "No group with name {zz}");
        assert_eq!(replaced("(.*)", "$").unwrap_err(), "Illegal group reference: group index is missing");
    }

    #[test]
    fn whole_texts_are_matched_in_javas_syntax() {
        for (pattern, yes) in [
            ("orders", true),
            ("ord", false),
            ("ord|orders", true),
            ("\\Qorders\\E", true),
            ("\\p{Alpha}+", true),
            ("[\\p{Digit}o]rders", true),
            ("^(?!ord).*", false),
            ("(?i)ORD.*", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches("orders"), yes, "{pattern}");
        }
        for pattern in ["[", "(", "a{2", "*x", "(?P<a>x)"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
