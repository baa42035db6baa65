//! JSON in UTF-16 or UTF-32, told from its first bytes as Connect's parser does.

use super::error::{JsonError, JsonErrorKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Utf16Be,
    Utf16Le,
    Utf32Be,
    Utf32Le,
}

/// The charset and the length of its byte order mark; `None` means UTF-8.
pub(super) fn detect(text: &[u8]) -> Option<(Charset, usize)> {
    use Charset::*;
    match *text {
        [0, 0, 0xfe, 0xff, ..] => Some((Utf32Be, 4)),
        [0xff, 0xfe, 0, 0, ..] => Some((Utf32Le, 4)),
        [0xfe, 0xff, ..] => Some((Utf16Be, 2)),
        [0xff, 0xfe, ..] => Some((Utf16Le, 2)),
        [0, 0, 0, _, ..] => Some((Utf32Be, 0)),
        [_, 0, 0, 0, ..] => Some((Utf32Le, 0)),
        [0, _, ..] => Some((Utf16Be, 0)),
        [_, 0, ..] => Some((Utf16Le, 0)),
        _ => None,
    }
}

impl Charset {
    pub(super) fn decode(self, text: &[u8]) -> Result<String, JsonError> {
        let malformed = JsonError { position: 0, kind: JsonErrorKind::Encoding };
        let (pairs, half) = text.as_chunks::<2>();
        let (quads, rest) = text.as_chunks::<4>();
        match self {
            Self::Utf16Be | Self::Utf16Le if half.is_empty() => {
                let from = if self == Self::Utf16Be { u16::from_be_bytes } else { u16::from_le_bytes };
                let units = pairs.iter().map(|&pair| from(pair));
                char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| malformed)
            }
            Self::Utf32Be | Self::Utf32Le if rest.is_empty() => {
                let from = if self == Self::Utf32Be { u32::from_be_bytes } else { u32::from_le_bytes };
                quads.iter().map(|&quad| char::from_u32(from(quad)).ok_or(malformed)).collect()
            }
            _ => Err(malformed),
        }
    }
}
