//! The JSON texts of an object: one a line, one after the other, over several lines, or as elements of an array.

mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use connector_core::json::{JsonError, JsonErrorKind, Scanned, compact, scan_str};

use text::Text;

/// One text, in the order of the object. `line`: in which it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A compact JSON text; `None` is the literal `null`.
    Row { line: u64, text: Option<&'a str> },
    /// Something else; reading goes on behind it.
    Bad { line: u64, problem: Problem },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    Syntax(JsonError),
    TooLong,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "this is not JSON: {error}"),
            Self::TooLong => f.write_str("a JSON text is longer than `max.line.bytes`"),
        }
    }
}

/// Splits what it is fed. How the bytes are cut into chunks makes no difference to what comes out.
///
/// After a text that is broken inside, reading goes on at the next line that begins with `{` or `[` and is not indented
/// deeper: with one text a line that is the next line, with indented texts the next text.
pub struct Splitter {
    /// Longest text in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// Where the next text begins, or blanks before it.
    start: usize,
    begun: bool,
    /// The line of `start`, from 1; how many blanks it begins with; whether nothing else was in it yet.
    line: u64,
    indent: usize,
    fresh: bool,
    /// The text at `start`, when it has not ended yet.
    text: Option<Text>,
    array: Option<Array>,
    skip: Option<Skip>,
    compacted: Vec<u8>,
    /// The next piece, where it was found already.
    found: Option<Found>,
}

/// An array around texts.
struct Array {
    /// Where it begins.
    line: u64,
    after: After,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Open,
    Element,
    Comma,
}

/// Passing over what is broken.
struct Skip {
    /// Blanks before the line in which it begins.
    indent: usize,
    /// Whether any next line will do: what is broken is no object or array.
    any: bool,
    /// Blanks of the present line so far; `None` behind them.
    column: Option<usize>,
}

enum Found {
    /// In the buffer, compact already.
    Compact(Range<usize>, u64),
    /// In the buffer, complete, unchecked.
    Text(Range<usize>, u64),
    Bad(u64, Problem),
}

