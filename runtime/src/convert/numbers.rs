//! ShortConverter, IntegerConverter, LongConverter, FloatConverter, DoubleConverter, BooleanConverter: a value of a fixed
//! number of bytes, most significant first.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, RecordBatch,
};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use async_trait::async_trait;
use connector_core::{ConnectError, Form, Needs, Rejection, Result, Transformed};

use super::{Converter, no_fields, optional, part, replaced, stage, undecoded};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
}

impl Number {
    pub(super) const ALL: [Self; 6] =
        [Self::Short, Self::Integer, Self::Long, Self::Float, Self::Double, Self::Boolean];

    /// Without package: `IntegerConverter`.
    pub(super) fn class(self) -> &'static str {
        self.full_class().rsplit('.').next().unwrap_or_default()
    }

    /// By such a name.
    pub(super) fn named(class: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|number| Number::class(*number) == class)
    }

    fn full_class(self) -> &'static str {
        match self {
            Self::Short => "org.apache.kafka.connect.converters.ShortConverter",
            Self::Integer => "org.apache.kafka.connect.converters.IntegerConverter",
            Self::Long => "org.apache.kafka.connect.converters.LongConverter",
            Self::Float => "org.apache.kafka.connect.converters.FloatConverter",
            Self::Double => "org.apache.kafka.connect.converters.DoubleConverter",
            Self::Boolean => "org.apache.kafka.connect.converters.BooleanConverter",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Integer => "integer",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Boolean => "boolean",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Short => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::Boolean => 1,
            Self::Short => 2,
            Self::Integer | Self::Float => 4,
            Self::Long | Self::Double => 8,
        }
    }

    /// What is wrong with these bytes, in Kafka's words.
    fn problem(self, bytes: &[u8]) -> Option<String> {
        // Kafka's class, whose name is not always that of its type.
        let reader = match self {
            Self::Short => "ShortDeserializer",
            Self::Integer => "IntegerDeserializer",
            Self::Long => "LongDeserializer",
            Self::Float | Self::Double => "Deserializer",
            Self::Boolean => "BooleanDeserializer",
        };
        if bytes.len() != self.size() {
            return Some(format!("Size of data received by {reader} is not {}", self.size()));
        }
        // The byte itself is data, which no message holds.
        (self == Self::Boolean && bytes[0] > 1)
            .then(|| format!("Unexpected byte received by {reader}: neither 0 nor 1"))
    }

    /// The typed values of bytes that have no problem.
    fn read(self, rows: &[Option<&[u8]>]) -> ArrayRef {
        fn each<T, const N: usize>(rows: &[Option<&[u8]>], of: fn([u8; N]) -> T) -> Vec<Option<T>> {
            rows.iter().map(|row| row.and_then(|bytes| Some(of(bytes.try_into().ok()?)))).collect()
        }
        match self {
            Self::Short => Arc::new(Int16Array::from(each(rows, i16::from_be_bytes))),
            Self::Integer => Arc::new(Int32Array::from(each(rows, i32::from_be_bytes))),
            Self::Long => Arc::new(Int64Array::from(each(rows, i64::from_be_bytes))),
            Self::Float => Arc::new(Float32Array::from(each(rows, f32::from_be_bytes))),
            Self::Double => Arc::new(Float64Array::from(each(rows, f64::from_be_bytes))),
            Self::Boolean => Arc::new(BooleanArray::from(each(rows, |byte: [u8; 1]| byte[0] == 1))),
        }
    }

    /// The bytes of a row that is not null; `None`: Connect would not take its type.
    fn write(self, field: &Field, array: &ArrayRef, row: usize) -> Option<Vec<u8>> {
        if Form::of(field) == Form::Document {
            return self.write_json(array.as_string_opt::<i32>()?.value(row));
        }
        if array.data_type() != &self.data_type() {
            return None;
        }
        Some(match self {
            Self::Short => array.as_primitive::<Int16Type>().value(row).to_be_bytes().to_vec(),
            Self::Integer => array.as_primitive::<Int32Type>().value(row).to_be_bytes().to_vec(),
            Self::Long => array.as_primitive::<Int64Type>().value(row).to_be_bytes().to_vec(),
            Self::Float => array.as_primitive::<Float32Type>().value(row).to_be_bytes().to_vec(),
            Self::Double => array.as_primitive::<Float64Type>().value(row).to_be_bytes().to_vec(),
            Self::Boolean => vec![u8::from(array.as_boolean().value(row))],
        })
    }

    /// JSON without a schema has integers of 64 bits, doubles and booleans; Java casts none of them to another.
    fn write_json(self, text: &str) -> Option<Vec<u8>> {
        let is_integer = !text.contains(['.', 'e', 'E']);
        match self {
            Self::Long => Some(text.parse::<i64>().ok()?.to_be_bytes().to_vec()),
            Self::Double if !is_integer => Some(text.parse::<f64>().ok()?.to_be_bytes().to_vec()),
            Self::Boolean => Some(vec![u8::from(text.parse::<bool>().ok()?)]),
            _ => None,
        }
    }

    fn refusal(self, field: &Field, array: &ArrayRef, row: usize) -> ConnectError {
        let was = java_class(field, array, row);
        let message = match self {
            Self::Boolean => format!("BooleanConverter is not compatible with objects of type class {was}"),
            _ => format!(
                "Failed to serialize to {0} (was class {was}): class {was} cannot be cast to the class of {0}",
                self.name()
            ),
        };
        ConnectError::user(DATA, message)
            .hint("choose the converter that fits the data, such as JsonConverter")
    }
}

/// Data that is not what the converter is for.
const DATA: &str = "converter.data";

