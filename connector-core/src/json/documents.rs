//! Undecoded values to a column of documents.

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};

use super::error::JsonError;
use super::scan::{Scanned, compact, scan_str};
use crate::error::{ConnectError, Result};

/// The answer of [`documents`].
#[derive(Debug)]
pub struct Documents {
    /// The rows that are not rejected, in order, each a compact JSON text or null.
    pub texts: StringArray,
    /// Rows of the input, ascending, and why they are not JSON.
    pub rejected: Vec<(usize, JsonError)>,
}

/// Checks all values as [`scan`](super::scan()) does and makes them compact. When they all are already, as most
/// producers send them, nothing is copied. Nothing and the literal `null` become null.
pub fn documents(values: &BinaryArray) -> Result<Documents> {
    let untouched = StringArray::try_from_binary(values.clone()).ok().and_then(|texts| as_they_are(&texts));
    match untouched {
        Some(texts) => Ok(Documents { texts, rejected: Vec::new() }),
        None => rewritten(values),
    }
}

/// The texts without a copy, if all of them are compact or null.
fn as_they_are(texts: &StringArray) -> Option<StringArray> {
    let mut null = BooleanBufferBuilder::new(texts.len());
    for row in 0..texts.len() {
        null.append(
            texts.is_valid(row)
                && match scan_str(texts.value(row)) {
                    Ok(Scanned::Compact) => false,
                    Ok(Scanned::Null) => true,
                    Ok(Scanned::Loose) | Err(_) => return None,
                },
        );
    }
    let null = BooleanArray::new(null.finish(), None);
    if null.true_count() == 0 {
        return Some(texts.clone());
    }
    arrow::compute::nullif(texts, &null).ok()?.as_string_opt().cloned()
}

fn rewritten(values: &BinaryArray) -> Result<Documents> {
    let mut texts = Vec::with_capacity(values.value_data().len());
    let (mut offsets, mut valid, mut rejected) = (vec![0], Vec::with_capacity(values.len()), Vec::new());
    for (row, value) in values.iter().enumerate() {
        let before = texts.len();
        match value.map_or(Ok(false), |value| compact(value, &mut texts)) {
            Ok(found) => valid.push(found),
            Err(error) => {
                texts.truncate(before);
                rejected.push((row, error));
                continue;
            }
        }
        offsets.push(i32::try_from(texts.len()).map_err(|_| {
            ConnectError::user("json.batch_size", "a batch holds more than 2 GiB of JSON")
                .hint("lower the number of records a batch")
        })?);
    }
    let (offsets, valid) = (OffsetBuffer::new(ScalarBuffer::from(offsets)), NullBuffer::from(valid));
    let nulls = Some(valid).filter(|valid| valid.null_count() > 0);
    Ok(Documents { texts: StringArray::try_new(offsets, texts.into(), nulls)?, rejected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[Option<&[u8]>]) -> (Vec<Option<String>>, Vec<usize>) {
        let found = documents(&BinaryArray::from_iter(values)).unwrap();
        let texts = found.texts.iter().map(|text| text.map(str::to_owned)).collect();
        (texts, found.rejected.into_iter().map(|(row, _)| row).collect())
    }

    #[test]
    fn compact_documents_are_not_copied() {
        let values =
            BinaryArray::from_iter([Some(br#"{"a":1.10}"#.as_slice()), None, Some(b"null"), Some(b"")]);
        let found = documents(&values).unwrap();
        assert_eq!(found.texts.iter().collect::<Vec<_>>(), [Some(r#"{"a":1.10}"#), None, None, None]);
        assert_eq!(found.texts.value_data().as_ptr(), values.value_data().as_ptr());
    }

    #[test]
    fn one_loose_or_bad_document_does_not_change_the_others() {
        let (texts, rejected) = read(&[
            Some("\"é\"".as_bytes()),
            Some(b" 1 "),
            Some(b"{'a':6}"),
            None,
            Some(b"[1,\xe9]"),
            Some(b"7"),
        ]);
        assert_eq!(texts, [Some("\"é\"".to_owned()), Some("1".to_owned()), None, Some("7".to_owned())]);
        assert_eq!(rejected, [2, 4]);
    }

    #[test]
    fn a_character_split_over_two_values_is_two_errors() {
        assert_eq!(read(&[Some(b"\"\xc3"), Some(b"\xa9\"")]), (vec![], vec![0, 1]));
    }
}
