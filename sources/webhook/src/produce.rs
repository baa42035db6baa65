//! The body of a produce request: `{"records":[{"key":…,"value":…,"partition":n}],"key_schema":…}`.

use axum::http::StatusCode;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiter::{Jiter, JiterError, NumberInt, Peek};

use crate::records::{Broken, Format, Records, Row, Span, copy_json, span};
use crate::refusal::Refusal;

impl Records {
    /// Reads a body, in one pass and without a tree. More than `max_records` are refused.
    pub fn parse(body: &[u8], format: Format, max_records: usize) -> Result<Self, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(no_data());
        }
        std::str::from_utf8(body).map_err(|e| Refusal::conversion("invalid UTF-8", e.valid_up_to()))?;
        let mut reader =
            Reader { json: Jiter::new(body), format, max_records, rows: Vec::new(), text: Vec::new() };
        reader.text.reserve(body.len());
        reader.request()?;
        if reader.rows.is_empty() {
            return Err(Refusal::unprocessable("records must not be empty"));
        }
        Ok(Self::new(format, reader.rows, reader.text))
    }
}

fn no_data() -> Refusal {
    Refusal::unprocessable("Null input provided. Data is required.")
}

/// As REST Proxy reads it: padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

struct Reader<'a> {
    json: Jiter<'a>,
    format: Format,
    max_records: usize,
    rows: Vec<Row>,
    text: Vec<u8>,
}

impl Reader<'_> {
    fn request(&mut self) -> Result<(), Refusal> {
        let broken = |e: JiterError| Refusal::conversion(e.error_type, e.index);
        match self.json.peek().map_err(broken)? {
            Peek::Object => {}
            Peek::Null => return Err(no_data()),
            _ => return Err(Refusal::conversion("the request is not an object", self.json.current_index())),
        }
        let mut field = self.json.known_object().map_err(broken)?;
        while let Some(name) = field {
            match name {
                "records" => self.records()?,
                "key_schema" | "key_schema_id" | "value_schema" | "value_schema_id" => {
                    self.json.next_skip().map_err(broken)?;
                }
                other => return Err(unrecognized(other)),
            }
            field = self.json.next_key().map_err(broken)?;
        }
        self.json.finish().map_err(broken)
    }

    fn records(&mut self) -> Result<(), Refusal> {
        // A field that is there twice counts with its last value, as in every JSON mapper.
        self.rows.clear();
        self.text.clear();
        let broken = |e: JiterError| Refusal::conversion(e.error_type, e.index);
        let mut next = match self.json.peek().map_err(broken)? {
            Peek::Array => self.json.known_array().map_err(broken)?,
            Peek::Null => return self.json.known_null().map_err(broken),
            _ => return Err(Refusal::conversion("`records` is not an array", self.json.current_index())),
        };
        while let Some(first) = next {
            if self.rows.len() == self.max_records {
                let why =
                    format!("more than {} records in one request (webhook.queue.records)", self.max_records);
                return Err(Refusal::http(StatusCode::PAYLOAD_TOO_LARGE, &why));
            }
            let row = self.record(first)?;
            self.rows.push(row);
            next = self.json.array_step().map_err(|e| self.broken(&e))?;
        }
        Ok(())
    }

    fn record(&mut self, first: Peek) -> Result<Row, Refusal> {
        if first != Peek::Object {
            return Err(self.wrong("is not an object", self.json.current_index()));
        }
        // Not `self.broken`: the name of a field borrows the reader.
        let index = self.rows.len();
        let broken = |e: JiterError| broken_record(index, &e);
        let mut row = Row::default();
        let mut field = self.json.known_object().map_err(broken)?;
        while let Some(name) = field {
            match name {
                "key" => row.key = self.datum("key")?,
                "value" => row.value = self.datum("value")?,
                "partition" => row.partition = self.partition()?,
                other => return Err(unrecognized(other)),
            }
            field = self.json.next_key().map_err(broken)?;
        }
        Ok(row)
    }

    /// A key or a value, appended to the text.
    fn datum(&mut self, name: &str) -> Result<Option<Span>, Refusal> {
        let index = self.rows.len();
        let broken = |e: JiterError| broken_record(index, &e);
        let peek = self.json.peek().map_err(broken)?;
        if peek == Peek::Null {
            self.json.known_null().map_err(broken)?;
            return Ok(None);
        }
        let (start, at) = (self.text.len(), self.json.current_index());
        match self.format {
            Format::Binary if peek == Peek::String => {
                let text = self.json.known_str().map_err(broken)?;
                BASE64.decode_vec(text, &mut self.text).map_err(|_| {
                    Refusal::unprocessable(format!(
                        "Record {name} contains invalid base64 encoding: records[{index}]"
                    ))
                })?;
            }
            Format::Binary => return Err(self.wrong(format_args!("{name} is not a base64 string"), at)),
            _ => {
                let span =
                    copy_json(&mut self.json, peek, &mut self.text).map_err(|Broken { what, byte }| {
                        Refusal::conversion(format_args!("records[{index}].{name}: {what}"), byte)
                    })?;
                return Ok(Some(span));
            }
        }
        Ok(Some(span(start, &self.text)))
    }

    fn partition(&mut self) -> Result<Option<i32>, Refusal> {
        let peek = self.json.peek().map_err(|e| self.broken(&e))?;
        let at = self.json.current_index();
        if peek == Peek::Null {
            self.json.known_null().map_err(|e| self.broken(&e))?;
            return Ok(None);
        }
        match self.json.known_int(peek) {
            Ok(NumberInt::Int(number)) if i32::try_from(number).is_ok() => Ok(i32::try_from(number).ok()),
            _ => Err(self.wrong("partition is not a whole number", at)),
        }
    }

    fn broken(&self, error: &JiterError) -> Refusal {
        broken_record(self.rows.len(), error)
    }

    fn wrong(&self, what: impl std::fmt::Display, at: usize) -> Refusal {
        Refusal::conversion(format_args!("records[{}]: {what}", self.rows.len()), at)
    }
}

