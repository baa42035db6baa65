//! What is wrong with a text that should be JSON, and where; never the text itself.

use std::fmt;

/// Why and where a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {position}")]
pub struct JsonError {
    /// Bytes before the place, in the text as it was given.
    pub position: usize,
    pub kind: JsonErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// Neither UTF-8 nor, by its first bytes, UTF-16 or UTF-32.
    Encoding,
    /// The text stops inside a value.
    End,
    ExpectedValue,
    ExpectedKey,
    ExpectedColon,
    ExpectedCommaOrBrace,
    ExpectedCommaOrBracket,
    /// A raw control character in a string, such as a line break.
    ControlCharacter,
    Escape,
    Number,
    /// A number of more than 1000 characters.
    LongNumber,
    /// A word other than `true`, `false`, `null`.
    Word,
    /// More than 1000 nested objects and arrays.
    Depth,
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoding => "malformed UTF-8",
            Self::End => "an unexpected end of the text",
            Self::ExpectedValue => "something else where a value should be",
            Self::ExpectedKey => "something else where a double-quoted key should be",
            Self::ExpectedColon => "something else where a `:` should be",
            Self::ExpectedCommaOrBrace => "something else where a `,` or `}` should be",
            Self::ExpectedCommaOrBracket => "something else where a `,` or `]` should be",
            Self::ControlCharacter => "an unescaped control character in a string",
            Self::Escape => "an unknown escape sequence in a string",
            Self::Number => "a malformed number",
            Self::LongNumber => "a number of more than 1000 characters",
            Self::Word => "a word that is not `true`, `false` or `null`",
            Self::Depth => "more than 1000 nested objects and arrays",
        })
    }
}
