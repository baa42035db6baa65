//! The tokens of a JSON text, read from left to right without allocation.

use super::error::{JsonError, JsonErrorKind};

/// Connect's parser refuses longer numbers.
const LONGEST_NUMBER: usize = 1000;

/// A place in a text.
pub(crate) struct Cursor<'t> {
    text: &'t str,
    pub at: usize,
}

/// What is between the quotes of a string.
pub(crate) struct Quoted<'t> {
    pub raw: &'t str,
    /// Whether `raw` holds escape sequences.
    pub escaped: bool,
}

impl Quoted<'_> {
    /// Appends the text that the string stands for; half a surrogate pair becomes U+FFFD.
    pub fn unescape(&self, out: &mut String) {
        let mut rest = self.raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            out.push_str(plain);
            let code = |text: &str| text.get(1..5).and_then(|hex| u16::from_str_radix(hex, 16).ok());
            let (character, length) = match escape.as_bytes().first() {
                Some(b'b') => ('\u{8}', 1),
                Some(b'f') => ('\u{c}', 1),
                Some(b'n') => ('\n', 1),
                Some(b'r') => ('\r', 1),
                Some(b't') => ('\t', 1),
                Some(b'u') => {
                    let first = code(escape).unwrap_or(0xfffd);
                    let second = escape
                        .get(5..)
                        .and_then(|t| t.strip_prefix('\\'))
                        .filter(|t| t.starts_with('u'))
                        .and_then(code);
                    match (char::from_u32(first.into()), second) {
                        (Some(character), _) => (character, 5),
                        (None, Some(second)) => match char::decode_utf16([first, second]).next() {
                            Some(Ok(character)) => (character, 11),
                            _ => (char::REPLACEMENT_CHARACTER, 5),
                        },
                        (None, None) => (char::REPLACEMENT_CHARACTER, 5),
                    }
                }
                // A quote, a backslash or a slash stands for itself.
                Some(&byte) => (char::from(byte), 1),
                None => break,
            };
            out.push(character);
            rest = escape.get(length..).unwrap_or_default();
        }
        out.push_str(rest);
    }
}

/// A number's text, without superfluous leading zeros.
pub(crate) struct Number<'t> {
    pub negative: bool,
    /// Without the sign.
    pub digits: &'t str,
    /// Where the digits begin.
    pub start: usize,
    /// Without fraction and exponent.
    pub integral: bool,
}

impl Number<'_> {
    /// The number, unless it has a fraction or an exponent or more than 64 bits.
    pub fn integer(&self) -> Option<i64> {
        if !self.integral {
            return None;
        }
        let magnitude: u64 = self.digits.parse().ok()?;
        if self.negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
    }

    /// The nearest double, unless that is infinite.
    pub fn float(&self) -> Option<f64> {
        let magnitude: f64 = self.digits.parse().ok()?;
        magnitude.is_finite().then_some(if self.negative { -magnitude } else { magnitude })
    }
}

impl<'t> Cursor<'t> {
    pub fn new(text: &'t str) -> Self {
        // A byte order mark is no part of the document.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at }
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    pub fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// An error here; the end of the text is an error of its own.
    #[cold]
    pub fn error(&self, kind: JsonErrorKind) -> JsonError {
        let kind = if self.peek().is_none() { JsonErrorKind::End } else { kind };
        JsonError { position: self.at, kind }
    }

    /// The text from `start` to here.
    #[inline]
    pub fn since(&self, start: usize) -> &'t str {
        self.slice(start, self.at)
    }

    #[inline]
    fn slice(&self, start: usize, end: usize) -> &'t str {
        // Tokens begin and end at ASCII characters, so this never cuts a character.
        self.text.get(start..end).unwrap_or_default()
    }

    /// Reads a string, from its opening quote to its closing one.
    #[inline]
    pub fn string(&mut self) -> Result<Quoted<'t>, JsonError> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            self.at += self.text.as_bytes().get(self.at..).map_or(0, plain_prefix);
            match self.peek() {
                Some(b'"') => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(Quoted { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.error(JsonErrorKind::ControlCharacter)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return Err(self.error(JsonErrorKind::Escape));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.error(JsonErrorKind::Escape)),
        }
        Ok(())
    }

    /// Skips digits; at least one.
    #[inline]
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.error(JsonErrorKind::Number)) } else { Ok(()) }
    }

    /// Reads a number. Leading zeros are no error: Connect's parser drops them too.
    pub fn number(&mut self) -> Result<Number<'t>, JsonError> {
        let negative = self.peek() == Some(b'-');
        let mut start = self.at + usize::from(negative);
        self.at = start;
        self.digits()?;
        while start + 1 < self.at && self.text.as_bytes().get(start) == Some(&b'0') {
            start += 1;
        }
        let mut integral = true;
        if self.peek() == Some(b'.') {
            integral = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            integral = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at - start > LONGEST_NUMBER {
            return Err(JsonError { position: start, kind: JsonErrorKind::LongNumber });
        }
        Ok(Number { negative, digits: self.since(start), start, integral })
    }

    /// Reads `true`, `false` or `null`.
    pub fn word(&mut self) -> Result<&'t str, JsonError> {
        let length = if self.peek() == Some(b'f') { 5 } else { 4 };
        let word = self.slice(self.at, self.at + length);
        if !matches!(word, "true" | "false" | "null") {
            return Err(JsonError { position: self.at, kind: JsonErrorKind::Word });
        }
        self.at += length;
        Ok(word)
    }

    /// Reads a key and its colon, from the opening quote.
    #[inline]
    pub fn key(&mut self) -> Result<Quoted<'t>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(JsonErrorKind::ExpectedKey));
        }
        self.string()
    }

    #[inline]
    pub fn colon(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(self.error(JsonErrorKind::ExpectedColon));
        }
        self.at += 1;
        Ok(())
    }

    /// Checks what follows a document that is a bare number or word; anything may follow other documents.
    pub fn end_of_bare_value(&self, number: bool) -> Result<(), JsonError> {
        let next = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        match next {
            Some(c) if number && !matches!(c, ' ' | '\n' | '\r' | '\t') => {
                Err(self.error(JsonErrorKind::Number))
            }
            Some(c) if !number && (c.is_alphanumeric() || c == '_') => Err(self.error(JsonErrorKind::Word)),
            _ => Ok(()),
        }
    }
}

/// How many bytes at the start of `text` a JSON string can hold as they are: up to a quote, a backslash or a control
/// character.
#[inline]
pub(super) fn plain_prefix(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special_bytes(u64::from_le_bytes(eight));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = text.get(at..).unwrap_or_default();
    at + tail.iter().position(|b| matches!(b, 0..=0x1f | b'"' | b'\\')).unwrap_or(tail.len())
}

/// The high bit of the first (lowest) byte that is a quote, a backslash or a control character; bits above it may be
/// wrong, because the subtractions borrow.
#[inline]
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_prefix_ends_at_the_first_special_byte_wherever_it_is() {
        for length in 0..40 {
            for at in 0..length {
                for special in [0, 0x1f, b'"', b'\\', b'\n'] {
                    let mut text = vec![b'!'; length];
                    text[length - 1] = b'"';
                    text[at] = special;
                    assert_eq!(plain_prefix(&text), at, "{special} at {at} of {length}");
                }
            }
            assert_eq!(plain_prefix(&vec![0xf0; length]), length);
            assert_eq!(plain_prefix(&vec![b' '; length]), length);
        }
    }
}