/// The class that such a value has in Connect.
fn java_class(field: &Field, array: &ArrayRef, row: usize) -> &'static str {
    if Form::of(field) == Form::Document {
        let text = array.as_string_opt::<i32>().map_or("", |texts| texts.value(row));
        return match text.bytes().next() {
            Some(b'"') => "java.lang.String",
            Some(b'{') => "java.util.HashMap",
            Some(b'[') => "java.util.ArrayList",
            Some(b't' | b'f') => "java.lang.Boolean",
            _ if text.contains(['.', 'e', 'E']) => "java.lang.Double",
            _ => "java.lang.Long",
        };
    }
    match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "java.lang.String",
        DataType::Int8 => "java.lang.Byte",
        DataType::Int16 => "java.lang.Short",
        DataType::Int32 => "java.lang.Integer",
        DataType::Int64 => "java.lang.Long",
        DataType::Float32 => "java.lang.Float",
        DataType::Float64 => "java.lang.Double",
        DataType::Boolean => "java.lang.Boolean",
        DataType::Struct(_) => "org.apache.kafka.connect.data.Struct",
        DataType::List(_) => "java.util.ArrayList",
        DataType::Map(..) => "java.util.HashMap",
        DataType::Decimal128(..) => "java.math.BigDecimal",
        DataType::Date32 | DataType::Time32(_) | DataType::Timestamp(..) => "java.util.Date",
        _ => "[B",
    }
}

#[async_trait]
impl Converter for Number {
    fn class(&self) -> &'static str {
        self.full_class()
    }

    async fn decode(&self, records: RecordBatch, column: &'static str, needs: &Needs) -> Result<Transformed> {
        match needs {
            Needs::Any | Needs::Bytes => return Ok(Transformed::one(records)),
            Needs::Document => {}
            Needs::Columns(_) => return Err(no_fields(Number::class(*self))),
        }
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        for (row, bytes) in undecoded(&records, column)?.iter().enumerate() {
            match bytes.and_then(|bytes| self.problem(bytes)) {
                None => rows.push(bytes),
                Some(problem) => {
                    let message = format!("Failed to deserialize {}: {problem}", self.name());
                    let error = ConnectError::user(DATA, message)
                        .hint("choose the converter that the data was written with");
                    rejected.push(Rejection::new(row, stage(column), error));
                }
            }
        }
        let field = optional(Form::Columns.field(column, self.data_type()));
        let values = self.read(&rows);
        replaced(records, field, values, rejected)
    }

    async fn encode(&self, records: RecordBatch, column: &'static str) -> Result<Transformed> {
        let (field, array) = part(&records, column)?;
        let (mut bytes, mut rejected) = (BinaryBuilder::new(), Vec::new());
        for row in 0..array.len() {
            if array.is_null(row) {
                bytes.append_null();
                continue;
            }
            match self.write(field, array, row) {
                Some(value) => bytes.append_value(value),
                None => {
                    rejected.push(Rejection::new(row, stage(column), self.refusal(field, array, row)));
                }
            }
        }
        replaced(records, Form::Bytes.field(column, DataType::Binary), Arc::new(bytes.finish()), rejected)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, StringArray};
    use connector_core::envelope::{EnvelopeBuilder, VALUE};

    use super::*;

    fn bytes(rows: &[Option<&[u8]>]) -> RecordBatch {
        let values = Arc::new(BinaryArray::from(rows.to_vec()));
        EnvelopeBuilder::new().value(Form::Bytes, values).build().unwrap()
    }

    #[tokio::test]
    async fn bytes_are_read_and_those_of_another_size_refused_in_kafkas_words_cnv_integer_01_03_04() {
        let given = bytes(&[Some(&[0, 0, 1, 2]), Some(b""), None, Some(b"abc")]);
        let out = Number::Integer.decode(given, VALUE, &Needs::Document).await.unwrap();
        let values: Vec<_> = out.runs[0].records[VALUE].as_primitive::<Int32Type>().iter().collect();
        assert_eq!(values, [Some(258), None]);
        let refused: Vec<_> = out.rejected.iter().map(|r| (r.row, r.error.message.as_str())).collect();
        let text = "Failed to deserialize integer: Size of data received by IntegerDeserializer is not 4";
        assert_eq!(refused, [(1, text), (3, text)]);
    }

    #[tokio::test]
    async fn what_was_read_is_written_as_it_was() {
        for (number, given) in Number::ALL.iter().zip([
            &[1, 2][..],
            &[255, 255, 255, 254],
            &[128, 0, 0, 0, 0, 0, 0, 1],
            &[63, 192, 0, 0],
            &[63, 248, 0, 0, 0, 0, 0, 0],
            &[1],
        ]) {
            let read = number.decode(bytes(&[Some(given), None]), VALUE, &Needs::Document).await.unwrap();
            let records = read.runs.into_iter().next().unwrap().records;
            let out = number.encode(records, VALUE).await.unwrap();
            assert_eq!(out.runs[0].records, bytes(&[Some(given), None]), "{number:?}");
        }
    }

    #[tokio::test]
    async fn json_gives_what_java_would_cast_and_the_rest_is_refused_cnv_long_06_08() {
        let texts = StringArray::from(vec![Some("5"), Some("\"5\""), None, Some("5.0")]);
        let records = EnvelopeBuilder::new().value(Form::Document, Arc::new(texts)).build().unwrap();
        let out = Number::Long.encode(records, VALUE).await.unwrap();
        assert_eq!(out.runs[0].records, bytes(&[Some(&5i64.to_be_bytes()), None]));
        let rows: Vec<_> = out.rejected.iter().map(|r| r.row).collect();
        assert_eq!(rows, [1, 3]);
        let message = &out.rejected[0].error.message;
        assert!(
            message.starts_with("Failed to serialize to long (was class java.lang.String): "),
            "{message}"
        );
    }
}
