//! The records of one request, as spans of one text.

use std::ops::Range;

use bytes::Bytes;
use connector_core::json::{JsonError, compact};
use jiter::{Jiter, JiterError, Peek};

/// How keys and values are embedded in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// As JSON; a record holds its own text made compact.
    Json,
    /// As base64 in JSON strings; a record holds the bytes.
    Binary,
    /// Of a stream: the value as JSON made compact, the key as its bare text.
    StreamJson,
    /// Of a stream: key and value as bare text.
    StreamText,
}

/// Where a key or a value lies in the text of its request.
pub type Span = Range<u32>;

#[derive(Debug, Default)]
pub struct Row {
    pub key: Option<Span>,
    pub value: Option<Span>,
    pub partition: Option<i32>,
}

/// The records of one request, in its order.
#[derive(Debug)]
pub struct Records {
    pub format: Format,
    rows: Vec<Row>,
    text: Bytes,
}

/// One record; `None` is null.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub partition: Option<i32>,
}

impl Records {
    pub fn new(format: Format, rows: Vec<Row>, text: Vec<u8>) -> Self {
        Self { format, rows, text: text.into() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let slice =
            |span: &Option<Span>| span.as_ref().and_then(|s| self.text.get(s.start as usize..s.end as usize));
        self.rows.iter().map(move |row| Record {
            key: slice(&row.key),
            value: slice(&row.value),
            partition: row.partition,
        })
    }

    /// How many records, from the first one, stay within both limits; at least one, so that a poll never stalls.
    /// With them, their size in bytes.
    pub fn fitting(&self, max_records: usize, max_bytes: usize) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        for row in self.rows.iter().take(max_records.max(1)) {
            let size = row.key.as_ref().map_or(0, Span::len) + row.value.as_ref().map_or(0, Span::len);
            if count > 0 && bytes + size > max_bytes {
                break;
            }
            count += 1;
            bytes += size;
        }
        (count, bytes)
    }

    /// Takes the records from `at` on away.
    pub fn split_off(&mut self, at: usize) -> Self {
        Self { format: self.format, rows: self.rows.split_off(at), text: self.text.clone() }
    }
}

/// What stops a value from being read, and at which byte of the body.
#[derive(Debug)]
pub struct Broken {
    pub what: String,
    pub byte: usize,
}

impl From<JiterError> for Broken {
    fn from(error: JiterError) -> Self {
        Self { what: error.error_type.to_string(), byte: error.index }
    }
}

/// Appends the JSON value that comes next to `text`, made compact: order of keys, number text and escapes stay.
pub fn copy_json(json: &mut Jiter<'_>, peek: Peek, text: &mut Vec<u8>) -> Result<Span, Broken> {
    let (start, at) = (text.len(), json.current_index());
    json.known_skip(peek)?;
    compact(json.slice_to_current(at), text)
        .map_err(|JsonError { position, kind }| Broken { what: kind.to_string(), byte: at + position })?;
    Ok(span(start, text))
}

/// From `start` to the end of `text`. Bodies are at most 1 GiB, and what is made from one is never longer.
pub fn span(start: usize, text: &[u8]) -> Span {
    start as u32..text.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_record_fits_and_a_split_keeps_all() {
        let body = br#"{"records":[{"value":"abcd"},{"value":"efgh"},{"value":"i"}]}"#;
        let mut records = Records::parse(body, Format::Json, 9).unwrap();
        assert_eq!(records.fitting(0, 0), (1, 6));
        assert_eq!(records.fitting(9, 12), (2, 12));
        assert_eq!(records.fitting(9, 100), (3, 15));
        let rest = records.split_off(2);
        assert_eq!((records.len(), rest.len()), (2, 1));
        assert_eq!(rest.iter().map(|r| r.value).collect::<Vec<_>>(), [Some(&br#""i""#[..])]);
    }
}
