//! Undecoded values to a column of documents.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, StringArray, StringBuilder,
};

use super::error::JsonError;
use super::scan::{Scanned, compact, scan_str};

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
pub fn documents(values: &BinaryArray) -> Documents {
    StringArray::try_from_binary(values.clone())
        .ok()
        .and_then(|texts| as_they_are(&texts))
        .map_or_else(|| rewritten(values), |texts| Documents { texts, rejected: Vec::new() })
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

fn rewritten(values: &BinaryArray) -> Documents {
    let mut texts = StringBuilder::with_capacity(values.len(), values.value_data().len());
    let (mut text, mut rejected) = (Vec::new(), Vec::new());
    for (row, value) in values.iter().enumerate() {
        text.clear();
        match value.map(|value| compact(value, &mut text)) {
            None | Some(Ok(false)) => texts.append_null(),
            Some(Ok(true)) => texts.append_value(String::from_utf8_lossy(&text)),
            Some(Err(error)) => rejected.push((row, error)),
        }
    }
    Documents { texts: texts.finish(), rejected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[Option<&[u8]>]) -> (Vec<Option<String>>, Vec<usize>) {
        let found = documents(&BinaryArray::from_iter(values));
        let texts = found.texts.iter().map(|text| text.map(str::to_owned)).collect();
        (texts, found.rejected.into_iter().map(|(row, _)| row).collect())
    }

    #[test]
    fn compact_documents_are_not_copied() {
        let values =
            BinaryArray::from_iter([Some(br#"{"a":1.10}"#.as_slice()), None, Some(b"null"), Some(b"")]);
        let found = documents(&values);
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
