//! MaskField: the empty value of a field's type, or a replacement, instead of what is in it.

use arrow::array::{Array, ArrayRef, BooleanArray, Scalar, new_null_array};
use arrow::compute;
use arrow::datatypes::{DataType, Field};
use connector_core::ConfigProblem;
use connector_core::java::parse_decimal;
use connector_core::value::{Object, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::{
    FieldTransform, Names, Origin, Refusal, Refused, Typed, class_of, names, object, problem, yes,
};

const PURPOSE: &str = "mask fields";

#[derive(Deserialize, JsonSchema)]
pub struct Config {
    /// Fields to mask.
    fields: Names,
    /// What to put there, for numbers and texts; otherwise 0, false or an empty text, list or map.
    #[serde(default)]
    replacement: Option<String>,
    /// Whether a null becomes the default of its field, where it has one.
    #[serde(rename = "replace.null.with.default", default = "yes")]
    replace_null_with_default: bool,
}

pub(crate) struct MaskField {
    fields: Vec<String>,
    replacement: Option<String>,
    replace: bool,
}

impl MaskField {
    fn masked(&self, value: Value<'_>) -> Result<Value<'static>, Refusal> {
        let value = value.open();
        let Some(replacement) = &self.replacement else {
            return Ok(match value {
                Value::Null => Value::Null,
                Value::Boolean(_) => Value::Boolean(false),
                Value::Int8(_) => Value::Int8(0),
                Value::Int16(_) => Value::Int16(0),
                Value::Int32(_) => Value::Int32(0),
                Value::Int64(_) | Value::Json(_) => Value::Int64(0),
                Value::Float32(_) => Value::Float32(0.0),
                Value::Float64(_) => Value::Float64(0.0),
                Value::Text(_) => Value::Text("".into()),
                Value::Decimal(..) => Value::Decimal(0, 0),
                Value::Instant(_) => Value::Instant(0),
                Value::Object(_) => Value::Object(Object::default()),
                Value::List(_) => Value::List(Vec::new()),
                Value::Bytes(_) => return Err("Cannot mask value of type: class [B".into()),
            });
        };
        let number = || {
            parse_decimal(replacement)
                .ok_or_else(|| Refusal::from("Unable to convert the replacement to a number"))
        };
        let float =
            || number().map(|(digits, scale)| format!("{digits}e{}", -scale).parse().unwrap_or(f64::NAN));
        // BigDecimal's conversions: the fraction is cut off, then the high bits are.
        #[allow(clippy::cast_possible_truncation)]
        Ok(match value {
            Value::Null => Value::Null,
            Value::Text(_) => Value::Text(replacement.clone().into()),
            Value::Int8(_) => Value::Int8(whole(number()?) as i8),
            Value::Int16(_) => Value::Int16(whole(number()?) as i16),
            Value::Int32(_) => Value::Int32(whole(number()?) as i32),
            Value::Int64(_) => Value::Int64(whole(number()?) as i64),
            Value::Json(_) => Value::Decimal(whole(number()?), 0),
            Value::Float32(_) => Value::Float32(float()? as f32),
            Value::Float64(_) => Value::Float64(float()?),
            Value::Decimal(..) => {
                let (digits, scale) = number()?;
                Value::Decimal(digits, i8::try_from(scale).unwrap_or(i8::MAX))
            }
            other => {
                let class = other.class();
                return Err(
                    format!("Cannot mask value of type class {class} with custom replacement.").into()
                );
            }
        })
    }

    /// A column whose values, as far as they are not null, are all masked alike.
    fn column(&self, field: &Field, array: &ArrayRef) -> Result<ArrayRef, Refusal> {
        let class = class_of(field.data_type());
        if array.null_count() == array.len() {
            return Ok(array.clone());
        }
        let one = match field.data_type() {
            DataType::Struct(_) | DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_)
                if self.replacement.is_none() =>
            {
                return Err(format!("Cannot mask value of type: class {class}").into());
            }
            DataType::List(_) | DataType::Map(..) if self.replacement.is_none() => empty(field.data_type())?,
            _ => {
                let first = (0..array.len()).find(|row| array.is_valid(*row)).unwrap_or_default();
                let refuse = || format!("Cannot mask value of type class {class} with custom replacement.");
                let value = self.masked(Value::at(array, first).ok_or_else(refuse)?)?;
                scalar(field, &value)?
            }
        };
        let valid = compute::is_not_null(array).map_err(|e| e.to_string())?;
        let nulls = Scalar::new(new_null_array(field.data_type(), 1));
        let mask = BooleanArray::new(valid.values().clone(), None);
        compute::kernels::zip::zip(&mask, &Scalar::new(one), &nulls).map_err(|e| e.to_string().into())
    }
}

/// The whole part of a decimal, its lowest 128 bits.
fn whole((digits, scale): (i128, i32)) -> i128 {
    let power = 10i128.checked_pow(scale.unsigned_abs());
    match (scale >= 0, power) {
        (true, power) => power.map_or(0, |power| digits / power),
        (false, power) => power.map_or(0, |power| digits.wrapping_mul(power)),
    }
}

/// An empty list or map.
fn empty(data_type: &DataType) -> Result<ArrayRef, Refusal> {
    let nulls = new_null_array(data_type, 1).to_data().into_builder().nulls(None);
    // A null list has no elements either: without its null it is an empty one.
    Ok(arrow::array::make_array(nulls.build().map_err(|e| e.to_string())?))
}

/// One value in the type of a field.
fn scalar(field: &Field, value: &Value<'_>) -> Result<ArrayRef, Refusal> {
    let (kind, cell) = match value {
        Value::Boolean(b) => (DataType::Boolean, Value::Boolean(*b)),
        Value::Int8(n) => (DataType::Int64, Value::Int64((*n).into())),
        Value::Int16(n) => (DataType::Int64, Value::Int64((*n).into())),
        Value::Int32(n) => (DataType::Int64, Value::Int64((*n).into())),
        Value::Int64(n) => (DataType::Int64, Value::Int64(*n)),
        Value::Float32(n) => (DataType::Float32, Value::Float32(*n)),
        Value::Float64(n) => (DataType::Float64, Value::Float64(*n)),
        Value::Instant(_) => (DataType::Int64, Value::Int64(0)),
        Value::Decimal(digits, scale) => {
            let DataType::Decimal128(precision, wanted) = field.data_type() else {
                return Err("a decimal of this size cannot be masked".into());
            };
            let shift = i32::from(*wanted) - i32::from(*scale);
            let power = 10i128.checked_pow(shift.unsigned_abs()).unwrap_or(1);
            let digits = if shift >= 0 { digits.wrapping_mul(power) } else { digits / power };
            let array = arrow::array::Decimal128Array::from(vec![digits]);
            let array = array.with_precision_and_scale(*precision, *wanted).map_err(|e| e.to_string())?;
            return Ok(std::sync::Arc::new(array));
        }
        Value::Text(text) => (DataType::Utf8, Value::Text(text.to_string().into())),
        _ => return Err("this type cannot be masked".into()),
    };
    let array = crate::kit::build(&kind, std::iter::once(cell));
    let array = match field.data_type() {
        DataType::Date32 | DataType::Time32(_) => {
            compute::cast(&array, &DataType::Int32).map_err(|e| e.to_string())?
        }
        _ => array,
    };
    compute::cast(&array, field.data_type()).map_err(|e| e.to_string().into())
}

impl FieldTransform for MaskField {
    type Config = Config;
    names!("MaskField");
    const SUMMARY: &'static str = "Replaces what is in fields by an empty value or a fixed one.";
    const NULLS_PASS: bool = false;

    fn create(config: Config) -> Result<Self, Vec<ConfigProblem>> {
        let replacement = config.replacement.map(|text| text.trim().to_owned());
        if replacement.as_deref() == Some("") {
            return Err(problem("replacement", "is empty", "leave it out for an empty text"));
        }
        Ok(Self { fields: config.fields.0, replacement, replace: config.replace_null_with_default })
    }

    fn document<'t>(&self, value: Value<'t>, _: usize, _: &Origin<'_>) -> Result<Value<'t>, Refusal> {
        let mut object = object(value, PURPOSE)?;
        for name in &self.fields {
            let masked = self.masked(object.get(name).cloned().unwrap_or(Value::Null))?;
            object.insert(name.clone(), masked);
        }
        Ok(Value::Object(object))
    }

    fn typed(&self, values: Typed, _: &Origin<'_>, refused: &mut Refused) -> Result<Typed, Refusal> {
        let values = values.defaults(self.replace)?;
        let structs = values.structs(PURPOSE)?;
        let null = || format!("Only Struct objects supported for [{PURPOSE}], found: null");
        refused
            .extend((0..structs.len()).filter(|row| structs.is_null(*row)).map(|row| (row, null().into())));
        let mut columns = Vec::with_capacity(structs.num_columns());
        for (field, column) in structs.fields().iter().zip(structs.columns()) {
            let masks = self.fields.contains(field.name());
            columns.push(if masks { self.column(field, column)? } else { column.clone() });
        }
        values.replaced(structs.fields().to_vec(), columns, true)
    }
}
