//! Where one JSON text ends, found byte by byte, so that it may come in pieces.

use connector_core::json::JsonErrorKind;

/// Nested objects and arrays, at most: what the strict check takes too.
const DEEPEST: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    /// Between tokens.
    None,
    String,
    Escape,
    /// A number or a word.
    Bare,
}

/// A text that has begun. Only its structure is checked here: tokens are checked when it is whole.
pub struct Text {
    /// Bytes that were looked at.
    pub at: usize,
    /// Line ends among them.
    pub lines: u64,
    /// `{` or `[` of what is open.
    open: Vec<u8>,
    expect: Expect,
    token: Token,
}

impl Text {
    pub fn new() -> Self {
        Self { at: 0, lines: 0, open: Vec::new(), expect: Expect::Value, token: Token::None }
    }

    /// Goes on in `text`, which begins as it did in the call before. The text's length once its end is in sight.
    pub fn advance(&mut self, text: &[u8]) -> Result<Option<usize>, JsonErrorKind> {
        while let Some(rest) = text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let ended = match self.token {
                Token::String => self.string(rest)?,
                Token::Escape => {
                    self.at += 1;
                    self.token = Token::String;
                    false
                }
                Token::Bare => self.bare(rest),
                Token::None => self.between(rest)?,
            };
            if ended && self.open.is_empty() {
                return Ok(Some(self.at));
            }
        }
        Ok(None)
    }

    /// The length of the text if nothing follows.
    pub fn finish(&self) -> Result<usize, JsonErrorKind> {
        match self.token {
            Token::Bare if self.open.is_empty() => Ok(self.at),
            _ => Err(JsonErrorKind::End),
        }
    }

    /// Whether the string has ended.
    fn string(&mut self, rest: &[u8]) -> Result<bool, JsonErrorKind> {
        let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', rest) else {
            self.at += rest.len();
            return Ok(false);
        };
        self.at += found;
        match rest.get(found) {
            Some(b'"') => self.token = Token::None,
            Some(b'\\') => self.token = Token::Escape,
            // Half an object in a line of its own is told here from the next line.
            _ => return Err(JsonErrorKind::ControlCharacter),
        }
        self.at += 1;
        Ok(self.token == Token::None)
    }

    /// Whether the number or word has ended.
    fn bare(&mut self, rest: &[u8]) -> bool {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !part(byte));
        self.at += length.unwrap_or(rest.len());
        if length.is_some() {
            self.token = Token::None;
        }
        length.is_some()
    }

    /// Whether an object or array has ended.
    fn between(&mut self, rest: &[u8]) -> Result<bool, JsonErrorKind> {
        let Some(&byte) = rest.first() else { return Ok(false) };
        let mut ended = false;
        match (byte, self.expect) {
            (b'\n', _) => self.lines += 1,
            (b' ' | b'\t' | b'\r', _) => {}
            (b'"', Expect::Key | Expect::KeyOrEnd) => {
                (self.token, self.expect) = (Token::String, Expect::Colon);
            }
            (b'}', Expect::KeyOrEnd) | (b']', Expect::ValueOrEnd) => ended = true,
            (b'}', Expect::CommaOrEnd) if self.open.last() == Some(&b'{') => ended = true,
            (b']', Expect::CommaOrEnd) if self.open.last() == Some(&b'[') => ended = true,
            (b':', Expect::Colon) => self.expect = Expect::Value,
            (b',', Expect::CommaOrEnd) => {
                self.expect = if self.open.last() == Some(&b'{') { Expect::Key } else { Expect::Value };
            }
            (_, Expect::Key | Expect::KeyOrEnd) => return Err(JsonErrorKind::ExpectedKey),
            (_, Expect::Colon) => return Err(JsonErrorKind::ExpectedColon),
            (_, Expect::CommaOrEnd) if self.open.last() == Some(&b'{') => {
                return Err(JsonErrorKind::ExpectedCommaOrBrace);
            }
            (_, Expect::CommaOrEnd) => return Err(JsonErrorKind::ExpectedCommaOrBracket),
            (b'{' | b'[', Expect::Value | Expect::ValueOrEnd) => {
                if self.open.len() == DEEPEST {
                    return Err(JsonErrorKind::Depth);
                }
                self.open.push(byte);
                self.expect = if byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
            }
            (b'"', _) => (self.token, self.expect) = (Token::String, Expect::CommaOrEnd),
            (b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', _) => {
                (self.token, self.expect) = (Token::Bare, Expect::CommaOrEnd);
            }
            _ => return Err(JsonErrorKind::ExpectedValue),
        }
        if ended {
            self.open.pop();
            self.expect = Expect::CommaOrEnd;
        }
        self.at += 1;
        Ok(ended)
    }
}