fn broken_record(index: usize, error: &JiterError) -> Refusal {
    Refusal::conversion(format_args!("records[{index}]: {}", error.error_type), error.index)
}

/// A bare row, or a misspelt field. Names are shown, but not without end.
fn unrecognized(name: &str) -> Refusal {
    Refusal::unprocessable(format!("Unrecognized field: {}", name.chars().take(100).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<Records, Refusal> {
        Records::parse(body.as_bytes(), Format::Json, 1000)
    }

    fn texts(records: &Records) -> Vec<(Option<&str>, Option<&str>)> {
        let text = |bytes: Option<&'_ [u8]>| bytes.map(|b| std::str::from_utf8(b).unwrap().to_owned());
        let owned: Vec<_> = records.iter().map(|r| (text(r.key), text(r.value))).collect();
        owned.into_iter().map(|(k, v)| (k.map(|k| &*k.leak()), v.map(|v| &*v.leak()))).collect()
    }

    #[test]
    fn a_value_keeps_key_order_number_text_and_escapes_and_loses_blanks() {
        let body =
            r#" {"records": [{"value": {"b": 1.10, "a": "x\u2026  y\n\"", "c": [1e3, -0, null , true]}}]} "#;
        let records = json(body).unwrap();
        let value = r#"{"b":1.10,"a":"x\u2026  y\n\"","c":[1e3,-0,null,true]}"#;
        assert_eq!(texts(&records), [(None, Some(value))]);
    }

    #[test]
    fn null_and_missing_values_are_null_and_keys_are_json_texts() {
        let body = r#"{"key_schema":null,"records":[{"key":"k","value":null},{},{"value":"x","key":{"id": 7}}],
            "value_schema_id": 3}"#;
        let records = json(body).unwrap();
        assert_eq!(
            texts(&records),
            [(Some(r#""k""#), None), (None, None), (Some(r#"{"id":7}"#), Some(r#""x""#))]
        );
    }

    #[test]
    fn explicit_partitions_are_read() {
        let records =
            json(r#"{"records":[{"value":1,"partition":2},{"partition":null,"value":2}]}"#).unwrap();
        assert_eq!(records.iter().map(|r| r.partition).collect::<Vec<_>>(), [Some(2), None]);
    }

    #[test]
    fn binary_records_are_decoded_with_or_without_padding() {
        let body = br#"{"records":[{"key":"AAE=","value":"\u0041AE"},{"value":null},{"value":""}]}"#;
        let records = Records::parse(body, Format::Binary, 1000).unwrap();
        let rows: Vec<_> = records.iter().collect();
        assert_eq!((rows[0].key, rows[0].value), (Some(&[0, 1][..]), Some(&[0, 1][..])));
        assert_eq!((rows[1].value, rows[2].value), (None, Some(&[][..])));
    }

    #[test]
    fn a_wrong_body_is_refused_by_place_and_never_shown() {
        let cases: [(&str, i32, &str); 20] = [
            (r#"{"ind": 7528, "country": "hunter2"}"#, 422, "Unrecognized field: ind"),
            (r#"{"index": {"ind": 1}}"#, 422, "Unrecognized field: index"),
            (r#"{"records":[{"valeu":"hunter2"}]}"#, 422, "Unrecognized field: valeu"),
            ("{}", 422, "records must not be empty"),
            (r#"{"records":[]}"#, 422, "records must not be empty"),
            (r#"{"records":null}"#, 422, "records must not be empty"),
            ("null", 422, "Data is required"),
            (" \n", 422, "Data is required"),
            ("", 422, "Data is required"),
            (r#""hunter2""#, 42203, "not an object at byte 0"),
            (r#"[{"value":1}]"#, 42203, "not an object at byte 0"),
            (r#"{"records":{"value":1}}"#, 42203, "`records` is not an array at byte 11"),
            (r#"{"records":["hunter2"]}"#, 42203, "records[0]: is not an object at byte 12"),
            (r#"{"records":[{"value":1},null]}"#, 42203, "records[1]: is not an object at byte 24"),
            (r#"{"records":[{"value":hunter2}]}"#, 42203, "records[0].value: expected value at byte 21"),
            (r#"{"records":[{"value":1}"#, 42203, "EOF while parsing a list"),
            (r#"{"records":[{"value":"hunter2"#, 42203, "EOF while parsing a string"),
            (r#"{"records":[{"value":1}]} x"#, 42203, "trailing characters at byte 26"),
            (
                r#"{"records":[{"value":1,"partition":"1"}]}"#,
                42203,
                "partition is not a whole number at byte 35",
            ),
            (r#"{"records":[{"value":1,"partition":3000000000}]}"#, 42203, "partition is not a whole number"),
        ];
        for (body, code, message) in cases {
            let refusal = json(body).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.code), (422, code), "{body}: {refusal:?}");
            assert!(refusal.message.contains(message), "{body}: {refusal:?}");
            assert!(!refusal.message.contains("hunter2"), "{body}: {refusal:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_by_place() {
        let refusal = Records::parse(b"{\"records\":[{\"value\":\"\xff\"}]}", Format::Json, 9).unwrap_err();
        assert!(refusal.message.contains("invalid UTF-8 at byte 22"), "{refusal:?}");
    }

    #[test]
    fn wrong_base64_names_the_record() {
        for value in [r#""hunter2!""#, "7"] {
            let body = format!(r#"{{"records":[{{"value":"AAE="}},{{"value":{value}}}]}}"#);
            let refusal = Records::parse(body.as_bytes(), Format::Binary, 9).unwrap_err();
            assert_eq!(refusal.status.as_u16(), 422);
            assert!(
                refusal.message.contains("base64") && refusal.message.contains("records[1]"),
                "{refusal:?}"
            );
            assert!(!refusal.message.contains("hunter2"), "{refusal:?}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_the_end_of_the_stack() {
        let body = format!(r#"{{"records":[{{"value":{}"#, "[".repeat(100_000));
        assert_eq!(json(&body).unwrap_err().code, 42203);
    }

    #[test]
    fn too_many_records_are_413() {
        let refusal = Records::parse(br#"{"records":[{},{},{}]}"#, Format::Json, 2).unwrap_err();
        assert_eq!(refusal.status.as_u16(), 413);
    }
}