impl Splitter {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: Vec::new(),
            start: 0,
            begun: false,
            line: 1,
            indent: 0,
            fresh: true,
            text: None,
            array: None,
            skip: None,
            compacted: Vec::new(),
            found: None,
        }
    }

    /// The line that was reached, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Looks for the next piece; `false` when more has to be fed first, or after the end. `last`: nothing follows what
    /// was fed.
    pub fn is_ready(&mut self, last: bool) -> bool {
        if self.found.is_none() {
            self.found = self.find(last);
        }
        self.found.is_some()
    }

    /// The piece that is ready.
    pub fn take(&mut self) -> Option<Piece<'_>> {
        match self.found.take()? {
            Found::Compact(range, line) => {
                let text = simdutf8::basic::from_utf8(self.buffer.get(range)?).ok()?;
                Some(Piece::Row { line, text: Some(text) })
            }
            Found::Text(range, line) => {
                self.compacted.clear();
                match compact(self.buffer.get(range)?, &mut self.compacted) {
                    Ok(false) => Some(Piece::Row { line, text: None }),
                    Ok(true) => {
                        let text = simdutf8::basic::from_utf8(&self.compacted).ok()?;
                        Some(Piece::Row { line, text: Some(text) })
                    }
                    Err(error) => Some(Piece::Bad { line, problem: Problem::Syntax(error) }),
                }
            }
            Found::Bad(line, problem) => Some(Piece::Bad { line, problem }),
        }
    }

    fn find(&mut self, last: bool) -> Option<Found> {
        if !self.begun {
            // A byte order mark is no part of the first text.
            if self.buffer.len() < 3 && !last {
                return None;
            }
            self.begun = true;
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.start = 3;
            }
        }
        loop {
            if self.skip.is_some() && !self.resume(last) {
                return None;
            }
            if self.text.is_none() {
                let Some(&byte) = self.buffer.get(self.start) else {
                    let array = self.array.take_if(|_| last)?;
                    return Some(Found::Bad(array.line, syntax(0, JsonErrorKind::End)));
                };
                match byte {
                    b'\n' => (self.line, self.indent, self.fresh) = (self.line + 1, 0, true),
                    b' ' | b'\t' | b'\r' => self.indent += usize::from(self.fresh),
                    _ => {
                        if let Some(found) = self.between(byte) {
                            match found {
                                Some(bad) => return Some(bad),
                                None => continue,
                            }
                        }
                        if let Some(compact) = self.whole_line(last) {
                            return Some(compact);
                        }
                        self.text = Some(Text::new());
                        continue;
                    }
                }
                self.start += 1;
                continue;
            }
            return self.go_on(last);
        }
    }

    /// What is between texts: brackets and commas of an array around them. `None`: a text begins here.
    fn between(&mut self, byte: u8) -> Option<Option<Found>> {
        let line = self.line;
        let bad = |kind| Some(Found::Bad(line, syntax(0, kind)));
        let answer = match (&mut self.array, byte) {
            (None, b'[') => {
                self.array = Some(Array { line, after: After::Open });
                None
            }
            (Some(array), b']') => {
                let after = array.after;
                self.array = None;
                if after == After::Comma { bad(JsonErrorKind::ExpectedValue) } else { None }
            }
            (Some(array), b',') if array.after == After::Element => {
                array.after = After::Comma;
                None
            }
            (Some(_), b',') => bad(JsonErrorKind::ExpectedValue),
            (Some(array), _) if array.after == After::Element => {
                // It was cut: what follows stands for itself.
                let begun = array.line;
                self.array = None;
                return Some(Some(Found::Bad(begun, syntax(0, JsonErrorKind::ExpectedCommaOrBracket))));
            }
            _ => return None,
        };
        self.start += 1;
        self.fresh = false;
        Some(answer)
    }

    /// The usual case, in one pass: a line that is one compact text.
    fn whole_line(&mut self, last: bool) -> Option<Found> {
        let first = std::mem::replace(&mut self.fresh, false);
        if !first || self.array.is_some() {
            return None;
        }
        let rest = self.buffer.get(self.start..)?;
        let length = match memchr::memchr(b'\n', rest) {
            Some(length) => length,
            None if last => rest.len(),
            None => return None,
        };
        let line = rest.get(..length)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_text = line.len() <= self.limit
            && simdutf8::basic::from_utf8(line).is_ok_and(|text| scan_str(text) == Ok(Scanned::Compact));
        let range = self.start..self.start + line.len();
        is_text.then(|| {
            self.start = range.end;
            Found::Compact(range, self.line)
        })
    }

    /// The text at `start`, further than before.
    fn go_on(&mut self, last: bool) -> Option<Found> {
        let text = self.text.as_mut()?;
        // One byte more than the longest text shows the end of one that is just as long.
        let end = self.buffer.len().min(self.start.saturating_add(self.limit).saturating_add(1));
        let seen = self.buffer.get(self.start..end)?;
        let outcome = match text.advance(seen) {
            Ok(None | Some(_)) if seen.len() > self.limit && text.at > self.limit => Err(Problem::TooLong),
            Ok(None) if last => text.finish().map_err(|kind| syntax(text.at, kind)),
            Ok(None) => return None,
            Ok(Some(length)) => Ok(length),
            Err(kind) => Err(syntax(text.at, kind)),
        };
        let (line, lines) = (self.line, text.lines);
        let any = !matches!(seen.first(), Some(b'{' | b'['));
        self.text = None;
        Some(match outcome {
            Ok(length) => {
                let range = self.start..self.start + length;
                self.start = range.end;
                self.line += lines;
                if let Some(array) = &mut self.array {
                    array.after = After::Element;
                }
                Found::Text(range, line)
            }
            Err(problem) => {
                self.skip = Some(Skip { indent: self.indent, any, column: None });
                if let Some(array) = &mut self.array {
                    array.after = After::Open;
                }
                Found::Bad(line, problem)
            }
        })
    }

    /// Looks for the line at which reading goes on; `false` while it is not there.
    fn resume(&mut self, last: bool) -> bool {
        let Some(skip) = &mut self.skip else { return true };
        while let Some(rest) = self.buffer.get(self.start..).filter(|rest| !rest.is_empty()) {
            match (skip.column, rest.first().copied().unwrap_or_default()) {
                (None, _) => match memchr::memchr(b'\n', rest) {
                    None => self.start += rest.len(),
                    Some(end) => {
                        self.start += end + 1;
                        self.line += 1;
                        skip.column = Some(0);
                    }
                },
                (Some(_), b'\n') => {
                    self.start += 1;
                    self.line += 1;
                    skip.column = Some(0);
                }
                (Some(blanks), b' ' | b'\t' | b'\r') => {
                    self.start += 1;
                    skip.column = Some(blanks + 1);
                }
                (Some(blanks), byte) => {
                    let opens = matches!(byte, b'{' | b'[') || byte == b']' && self.array.is_some();
                    if skip.any || opens && blanks <= skip.indent {
                        (self.indent, self.fresh, self.skip) = (blanks, true, None);
                        return true;
                    }
                    skip.column = None;
                }
            }
        }
        if last {
            // What is broken goes to the end, the array around it too.
            (self.skip, self.array) = (None, None);
        }
        false
    }
}

fn syntax(position: usize, kind: JsonErrorKind) -> Problem {
    Problem::Syntax(JsonError { position, kind })
}
