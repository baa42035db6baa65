//! Avro's binary form: into values, and out of columns.

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use connector_core::Result as ConnectResult;
use connector_core::json::{DecimalFormat, Encoder};
use connector_core::schema::Datum;

use super::schema::Shape;

/// Reads a whole message.
pub(super) fn read(shape: &Shape, mut bytes: &[u8]) -> Result<Datum, String> {
    value(shape, &mut bytes)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("the Avro data ends too early")?;
    *bytes = rest;
    Ok(taken)
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    take(bytes, N)?.try_into().map_err(|_| "the Avro data ends too early".to_owned())
}

fn long(bytes: &mut &[u8]) -> Result<i64, String> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = fixed(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    Err("a number in the Avro data is too long".to_owned())
}

fn sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let size = usize::try_from(long(bytes)?).map_err(|_| "a size in the Avro data is negative")?;
    take(bytes, size)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a text in the Avro data is not UTF-8".to_owned())
}

fn unscaled(bytes: &[u8]) -> Result<Datum, String> {
    let fill = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let significant = bytes.iter().position(|b| *b != fill).unwrap_or(bytes.len());
    let (mut wide, rest) = ([fill; 16], bytes.get(significant..).unwrap_or_default());
    let start = wide.len().checked_sub(rest.len()).ok_or("a decimal has more than 38 digits")?;
    wide.get_mut(start..).unwrap_or_default().copy_from_slice(rest);
    let number = i128::from_be_bytes(wide);
    let kept_sign = (number < 0) == (fill == 0xff && !bytes.is_empty());
    if !kept_sign || number.unsigned_abs() >= 10u128.pow(38) {
        return Err("a decimal has more than 38 digits".to_owned());
    }
    Ok(Datum::Decimal(number))
}

/// Lists and maps come in blocks: their number of items, negative with the size in bytes behind it; 0 ends.
fn blocks(bytes: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Result<(), String>) -> Result<(), String> {
    loop {
        let mut count = long(bytes)?;
        if count < 0 {
            count = count.checked_neg().ok_or("a block in the Avro data is too long")?;
            long(bytes)?;
        }
        if count == 0 {
            return Ok(());
        }
        // Each item takes a byte at least (a list of nulls has no use), so a wrong count cannot eat all memory.
        if usize::try_from(count).map_or(true, |count| count > bytes.len()) {
            return Err("a block in the Avro data is longer than the data".to_owned());
        }
        for _ in 0..count {
            item(bytes)?;
        }
    }
}

fn value(shape: &Shape, bytes: &mut &[u8]) -> Result<Datum, String> {
    Ok(match shape {
        Shape::Null => Datum::Null,
        Shape::Boolean => Datum::Boolean(fixed::<1>(bytes)? != [0]),
        Shape::Integer => Datum::Integer(long(bytes)?),
        Shape::Float => Datum::Float(f32::from_le_bytes(fixed(bytes)?).into()),
        Shape::Double => Datum::Float(f64::from_le_bytes(fixed(bytes)?)),
        Shape::Bytes => Datum::Bytes(sized(bytes)?.to_vec()),
        Shape::Text => Datum::Text(text(sized(bytes)?)?),
        Shape::Fixed(size) => Datum::Bytes(take(bytes, *size)?.to_vec()),
        Shape::Decimal => unscaled(sized(bytes)?)?,
        Shape::FixedDecimal(size) => unscaled(take(bytes, *size)?)?,
        Shape::Enum(symbols) => {
            let symbol = usize::try_from(long(bytes)?).ok().and_then(|at| symbols.get(at));
            Datum::Text(symbol.ok_or("an enum in the Avro data has no such symbol")?.clone())
        }
        Shape::List(items) => {
            let mut list = Vec::new();
            blocks(bytes, |bytes| {
                list.push(value(items, bytes)?);
                Ok(())
            })?;
            Datum::List(list)
        }
        Shape::Map(values) => {
            let mut map = Vec::new();
            blocks(bytes, |bytes| {
                map.push((Datum::Text(text(sized(bytes)?)?), value(values, bytes)?));
                Ok(())
            })?;
            Datum::Map(map)
        }
        Shape::Entries(keys, values) => {
            let mut map = Vec::new();
            blocks(bytes, |bytes| {
                map.push(match value(keys, bytes)? {
                    Datum::Null => return Err("a map in the Avro data has a null key".to_owned()),
                    key => (key, value(values, bytes)?),
                });
                Ok(())
            })?;
            Datum::Map(map)
        }
        Shape::Record(fields) => {
            Datum::Struct(fields.iter().map(|field| value(field, bytes)).collect::<Result<_, _>>()?)
        }
        Shape::Optional(at, inner) => match usize::try_from(long(bytes)?) {
            Ok(branch) if branch == *at => value(inner, bytes)?,
            Ok(0 | 1) => Datum::Null,
            _ => return Err("a union in the Avro data has no such branch".to_owned()),
        },
        Shape::Union(branches) => {
            let branch = usize::try_from(long(bytes)?).ok().and_then(|at| branches.get(at));
            match branch.ok_or("a union in the Avro data has no such branch")? {
                (_, None) => Datum::Null,
                (inner, Some(at)) => {
                    let mut fields = vec![Datum::Null; branches.iter().filter(|b| b.1.is_some()).count()];
                    if let Some(field) = fields.get_mut(*at) {
                        *field = value(inner, bytes)?;
                    }
                    Datum::Struct(fields)
                }
            }
        }
    })
}

