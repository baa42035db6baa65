//! Java's `.properties` files.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Report};
use super::node::{Content, Entry, Node, Place};

/// Reads `key=value` lines by Java's rules: `=`, `:` or blanks between, `#` and `!` comments, `\` continues a line,
/// `\uXXXX`. Values are trimmed, as Kafka does with every option.
pub fn parse(file: &Arc<str>, text: &str, report: &mut Report) -> Node {
    let mut entries = Vec::new();
    for line in logical_lines(text) {
        let place = Place::new(file, line.number, line.indent + 1);
        let mut chars = line.text.chars().peekable();
        let key = read(&mut chars, |c| matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}'), &place, report);
        skip_blanks(&mut chars);
        if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
            skip_blanks(&mut chars);
        }
        // The column of a value on a continued line is that of the first line: near enough, and never too far right.
        let column = line.text.chars().count().saturating_sub(chars.clone().count());
        let value = read(&mut chars, |_| false, &place, report);
        let node = Node {
            content: Content::Scalar(value.trim().to_owned()),
            place: Place::new(file, line.number, line.indent + column + 1),
        };
        entries.push(Entry { key, place, node });
    }
    Node::map(entries, Place::start_of(file), report)
}

struct Line {
    text: String,
    /// Number of its first natural line, from 1.
    number: usize,
    /// Blanks in front, in characters.
    indent: usize,
}

fn logical_lines(text: &str) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<Line> = Vec::new();
    let mut continues = false;
    for (index, natural) in text.split('\n').enumerate() {
        let trimmed = natural.trim_start_matches([' ', '\t', '\u{c}']);
        if !continues && (trimmed.is_empty() || trimmed.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = trimmed.chars().rev().take_while(|&c| c == '\\').count();
        let goes_on = backslashes % 2 == 1;
        let part = if goes_on { &trimmed[..trimmed.len() - 1] } else { trimmed };
        match lines.last_mut().filter(|_| continues) {
            Some(line) => line.text.push_str(part),
            None => {
                let indent = natural.chars().count() - trimmed.chars().count();
                lines.push(Line { text: part.to_owned(), number: index + 1, indent });
            }
        }
        continues = goes_on;
    }
    lines
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| matches!(c, ' ' | '\t' | '\u{c}')).is_some() {}
}

/// Reads up to an unescaped character for which `ends` holds.
fn read(
    chars: &mut Peekable<Chars<'_>>,
    ends: fn(char) -> bool,
    place: &Place,
    report: &mut Report,
) -> String {
    // Collected as UTF-16, since an emoji is written as two escapes.
    let mut units = Vec::new();
    while let Some(c) = chars.next_if(|&c| !ends(c)) {
        let c = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let hex: String = chars.clone().take(4).collect();
                    match u16::from_str_radix(&hex, 16)
                        .ok()
                        .filter(|_| hex.len() == 4 && !hex.starts_with('+'))
                    {
                        Some(unit) => {
                            units.push(unit);
                            chars.nth(3);
                        }
                        None => report.add(
                            Diagnostic::error(place, "malformed \\u escape")
                                .hint("write four hexadecimal digits after \\u, or double the backslash"),
                        ),
                    }
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            plain => plain,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&units)
}
