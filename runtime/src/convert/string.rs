//! StringConverter: a text a record.
//!
//! Malformed bytes become U+FFFD, as in Java. Values that are no text are written as JSON (Connect writes Java's
//! `toString`: `{a=1}`).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use connector_core::json::DecimalFormat;
use connector_core::{ConfigProblem, Form, Needs, Result, Transformed};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Converter, json, no_fields, optional, part, replaced, undecoded};

#[derive(Deserialize, JsonSchema)]
pub(super) struct Config {
    /// Charset of the bytes: `UTF-8`, `UTF-16`, `ISO-8859-1` or `US-ASCII`.
    #[serde(rename = "converter.encoding", default = "utf8")]
    encoding: String,
}

fn utf8() -> String {
    "UTF-8".to_owned()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    /// Written big-endian with a byte order mark, as Java does.
    Utf16,
    Latin1,
    Ascii,
}

impl Charset {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "UTF-8" | "UTF8" => Self::Utf8,
            "UTF-16" | "UTF16" => Self::Utf16,
            "ISO-8859-1" | "ISO8859_1" | "LATIN1" => Self::Latin1,
            "US-ASCII" | "ASCII" => Self::Ascii,
            _ => return None,
        })
    }

    fn read(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes),
            Self::Utf16 => {
                let (little, bytes) = match bytes {
                    [0xff, 0xfe, rest @ ..] => (true, rest),
                    [0xfe, 0xff, rest @ ..] => (false, rest),
                    _ => (false, bytes),
                };
                let (pairs, half) = bytes.as_chunks::<2>();
                let units =
                    pairs.iter().map(|&p| if little { u16::from_le_bytes(p) } else { u16::from_be_bytes(p) });
                let whole = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
                whole
                    .chain((!half.is_empty()).then_some(char::REPLACEMENT_CHARACTER))
                    .collect::<String>()
                    .into()
            }
            Self::Latin1 => bytes.iter().map(|&b| char::from(b)).collect::<String>().into(),
            Self::Ascii => {
                let ascii = |&b: &u8| if b.is_ascii() { char::from(b) } else { char::REPLACEMENT_CHARACTER };
                bytes.iter().map(ascii).collect::<String>().into()
            }
        }
    }

    fn write(self, text: &str) -> Cow<'_, [u8]> {
        let single = |highest: char| {
            // Java writes `?` for what the charset does not have.
            text.chars().map(|c| if c <= highest { c as u8 } else { b'?' }).collect::<Vec<_>>().into()
        };
        match self {
            Self::Utf8 => text.as_bytes().into(),
            Self::Utf16 => {
                [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect()
            }
            Self::Latin1 => single('\u{ff}'),
            Self::Ascii => single('\u{7f}'),
        }
    }
}

pub(super) struct StringConverter(Charset);

impl StringConverter {
    pub(super) fn new(config: &Config, _is_key: bool) -> Result<Self, Vec<ConfigProblem>> {
        Charset::named(&config.encoding).map(Self).ok_or_else(|| {
            let hint = "use UTF-8, UTF-16, ISO-8859-1 or US-ASCII";
            vec![ConfigProblem::new("converter.encoding", "is no charset that is supported", hint)]
        })
    }

    fn texts(&self, bytes: &BinaryArray) -> StringArray {
        if self.0 == Charset::Utf8
            && let Ok(texts) = StringArray::try_from_binary(bytes.clone())
        {
            return texts;
        }
        let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len());
        for value in bytes {
            texts.append_option(value.map(|value| self.0.read(value)));
        }
        texts.finish()
    }

    fn bytes(&self, texts: &StringArray) -> BinaryArray {
        if self.0 == Charset::Utf8 {
            return BinaryArray::from(texts.clone());
        }
        let mut bytes = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
        for text in texts {
            bytes.append_option(text.map(|text| self.0.write(text)));
        }
        bytes.finish()
    }
}

#[async_trait]
impl Converter for StringConverter {
    fn class(&self) -> &'static str {
        "org.apache.kafka.connect.storage.StringConverter"
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        match needs {
            Needs::Any | Needs::Bytes => Ok(Transformed::one(records)),
            Needs::Document => {
                let texts = self.texts(undecoded(&records, column)?);
                let field = optional(Form::Columns.field(column, DataType::Utf8));
                replaced(records, field, Arc::new(texts), Vec::new())
            }
            Needs::Columns(_) => Err(no_fields("StringConverter")),
        }
    }

    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let (field, array) = part(&records, column)?;
        let bytes: ArrayRef = match array.data_type() {
            DataType::Utf8 => Arc::new(self.bytes(array.as_string())),
            DataType::LargeUtf8 | DataType::Utf8View => {
                Arc::new(self.bytes(arrow::compute::cast(array, &DataType::Utf8)?.as_string()))
            }
            DataType::Binary => array.clone(),
            _ => Arc::new(json::texts(field, array, DecimalFormat::Numeric)?),
        };
        replaced(records, Form::Bytes.field(column, DataType::Binary), bytes, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use connector_core::envelope::{EnvelopeBuilder, VALUE};

    fn converter(encoding: &str) -> StringConverter {
        StringConverter::new(&Config { encoding: encoding.to_owned() }, false).ok().unwrap()
    }

    async fn read(encoding: &str, bytes: &[u8]) -> String {
        let column = Arc::new(BinaryArray::from_iter_values([bytes]));
        let records = EnvelopeBuilder::new().value(Form::Bytes, column).build().unwrap();
        let out = converter(encoding).decode(records, VALUE, &Needs::Document).await.unwrap();
        out.runs[0].records[VALUE].as_string::<i32>().value(0).to_owned()
    }

    async fn written(encoding: &str, array: ArrayRef) -> Vec<u8> {
        let records = EnvelopeBuilder::new().value(Form::Columns, array).build().unwrap();
        let out = converter(encoding).encode(records, VALUE).await.unwrap();
        out.runs[0].records[VALUE].as_binary::<i32>().value(0).to_vec()
    }

    #[tokio::test]
    async fn bytes_are_read_as_java_reads_them_cnv_string_01_to_10() {
        assert_eq!(read("UTF-8", "é😀".as_bytes()).await, "é😀");
        assert_eq!(read("utf-8", b" x ").await, " x ");
        assert_eq!(read("UTF-8", b"\xff\xfeA").await, "\u{fffd}\u{fffd}A");
        assert_eq!(read("UTF-16", b"\0\xe9").await, "é");
        assert_eq!(read("US-ASCII", "é".as_bytes()).await, "\u{fffd}\u{fffd}");
        assert!(StringConverter::new(&Config { encoding: "bogus".to_owned() }, false).is_err());
    }

    #[tokio::test]
    async fn texts_are_written_as_java_writes_them_and_the_rest_as_json() {
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        assert_eq!(written("UTF-8", text("é")).await, "é".as_bytes());
        assert_eq!(written("UTF-16", text("é")).await, b"\xfe\xff\0\xe9");
        assert_eq!(written("US-ASCII", text("é")).await, b"?");
        assert_eq!(written("UTF-8", Arc::new(Int64Array::from(vec![7]))).await, b"7");
    }
}