/// Columns in the types that are written.
pub(super) enum Cells {
    Boolean(BooleanArray),
    Integer(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Bytes(BinaryArray),
    Text(StringArray),
    Decimal(Decimal128Array),
    List(ListArray, Box<Cells>),
    Map(MapArray, Box<Cells>, Box<Cells>),
    Record(Vec<Cells>),
    /// The number of the branch that is not null.
    Optional(usize, ArrayRef, Box<Cells>),
}

impl Cells {
    /// What of `array` goes into this shape, which was made of the array's own schema.
    pub fn of(shape: &Shape, field: &arrow::datatypes::FieldRef, array: &ArrayRef) -> ConnectResult<Self> {
        let cast = |to: &DataType| compute::cast(array, to);
        Ok(match shape {
            Shape::Optional(at, inner) => {
                Self::Optional(*at, array.clone(), Box::new(Self::of(inner, field, array)?))
            }
            Shape::Boolean => Self::Boolean(array.as_boolean().clone()),
            Shape::Integer => Self::Integer(cast(&DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            Shape::Float => Self::Float(cast(&DataType::Float32)?.as_primitive::<Float32Type>().clone()),
            Shape::Double => Self::Double(cast(&DataType::Float64)?.as_primitive::<Float64Type>().clone()),
            Shape::Bytes => Self::Bytes(cast(&DataType::Binary)?.as_binary().clone()),
            Shape::Decimal => Self::Decimal(array.as_primitive().clone()),
            Shape::List(items) => {
                let item = match array.data_type() {
                    DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                        item
                    }
                    _ => field,
                };
                let list = cast(&DataType::List(item.clone()))?.as_list::<i32>().clone();
                let items = Self::of(items, item, list.values())?;
                Self::List(list, Box::new(items))
            }
            Shape::Map(values) => Self::map(&Shape::Text, values, array.as_map())?,
            Shape::Entries(keys, values) => Self::map(keys, values, array.as_map())?,
            Shape::Record(shapes) => {
                let record = array.as_struct();
                let columns = shapes.iter().zip(record.fields()).zip(record.columns());
                Self::Record(
                    columns.map(|((s, field), c)| Self::of(s, field, c)).collect::<ConnectResult<_>>()?,
                )
            }
            _ if array.data_type().is_temporal() => {
                // A plain date or time is a string in Connect, in the form that JSON has.
                let mut encoder = Encoder::new(field, array, DecimalFormat::Base64)?;
                let texts = (0..array.len()).map(|row| {
                    let mut text = Vec::new();
                    array.is_valid(row).then(|| {
                        encoder.encode(row, &mut text);
                        String::from_utf8_lossy(&text).trim_matches('"').to_owned()
                    })
                });
                Self::Text(texts.collect())
            }
            _ => Self::Text(cast(&DataType::Utf8)?.as_string().clone()),
        })
    }

    fn map(keys: &Shape, values: &Shape, map: &MapArray) -> ConnectResult<Self> {
        let fields = map.entries().fields();
        let keys = Self::of(keys, &fields[0], map.keys())?;
        let values = Self::of(values, &fields[1], map.values())?;
        Ok(Self::Map(map.clone(), Box::new(keys), Box::new(values)))
    }

    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(cells) => out.push(cells.value(row).into()),
            Self::Integer(cells) => put_long(cells.value(row), out),
            Self::Float(cells) => out.extend(cells.value(row).to_le_bytes()),
            Self::Double(cells) => out.extend(cells.value(row).to_le_bytes()),
            Self::Bytes(cells) => put_sized(cells.value(row), out),
            Self::Text(cells) => put_sized(cells.value(row).as_bytes(), out),
            Self::Decimal(cells) => put_sized(shortest(&cells.value(row).to_be_bytes()), out),
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                put_block(offsets[row]..offsets[row + 1], out, |at, out| items.write(at, out));
            }
            Self::Map(map, keys, values) => {
                let offsets = map.value_offsets();
                put_block(offsets[row]..offsets[row + 1], out, |at, out| {
                    keys.write(at, out);
                    values.write(at, out);
                });
            }
            Self::Record(fields) => fields.iter().for_each(|field| field.write(row, out)),
            Self::Optional(at, array, _) if array.is_null(row) => put_long(1 - *at as i64, out),
            Self::Optional(at, _, cells) => {
                put_long(*at as i64, out);
                cells.write(row, out);
            }
        }
    }
}

fn put_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn put_block(rows: std::ops::Range<i32>, out: &mut Vec<u8>, mut write: impl FnMut(usize, &mut Vec<u8>)) {
    if !rows.is_empty() {
        put_long(rows.len() as i64, out);
        rows.for_each(|at| write(at as usize, out));
    }
    out.push(0);
}

/// As BigInteger.toByteArray: no byte more than the sign needs.
fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        let repeats = rest.first().is_some_and(|next| *first == if next & 0x80 == 0 { 0 } else { 0xff });
        if !repeats {
            break;
        }
        bytes = rest;
    }
    bytes
}
